# Sourced by the suites. A suite runs alone, so what nobody listens on now is still free when its server starts.

# free_port: a loopback port outside of those that the kernel gives to outgoing connections, which take any of theirs at any moment.
free_port() {
  local port first=32768 last=60999
  read -r first last </proc/sys/net/ipv4/ip_local_port_range || true
  [ "$first" -gt 10000 ] || [ "$last" -lt 32000 ] || first=0 last=0
  while :; do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
    [ "$port" -lt "$first" ] || [ "$port" -gt "$last" ] || continue
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}
