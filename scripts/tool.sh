#!/usr/bin/env bash
# tool.sh NAME: prints the path of the pinned version of a tool that development or the tests need,
# building it into .bin/ the first time. Versions are pinned here and nowhere else.
set -euo pipefail

cd "$(dirname "$0")/.."

case "${1-}" in
golangci-lint)
  version=v2.15.0
  package=github.com/golangci/golangci-lint/v2/cmd/golangci-lint
  ;;
caddy) # for make test-proxies
  version=v2.11.9
  package=github.com/caddyserver/caddy/v2/cmd/caddy
  ;;
govulncheck)
  version=v1.9.0
  package=golang.org/x/vuln/cmd/govulncheck
  ;;
*)
  echo "tool.sh: unknown tool '${1-}'" >&2
  exit 2
  ;;
esac

pinned="$PWD/.bin/$1-$version"

# has reports whether a binary was built from the pinned version.
has() { [[ -x $1 ]] && go version -m "$1" 2>/dev/null | grep -qE "^[[:space:]]mod[[:space:]][^[:space:]]+[[:space:]]$version([[:space:]]|\$)"; }

if ! has "$pinned"; then
  installed=$(command -v "$1" || true)
  if [[ -n $installed ]] && has "$installed"; then
    pinned=$installed
  else
    echo "building $1 $version into .bin (once; takes some minutes)" >&2
    staging=$(mktemp -d)
    trap 'rm -rf "$staging"' EXIT
    GOBIN=$staging GOFLAGS='' go install "$package@$version" >&2
    mkdir -p .bin
    mv "$staging/$1" "$pinned"
  fi
fi
echo "$pinned"
