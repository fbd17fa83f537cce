#!/usr/bin/env bash
# fuzz.sh HOSTILE OTHERS: runs every fuzz target of the module, those that read what attackers send for HOSTILE (30s), the others
# for OTHERS (3s), two at a time. Fails if one finds something. What is found interesting is kept where `go test -fuzz` keeps it,
# or in FUZZCACHE, and is where the next run begins.
set -euo pipefail

cd "$(dirname "$0")/.."
hostile_time=${1:-30s}
other_time=${2:-3s}
at_once=2

# What a client, a producer or another tenant of Redis controls.
hostile=" FuzzDecodeFlat FuzzDecodeJSON FuzzDecodeDifferential FuzzReplies FuzzDecodeBlock FuzzDecimal FuzzURIPath \
 FuzzExtAuthzSubject FuzzExtAuthzMessage FuzzProxyHeader FuzzHead FuzzForwarded FuzzParseAddr FuzzClientAddr "

module=$(go list -m)
cache=${FUZZCACHE:-$(go env GOCACHE)/fuzz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fuzz DIR TARGET DURATION runs one target and says in one line what came of it, or all of it if that is a finding.
fuzz() {
  local dir=$1 target=$2 duration=$3 out=$work/${1//\//_}.$2.out found='nothing found'
  mkdir -p "$cache/$module/$dir"
  if ! (cd "$dir" && "$work/${dir//\//_}.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$duration" \
    -test.fuzzcachedir "$cache/$module/$dir" -test.parallel 1 >"$out" 2>&1); then
    # Up to Go 1.26 the end of the time is sometimes taken for a failure, of which no input is kept: golang/go#75804.
    if ! grep -qx '    context deadline exceeded' "$out" || grep -q -e 'Failing input' -e panic "$out"; then
      cat "$out"
      echo "$dir $target: FAILED"
      return 1
    fi
    found='nothing found, ended late'
  fi
  echo "$dir $target ($duration): $(grep -o 'execs: [0-9]*' "$out" | tail -n 1), $found"
}

# Our own code is instrumented, so that only that is compiled anew: what it depends on is no news to the fuzzer.
targets=()
for dir in $(grep -rlE --include='*_test.go' '^func Fuzz[A-Z0-9_]' cmd internal pkg schema | xargs -r -n1 dirname | sort -u); do
  binary=$work/${dir//\//_}.test
  go test -c -gcflags="$module/...=-d=libfuzzer" -o "$binary" "./$dir"
  for target in $(cd "$dir" && "$binary" -test.list '^Fuzz'); do
    targets+=("$dir $target")
  done
done

if ((${#targets[@]} == 0)); then
  echo "fuzz.sh: found no fuzz target" >&2
  exit 1
fi
for name in $hostile; do
  if [[ " ${targets[*]} " != *" $name "* ]]; then
    echo "fuzz.sh: $name is listed as hostile, and there is no such target" >&2
    exit 1
  fi
done

failed=0 running=0
# all DURATION hostile|others starts those targets, as many at once as may run.
all() {
  local each dir target kind
  for each in "${targets[@]}"; do
    read -r dir target <<<"$each"
    kind=others
    [[ $hostile == *" $target "* ]] && kind=hostile
    [[ $kind == "$2" ]] || continue
    if ((running == at_once)); then
      wait -n || failed=1
      running=$((running - 1))
    fi
    fuzz "$dir" "$target" "$1" &
    running=$((running + 1))
  done
}
all "$hostile_time" hostile
all "$other_time" others
while ((running > 0)); do
  wait -n || failed=1
  running=$((running - 1))
done
((failed == 0)) || exit 1
echo "${#targets[@]} fuzz targets, nothing found"
