// Functional suite of etcd's own Go client against one endpoint.
//
// ENDPOINT names it (host:port); SERVER names the program of servers for the checks of TLS, which are left out without it. Prints a line a check and `N passed, N failed` at the end.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// patience is how long a check may take, and whatever it waits for: the machine can be slow.
const patience = 2 * time.Minute

// A check gets a client of its own and a prefix that no other check uses.
type check struct {
	name string
	run  func(t *tester)
}

// tester is what a check speaks through. A failed expectation ends the check.
type tester struct {
	ctx      context.Context
	cli      *clientv3.Client
	endpoint string
	prefix   string
	cleanups []func()
}

type failure struct{ text string }

func (t *tester) failf(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

func (t *tester) ok(err error) {
	if err != nil {
		t.failf("error: %v", err)
	}
}

func (t *tester) equal(what string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.failf("%s: got %v, want %v", what, got, want)
	}
}

func (t *tester) is(err, want error) {
	if err == nil || err.Error() != want.Error() {
		t.failf("error: got %v, want %v", err, want)
	}
}

func (t *tester) key(name string) string { return t.prefix + name }

func dial(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
}

func runOne(endpoint string, c check) (result string) {
	defer func() {
		if raised := recover(); raised != nil {
			if f, ok := raised.(failure); ok {
				result = f.text
			} else {
				result = fmt.Sprint(raised)
			}
		}
	}()
	cli, err := dial(endpoint)
	if err != nil {
		return err.Error()
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t := &tester{ctx: ctx, cli: cli, endpoint: endpoint, prefix: "go/" + c.name + "/"}
	defer func() {
		for at := len(t.cleanups) - 1; at >= 0; at-- {
			t.cleanups[at]()
		}
	}()
	c.run(t)
	return ""
}

func main() {
	endpoint := os.Getenv("ENDPOINT")
	if endpoint == "" {
		fmt.Println("ENDPOINT=host:port is missing")
		os.Exit(2)
	}
	var all []check
	for _, group := range [][]check{kvChecks, watchChecks, leaseChecks, maintenanceChecks, concurrencyChecks} {
		all = append(all, group...)
	}
	if os.Getenv("SERVER") != "" {
		all = append(all, tlsChecks...)
	}
	passed, failed := 0, 0
	for _, c := range all {
		if len(os.Args) > 1 && os.Args[1] != c.name {
			continue
		}
		if text := runOne(endpoint, c); text != "" {
			failed++
			fmt.Printf("FAILED  %s: %s\n", c.name, text)
		} else {
			passed++
			fmt.Printf("passed  %s\n", c.name)
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
