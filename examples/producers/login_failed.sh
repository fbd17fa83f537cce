#!/usr/bin/env bash
# Publish a failed login: login_failed.sh ADDRESS NAME
set -euo pipefail

# The flat encoding needs no JSON. A name that is itself a whole JSON list or object would be taken for one, so
# for text that clients choose prefer the JSON of the other examples.
export REDISCLI_AUTH=${REDIS_PASSWORD-}
redis-cli -e -h "${REDIS_HOST:-localhost}" -p "${REDIS_PORT:-6379}" ${REDIS_USERNAME:+--user "$REDIS_USERNAME"} \
  XADD audit:events '*' \
  event_type auth.login.failed \
  event_id "$(cat /proc/sys/kernel/random/uuid)" \
  source.address "$1" \
  user.name "$2" >/dev/null
