#!/usr/bin/env bash
# lint-shell.sh: every shell script parses, and passes shellcheck where that is
# installed.
set -euo pipefail

cd "$(dirname "$0")/.."
scripts=(scripts/*.sh examples/producers/*.sh .ci/run .ci/nightly)
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then
  shellcheck "${scripts[@]}"
fi
