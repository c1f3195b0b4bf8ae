// A real etcd 3.6, from its modules; and what etcdctl 3.5 cannot ask for: `main enable ENDPOINT VERSION` begins a downgrade, `main cancel
// ENDPOINT ""` ends it.
package main

import (
	"context"
	"log"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "enable" {
		downgrade(os.Args[2], os.Args[3], clientv3.DowngradeValidate, clientv3.DowngradeEnable)
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "cancel" {
		downgrade(os.Args[2], os.Args[3], clientv3.DowngradeCancel)
		return
	}
	etcdmain.Main(os.Args)
}

func downgrade(endpoint, version string, actions ...clientv3.DowngradeAction) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, action := range actions {
		if _, err := client.Downgrade(ctx, action, version); err != nil {
			log.Fatal(err)
		}
	}
}
