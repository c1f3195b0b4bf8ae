#!/usr/bin/env bash
# Clusters of three in which Tenure's members and members of a real etcd 3.7.1 are one store: writes, reads, leases through each,
# a member brought back by a snapshot, the leadership with each, equal hashes, of compactions too, found equal by whoever leads. Then
# founders of both kinds that find each other through a registry, of either kind.
#
# run.sh TENURED [BIN]: BIN holds etcdctl (default /opt/etcd-3.5.1). Builds etcd from its Go modules.
. "$(dirname "$(realpath "$0")")/../members.sh"

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

# compacted: a compaction, after which all members tell the hash that theirs made, with the revision of the one before.
compacted() {
  local revision
  ctl put compacted "$RANDOM" >/dev/null
  revision=$(ctl_at "${clients[0]}" get compacted -w json | grep -o '"revision":[0-9]*' | cut -d: -f2)
  ctl_at "${clients[0]}" put compacted after >/dev/null
  ctl_at "${clients[0]}" compact "$revision" >/dev/null
  for _ in $(seq 100); do
    hashes=$(for client in "${clients[@]}"; do
      ctl_at "$client" endpoint hashkv --rev "$revision" -w json | grep -o '"hash":[0-9]*,"compact_revision":[-0-9]*'
    done | sort | uniq -c)
    [ "$(awk '{print $1}' <<<"$hashes")" = 3 ] && ! grep -q "compact_revision\":$revision\b" <<<"$hashes" && return 0
    sleep 0.3
  done
  fail "the hashes of the compaction at $revision differ: $hashes"
}

id_of() { printf %x "$(ctl_at "$1" endpoint status -w json | grep -o '"member_id":[0-9]*' | head -1 | cut -d: -f2)"; }
lead() { for from in "${clients[@]}"; do ctl_at "$from" move-leader "$1" && return 0; done; return 1; }

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
  for client in "${clients[@]}"; do until_done ctl_at "$client" put "through-$client" x; done
  for client in "${clients[@]}"; do
    [ "$(ctl_at "$client" get through- --prefix --print-value-only | grep -c x)" = 3 ] || fail "reads through $client"
  done
  lease=$(ctl_at "${clients[0]}" lease grant 600 | awk '{print $2}')
  for client in "${clients[@]}"; do
    ctl_at "$client" lease keep-alive --once "$lease" | grep -q 'TTL(600)' || fail "renewal through $client"
    ctl_at "$client" lease timetolive "$lease" | grep -q 'granted with TTL(600s)' || fail "time to live through $client"
  done
  kill -9 "${pids[2]}"
  until_done ctl_at "${clients[0]}" put more 0
  for key in $(seq 150); do ctl_at "${clients[0]}" put "more-$key" "$key" >/dev/null; done
  member 2
  until_done has_value "${clients[2]}" more-150 150
  grep -Eq 'installed a snapshot|applied snapshot' "$work/$kinds/m2.log" || fail "it was no snapshot that brought m2 back"
  equal
  for at in 0 1 2; do
    client=${clients[at]}
    until_done lead "$(id_of "$client")"
    until_done ctl_at "$client" put "led-by-$client" x
    before=$(checks "$at")
    compacted
    # Whoever leads compares all members with himself.
    until_done more_checks "$at" "$before"
  done
  equal
  [ -z "$(ctl alarm list)" ] || fail "an alarm is raised"
  for at in 0 1 2; do
    grep -q 'finished peer corruption check' "$work/$kinds/m$at.log" || fail "m$at never compared the members"
  done
  stop
  ok "$kinds"
done

# The first member keeps the registry, the other three find each other through it; the last comes too late.
for kinds in tete etee; do
  mkdir "$work/$kinds"
  clients=() peers=() pids=()
  for at in 0 1 2 3; do clients[at]=127.0.0.1:$(free_port) peers[at]=127.0.0.1:$(free_port); done
  others=(--initial-cluster "m0=http://${peers[0]}")
  member 0
  until_done ctl_at "${clients[0]}" put /_etcd/registry/tok/_config/size 2
  others=(--discovery-token tok --discovery-endpoints "http://${clients[0]}")
  for at in 1 2; do member "$at"; done
  for at in 1 2; do until_done ctl_at "${clients[at]}" put "through-m$at" x; done
  [ "$(ctl_at "${clients[1]}" member list | grep -c started)" = 2 ] || fail "two members"
  [ "$(ctl_at "${clients[0]}" get /_etcd/registry/tok/members/ --prefix --keys-only | grep -c members)" = 2 ] || fail "two keys"
  member 3
  wait "${pids[3]}" && fail "a third was taken"
  grep -q 'discovery: cluster is full' "$work/$kinds/m3.log" || fail "it was refused for another reason"
  stop
  ok "$kinds"
done
ended
