#!/usr/bin/env bash
# Runs the main job with the real programs, kills of workers and of the server, and failovers through Sentinel and in a
# Cluster against each server for which a binary is available, and prints a matrix; about four minutes a server.
# COMPAT_BIN_DIR has folders named as below, each with a program redis-server in it (Valkey's may be a link of that name),
# which is asked for its version. Postgres is the local one. Exits with 1 if a test fails,
# or if there is no server.
set -uo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
unset WARDSTREAM_TEST_REDIS_URL
export DOCKER_HOST=unix:///dev/null # a container would not be the server that is to be tested

programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
go test -vet=off -c -o "$programs/" ./cmd/detector ./internal/consumer ./internal/redisconn &&
	(cd internal/chaos && go test -vet=off -c -o "$programs/" .) || exit 1

tests() { # package, its tests, flags
	(cd "$1" && PATH="$bin:$PATH" "$programs/${1##*/}.test" -test.v -test.timeout 10m -test.run "^($2)\$" "${@:3}")
}

main_job() {
	tests cmd/detector 'TestXADDToDeniedRequest' &&
		tests internal/consumer 'TestWorkerReadsFromStartHandlesAndAcks|TestSample|TestTrimmedUnreadIsCountedOnce'
}

kills() {
	tests cmd/detector 'TestKilledDetectorEntriesCountOnce' &&
		tests internal/chaos 'TestChaos' -faults 'kill workers,redis killed,redis restarted after' -rounds 3 &&
		tests internal/consumer 'TestRedisCrashLosesNothing|TestSamplerIgnoresRedisEntryCounter'
}

sentinel() {
	tests cmd/detector 'TestSentinelFailoverDuringAttack' &&
		tests internal/chaos 'TestChaosFailover' &&
		tests internal/consumer 'TestSentinelFailover'
}

cluster() {
	tests cmd/detector 'TestCluster|TestClusterFailoverDuringAttack' &&
		tests internal/chaos 'TestChaos' -faults 'cluster primary killed' -rounds 1 &&
		tests internal/redisconn 'TestClusterClientFindsElectedReplica' &&
		tests internal/consumer 'TestClusterPrimaryKilledWorkerContinues|TestClusterSlotMigration'
}

failed=0
servers=0
printf '| server | version | main job | kill | Sentinel | Cluster |\n|---|---|---|---|---|---|\n'
for name in redis-6.2 redis-7.0 redis-7.2 redis-8 valkey-8 valkey-9; do
	bin=${COMPAT_BIN_DIR:-}/$name
	if [ ! -x "$bin/redis-server" ] && [ "$name" = redis-7.0 ] && redis-server --version | grep -q 'v=7\.0\.'; then
		bin=$(dirname "$(command -v redis-server)")
	fi
	if [ ! -x "$bin/redis-server" ]; then
		printf '| %s | no binary | | | | |\n' "$name"
		continue
	fi
	servers=$((servers + 1))
	printf '| %s | %s |' "$name" "$("$bin/redis-server" --version | sed 's/.* v=\([^ ]*\) .*/\1/')"
	for job in main_job kills sentinel cluster; do
		if "$job" >"$programs/log" 2>&1 && ! grep -q 'no tests to run' "$programs/log"; then
			printf ' passes |'
		else
			printf ' FAILS |'
			grep -v '^redis:' "$programs/log" | tail -40 >&2
			failed=1
		fi
	done
	printf '\n'
done
if ((servers == 0)); then
	echo 'test-compat: no server was tested; set COMPAT_BIN_DIR to a folder with redis-8/redis-server and the like' >&2
	exit 1
fi
exit $failed
