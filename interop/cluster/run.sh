#!/usr/bin/env bash
# Clusters of three in which Tenure's members and members of a real etcd 3.7.1 are one store: writes, reads, leases through each,
# a member brought back by a snapshot, the leadership with each, equal hashes, of compactions too, found equal by whoever leads, and
# one of them at revision 0. Then founders of both kinds that find each other through a registry, of either kind.
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

# forgotten REVISION: what is before it; a compaction whose answer was lost is one.
forgotten() {
  local said
  said=$(ctl_at "${clients[0]}" compact "$1" 2>&1) || grep -q 'required revision has been compacted' <<<"$said"
}

# have_same_hash REVISION: all members tell the hash that their compaction made, with the revision of the one before.
have_same_hash() {
  local hashes
  hashes=$(for client in "${clients[@]}"; do
    ctl_at "$client" endpoint hashkv --rev "$1" -w json | grep -o '"hash":[^}]*' || exit 1
  done | sort | uniq -c) || return 1
  [ "$(awk '{print $1}' <<<"$hashes")" = 3 ] && ! grep -q "compact_revision\":$1\b" <<<"$hashes"
}

# compacted: a compaction, of which all members have the same hash.
compacted() {
  until_done ctl put compacted "$RANDOM"
  until_done newest
  until_done ctl_at "${clients[0]}" put compacted after
  until_done forgotten "$newest"
  until_done have_same_hash "$newest"
}

id_of() {
  local id
  id=$(ctl_at "$1" endpoint status -w json | grep -o '"member_id":[0-9]*' | head -1 | cut -d: -f2) && printf %x "$id"
}

# lead AT: it leads now.
lead() {
  local id
  id=$(id_of "${clients[$1]}") || return 1
  for from in "${clients[@]}"; do ctl_at "$from" move-leader "$id" && return 0; done
  return 1
}

# logged AT TEXT: how often it has.
logged() { grep -c "$2" "$work/$kinds/m$1.log" || true; }

# compares AT: whoever leads compares all members with himself, after a compaction and without one, and it is this one that leads.
compares() {
  local compactions presents deadline
  lead "$1" && ctl_at "${clients[$1]}" put "led-by-$1" x || return 1
  compactions=$(logged "$1" 'successfully checked hash on whole cluster') presents=$(logged "$1" 'finished peer corruption check')
  compacted
  deadline=$((SECONDS + 20))
  until [ "$(logged "$1" 'successfully checked hash on whole cluster')" -gt "$compactions" ] &&
    [ "$(logged "$1" 'finished peer corruption check')" -gt "$presents" ]; do
    # Another one can have come to lead meanwhile.
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
}

# tells_alarms: those that are raised, for $alarms.
tells_alarms() { alarms=$(ctl alarm list); }

# forgot_nothing AT: it has compacted at revision 0, which is then left out.
forgot_nothing() { ctl_at "${clients[$1]}" endpoint hashkv --rev 1 -w json | grep '"hash":' | grep -v compact_revision; }

# is_calm: no alarm is raised, or it is put away.
is_calm() { tells_alarms && { [ -z "$alarms" ] || { ctl alarm disarm; false; }; }; }

# compacted_at_0: a compaction that finds nothing. Its hash is what a leader of etcd's compares from now on, also with who has started
# again since. A member of Tenure leads meanwhile: a check of etcd's that is under way while it compacts there accuses etcds, too.
compacted_at_0() {
  local tenures=${kinds%%t*}
  until_done lead "${#tenures}"
  until_done forgotten 0
  for at in 0 1 2; do until_done forgot_nothing "$at"; done
  until_done is_calm
}

renewed() { ctl_at "$1" lease keep-alive --once "$lease" | grep 'TTL(600)'; }
tells_lease() { ctl_at "$1" lease timetolive "$lease" | grep 'granted with TTL(600s)'; }
tells_all() { [ "$(ctl_at "$1" get through- --prefix --print-value-only | grep -c x)" = 3 ]; }
granted() { lease=$(ctl_at "${clients[0]}" lease grant 600 | awk '{print $2}') && [ -n "$lease" ]; }

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
  compacted_at_0
  for client in "${clients[@]}"; do until_done ctl_at "$client" put "through-$client" x; done
  for client in "${clients[@]}"; do until_done tells_all "$client"; done
  until_done granted
  for client in "${clients[@]}"; do
    until_done renewed "$client"
    until_done tells_lease "$client"
  done
  kill -9 "${pids[2]}"
  until_done ctl_at "${clients[0]}" put more 0
  for key in $(seq 150); do until_done ctl_at "${clients[0]}" put "more-$key" "$key"; done
  member 2
  until_done has_value "${clients[2]}" more-150 150
  grep -Eq 'installed a snapshot|applied snapshot' "$work/$kinds/m2.log" || fail "it was no snapshot that brought m2 back"
  equal
  for at in 0 1 2; do until_done compares "$at"; done
  equal
  until_done tells_alarms
  [ -z "$alarms" ] || fail "an alarm is raised: $alarms"
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
