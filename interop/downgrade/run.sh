#!/usr/bin/env bash
# Tenure's members of a cluster are replaced by etcd 3.6, one after the other, while it serves, and those by Tenure's again.
#
# run.sh TENURED [BIN]: BIN holds etcdctl (default /opt/etcd-3.5.1). Builds etcd from its Go modules.
. "$(dirname "$(realpath "$0")")/../members.sh"

clients=() peers=()
for at in 0 1 2; do
  clients[at]=127.0.0.1:$(free_port) peers[at]=127.0.0.1:$(free_port)
done
all=${clients[0]},${clients[1]},${clients[2]}

# start AT PROGRAM STATE: a member with empty data.
start() {
  local cluster=m0=http://${peers[0]},m1=http://${peers[1]},m2=http://${peers[2]}
  rm -rf "$work/m$1"
  "$2" --name "m$1" --data-dir "$work/m$1" --listen-client-urls "http://${clients[$1]}" \
    --advertise-client-urls "http://${clients[$1]}" --listen-peer-urls "http://${peers[$1]}" \
    --initial-advertise-peer-urls "http://${peers[$1]}" --initial-cluster "$cluster" --initial-cluster-state "$3" \
    >>"$work/m$1-$(basename "$2").log" 2>&1 &
  pids[$1]=$!
}

id_of() { ctl member list | sed -n "s/, [a-z]*, m$1, .*//p"; }
speaks() { curl -s "http://${clients[$1]}/version" | grep -q "\"etcdcluster\":\"$2\".*\"storage\":\"$2\""; }
# enabled VERSION AT, cancelled AT, removed AT, added AT: it may be so already, if the answer was lost.
enabled() { "$work/etcd" enable "${clients[$2]}" "$1" || speaks "$2" "$1.0"; }
cancelled() {
  local said
  said=$("$work/etcd" cancel "${clients[$1]}" "" 2>&1) || grep -q 'no inflight downgrade' <<<"$said"
}
removed() { local id; id=$(id_of "$1") && { [ -z "$id" ] || ctl member remove "$id"; }; }
added() { ctl member add "m$1" --peer-urls "http://${peers[$1]}" || ctl member list | grep "http://${peers[$1]}"; }
has_ended() { ! kill -0 "${pids[$1]}"; }

# has_written COUNT: what was written meanwhile is there.
has_written() { [ "$(ctl get with- --prefix --keys-only | grep -c with-)" = "$1" ]; }

# replace AT PROGRAM: by a member with other data, which gets those of the cluster.
replace() {
  until_done removed "$1"
  until_done has_ended "$1"
  until_done added "$1"
  start "$1" "$2" existing
  until_done has_value "${clients[$1]}" before 1
  until_done ctl put "with-$1-$(basename "$2")" x
}

for at in 0 1 2; do start "$at" "$tenured" new; done
until_done ctl put before 1
until_done speaks 0 3.7.0
until_done enabled 3.6 0
for at in 0 1 2; do until_done speaks "$at" 3.6.0; done
replace 0 "$work/etcd"
# From now on it is the oldest member that keeps the cluster at 3.6. etcd's members let nobody join during a downgrade.
until_done cancelled 1
replace 1 "$work/etcd"
until_done speaks 1 3.6.0
replace 2 "$work/etcd"
until_done has_written 3
equal
ok "from Tenure to etcd 3.6"
for at in 0 1 2; do replace "$at" "$tenured"; done
for at in 0 1 2; do until_done speaks "$at" 3.7.0; done
until_done has_written 6
equal
ok "and back"
ended
