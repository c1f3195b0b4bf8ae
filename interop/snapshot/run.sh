#!/usr/bin/env bash
# Backups between Tenure and real etcd, both ways: a backup that Tenure made is restored, served and read back by
# etcd 3.5.1, 3.4.23 and the Go packages of 3.7; databases that real etcds made are read by Tenure.
# Fetches what it needs; what cannot be had is skipped with its reason. Ends with "N passed, N failed".
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
. "$here/../free-port.sh"
work=$(mktemp -d)
passed=0 failed=0 server=
etcd35=${ETCD_3_5:-/opt/etcd-3.5.1}
etcd34=${ETCD_3_4:-/usr/bin}

stop() {
  [ -z "$server" ] || { kill "$server"; wait "$server"; server=; } 2>/dev/null
}
trap 'stop; rm -rf "$work"' EXIT

# check NAME COMMAND...: runs the command, counts it, shows what it said if it fails.
check() {
  local name=$1; shift
  if "$@" >"$work/said" 2>&1; then
    passed=$((passed + 1)); echo "ok    $name"
  else
    failed=$((failed + 1)); echo "FAIL  $name"; head -c 2000 "$work/said" | sed 's/^/      /'
  fi
}

skip() { echo "skip  $1: $2"; }

# serve PROGRAM BIN DIR: starts a server on DIR and waits until it answers a linearizable read to the etcdctl of BIN.
serve() {
  client=http://127.0.0.1:$(free_port) peer=http://127.0.0.1:$(free_port)
  "$1" --data-dir "$3" --name m0 --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls http://127.0.0.1:1 --initial-cluster m0=http://127.0.0.1:1 \
    >"$work/etcd.log" 2>&1 &
  server=$!
  ctl() { ETCDCTL_API=3 "$bin/etcdctl" --endpoints "$client" --command-timeout 30s "$@"; }
  bin=$2
  local deadline=$((SECONDS + 120))
  while [ $SECONDS -lt $deadline ]; do
    ctl get nothing >/dev/null 2>&1 && return 0
    kill -0 "$server" 2>/dev/null || { server=; tail -3 "$work/etcd.log"; return 1; }
    sleep 0.1
  done
  tail -3 "$work/etcd.log"; return 1
}

# All pairs as `snapshot kvs` lists them, through etcdctl.
kvs() {
  ctl get '' --from-key -w json | python3 -c '
import base64, json, sys
raw = lambda kv, field: base64.b64decode(kv.get(field, "")).hex()
for kv in json.load(sys.stdin).get("kvs", []):
    print(raw(kv, "key"), kv["create_revision"], kv["mod_revision"], kv["version"], kv.get("lease", 0), raw(kv, "value"))'
}
same_kvs() { kvs >"$work/kvs.got" && cmp "$work/kvs.got" "$1"; }

