#!/usr/bin/env bash
# run.sh SERVER: the crate etcd-client against a fresh server started from the given program.
# Ends with "N passed, N failed"; without protoc, which the crate's build needs, it says why and counts one skipped.
set -u
server=$(realpath "${1:?which server}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skip() { echo "skipped: $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
install() { apt-get update && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev; }
if ! command -v protoc >/dev/null || [ ! -e /usr/include/google/protobuf/descriptor.proto ]; then
  { command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; } || skip "no protoc, and no apt-get as root to get it"
  { install || { sleep 2; install; }; } >"$work/log" 2>&1 || skip "protoc cannot be had: $(tail -1 "$work/log")"
fi
cargo fetch --locked --manifest-path "$here/Cargo.toml" >"$work/log" 2>&1 || skip "crates cannot be had: $(tail -1 "$work/log")"
target=${CARGO_TARGET_DIR:-$here/../../target}/interop-rust-client
cargo build --quiet --locked --manifest-path "$here/Cargo.toml" --target-dir "$target" >"$work/log" 2>&1 \
  || { cat "$work/log"; echo "0 passed, 1 failed"; exit 1; }
"$here/../with-server.sh" "$server" "$target/debug/rust-client"
