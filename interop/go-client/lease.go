package main

import (
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var leaseChecks = []check{
	{"lease", func(t *tester) {
		grant, err := t.cli.Grant(t.ctx, 100)
		t.ok(err)
		t.equal("ttl", grant.TTL, 100)
		_, err = t.cli.Put(t.ctx, t.key("a"), "1", clientv3.WithLease(grant.ID))
		t.ok(err)
		left, err := t.cli.TimeToLive(t.ctx, grant.ID, clientv3.WithAttachedKeys())
		t.ok(err)
		t.equal("granted", left.GrantedTTL, 100)
		t.equal("keys", len(left.Keys), 1)
		alive, err := t.cli.KeepAliveOnce(t.ctx, grant.ID)
		t.ok(err)
		t.equal("ttl", alive.TTL, 100)
		leases, err := t.cli.Leases(t.ctx)
		t.ok(err)
		found := false
		for _, lease := range leases.Leases {
			found = found || lease.ID == grant.ID
		}
		t.equal("listed", found, true)
		_, err = t.cli.Revoke(t.ctx, grant.ID)
		t.ok(err)
		get, err := t.cli.Get(t.ctx, t.key("a"))
		t.ok(err)
		t.equal("count", get.Count, 0)
		_, err = t.cli.Revoke(t.ctx, grant.ID)
		t.is(err, rpctypes.ErrLeaseNotFound)
		left, err = t.cli.TimeToLive(t.ctx, grant.ID)
		t.ok(err)
		t.equal("expired", left.TTL, -1)
		_, err = t.cli.KeepAliveOnce(t.ctx, grant.ID)
		t.is(err, rpctypes.ErrLeaseNotFound)
	}},
	{"lease-keepalive", func(t *tester) {
		grant, err := t.cli.Grant(t.ctx, 6)
		t.ok(err)
		_, err = t.cli.Put(t.ctx, t.key("a"), "1", clientv3.WithLease(grant.ID))
		t.ok(err)
		alive, err := t.cli.KeepAlive(t.ctx, grant.ID)
		t.ok(err)
		// Answers over more than the lease's life.
		until := time.Now().Add(8 * time.Second)
		for time.Now().Before(until) {
			select {
			case answer := <-alive:
				if answer == nil {
					t.failf("the keepalive has ended")
				}
			case <-t.ctx.Done():
				t.failf("no keepalive")
			}
		}
		get, err := t.cli.Get(t.ctx, t.key("a"))
		t.ok(err)
		t.equal("count", get.Count, 1)
	}},
	{"lease-expiry", func(t *tester) {
		ch := t.cli.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		t.next(ch)
		started := time.Now()
		grant, err := t.cli.Grant(t.ctx, 5)
		t.ok(err)
		for _, name := range []string{"a", "b"} {
			_, err = t.cli.Put(t.ctx, t.key(name), "1", clientv3.WithLease(grant.ID))
			t.ok(err)
		}
		t.equal("events", t.events(ch, 4), "PUT a=1, PUT b=1, DELETE a=, DELETE b=")
		if took := time.Since(started); took < 4500*time.Millisecond {
			t.failf("expired after %v", took)
		}
	}},
}