revision() { ctl endpoint status -w json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["Status"]["header"]["revision"])'; }
prints() { local expected=$1 got; shift; got=$("$@" 2>&1); [ "$got" = "$expected" ] || { echo "got: $got"; echo "expected: $expected"; false; }; }
says() { local expected=$1 got; shift; got=$("$@" 2>&1); grep -F -- "$expected" <<<"$got" || { echo "got: $got"; false; }; }
# refused COMMAND...: a server that must not start.
refused() { timeout 120 "$@" 2>&1 && { echo "exit code 0"; false; }; }
restore() { "$@" --name m0 --initial-cluster m0=http://127.0.0.1:1 --initial-advertise-peer-urls http://127.0.0.1:1; }

leases_as_written() {
  while read -r id ttl keys; do
    ctl lease timetolive "$id" --keys >"$work/lease" || return 1
    cat "$work/lease"
    grep -F "granted with TTL(${ttl}s)" "$work/lease" || return 1
    # etcd lists them in no order.
    sed 's/.*attached keys(\[\(.*\)\])/\1/' "$work/lease" | tr ' ' '\n' | sort | tr '\n' ' ' | grep -Fx "$keys " || return 1
  done <"$work/made/leases"
}

# served NAME: what a real etcd on a restored backup must answer.
served() {
  check "$1: all pairs, with revisions, versions and leases" same_kvs "$work/made/kvs"
  check "$1: revision" prints 1652 revision
  check "$1: leases with their keys" leases_as_written
  check "$1: alarm" says alarm:NOSPACE ctl alarm list
  check "$1: an old revision" prints "3:$(printf 'x%.0s' $(seq 9))" ctl get key/00009 --rev 1602 --print-value-only
  check "$1: below the compaction" says "required revision has been compacted" ctl get key/00009 --rev 699
  check "$1: the alarm refuses a put" says "database space exceeded" ctl put new 1
  check "$1: the alarm is cleared" says alarm:NOSPACE ctl alarm disarm
  check "$1: a put" prints OK ctl put new 1
  check "$1: the put makes the next revision" prints 1653 revision
  check "$1: a revoked lease takes its keys" says revoked ctl lease revoke 4d
  check "$1: and the keys are gone" prints "" ctl get key/00057
  check "$1: compaction" says "compacted revision 1650" ctl compact 1650
  check "$1: defragment" says "Finished defragmenting" ctl defrag
}

# Something of everything, on the server that runs.
load() {
  for number in $(seq 60); do ctl put "n$((number % 40))" "$number" >/dev/null || return; done
  ctl put long "$(printf 'L%.0s' $(seq 20000))" >/dev/null
  ctl del n3 >/dev/null; ctl put empty "" >/dev/null
  printf '\nput t1 a\nput t2 b\ndel n4\n\n\n' | ctl txn >/dev/null
  ctl compact 30 >/dev/null
  lease=$(ctl lease grant 5000 | sed 's/lease \([0-9a-f]*\) .*/\1/')
  ctl put leased 1 --lease "$lease" >/dev/null
}

# What Tenure reads of the database of a real etcd.
read_by_us() {
  local name=$1 dir=$work/$1
  check "$name: start" serve "$2/etcd" "$2" "$dir"
  check "$name: load" load
  kvs >"$work/kvs.$name"
  local now; now=$(revision)
  check "$name: snapshot save" ctl snapshot save "$work/$name.db"
  stop
  check "$name: our status of the saved file" prints "$("$2/$3" snapshot status -w json "$work/$name.db" | sed 's/,"version":""//')" "$ours" status "$work/$name.db"
  check "$name: our reading of the saved file" bash -c "'$ours' kvs '$work/$name.db' | cmp - '$work/kvs.$name'"
  check "$name: our reading of its data directory" bash -c "'$ours' kvs '$dir/member/snap/db' | cmp - '$work/kvs.$name'"
  find "$dir" -type f -exec sha256sum {} + | sort >"$work/before"
  check "$name: a foreign data directory" says "revision $now," "$ours" foreign "$dir"
  check "$name: which is as it was" bash -c "find '$dir' -type f -exec sha256sum {} + | sort | cmp - '$work/before'"
}

# The backup of a tenured that runs, restored into a real etcd.
backup_of_tenured() {
  local tenured; tenured=$(dirname "$ours")/../tenured
  check "tenured: start" serve "$tenured" "$etcd35" "$work/tenured"
  [ -n "$server" ] || return
  check "tenured: load" load
  kvs >"$work/kvs.tenured"
  local now; now=$(revision)
  check "tenured: snapshot save" ctl snapshot save "$work/tenured.db"
  check "tenured: a put after it" prints OK ctl put late 1
  stop
  check "tenured: status of its backup" prints "$("$ours" status "$work/tenured.db")" "$etcd35/etcdutl" snapshot status -w json "$work/tenured.db"
  check "tenured: restore of its backup" restore "$etcd35/etcdutl" snapshot restore "$work/tenured.db" --data-dir "$work/from-tenured"
  check "tenured: etcd 3.5.1 starts on its backup" serve "$etcd35/etcd" "$etcd35" "$work/from-tenured"
  check "tenured: all pairs of its backup" same_kvs "$work/kvs.tenured"
  check "tenured: revision of its backup" prints "$now" revision
  check "tenured: lease of its backup" says "attached keys([leased])" ctl lease timetolive "$lease" --keys
  check "tenured: compaction of its backup" says "required revision has been compacted" ctl get n1 --rev 29
  stop
  find "$work/etcd-3.5.1" | sort | xargs -d '\n' ls -ld >"$work/before"
  check "tenured: says what it found in the data directory of an etcd" says "is the data directory of an etcd" \
    refused "$tenured" --data-dir "$work/etcd-3.5.1"
  check "tenured: and has changed nothing there" bash -c "find '$work/etcd-3.5.1' | sort | xargs -d '\n' ls -ld | cmp - '$work/before'"
}

if ! command -v python3 >/dev/null; then
  skip everything "python3 is not there"; echo "0 passed, 0 failed"; exit 0
fi
cargo build --quiet --manifest-path "$top/Cargo.toml" -p tenure-storage --example snapshot || { echo "0 passed, 1 failed"; exit 1; }
ours=${CARGO_TARGET_DIR:-$top/target}/debug/examples/snapshot
mkdir "$work/made"
check "a backup is made" "$ours" write "$work/made"
made=$work/made/snapshot.db
"$top/e2e/fetch-etcd.sh" | sed 's/^/found /'

if [ -x "$etcd35/etcd" ] && [ -x "$etcd35/etcdutl" ]; then
  check "etcdutl 3.5.1: status" prints "$(cat "$work/made/status")" "$etcd35/etcdutl" snapshot status -w json "$made"
  check "etcdutl 3.5.1: restore" restore "$etcd35/etcdutl" snapshot restore "$made" --data-dir "$work/r35"
  check "etcd 3.5.1: starts on it" serve "$etcd35/etcd" "$etcd35" "$work/r35"
  [ -z "$server" ] || served "etcd 3.5.1"
  stop
  cp "$made" "$work/damaged.db"
  printf D | dd of="$work/damaged.db" bs=1 seek=9000 conv=notrunc status=none
  check "etcdutl 3.5.1: refuses a damaged one" says "expected sha256" "$etcd35/etcdutl" snapshot restore "$work/damaged.db" --data-dir "$work/none"
  read_by_us etcd-3.5.1 "$etcd35" etcdutl
  if cargo build --quiet --manifest-path "$top/Cargo.toml" -p tenure-server --bin tenured; then
    backup_of_tenured
  else
    failed=$((failed + 1)); echo "FAIL  tenured does not build"
  fi
else
  skip "etcd 3.5.1" "not there, see above"
fi

if [ -x "$etcd34/etcd" ] && [ -x "$etcd34/etcdctl" ]; then
  check "etcdctl 3.4: restore" restore env ETCDCTL_API=3 "$etcd34/etcdctl" snapshot restore "$made" --data-dir "$work/r34"
  check "etcd 3.4: starts on it" serve "$etcd34/etcd" "$etcd34" "$work/r34"
  [ -z "$server" ] || served "etcd 3.4"
  stop
  read_by_us etcd-3.4 "$etcd34" etcdctl
else
  skip "etcd 3.4" "not there, see above"
fi

if ! command -v go >/dev/null; then
  skip "Go packages of etcd 3.7" "no Go toolchain"
elif ! (cd "$here" && go build -o "$work/check37" . ) 2>"$work/go.log"; then
  skip "Go packages of etcd 3.7" "$(tail -1 "$work/go.log")"
else
  check "Go packages of etcd 3.7: bbolt's check, status, restore, store" "$work/check37" "$made" "$work/made/status" "$work/made/kvs" "$work/r37"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
