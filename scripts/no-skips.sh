#!/usr/bin/env bash
# no-skips.sh LOG: fails if the output of `go test -v` in LOG has a skipped test,
# or no test at all. A test that skips itself where something is missing proves nothing.
set -euo pipefail

log=$1
if ! grep -qE '^ *--- PASS' "$log"; then
  echo "no-skips: no test in $log; was it written by go test -v?" >&2
  exit 1
fi
if grep -E '^ *--- SKIP' "$log" >&2; then
  echo "no-skips: the tests above were skipped" >&2
  exit 1
fi
echo "$(grep -cE '^ *--- PASS' "$log") tests and subtests passed, none skipped"
