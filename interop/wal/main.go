// Writes, appends to and prints write-ahead logs with etcd's own package, from the same plain text and in the same words as
// the example `wal` of the crate tenure-storage.
//
//	wal write DIR SEGMENT_BYTES < text
//	wal append DIR SEGMENT_BYTES INDEX TERM < text
//	wal repair DIR
//	wal dump DIR [INDEX TERM]
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	check(err)
	return n
}

func lines() [][]string {
	var all [][]string
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(make([]byte, 1<<20), 1<<28)
	for scanner.Scan() {
		all = append(all, strings.Split(scanner.Text(), " "))
	}
	check(scanner.Err())
	return all
}

// Everything is written explicitly, zeros too, as etcd up to 3.6 does it.
func write(w *wal.WAL, text [][]string) {
	var entries []*raftpb.Entry
	var state *raftpb.HardState
	for _, words := range text {
		switch words[0] {
		case "metadata":
		case "entry":
			data, err := hex.DecodeString(strings.TrimPrefix(words[4], "-"))
			check(err)
			entries = append(entries, &raftpb.Entry{
				Index: proto.Uint64(number(words[1])), Term: proto.Uint64(number(words[2])),
				Type: raftpb.EntryType(number(words[3])).Enum(), Data: data,
			})
		case "state":
			state = &raftpb.HardState{
				Term: proto.Uint64(number(words[1])), Vote: proto.Uint64(number(words[2])), Commit: proto.Uint64(number(words[3])),
			}
		case "save":
			check(w.Save(state, entries))
			entries, state = nil, nil
		case "snapshot":
			check(w.SaveSnapshot(&walpb.Snapshot{
				Index: proto.Uint64(number(words[1])), Term: proto.Uint64(number(words[2])),
				ConfState: &raftpb.ConfState{Voters: []uint64{number(words[3])}, AutoLeave: proto.Bool(false)},
			}))
		default:
			check(fmt.Errorf("not understood: %v", words))
		}
	}
	check(w.Close())
}

func dump(dir string, start *walpb.Snapshot) {
	snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	check(err)
	w, err := wal.Open(zap.NewNop(), dir, start)
	check(err)
	defer w.Close()
	metadata, state, entries, err := w.ReadAll()
	check(err)
	var who etcdserverpb.Metadata
	check(proto.Unmarshal(metadata, &who))
	fmt.Println("metadata", who.GetNodeID(), who.GetClusterID())
	fmt.Println("state", state.GetTerm(), state.GetVote(), state.GetCommit())
	for _, s := range snapshots {
		if s.GetIndex() >= start.GetIndex() {
			fmt.Println("snapshot", s.GetIndex(), s.GetTerm(), s.GetConfState().GetVoters())
		}
	}
	for _, e := range entries {
		sum := crc32.Checksum(e.GetData(), crc32.MakeTable(crc32.Castagnoli))
		fmt.Printf("entry %d %d %d %d %08x\n", e.GetIndex(), e.GetTerm(), e.GetType(), len(e.GetData()), sum)
	}
}

func snapshot(words []string) *walpb.Snapshot {
	if len(words) < 2 {
		return &walpb.Snapshot{}
	}
	return &walpb.Snapshot{Index: proto.Uint64(number(words[0])), Term: proto.Uint64(number(words[1]))}
}

func main() {
	words := append(os.Args[1:], "", "")
	dir := words[1]
	switch words[0] {
	case "write":
		wal.SegmentSizeBytes = int64(number(words[2]))
		text := lines()
		metadata, err := proto.Marshal(&etcdserverpb.Metadata{
			NodeID: proto.Uint64(number(text[0][1])), ClusterID: proto.Uint64(number(text[0][2])),
		})
		check(err)
		w, err := wal.Create(zap.NewNop(), dir, metadata)
		check(err)
		write(w, text)
	case "append":
		wal.SegmentSizeBytes = int64(number(words[2]))
		w, err := wal.Open(zap.NewNop(), dir, snapshot(words[3:len(words)-2]))
		check(err)
		_, _, _, err = w.ReadAll()
		check(err)
		write(w, lines())
	case "repair":
		if !wal.Repair(zap.NewNop(), dir) {
			check(fmt.Errorf("%s cannot be repaired", dir))
		}
	case "dump":
		dump(dir, snapshot(words[2:len(words)-2]))
	default:
		check(fmt.Errorf("see the head of main.go"))
	}
}
