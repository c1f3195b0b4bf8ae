package main

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var maintenanceChecks = []check{
	{"status", func(t *tester) {
		status, err := t.cli.Status(t.ctx, t.endpoint)
		t.ok(err)
		t.equal("leader", status.Leader, status.Header.MemberId)
		t.equal("errors", len(status.Errors), 0)
		if status.DbSize <= 0 || status.RaftIndex == 0 || status.RaftAppliedIndex == 0 || status.Version == "" {
			t.failf("status: %v", status)
		}
	}},
	{"hash", func(t *tester) {
		put, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		one, err := t.cli.HashKV(t.ctx, t.endpoint, put.Header.Revision)
		t.ok(err)
		_, err = t.cli.Put(t.ctx, t.key("a"), "2")
		t.ok(err)
		two, err := t.cli.HashKV(t.ctx, t.endpoint, put.Header.Revision)
		t.ok(err)
		t.equal("hash at a revision", two.Hash, one.Hash)
		three, err := t.cli.HashKV(t.ctx, t.endpoint, 0)
		t.ok(err)
		if three.Hash == one.Hash {
			t.failf("the hash does not change")
		}
	}},
	{"snapshot", func(t *tester) {
		_, err := t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
		reader, err := t.cli.Snapshot(t.ctx)
		t.ok(err)
		data, err := io.ReadAll(reader)
		t.ok(err)
		t.equal("remainder of the size by 512", len(data)%512, sha256.Size)
		sum := sha256.Sum256(data[:len(data)-sha256.Size])
		t.equal("checksum", bytes.Equal(sum[:], data[len(data)-sha256.Size:]), true)
	}},
	{"defragment", func(t *tester) {
		_, err := t.cli.Defragment(t.ctx, t.endpoint)
		t.ok(err)
		_, err = t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
	}},
	{"alarm", func(t *tester) {
		list, err := t.cli.AlarmList(t.ctx)
		t.ok(err)
		t.equal("alarms", len(list.Alarms), 0)
		members, err := t.cli.MemberList(t.ctx)
		t.ok(err)
		raise := pb.NewMaintenanceClient(t.cli.ActiveConnection())
		_, err = raise.Alarm(t.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: members.Members[0].ID, Alarm: pb.AlarmType_NOSPACE})
		t.ok(err)
		_, err = t.cli.Put(t.ctx, t.key("a"), "1")
		if err == nil {
			t.failf("a put was accepted under the alarm")
		}
		done, err := t.cli.AlarmDisarm(t.ctx, &clientv3.AlarmMember{})
		t.ok(err)
		t.equal("disarmed", len(done.Alarms), 1)
		_, err = t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
	}},
	{"members", func(t *tester) {
		members, err := t.cli.MemberList(t.ctx)
		t.ok(err)
		t.equal("members", len(members.Members), 1)
		t.equal("learner", members.Members[0].IsLearner, false)
		t.ok(t.cli.Sync(t.ctx))
		t.equal("endpoints", len(t.cli.Endpoints()), 1)
		_, err = t.cli.MoveLeader(t.ctx, 4711)
		if err == nil || err.Error() != "etcdserver: bad leader transferee" {
			t.failf("move leader: %v", err)
		}
	}},
	{"reconnect", func(t *tester) {
		// A raw connection that says nothing must not disturb the others.
		conn, err := net.Dial("tcp", t.endpoint)
		t.ok(err)
		defer conn.Close()
		_, err = t.cli.Put(t.ctx, t.key("a"), "1")
		t.ok(err)
	}},
}
