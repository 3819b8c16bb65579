#!/bin/sh
# Packs the built project, installs the tarball with npm into an empty folder, and uses it there as a stranger would.
set -eu
cd "$(dirname "$0")/.."
limit=30000000 # bytes of the tarball

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
npm pack --silent --ignore-scripts --pack-destination "$home" >/dev/null
tarball=$(echo "$home"/underpaint-*.tgz)
size=$(wc -c <"$tarball")
echo "tarball: $size bytes of $limit"
[ "$size" -le "$limit" ] || { echo "the tarball is over its limit"; exit 1; }

mkdir "$home/clean"
cd "$home/clean"
echo '{ "private": true, "type": "module" }' >package.json
ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund --loglevel=error "$tarball"
npx --no-install underpaint doctor
npx --no-install underpaint sample --count 2 --seed 1 --sheet sheet.png
[ -s sheet.png ]
# Every subpath export resolves and loads, but for the entry of a browser's worker.
node --input-type=module -e '
import { readFileSync } from "node:fs";
const { exports } = JSON.parse(readFileSync("node_modules/underpaint/package.json", "utf8"));
for (const path of Object.keys(exports).filter((p) => !/\.json$|\/worker$/.test(p)))
  console.log(`underpaint${path.slice(1)}`, Object.keys(await import(`underpaint${path.slice(1)}`)).length, "names");
'
