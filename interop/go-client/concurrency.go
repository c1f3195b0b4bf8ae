package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func (t *tester) session() *concurrency.Session {
	session, err := concurrency.NewSession(t.cli, concurrency.WithTTL(10))
	t.ok(err)
	return session
}

var concurrencyChecks = []check{
	{"mutex", func(t *tester) {
		one, two := t.session(), t.session()
		defer one.Close()
		defer two.Close()
		first, second := concurrency.NewMutex(one, t.key("lock")), concurrency.NewMutex(two, t.key("lock"))
		t.ok(first.Lock(t.ctx))
		t.is(second.TryLock(t.ctx), concurrency.ErrLocked)
		locked := make(chan error, 1)
		go func() { locked <- second.Lock(t.ctx) }()
		select {
		case <-locked:
			t.failf("two hold the lock")
		case <-time.After(200 * time.Millisecond):
		}
		t.ok(first.Unlock(t.ctx))
		t.ok(<-locked)
		t.ok(second.Unlock(t.ctx))
	}},
	{"mutex-many", func(t *tester) {
		var wait sync.WaitGroup
		counter, failed := 0, make(chan error, 16)
		for range 8 {
			session := t.session()
			wait.Add(1)
			go func() {
				defer wait.Done()
				defer session.Close()
				mutex := concurrency.NewMutex(session, t.key("lock"))
				for range 5 {
					if err := mutex.Lock(t.ctx); err != nil {
						failed <- err
						return
					}
					seen := counter
					time.Sleep(time.Millisecond)
					counter = seen + 1
					if err := mutex.Unlock(t.ctx); err != nil {
						failed <- err
						return
					}
				}
			}()
		}
		wait.Wait()
		select {
		case err := <-failed:
			t.failf("%v", err)
		default:
		}
		t.equal("counter", counter, 40)
	}},
	{"session-loss-frees-the-lock", func(t *tester) {
		one, two := t.session(), t.session()
		defer two.Close()
		t.ok(concurrency.NewMutex(one, t.key("lock")).Lock(t.ctx))
		_, err := t.cli.Revoke(t.ctx, one.Lease())
		t.ok(err)
		t.ok(concurrency.NewMutex(two, t.key("lock")).Lock(t.ctx))
	}},
	{"election", func(t *tester) {
		one, two := t.session(), t.session()
		defer one.Close()
		defer two.Close()
		first, second := concurrency.NewElection(one, t.key("e")), concurrency.NewElection(two, t.key("e"))
		t.ok(first.Campaign(t.ctx, "first"))
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		observed := second.Observe(ctx)
		t.equal("leader", string((<-observed).Kvs[0].Value), "first")
		won := make(chan error, 1)
		go func() { won <- second.Campaign(t.ctx, "second") }()
		t.ok(first.Proclaim(t.ctx, "first again"))
		t.equal("proclaimed", string((<-observed).Kvs[0].Value), "first again")
		t.ok(first.Resign(t.ctx))
		t.ok(<-won)
		leader, err := second.Leader(t.ctx)
		t.ok(err)
		t.equal("leader", string(leader.Kvs[0].Value), "second")
		t.is(first.Proclaim(t.ctx, "late"), concurrency.ErrElectionNotLeader)
		t.ok(second.Resign(t.ctx))
		_, err = second.Leader(t.ctx)
		t.is(err, concurrency.ErrElectionNoLeader)
	}},
	{"stm", func(t *tester) {
		for _, name := range []string{"a", "b"} {
			_, err := t.cli.Put(t.ctx, t.key(name), "100")
			t.ok(err)
		}
		var wait sync.WaitGroup
		failed := make(chan error, 64)
		for i := range 8 {
			wait.Add(1)
			go func() {
				defer wait.Done()
				for range 5 {
					_, err := concurrency.NewSTM(t.cli, func(stm concurrency.STM) error {
						a, _ := strconv.Atoi(stm.Get(t.key("a")))
						b, _ := strconv.Atoi(stm.Get(t.key("b")))
						stm.Put(t.key("a"), fmt.Sprint(a-i))
						stm.Put(t.key("b"), fmt.Sprint(b+i))
						return nil
					}, concurrency.WithIsolation(concurrency.SerializableSnapshot))
					if err != nil {
						failed <- err
					}
				}
			}()
		}
		wait.Wait()
		select {
		case err := <-failed:
			t.failf("%v", err)
		default:
		}
		get, err := t.cli.Get(t.ctx, t.prefix, clientv3.WithPrefix())
		t.ok(err)
		t.equal("a", string(get.Kvs[0].Value), "-40")
		t.equal("b", string(get.Kvs[1].Value), "240")
	}},
}
