#!/usr/bin/env bash
# run.sh TENURED [PATTERN]: etcd 3.7.1's own tests, those with processes, against tenured in etcd's place: `common`, `e2e`, and of
# `robustness` what needs no etcd that was built for it. etcdctl and etcdutl are the real ones. PATTERN chooses tests that have it in
# their names; the whole name (e2e/TestAlarm) also one that is left out.
#
# It takes a quarter of an hour and is no part of CI: many of the tests give a server ten seconds, which a busy machine does not always have.
# What is left out, and why, is in left-out.txt. Ends with "N passed, N failed, N left out"; what a test that failed printed is kept.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
tenured=$(realpath "${1:?which tenured}") pattern=${2:-}
# How long one test may take, in seconds.
patience=240
command -v go >/dev/null || { echo "skipped: there is no Go"; exit 0; }
work=$(mktemp -d)
failures=$work/failures
mkdir -p "$work/bin" "$failures"
trap 'rm -rf "$work/bin" "$work/suites"; rmdir "$failures" "$work" 2>/dev/null || true' EXIT

# Servers of the tests have fixed ports: each test has a network of its own, if that is allowed, and then two run at once.
lanes=1 apart=()
if unshare -rn true 2>/dev/null; then
  lanes=2 apart=(unshare -rn sh -c 'ip link set lo up && exec "$@"' apart)
fi

# The tests look for certificates beside the directory that they run in.
suites() {
  local module suite tags
  module=$(go list -m -f '{{.Dir}}' go.etcd.io/etcd/tests/v3) && [ -n "$module" ]
  for suite in common e2e robustness; do
    mkdir -p "$work/suites/$suite"
    tags=e2e; [ "$suite" != robustness ] || tags=
    go test -c -tags "$tags" -o "$work/suites/$suite.test" "go.etcd.io/etcd/tests/v3/$suite"
  done
  cp -r "$module/fixtures" "$work/suites/fixtures"
  chmod -R u+w "$work/suites/fixtures"
  go build -o "$work/bin/" tool
}
(cd "$here" && GOFLAGS=-mod=readonly && export GOFLAGS && go mod download && suites) >"$work/bin/log" 2>&1 \
  || { echo "skipped: etcd's modules cannot be had or built: $(tail -1 "$work/bin/log")"; exit 0; }
cp "$tenured" "$work/bin/etcd"

# reason SUITE/TEST: why it is left out, if it is.
reason() {
  local name why
  while read -r name why; do
    [[ "$1" != $name ]] || { echo "$why"; return; }
  done < <(grep -v '^#' "$here/left-out.txt")
}

# try SUITE/TEST: says how it went.
try() {
  local suite=${1%%/*} test=${1#*/} log=$failures/${1/\//-} started=$SECONDS code=0
  (
    cd "$work/suites/$suite"
    "${apart[@]}" timeout -s KILL $((patience + 20)) "../$suite.test" -test.v "-test.timeout=${patience}s" "-test.run=^$test\$" \
      "-bin-dir=$work/bin"
  ) >"$log" 2>&1 || code=$?
  if [ "$code" != 0 ]; then
    echo "FAIL  $1 $((SECONDS - started))s: $log"
  elif grep -q "^--- SKIP" "$log"; then
    # What a test says comes before how it ended.
    echo "skip  $1: $(grep -B1 "^--- SKIP" "$log" | head -1 | sed 's/^ *//')"; rm "$log"
  else
    echo "ok    $1 $((SECONDS - started))s"; rm "$log"
  fi
}

left_out=0 chosen=()
for suite in common e2e robustness; do
  for test in $(cd "$work/suites/$suite" && "../$suite.test" -test.list . "-bin-dir=$work/bin" | grep '^Test'); do
    [[ "$suite/$test" == *$pattern* ]] || continue
    if [ "$suite/$test" != "$pattern" ] && [ -n "$(reason "$suite/$test")" ]; then left_out=$((left_out + 1)); else chosen+=("$suite/$test"); fi
  done
done

# lane K: every test whose turn it is.
lane() { local at; for ((at = $1; at < ${#chosen[@]}; at += lanes)); do try "${chosen[at]}"; done; }
for ((k = 0; k < lanes; k++)); do lane "$k" & done | tee "$work/bin/said"
passed=$(grep -c '^ok ' "$work/bin/said" || true) failed=$(grep -c '^FAIL ' "$work/bin/said" || true)
skipped=$(grep -c '^skip ' "$work/bin/said" || true)
echo "$passed passed, $failed failed, $((left_out + skipped)) left out"
[ "$failed" = 0 ]
