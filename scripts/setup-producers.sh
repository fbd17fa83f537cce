#!/usr/bin/env bash
# setup-producers.sh: makes sure that what runs examples/producers is on the machine: Python, Ruby and PHP with their
# Redis clients, Node with ioredis, a JDK. On Debian and its relatives it installs what is missing. Silent when there is nothing
# to do.
set -euo pipefail

cd "$(dirname "$0")/.."

packages=()
/usr/bin/python3 -c 'import redis' 2>/dev/null || packages+=(python3-redis)
ruby -e 'require "redis"' 2>/dev/null || packages+=(ruby ruby-redis)
php -r 'exit(class_exists("Redis") ? 0 : 1);' >/dev/null 2>&1 || packages+=(php-cli php-redis)
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)

if ((${#packages[@]})); then
  as_root=()
  if ((EUID != 0)); then
    as_root=(sudo -n)
  fi
  if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    echo "setup-producers: ${packages[*]} missing, and they can't be installed here: install them, then run make again" >&2
    exit 1
  fi
  echo "setup-producers: installing ${packages[*]}" >&2
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120)
  "${apt[@]}" update >&2
  "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >&2
fi

cd examples/producers
if ! node -e 'require("ioredis")' 2>/dev/null; then
  npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error >&2
fi
