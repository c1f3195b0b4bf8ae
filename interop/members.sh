# Sourced by the suites whose clusters have members of a real etcd: what they begin with.
#
# Expects: $1, the program tenured; $2, the directory of etcdctl (default /opt/etcd-3.5.1). Sets here, tenured, bin, work (emptied at the
# end), pids (killed at the end), and builds the suite's etcd from its Go modules as $work/etcd. Ends with "N passed, N failed"; what cannot
# be had is skipped with its reason.
set -euo pipefail

skip() { echo "0 passed, 0 failed"; echo "skipped: $*"; exit 0; }
command -v go >/dev/null || skip "there is no Go"
here=$(dirname "$(realpath "$0")")
. "$here/../free-port.sh"
tenured=$(realpath "$1") bin=${2:-/opt/etcd-3.5.1}
work=$(mktemp -d)
pids=() passed=0 has_said=
# How long a fact that must come true may take, in seconds: the machine can be slow.
patience=120
stop() { for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; }
# finish CODE COMMAND: whatever ends the suite early is said.
finish() { [ "$1" = 0 ] || [ -n "$has_said" ] || (fail "ended by $2") || true; stop; rm -rf "$work"; }
trap 'finish "$?" "$BASH_COMMAND"' EXIT
# Where it is said how it ends, also by who is to be silent.
exec 3>&1
ok() { passed=$((passed + 1)); echo "ok    $*"; }
# fail WHY: ends the suite, with the ends of the logs and, if there are several clusters, which one it was ($kinds).
fail() {
  has_said=1
  {
    echo "FAIL  ${kinds:+$kinds: }$*"
    tail -n 5 "$work"/*.log "$work"/*/*.log 2>/dev/null || true
    echo "$passed passed, 1 failed"
  } >&3
  exit 1
}
ended() { echo "$passed passed, 0 failed"; }

"$here/../build-etcd.sh" "$(basename "$here")" "$work" >"$work/log" 2>&1 ||
  skip "etcd's Go modules cannot be had or built: $(tail -1 "$work/log")"

# ctl WORDS: etcdctl on all members, which $all names.
ctl() { ETCDCTL_API=3 timeout 40 "$bin/etcdctl" --endpoints "$all" --command-timeout 15s "$@"; }

# ctl_at ENDPOINT WORDS: on one.
ctl_at() { local all=$1; shift; ctl "$@"; }

# until_done WORDS: again and again until it is done: a leader can change meanwhile.
until_done() {
  local deadline=$((SECONDS + patience))
  until "$@" >"$work/said" 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$*: $(tail -n 3 "$work/said")"
    sleep 0.3
  done
}

# newest: the newest revision, for $newest.
newest() { newest=$(ctl get newest -w json | grep -o '"revision":[0-9]*' | cut -d: -f2) && [ -n "$newest" ]; }

# has_value ENDPOINT KEY VALUE: a linearizable read answers with the value.
has_value() { [ "$(ctl_at "$1" get "$2" --print-value-only)" = "$3" ]; }

# are_equal: the members' hashes of the newest revision are.
are_equal() {
  hashes=$(ctl endpoint hashkv --rev "$newest" | sed 's/.*, //' | sort | uniq -c) && [ "$(awk '{print $1}' <<<"$hashes")" = 3 ]
}

# equal: the members' hashes are, or become so.
equal() { until_done newest; until_done are_equal; }
