#!/usr/bin/env bash
# with-server.sh SERVER COMMAND...: runs the command with ENDPOINT=host:port of a fresh server of its own.
set -u
server=$1; shift
work=$(mktemp -d) pid=
trap '[ -z "$pid" ] || { kill "$pid"; wait "$pid"; } 2>/dev/null; rm -rf "$work"' EXIT

. "$(dirname "$(realpath "$0")")/free-port.sh"
client=$(free_port) peer=$(free_port)
"$server" --name default --data-dir "$work/data" --listen-client-urls "http://127.0.0.1:$client" \
  --advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" \
  --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer" \
  >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 2400); do
  grep -q 'ready to serve client requests' "$work/log" 2>/dev/null && break
  kill -0 "$pid" 2>/dev/null || { echo "the server ended:"; tail -20 "$work/log"; pid=; exit 1; }
  sleep 0.05
done
ENDPOINT=127.0.0.1:$client "$@"
code=$?
[ "$code" = 0 ] || { echo "the server's log ends with:"; tail -5 "$work/log"; }
exit $code
