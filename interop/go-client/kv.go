package main

import (
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var kvChecks = []check{
	{"put-get-delete", func(t *tester) {
		put, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		get, err := t.cli.Get(t.ctx, t.key("a"))
		t.ok(err)
		t.equal("pairs", len(get.Kvs), 1)
		kv := get.Kvs[0]
		t.equal("value", string(kv.Value), "1")
		t.equal("version", kv.Version, 1)
		t.equal("create revision", kv.CreateRevision, put.Header.Revision)
		t.equal("mod revision", kv.ModRevision, put.Header.Revision)
		again, err := t.cli.Put(t.ctx, t.key("a"), "2", clientv3.WithPrevKV())
		t.ok(err)
		t.equal("previous", string(again.PrevKv.Value), "1")
		t.equal("revision", again.Header.Revision, put.Header.Revision+1)
		del, err := t.cli.Delete(t.ctx, t.key("a"), clientv3.WithPrevKV())
		t.ok(err)
		t.equal("deleted", del.Deleted, 1)
		t.equal("previous", string(del.PrevKvs[0].Value), "2")
		get, err = t.cli.Get(t.ctx, t.key("a"))
		t.ok(err)
		t.equal("count", get.Count, 0)
		get, err = t.cli.Get(t.ctx, t.key("a"), clientv3.WithRev(put.Header.Revision))
		t.ok(err)
		t.equal("the past", string(get.Kvs[0].Value), "1")
	}},
	{"ranges", func(t *tester) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			_, err := t.cli.Put(t.ctx, t.key(name), name)
			t.ok(err)
		}
		keys := func(opts ...clientv3.OpOption) string {
			get, err := t.cli.Get(t.ctx, t.prefix, opts...)
			t.ok(err)
			var names []string
			for _, kv := range get.Kvs {
				names = append(names, strings.TrimPrefix(string(kv.Key), t.prefix))
			}
			return strings.Join(names, "")
		}
		t.equal("prefix", keys(clientv3.WithPrefix()), "abcde")
		t.equal("limit", keys(clientv3.WithPrefix(), clientv3.WithLimit(2)), "ab")
		t.equal("descending", keys(clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)), "edcba")
		t.equal("by value", keys(clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend), clientv3.WithLimit(2)), "ed")
		t.equal("first created", keys(clientv3.WithFirstCreate()...), "a")
		t.equal("last modified", keys(clientv3.WithLastRev()...), "e")
		get, err := t.cli.Get(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithLimit(2))
		t.ok(err)
		t.equal("more", get.More, true)
		t.equal("count", get.Count, 5)
		get, err = t.cli.Get(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		t.ok(err)
		t.equal("count only", get.Count, 5)
		t.equal("no pairs", len(get.Kvs), 0)
		get, err = t.cli.Get(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithSerializable())
		t.ok(err)
		t.equal("value", len(get.Kvs[0].Value), 0)
		get, err = t.cli.Get(t.ctx, t.key("c"), clientv3.WithFromKey(), clientv3.WithMinCreateRev(get.Kvs[3].CreateRevision), clientv3.WithLimit(2))
		t.ok(err)
		t.equal("from key, created late", string(get.Kvs[0].Value), "d")
	}},
	{"pages", func(t *tester) {
		for i := range 57 {
			_, err := t.cli.Put(t.ctx, t.key(string(rune('A'+i))), "v")
			t.ok(err)
		}
		next, end, seen := t.prefix, clientv3.GetPrefixRangeEnd(t.prefix), 0
		for {
			get, err := t.cli.Get(t.ctx, next, clientv3.WithRange(end), clientv3.WithLimit(10))
			t.ok(err)
			seen += len(get.Kvs)
			if !get.More {
				break
			}
			next = string(get.Kvs[len(get.Kvs)-1].Key) + "\x00"
		}
		t.equal("keys", seen, 57)
	}},
	{"errors", func(t *tester) {
		_, err := t.cli.Put(t.ctx, "", "x")
		t.is(err, rpctypes.ErrEmptyKey)
		_, err = t.cli.Put(t.ctx, t.key("x"), "x", clientv3.WithLease(4711))
		t.is(err, rpctypes.ErrLeaseNotFound)
		_, err = t.cli.Put(t.ctx, t.key("x"), "", clientv3.WithIgnoreValue())
		t.is(err, rpctypes.ErrKeyNotFound)
		_, err = t.cli.Get(t.ctx, t.key("x"), clientv3.WithRev(1<<40))
		t.is(err, rpctypes.ErrFutureRev)
		_, err = t.cli.Txn(t.ctx).Then(clientv3.OpPut(t.key("x"), "1"), clientv3.OpPut(t.key("x"), "2")).Commit()
		t.is(err, rpctypes.ErrDuplicateKey)
		_, err = t.cli.Put(t.ctx, t.key("x"), strings.Repeat("x", 1600000))
		t.is(err, rpctypes.ErrRequestTooLarge)
		var many []clientv3.Op
		for i := range 129 {
			many = append(many, clientv3.OpPut(t.key(string(rune('0'+i))), "1"))
		}
		_, err = t.cli.Txn(t.ctx).Then(many...).Commit()
		t.is(err, rpctypes.ErrTooManyOps)
	}},
	{"txn", func(t *tester) {
		txn, err := t.cli.Txn(t.ctx).
			If(clientv3.Compare(clientv3.CreateRevision(t.key("a")), "=", 0)).
			Then(clientv3.OpPut(t.key("a"), "1"), clientv3.OpGet(t.key("a"))).
			Else(clientv3.OpGet(t.key("a"))).Commit()
		t.ok(err)
		t.equal("succeeded", txn.Succeeded, true)
		t.equal("sees its put", string(txn.Responses[1].GetResponseRange().Kvs[0].Value), "1")
		txn, err = t.cli.Txn(t.ctx).
			If(clientv3.Compare(clientv3.CreateRevision(t.key("a")), "=", 0)).
			Then(clientv3.OpPut(t.key("a"), "2")).
			Else(clientv3.OpGet(t.key("a")), clientv3.OpDelete(t.key("b"))).Commit()
		t.ok(err)
		t.equal("succeeded", txn.Succeeded, false)
		t.equal("other branch", string(txn.Responses[0].GetResponseRange().Kvs[0].Value), "1")
		nested := clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.Value(t.key("a")), "=", "1")},
			[]clientv3.Op{clientv3.OpPut(t.key("nested"), "yes")},
			[]clientv3.Op{clientv3.OpPut(t.key("nested"), "no")})
		txn, err = t.cli.Txn(t.ctx).
			If(clientv3.Compare(clientv3.Version(t.prefix), ">", 0).WithPrefix(), clientv3.Compare(clientv3.LeaseValue(t.key("a")), "=", 0)).
			Then(nested, clientv3.OpPut(t.key("c"), "3")).Commit()
		t.ok(err)
		t.equal("nested", txn.Responses[0].GetResponseTxn().Succeeded, true)
		get, err := t.cli.Get(t.ctx, t.prefix, clientv3.WithPrefix())
		t.ok(err)
		t.equal("one revision", get.Kvs[1].ModRevision, get.Kvs[2].ModRevision)
	}},
	{"compaction", func(t *tester) {
		first, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		second, err := t.cli.Put(t.ctx, t.key("a"), "2")
		t.ok(err)
		_, err = t.cli.Compact(t.ctx, second.Header.Revision, clientv3.WithCompactPhysical())
		t.ok(err)
		_, err = t.cli.Compact(t.ctx, first.Header.Revision)
		t.is(err, rpctypes.ErrCompacted)
		_, err = t.cli.Get(t.ctx, t.key("a"), clientv3.WithRev(first.Header.Revision))
		t.is(err, rpctypes.ErrCompacted)
		get, err := t.cli.Get(t.ctx, t.key("a"), clientv3.WithRev(second.Header.Revision))
		t.ok(err)
		t.equal("value", string(get.Kvs[0].Value), "2")
		_, err = t.cli.Compact(t.ctx, 1<<40)
		t.is(err, rpctypes.ErrFutureRev)
	}},
}
