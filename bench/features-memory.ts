/**
 * Memory of evaluation: 50,000 made-up feature vectors of 2048 numbers against as many others, through FID, KID, IS,
 * precision and recall, as `underpaint eval` does it. Writes results/features-memory.json.
 *
 * npx tsx bench/features-memory.ts [COUNT]
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compare, lookAt } from "../src/eval/evaluate.ts";
import type { Network } from "../src/eval/network.ts";
import { openProducts } from "../src/eval/products.ts";
import { rng } from "../src/tensor/rng.ts";
import { host } from "./machine.ts";

const COUNT = Number(process.argv[2] ?? 50_000);
const [WIDTH, CLASSES, BATCH] = [2048, 1008, 100];

/** Largest resident memory so far in bytes, as Linux counts it. */
const peak = () =>
  1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]);

/** Features that a made-up network sees: normal, with a scale and a mean of their own per set. */
function network(name: string, { scale, mean }: { scale: number; mean: number }): Network {
  let call = 0;
  return {
    ...{ name, hash: name, size: 1, resize: "none" as Network["resize"] },
    async look({ count }) {
      const chance = rng(name).child(call++);
      const normal = chance.fillNormal(new Float32Array(count * WIDTH));
      const features = normal.map((x) => mean + scale * x); // float32, as networks give them
      const data = new Float64Array(count * CLASSES);
      for (let i = 0; i < count; i++) {
        const row = data.subarray(i * CLASSES, (i + 1) * CLASSES);
        for (let j = 0; j < CLASSES; j++) row[j] = Math.exp(3 * normal[i * WIDTH + j]!);
        const sum = row.reduce((a, b) => a + b, 0);
        for (let j = 0; j < CLASSES; j++) row[j]! /= sum;
      }
      return {
        features: { count, width: WIDTH, data: features },
        probabilities: { count, width: CLASSES, data },
      };
    },
    release: async () => {},
  };
}

async function* pictures() {
  for (let at = 0; at < COUNT; at += BATCH)
    yield { count: Math.min(BATCH, COUNT - at), width: 1, height: 1, pixels: new Uint8Array(0) };
}

const products = await openProducts();
const begun = peak();
const look = async (net: Network) => {
  const steps = lookAt(pictures(), net, { of: COUNT, products });
  for (;;) {
    const step = await steps.next();
    if (step.done) return step.value;
  }
};
const samples = await look(network("samples", { scale: 1.1, mean: 0.02 }));
const reference = await look(network("reference", { scale: 1, mean: 0 }));
const seen = peak();
const figures: Record<string, unknown> = {};
const peaks: Record<string, number> = {};
for await (const { metric, value, how, refused } of compare(samples, reference, { products })) {
  if (refused && metric !== "sfid") throw new Error(`${metric}: ${refused}`);
  if (value !== undefined) figures[metric] = { value, how };
  peaks[metric] = peak();
  console.error(`${metric}: ${value}, peak ${(peak() / 2 ** 20).toFixed(0)} MiB`);
}
await products.release();
const result = {
  what: `${COUNT} vectors of ${WIDTH} against as many, made up; peak resident memory of the process`,
  date: new Date().toISOString().slice(0, 10),
  machine: host(),
  bytes: { begun, seen, ...peaks },
  peakBytes: peak(),
  target: 1e9,
  figures,
};
const file = fileURLToPath(new URL("results/features-memory.json", import.meta.url));
if (COUNT === 50_000) writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
console.error(JSON.stringify(result.bytes));
