package main

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// next gives the next answer of a watch that is not empty.
func (t *tester) next(ch clientv3.WatchChan) clientv3.WatchResponse {
	select {
	case answer, open := <-ch:
		if !open {
			t.failf("the watch has ended")
		}
		return answer
	case <-t.ctx.Done():
		t.failf("nothing came")
	}
	return clientv3.WatchResponse{}
}

func (t *tester) events(ch clientv3.WatchChan, count int) string {
	var words []string
	for len(words) < count {
		answer := t.next(ch)
		t.ok(answer.Err())
		for _, event := range answer.Events {
			words = append(words, fmt.Sprintf("%v %s=%s", event.Type, strings.TrimPrefix(string(event.Kv.Key), t.prefix), event.Kv.Value))
		}
	}
	return strings.Join(words, ", ")
}

var watchChecks = []check{
	{"watch", func(t *tester) {
		ch := t.cli.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		t.equal("created", t.next(ch).Created, true)
		put, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		_, err = t.cli.Delete(t.ctx, t.key("a"))
		t.ok(err)
		t.equal("events", t.events(ch, 2), "PUT a=1, DELETE a=")
		past := t.cli.Watch(t.ctx, t.key("a"), clientv3.WithRev(put.Header.Revision), clientv3.WithPrevKV())
		t.equal("history", t.events(past, 2), "PUT a=1, DELETE a=")
	}},
	{"watch-prev-kv", func(t *tester) {
		ch := t.cli.Watch(t.ctx, t.key("a"), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
		t.next(ch)
		for _, value := range []string{"1", "2"} {
			_, err := t.cli.Put(t.ctx, t.key("a"), value)
			t.ok(err)
		}
		_, err := t.cli.Delete(t.ctx, t.key("a"))
		t.ok(err)
		var previous []string
		for len(previous) < 3 {
			for _, event := range t.next(ch).Events {
				value := "none"
				if event.PrevKv != nil {
					value = string(event.PrevKv.Value)
				}
				previous = append(previous, value)
			}
		}
		t.equal("previous", previous, []string{"none", "1", "2"})
	}},
	{"watch-filters", func(t *tester) {
		ch := t.cli.Watch(t.ctx, t.key("a"), clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
		t.next(ch)
		_, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		_, err = t.cli.Delete(t.ctx, t.key("a"))
		t.ok(err)
		t.equal("events", t.events(ch, 1), "DELETE a=")
	}},
	{"watch-progress", func(t *tester) {
		ctx := clientv3.WithRequireLeader(t.ctx)
		ch := t.cli.Watch(ctx, t.key("a"), clientv3.WithCreatedNotify())
		t.next(ch)
		put, err := t.cli.Put(t.ctx, t.key("b"), "1")
		t.ok(err)
		t.ok(t.cli.RequestProgress(ctx))
		answer := t.next(ch)
		t.equal("progress", answer.IsProgressNotify(), true)
		if answer.Header.Revision < put.Header.Revision {
			t.failf("progress %d is behind %d", answer.Header.Revision, put.Header.Revision)
		}
	}},
	{"watch-fragment", func(t *tester) {
		value := strings.Repeat("v", 1<<20)
		first, err := t.cli.Put(t.ctx, t.key("0"), value)
		t.ok(err)
		for i := 1; i < 8; i++ {
			_, err := t.cli.Put(t.ctx, t.key(fmt.Sprint(i)), value)
			t.ok(err)
		}
		ch := t.cli.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision), clientv3.WithFragment())
		count := 0
		for count < 8 {
			answer := t.next(ch)
			t.ok(answer.Err())
			count += len(answer.Events)
		}
		t.equal("events", count, 8)
	}},
	{"watch-compacted", func(t *tester) {
		first, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		second, err := t.cli.Put(t.ctx, t.key("a"), "2")
		t.ok(err)
		_, err = t.cli.Compact(t.ctx, second.Header.Revision)
		t.ok(err)
		answer := t.next(t.cli.Watch(t.ctx, t.key("a"), clientv3.WithRev(first.Header.Revision)))
		t.equal("canceled", answer.Canceled, true)
		t.equal("compact revision", answer.CompactRevision, second.Header.Revision)
		t.is(answer.Err(), rpctypes.ErrCompacted)
	}},
	{"watch-cancel", func(t *tester) {
		ctx, cancel := context.WithCancel(t.ctx)
		ch := t.cli.Watch(ctx, t.key("a"), clientv3.WithCreatedNotify())
		t.next(ch)
		other := t.cli.Watch(t.ctx, t.key("b"), clientv3.WithCreatedNotify())
		t.next(other)
		cancel()
		for range ch {
		}
		_, err := t.cli.Put(t.ctx, t.key("b"), "1")
		t.ok(err)
		t.equal("the other goes on", t.events(other, 1), "PUT b=1")
	}},
	{"watch-many", func(t *tester) {
		var channels []clientv3.WatchChan
		for i := range 200 {
			ch := t.cli.Watch(t.ctx, t.key(fmt.Sprintf("%03d", i)), clientv3.WithCreatedNotify())
			t.next(ch)
			channels = append(channels, ch)
		}
		for i := range channels {
			_, err := t.cli.Put(t.ctx, t.key(fmt.Sprintf("%03d", i)), fmt.Sprint(i))
			t.ok(err)
		}
		for i, ch := range channels {
			t.equal("event", t.events(ch, 1), fmt.Sprintf("PUT %03d=%d", i, i))
		}
	}},
	{"watch-txn-is-one-answer", func(t *tester) {
		ch := t.cli.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		t.next(ch)
		_, err := t.cli.Txn(t.ctx).Then(clientv3.OpPut(t.key("a"), "1"), clientv3.OpPut(t.key("b"), "2"), clientv3.OpPut(t.key("c"), "3")).Commit()
		t.ok(err)
		t.equal("events", len(t.next(ch).Events), 3)
	}},
}
