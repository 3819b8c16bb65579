/**
 * Which batch is fastest: pictures drawn 1, 2, 4, 8 and 16 at a time. What follows from it is image/memory.ts.
 * `npx tsx bench/batches.ts [--case emoji64|fp32|int8] [--sizes 1,2,4] [--rounds 2] --folder DIR`; DIR holds or gets the
 * d16 weights. Each case is a process of its own; results are merged.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadVarFrom, type VarPaths } from "../src/image/node.ts";
import type { Precision } from "../src/image/precision.ts";
import { generate } from "../src/image/sampler.ts";
import { type Spread, spread } from "./contest.ts";
import { hashedModel } from "./hashed-model.ts";
import { host } from "./machine.ts";

const { values } = parseArgs({
  options: {
    case: { type: "string", default: "emoji64" },
    sizes: { type: "string", default: "1,2,4,8,16" },
    rounds: { type: "string", default: "2" },
    folder: { type: "string" },
    dry: { type: "boolean", default: false },
  },
});
const THREADS = 2;

/** What is drawn: the embedded model, or d16 with weights from a hash in either precision. */
const CASES: Readonly<Record<string, { precision: Precision; isLarge: boolean }>> = {
  emoji64: { precision: "fp32", isLarge: false },
  fp32: { precision: "fp32", isLarge: true },
  int8: { precision: "int8", isLarge: true },
};
const TITLES = { emoji64: "emoji64, float32", fp32: "d16, float32", int8: "d16, int8" } as const;

interface Row {
  readonly case: keyof typeof TITLES;
  readonly batch: number;
  /** Milliseconds a picture. */
  readonly ms: Spread;
  /** Largest resident memory of a process that drew batches up to this size. */
  readonly peak: number;
}

const peak = () =>
  1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]);

/** Turns taken; the first round is not counted, and the smallest batch comes first in it, so that its peak is its own. */
async function measure(from: string | VarPaths, precision: Precision, sizes: readonly number[]) {
  const model = await loadVarFrom(from, { threads: THREADS, precision });
  const ms = new Map<number, number[]>(sizes.map((size) => [size, []]));
  const peaks = new Map<number, number>();
  for (let round = 0; round <= Number(values.rounds); round++)
    for (const size of sizes) {
      const labels = Array.from({ length: size }, (_, i) => i % model.config.classes);
      const begin = performance.now();
      for await (const _ of generate(model, { labels, batch: size, seed: round }));
      if (round > 0) ms.get(size)!.push((performance.now() - begin) / size);
      else peaks.set(size, peak());
    }
  await model.release();
  return sizes.map((batch) => ({ batch, ms: spread(ms.get(batch)!), peak: peaks.get(batch)! }));
}

const found = CASES[values.case];
if (!found) throw new Error(`no case "${values.case}"; use ${Object.keys(CASES).join(", ")}`);
if (found.isLarge && !values.folder) throw new Error("d16 needs --folder DIR for its weights");
const from = found.isLarge ? await hashedModel(values.folder!, 16) : "emoji64";
const sizes = values.sizes.split(",").map(Number);
const rows = (await measure(from, found.precision, sizes)).map(
  (row) => ({ case: values.case, ...row }) as Row,
);

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const file = here("results/batches.json");
const old = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")).rows as Row[]) : [];
const isNew = (a: Row) => rows.some((b) => a.case === b.case && a.batch === b.batch);
const order = Object.keys(CASES);
const all = [...old.filter((row) => !isNew(row)), ...rows].sort(
  (a, b) => order.indexOf(a.case) - order.indexOf(b.case) || a.batch - b.batch,
);
const machine = { ...host(), threads: THREADS, date: new Date().toISOString().slice(0, 10) };
const page = `# How many pictures together

Pictures drawn so many at a time with everything compiled, guidance on, each size in turn, medians with least and greatest.
d16 has weights from a hash. Peak is the largest resident memory after the first batch of that size, smaller ones before it.

| model | batch | ms a picture | pictures a second | peak, GiB |
|---|---|---|---|---|
${all
  .map(
    ({ case: name, batch, ms, peak: bytes }) =>
      `| ${TITLES[name]} | ${batch} | ${ms.median.toFixed(0)} (${ms.min.toFixed(0)}-${ms.max.toFixed(0)}) | ${(1000 / ms.median).toFixed(2)} | ${(bytes / 2 ** 30).toFixed(2)} |`,
  )
  .join("\n")}

${Object.entries(machine)
  .map(([key, value]) => `${key} ${value}`)
  .join(", ")}
`;
console.log(page);
if (!values.dry) {
  writeFileSync(file, `${JSON.stringify({ rows: all, machine }, null, 2)}\n`);
  writeFileSync(here("results/batches.md"), page);
}
