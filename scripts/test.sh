#!/bin/sh
# Runs every check of the project and ends with "N passed, N failed" on a line of its own.
# Each check below counts as one; the tests count each. The exit code is 1 when anything failed.
set -u
cd "$(dirname "$0")/.."
export CI="${CI:-true}"
exec </dev/null

passed=0
failed=0
failures=""
skipped=""
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# check NAME COMMAND...
check() {
  name=$1
  shift
  echo "== $name"
  begin=$(date +%s)
  if "$@"; then
    passed=$((passed + 1))
    echo "== $name: ok, $(($(date +%s) - begin)) s"
  else
    failed=$((failed + 1))
    failures="$failures $name;"
    echo "== $name: FAILED after $(($(date +%s) - begin)) s"
  fi
}

finish() {
  [ -z "$failures" ] || echo "failed:$failures"
  [ -z "$skipped" ] || echo "$skipped skipped"
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit $?
}

no_hosts() {
  ! git grep -nIE '"resolved"|registry\.npm|npm\.pkg\.' -- package-lock.json .npmrc package.json
}

# Chromium runs the browser tests, the data set those on real photographs; without them such tests are skipped.
check setup sh scripts/setup.sh --debian "${DEBIAN_PACKAGES-chromium dataset-fashion-mnist}"
[ "$failed" -eq 0 ] || finish

check lint npm run --silent lint
check types npm run --silent types
check "size budget" npx --no-install tsx scripts/size-budget.ts
check "no registry in tracked files" no_hosts
check "package installs and runs" sh scripts/pack-smoke.sh

echo "== tests"
: >"$counts"
TEST_COUNTS="$counts" npm run --silent test -- --no-color
status=$?
# "12 passed, 0 failed, 3 skipped" -> 12 0 3; nothing when the runner itself broke
set -- $(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed\(, \([0-9]*\) skipped\)\{0,1\}$/\1 \2 \4/p' "$counts")
passed=$((passed + ${1:-0}))
failed=$((failed + ${2:-0}))
skipped=${3:-}
if [ "$status" -ne 0 ] && [ "${2:-0}" -eq 0 ]; then
  failed=$((failed + 1))
  failures="$failures test runner;"
fi
[ "${2:-0}" -eq 0 ] || failures="$failures tests;"
finish
