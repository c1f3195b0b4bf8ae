#!/usr/bin/env bash
# build-etcd.sh MODULE DIRECTORY [tools]: builds the real etcd of a suite's Go module, cluster (3.7.1) or downgrade (3.6), as DIRECTORY/etcd.
# With "tools" the programs that the module names as its tools come beside it: etcdctl and etcdutl. Ends with 1 when there is no Go, or the
# modules cannot be had or built; the last line says why.
set -u
here=$(dirname "$(realpath "$0")")
directory=$(realpath "$2") || exit 1
command -v go >/dev/null || { echo "there is no Go"; exit 1; }
build() { GOFLAGS=-mod=readonly go build -o "$1" "$2"; }
cd "$here/$1" || exit 1
{ build "$directory/etcd" . && { [ "${3:-}" != tools ] || build "$directory/" tool; }; } 2>&1 || exit 1
