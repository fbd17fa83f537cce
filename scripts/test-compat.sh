#!/usr/bin/env bash
# Runs the tests of the main job, a kill, and failovers through Sentinel and in a Cluster against each server for which a
# binary is to be had, and prints a matrix. COMPAT_BIN_DIR has folders named as below, each with a program redis-server in
# it (Valkey's may be a link of that name), which is asked for its version. Exits with 1 if a test fails.
set -uo pipefail
cd "$(dirname "$0")/.."
dir=${COMPAT_BIN_DIR:-}
failed=0
printf '| server | version | main job | kill | Sentinel | Cluster |\n|---|---|---|---|---|---|\n'

run() { # binary directory, package, tests
	if out=$(PATH="$1:$PATH" go test -vet=off -count=1 -timeout 5m "$2" -run "^($3)\$" 2>&1); then
		printf ' passes |'
	else
		printf ' FAILS |'
		printf '%s\n' "$out" | grep -v '^redis:' | tail -20 >&2
		failed=1
	fi
}

for name in redis-6.2 redis-7.0 redis-7.2 redis-8 valkey-8 valkey-9; do
	bin=$dir/$name
	if [ ! -x "$bin/redis-server" ] && [ "$name" = "redis-7.0" ] && redis-server --version | grep -q 'v=7\.0\.'; then
		bin=$(dirname "$(command -v redis-server)")
	fi
	if [ ! -x "$bin/redis-server" ]; then
		printf '| %s | no binary | | | | |\n' "$name"
		continue
	fi
	printf '| %s | %s |' "$name" "$("$bin/redis-server" --version | sed 's/.* v=\([^ ]*\) .*/\1/')"
	run "$bin" ./internal/consumer 'TestReadsFromTheStartHandlesAndAcks|TestSample|TestTrimmedUnreadIsCountedOnce'
	run "$bin" ./internal/consumer 'TestRedisCrash|TestNothingIsLostThoughRedisLostCount'
	run "$bin" ./internal/consumer 'TestSentinelFailover'
	run "$bin" ./internal/consumer 'TestClusterPrimaryKilled|TestSlotMigration'
	printf '\n'
done
exit $failed
