#!/usr/bin/env bash
# etcd's own package reads the write-ahead log that Tenure wrote, and the other way round. Prints a line a check and at the end
# "N passed, N failed"; what cannot be run is skipped with its reason. ETCDS: etcd binaries whose logs are read too.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
. "$here/../free-port.sh"
work=$(mktemp -d) || exit 1
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
passed=0
failed=0

skip() { echo "skipped: $1"; echo "$passed passed, $failed failed"; exit 0; }
check() { # NAME COMMAND...
  local name=$1; shift
  if "$@" >"$work/out" 2>&1; then
    passed=$((passed + 1)); echo "ok      $name"
  else
    failed=$((failed + 1)); echo "FAILED  $name"; head -5 "$work/out" | sed 's/^/        /'
  fi
}

command -v go >/dev/null || skip "there is no Go"
(cd "$here" && GOFLAGS=-mod=readonly go build -o "$work/etcd-wal" .) >"$work/log" 2>&1 || skip "etcd's Go package cannot be had or built: $(tail -1 "$work/log")"
(cd "$top" && cargo build -q -p tenure-storage --example wal) || { echo "the example wal does not build"; exit 1; }
tenure_wal=${CARGO_TARGET_DIR:-$top/target}/debug/examples/wal
etcd_wal=$work/etcd-wal
cd "$work" || exit 1

# Both print the same, from the start or from a snapshot, and it is not nothing. etcd locks and zeroes, so it gets a copy.
same() { # DIR [INDEX TERM]
  local dir=$1; shift
  rm -rf read && cp -r "$dir" read &&
    "$etcd_wal" dump read "$@" >etcd.txt && "$tenure_wal" dump "$dir" ${1+"$1"} >tenure.txt &&
    diff etcd.txt tenure.txt && grep -q '^metadata [1-9]' etcd.txt
}
segments() { [ "$(ls "$1"/*.wal | wc -l)" -ge "$2" ]; }
refuses_as_torn() { ! "$etcd_wal" dump "$1" 2>torn.txt && grep -q 'unexpected EOF' torn.txt; }
# The last segment loses its last bytes, as in a write that was never synced, and what was preallocated.
tear() { # FROM TO
  rm -rf "$2" && cp -r "$1" "$2"
  local last; last=$(ls "$2"/*.wal | tail -1)
  local end; end=$(python3 -c 'import sys; print(len(open(sys.argv[1],"rb").read().rstrip(b"\0")))' "$last")
  truncate -s $((end - 20)) "$last"
}
newest_snapshot() { grep '^snapshot' "$1" | tail -1 | cut -d' ' -f2,3; }

echo "metadata 5 7" | "$tenure_wal" write fresh 65536
check "a fresh log: etcd reads it" same fresh

for seed in 1 2 3; do
  "$tenure_wal" spec $seed 60 65536 >spec
  "$tenure_wal" spec $((seed + 100)) 20 65536 >more
  "$tenure_wal" write ours 65536 <spec && "$etcd_wal" write theirs 65536 <spec
  check "seed $seed: Tenure's log has several segments" segments ours 3
  check "seed $seed: etcd's log has several segments" segments theirs 3
  check "seed $seed: etcd reads Tenure's" same ours
  cp tenure.txt ours.txt
  check "seed $seed: Tenure reads etcd's" same theirs
  check "seed $seed: both wrote the same log" diff ours.txt tenure.txt

  last=$(grep '^entry' ours.txt | tail -1 | cut -d' ' -f2)
  term=$(grep '^state' ours.txt | cut -d' ' -f2)
  { printf 'entry %d %d 0 -6f6e\nstate %d 5 %d\nsave\n' $((last + 1)) $((term + 1)) $((term + 1)) $((last + 1)); } >on
  cp -r ours ours-on && "$etcd_wal" append ours-on 65536 <on
  check "seed $seed: etcd writes on in Tenure's" same ours-on
  check "seed $seed: and its entry is there" grep -q "^entry $((last + 1)) $((term + 1)) 0 2 " tenure.txt
  cp -r theirs theirs-on && "$tenure_wal" append theirs-on 65536 <on
  check "seed $seed: Tenure writes on in etcd's" same theirs-on
  check "seed $seed: and its entry is there" grep -q "^entry $((last + 1)) $((term + 1)) 0 2 " etcd.txt

  for log in ours theirs; do
    tear $log torn-$log
    check "seed $seed: etcd refuses the torn end of $log" refuses_as_torn torn-$log
    cp -r torn-$log torn-$log-etcd
    check "seed $seed: Tenure repairs the torn end of $log" test "$("$tenure_wal" repair torn-$log)" = repaired
    check "seed $seed: and keeps the torn segment" ls torn-$log/*.wal.broken
    check "seed $seed: and etcd reads the rest" same torn-$log
    cp tenure.txt rest.txt
    check "seed $seed: etcd repairs it too" "$etcd_wal" repair torn-$log-etcd
    check "seed $seed: and Tenure reads that" same torn-$log-etcd
    check "seed $seed: and both kept the same" diff rest.txt tenure.txt
  done

  read -r index snapshot_term <<<"$(newest_snapshot ours.txt)"
  cp -r ours released
  check "seed $seed: Tenure deletes segments behind snapshot $index" test "$("$tenure_wal" release released "$index")" -ge 1
  check "seed $seed: and etcd starts from the snapshot" same released "$index" "$snapshot_term"
  rm -rf ours* theirs* torn* released
done

# until_put JSON: again and again until it is acknowledged, for two minutes.
until_put() {
  local deadline=$((SECONDS + 120))
  until curl -s $client/v3/kv/put -d "$1" | grep -q '"revision"'; do
    [ $SECONDS -lt $deadline ] && kill -0 "$server" || return 1
    sleep 0.1
  done
}

# What a real etcd leaves: 3.4 and 3.5 write every scalar, also zeros.
for etcd in ${ETCDS:-etcd /opt/etcd-3.5.1/etcd}; do
  command -v "$etcd" >/dev/null || { echo "skipped: there is no $etcd"; continue; }
  name=$("$etcd" --version | head -1)
  client=http://127.0.0.1:$(free_port) peer=http://127.0.0.1:$(free_port)
  "$etcd" --data-dir data --snapshot-count 50 --listen-client-urls $client --advertise-client-urls $client \
    --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer >etcd.log 2>&1 &
  server=$!
  # The first one waits until it serves.
  for n in $(seq 120); do
    until_put "{\"key\":\"$(printf 'k%03d' $((n % 40)) | base64)\",\"value\":\"$(head -c 500 /dev/urandom | base64 -w0)\"}" || break
  done
  kill $server; wait $server 2>/dev/null; server=
  check "$name: Tenure reads its log as etcd's package does" same data/member/wal
  read -r index snapshot_term <<<"$(newest_snapshot tenure.txt)"
  check "$name: with 120 puts" test "$(grep -c '^entry' tenure.txt)" -ge 120
  check "$name: and from its snapshot $index" same data/member/wal "$index" "$snapshot_term"
  rm -rf data
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
