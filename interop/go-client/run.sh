#!/usr/bin/env bash
# run.sh SERVER: etcd's Go client (3.7) against a fresh server started from the given program.
# Ends with "N passed, N failed"; without a Go toolchain or its modules it says why and counts one skipped.
set -u
server=$(realpath "${1:?which server}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skip() { echo "skipped: $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
command -v go >/dev/null || skip "no Go toolchain"
build() { (cd "$here" && go build -o "$work/go-client" .) 2>"$work/log"; }
(cd "$here" && go mod download >"$work/log" 2>&1 || { sleep 2; go mod download >"$work/log" 2>&1; }) \
  || skip "the modules cannot be had: $(tail -1 "$work/log")"
build || { cat "$work/log"; echo "0 passed, 1 failed"; exit 1; }
SERVER=$server "$here/../with-server.sh" "$server" "$work/go-client"
