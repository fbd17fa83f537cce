#!/usr/bin/env bash
# failures.sh LOG: prints the failed tests of `go test` output in LOG, each with the last lines it wrote,
# so that the end of a long log says what failed.
set -euo pipefail

awk '
/^=== (RUN|CONT|NAME|PAUSE) / { test = $3; next }
/^ *--- (PASS|SKIP): / { delete wrote[$3]; test = ""; next }
/^ *--- FAIL: / {
  failed = $3
  sub(/^ +/, "")
  print
  n = split(wrote[failed], lines, "\n")
  for (i = n > 12 ? n - 12 : 1; i < n; i++) print "    " substr(lines[i], 1, 300)
  delete wrote[failed]
  test = failed
  after = 12 # without -v, what a test wrote follows
  next
}
/^(ok|FAIL|panic:|\?)[ \t]/ || /WARNING: DATA RACE/ {
  if (!/^(ok|\?)/) print substr($0, 1, 300)
  test = ""
  after = 0
  next
}
after > 0 { after--; print "    " substr($0, 1, 300); next }
test != "" { wrote[test] = wrote[test] $0 "\n" }
' "$1"
