// A real etcd 3.6, from its modules; and what etcdctl 3.5 cannot ask for: `main downgrade ENDPOINT VERSION` begins a downgrade.
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
	if len(os.Args) == 4 && os.Args[1] == "downgrade" {
		downgrade(os.Args[2], os.Args[3])
		return
	}
	etcdmain.Main(os.Args)
}

func downgrade(endpoint, version string) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, action := range []clientv3.DowngradeAction{clientv3.DowngradeValidate, clientv3.DowngradeEnable} {
		if _, err := client.Downgrade(ctx, action, version); err != nil {
			log.Fatal(err)
		}
	}
}
