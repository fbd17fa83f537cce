#!/usr/bin/env bash
# fuzz.sh DURATION: runs every fuzz target of the module for DURATION (10s), one
# after the other. Fails at the first that finds something.
set -euo pipefail

cd "$(dirname "$0")/.."
duration=${1:-10s}
targets=0

# Only directories that have a fuzz target are compiled.
dirs=$(grep -rlE --include='*_test.go' '^func Fuzz[A-Z0-9_]' cmd internal pkg schema 2>/dev/null | xargs -r -n1 dirname | sort -u || true)
for dir in $dirs; do
  listed=$(go test -list '^Fuzz' "./$dir")
  for target in $listed; do
    [[ $target == Fuzz* ]] || break # the last line is a summary
    echo "== $dir $target ($duration)"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "./$dir"
    targets=$((targets + 1))
  done
done

if ((targets == 0)); then
  echo "fuzz.sh: found no fuzz target" >&2
  exit 1
fi
echo "$targets fuzz targets, nothing found"
