#!/bin/sh
# Sets the project up: checks Node, installs packages, builds. Safe to run again: what is there already is kept.
#
#   sh scripts/setup.sh                          what the command line needs
#   sh scripts/setup.sh --debian "chromium ..."  also tries to install these Debian packages (root and apt only)
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "setup: $1" >&2
  exit 1
}

debian=""
while [ $# -gt 0 ]; do
  case "$1" in
    --debian)
      [ $# -ge 2 ] || fail "--debian needs a list of packages in quotes"
      debian=$2
      shift 2
      ;;
    *) fail "unknown option $1; there is --debian \"package ...\"" ;;
  esac
done

command -v node >/dev/null 2>&1 || fail "Node.js is not installed; install version 20.19 or newer"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  fail "Node.js $(node --version) is too old; install version 20.19 or newer"
command -v npm >/dev/null 2>&1 || fail "npm is not installed; it comes with Node.js"

# Optional packages never stop the set-up: what needs them says so and is skipped.
missing=""
for package in $debian; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "setup: installing$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086
    { timeout 120 apt-get -qq update && timeout 300 apt-get -qq install -y --no-install-recommends $missing; } \
      >"$log" 2>&1 </dev/null || { tail -n 3 "$log" >&2; echo "setup: not installed:$missing; tests that need them are skipped" >&2; }
    rm -f "$log"
  else
    echo "setup: to run every test, install as root: apt-get install$missing" >&2
  fi
fi

# npm writes its own copy of the lock file last; when that is newer than ours, the packages are there.
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "setup: installing npm packages" >&2
  # The runtime's install script would download CUDA files, which nothing here uses.
  ONNXRUNTIME_NODE_INSTALL=skip npm ci --no-audit --no-fund --loglevel=error </dev/null >&2
  touch node_modules/.package-lock.json
fi

echo "setup: building" >&2
npm run --silent build >&2
[ -x dist/cli/main.js ] || chmod +x dist/cli/main.js
echo "setup: done; next: npx underpaint sample --count 32 --sheet sheet.png" >&2
