/** Writes a safetensors file as large as an official checkpoint, with made-up weights, one tensor at a time. */

import { open } from "node:fs/promises";
import { parseArgs } from "node:util";
import { bytesOf } from "../src/formats/bytes.ts";
import { safetensorsHeader } from "../src/formats/safetensors.ts";
import { officialWeights, readLayout } from "../test/official-like.ts";

const USAGE = `tsx scripts/make-official-like.ts LAYOUT.tsv OUT.safetensors [--seed N]
  LAYOUT.tsv   a line per tensor: name, sizes joined with x, dtype, param or buffer
  --seed N     names the weights, default 1; scripts/make-official-like.py makes the same ones`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: "string", default: "1" } },
});
const [layoutFile, out] = positionals;
const seed = Number(values.seed);
if (!layoutFile || !out || !Number.isSafeInteger(seed)) {
  console.error(USAGE);
  process.exit(2);
}

const layout = readLayout(layoutFile);
const file = await open(out, "w");
try {
  await file.write(safetensorsHeader(new Map(layout.map((row) => [row.name, row]))));
  for (const weight of officialWeights(layout, seed).values()) {
    const bytes = bytesOf(await weight.read());
    for (let at = 0; at < bytes.length; )
      at += (await file.write(bytes, at, Math.min(bytes.length - at, 2 ** 26))).bytesWritten;
  }
} finally {
  await file.close();
}
