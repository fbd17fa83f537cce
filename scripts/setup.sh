#!/usr/bin/env bash
# setup.sh [proxies]: makes sure that the programs the tests start are on the machine:
# redis-server, redis-cli, PostgreSQL's initdb and libfaketime (clocks that step), and for make test-proxies nginx and haproxy. On Debian and its relatives it installs what
# is missing; no system service is started, now or at boot. Silent when there is nothing to do.
set -euo pipefail

has_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
has_faketime() { compgen -G '/usr/lib*/faketime/libfaketime.so.1' >/dev/null || compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || [[ -e /usr/local/lib/faketime/libfaketime.so.1 ]]; }
has_redis() { command -v redis-server >/dev/null && command -v redis-cli >/dev/null; }

has() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null; }

packages=()
if [[ ${1-} == proxies ]]; then
  has nginx || packages+=(nginx)
  has haproxy || packages+=(haproxy)
fi
has_redis || packages+=(redis-server redis-tools)
has_postgres || packages+=(postgresql)
has_faketime || packages+=(libfaketime)
((${#packages[@]})) || exit 0

give_up() {
  echo "setup: $1; install a Redis server (6.2 or later, with redis-cli), the PostgreSQL server programs (13 or later), libfaketime and for make test-proxies nginx and HAProxy (with Lua), then run make again" >&2
  exit 1
}

as_root=()
if ((EUID != 0)); then
  sudo -n true 2>/dev/null || give_up "${packages[*]} missing and neither root nor sudo without a password"
  as_root=(sudo -n)
fi
command -v apt-get >/dev/null || give_up "${packages[*]} missing and no apt-get to install them with"

# The packages would start servers and make a database cluster. Three
# things keep them from it, the first two only while they install.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/wardstream-setup.conf
made=()
clean_up() { ((${#made[@]} == 0)) || "${as_root[@]}" rm -f "${made[@]}"; }
trap clean_up EXIT
put() { # FILE MODE TEXT: a file that goes away at the end; one that is there stays as it is
  [[ -e $1 ]] && return
  made+=("$1")
  "${as_root[@]}" mkdir -p "$(dirname "$1")"
  printf '%s\n' "$3" | "${as_root[@]}" tee "$1" >/dev/null
  "${as_root[@]}" chmod "$2" "$1"
}
put $policy 0755 $'#!/bin/sh\nexit 101'
put $cluster 0644 'create_main_cluster = false'

echo "setup: installing ${packages[*]} (no service is started)" >&2
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120)
"${apt[@]}" update >&2 || give_up "apt-get update failed"
"${apt[@]}" install -y --no-install-recommends "${packages[@]}" >&2 || give_up "apt-get install failed"

if command -v systemctl >/dev/null; then
  for package in "${packages[@]}"; do
    "${as_root[@]}" systemctl --quiet disable "$package.service" 2>/dev/null || true # redis-tools has none
  done
fi
if ! { has_redis && has_postgres && has_faketime; } || { [[ ${1-} == proxies ]] && ! { has nginx && has haproxy; }; }; then
  give_up "the packages don't bring what the tests need"
fi
