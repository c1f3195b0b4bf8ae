// Takes a backup that Tenure made with the packages that etcd 3.7 and its tools are made of: bbolt's own check before and after a
// write transaction, etcdutl's status and restore, and the store on the restored database.
//
// usage: check37 DB STATUS KVS DIR
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.uber.org/zap"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(db, status, kvs, dir string) error {
	return errors.Join(
		wrap("bbolt", checkBolt(db, dir+".db")),
		wrap("status", checkStatus(db, status, kvs)),
		wrap("restore", checkRestored(db, kvs, dir)),
	)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// checkBolt checks every page, writes into every bucket (which rebalances and splits pages of ours), and checks again.
func checkBolt(from, path string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, content[:len(content)-32], 0o600); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer db.Close()
	check := func(tx *bolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	}
	if err := db.View(check); err != nil {
		return wrap("as it was made", err)
	}
	write := func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			var keys [][]byte
			if err := bucket.ForEach(func(key, _ []byte) error {
				keys = append(keys, bytes.Clone(key))
				return nil
			}); err != nil {
				return err
			}
			for at, key := range keys {
				err := error(nil)
				if at%3 != 0 {
					err = bucket.Delete(key)
				} else {
					err = bucket.Put(append(key, '+'), bytes.Repeat([]byte{'.'}, at*7%6000))
				}
				if err != nil {
					return err
				}
			}
			return bucket.Put([]byte("zz"), []byte("new"))
		})
	}
	if err := db.Update(write); err != nil {
		return err
	}
	return wrap("after a write", db.View(check))
}

func checkStatus(db, expected, kvs string) error {
	said, err := snapshot.NewV3(zap.NewNop()).Status(db)
	if err != nil {
		return err
	}
	var want struct {
		Hash      uint32
		Revision  int64
		TotalSize int64
	}
	text, err := os.ReadFile(expected)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &want); err != nil {
		return err
	}
	// 3.7 counts the keys that are there, 3.5 the pairs of all buckets.
	lines, err := os.ReadFile(kvs)
	if err != nil {
		return err
	}
	live := bytes.Count(lines, []byte("\n"))
	if said.Hash != want.Hash || said.Revision != want.Revision || said.TotalKey != live ||
		said.TotalSize != want.TotalSize || said.Version != "3.7.0" {
		return fmt.Errorf("%+v instead of %+v with %d keys", said, want, live)
	}
	return nil
}

func checkRestored(db, kvs, dir string) error {
	if err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath:        db,
		Name:                "m0",
		OutputDataDir:       dir,
		PeerURLs:            []string{"http://127.0.0.1:1"},
		InitialCluster:      "m0=http://127.0.0.1:1",
		InitialClusterToken: "restored",
	}); err != nil {
		return err
	}
	back := backend.NewDefaultBackend(zap.NewNop(), filepath.Join(dir, "member", "snap", "db"))
	defer back.Close()
	store := mvcc.NewStore(zap.NewNop(), back, &lease.FakeLessor{}, mvcc.StoreConfig{})
	defer store.Close()
	result, err := store.Range(context.Background(), []byte{0}, []byte{}, mvcc.RangeOptions{})
	if err != nil {
		return err
	}
	var got bytes.Buffer
	for _, kv := range result.KVs {
		fmt.Fprintf(&got, "%x %d %d %d %d %x\n", kv.Key, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease, kv.Value)
	}
	want, err := os.ReadFile(kvs)
	if err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%d pairs other than those that were written", len(result.KVs))
	}
	return nil
}
