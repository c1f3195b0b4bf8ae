#!/usr/bin/env bash
# Clusters of three in which Tenure's members and members of a real etcd 3.7.1 are one store: writes, reads, leases through each,
# a member brought back by a snapshot, the leadership with each, equal hashes, of compactions too, found equal by whoever leads. Then
# founders of both kinds that find each other through a registry, of either kind.
#
# run.sh TENURED [BIN]: BIN holds etcdctl (default /opt/etcd-3.5.1). Builds etcd from its Go modules.
set -euo pipefail

command -v go >/dev/null || { echo "skipped: there is no Go"; exit 0; }
tenured=$(realpath "$1") bin=${2:-/opt/etcd-3.5.1}
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; }
trap 'stop; rm -rf "$work"' EXIT

(cd "$here" && GOFLAGS=-mod=readonly go build -o "$work/etcd" .) >"$work/log" 2>&1 ||
  { echo "skipped: etcd's Go modules cannot be had or built: $(tail -1 "$work/log")"; exit 0; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ctl() { ETCDCTL_API=3 timeout 30 "$bin/etcdctl" "$@"; }
fail() { echo "FAIL  $kinds: $*"; tail -n 3 "$work/$kinds"/*.log; exit 1; }

# member AT: starts it; its kind is a letter of $kinds, e for etcd and t for Tenure, and $others are the flags that say who the others are.
member() {
  local program=$tenured client=http://${clients[$1]} peer=http://${peers[$1]}
  [ "${kinds:$1:1}" = e ] && program=$work/etcd
  "$program" --name "m$1" --data-dir "$work/$kinds/m$1" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" "${others[@]}" \
    --feature-gates CompactHashCheck=true --compact-hash-check-time 1s --corrupt-check-time 1s \
    --snapshot-count 100 --snapshot-catchup-entries 20 >>"$work/$kinds/m$1.log" 2>&1 &
  pids[$1]=$!
}

# until_done WORDS: again and again for half a minute, as long as a change of the leader may take.
until_done() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.3; done; fail "$*"; }

equal() {
  local hashes
  for _ in $(seq 100); do
    hashes=$(ctl --endpoints "$all" endpoint hashkv 2>/dev/null | sed 's/.*, //' | sort | uniq -c)
    [ "$(awk '{print $1}' <<<"$hashes")" = 3 ] && return 0
    sleep 0.3
  done
  fail "the hashes differ: $hashes"
}

# compacted: a compaction, after which all members tell the hash that theirs made, with the revision of the one before.
compacted() {
  local revision
  ctl --endpoints "$all" put compacted "$RANDOM" >/dev/null
  revision=$(ctl --endpoints "${clients[0]}" get compacted -w json | grep -o '"revision":[0-9]*' | cut -d: -f2)
  ctl --endpoints "${clients[0]}" put compacted after >/dev/null
  ctl --endpoints "${clients[0]}" compact "$revision" >/dev/null
  for _ in $(seq 100); do
    hashes=$(for client in "${clients[@]}"; do
      ctl --endpoints "$client" endpoint hashkv --rev "$revision" -w json | grep -o '"hash":[0-9]*,"compact_revision":[-0-9]*'
    done | sort | uniq -c)
    [ "$(awk '{print $1}' <<<"$hashes")" = 3 ] && ! grep -q "compact_revision\":$revision\b" <<<"$hashes" && return 0
    sleep 0.3
  done
  fail "the hashes of the compaction at $revision differ: $hashes"
}

id_of() { printf %x "$(ctl --endpoints "$1" endpoint status -w json | grep -o '"member_id":[0-9]*' | head -1 | cut -d: -f2)"; }
has_value() { [ "$(ctl --endpoints "$1" get "$2" --print-value-only)" = "$3" ]; }
lead() { for from in "${clients[@]}"; do ctl --endpoints "$from" move-leader "$1" && return 0; done; return 1; }

checks() { grep -c 'successfully checked hash on whole cluster' "$work/$kinds/m$1.log" || true; }
more_checks() { [ "$(checks "$1")" -gt "$2" ]; }

# A member of each kind last: it is the one that gets the snapshot.
for kinds in ett tte eet; do
  mkdir "$work/$kinds"
  clients=() peers=() pids=() cluster=
  for at in 0 1 2; do
    clients[at]=127.0.0.1:$(free_port) peers[at]=127.0.0.1:$(free_port)
    cluster+=${cluster:+,}m$at=http://${peers[at]}
  done
  all=${clients[0]},${clients[1]},${clients[2]} others=(--initial-cluster "$cluster")
  for at in 0 1 2; do member "$at"; done
  for client in "${clients[@]}"; do until_done ctl --endpoints "$client" put "through-$client" x; done
  for client in "${clients[@]}"; do
    [ "$(ctl --endpoints "$client" get through- --prefix --print-value-only | grep -c x)" = 3 ] || fail "reads through $client"
  done
  lease=$(ctl --endpoints "${clients[0]}" lease grant 600 | awk '{print $2}')
  for client in "${clients[@]}"; do
    ctl --endpoints "$client" lease keep-alive --once "$lease" | grep -q 'TTL(600)' || fail "renewal through $client"
    ctl --endpoints "$client" lease timetolive "$lease" | grep -q 'granted with TTL(600s)' || fail "time to live through $client"
  done
  kill -9 "${pids[2]}"
  until_done ctl --endpoints "${clients[0]}" put more 0
  for key in $(seq 150); do ctl --endpoints "${clients[0]}" put "more-$key" "$key" >/dev/null; done
  member 2
  until_done has_value "${clients[2]}" more-150 150
  grep -Eq 'installed a snapshot|applied snapshot' "$work/$kinds/m2.log" || fail "it was no snapshot that brought m2 back"
  equal
  for at in 0 1 2; do
    client=${clients[at]}
    until_done lead "$(id_of "$client")"
    until_done ctl --endpoints "$client" put "led-by-$client" x
    before=$(checks "$at")
    compacted
    # Whoever leads compares all members with himself.
    until_done more_checks "$at" "$before"
  done
  equal
  [ -z "$(ctl --endpoints "$all" alarm list)" ] || fail "an alarm is raised"
  for at in 0 1 2; do
    grep -q 'finished peer corruption check' "$work/$kinds/m$at.log" || fail "m$at never compared the members"
  done
  stop
  echo "ok    $kinds"
done

# The first member keeps the registry, the other three find each other through it; the last comes too late.
for kinds in tete etee; do
  mkdir "$work/$kinds"
  clients=() peers=() pids=()
  for at in 0 1 2 3; do clients[at]=127.0.0.1:$(free_port) peers[at]=127.0.0.1:$(free_port); done
  others=(--initial-cluster "m0=http://${peers[0]}")
  member 0
  until_done ctl --endpoints "${clients[0]}" put /_etcd/registry/tok/_config/size 2
  others=(--discovery-token tok --discovery-endpoints "http://${clients[0]}")
  for at in 1 2; do member "$at"; done
  for at in 1 2; do until_done ctl --endpoints "${clients[at]}" put "through-m$at" x; done
  [ "$(ctl --endpoints "${clients[1]}" member list | grep -c started)" = 2 ] || fail "two members"
  [ "$(ctl --endpoints "${clients[0]}" get /_etcd/registry/tok/members/ --prefix --keys-only | grep -c members)" = 2 ] || fail "two keys"
  member 3
  wait "${pids[3]}" && fail "a third was taken"
  grep -q 'discovery: cluster is full' "$work/$kinds/m3.log" || fail "it was refused for another reason"
  stop
  echo "ok    $kinds"
done
