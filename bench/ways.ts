/**
 * Faster ways of drawing: what they cost in quality and save in time, beside what another seed does.
 * `npx tsx bench/ways.ts [--count 1000] [--folder DIR] [--only quality|speed] [--refiner RUN]`; DIR holds or gets the d16
 * weights, RUN a VAR of two blocks trained on emoji64's tokenizer, which draws the last scales.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openDataset } from "../src/data/open.ts";
import { compareSets, openNetwork, type PictureSet } from "../src/eval/index.ts";
import { pixelCount } from "../src/formats/picture-size.ts";
import type { Var } from "../src/image/model.ts";
import { loadVarFrom, type VarPaths } from "../src/image/node.ts";
import type { SampleOptions } from "../src/image/orders.ts";
import type { Precision } from "../src/image/precision.ts";
import { generate } from "../src/image/sampler.ts";
import { spread } from "./contest.ts";
import { hashedModel } from "./hashed-model.ts";
import { host } from "./machine.ts";
import { drawRefined } from "./refine.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "1000" },
    rounds: { type: "string", default: "3" },
    folder: { type: "string" },
    refiner: { type: "string" },
    only: { type: "string" },
    dry: { type: "boolean", default: false },
  },
});
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const MODEL = "emoji64";
const THREADS = 2;

interface Way {
  readonly name: string;
  readonly precision: Precision;
  readonly options: SampleOptions & { readonly seed: string };
  /** How many of the last scales another model draws. */
  readonly refined?: number;
}

/** The first is what the others are measured against, the second what chance does. */
const WAYS: readonly Way[] = [
  { name: "float32", precision: "fp32", options: { seed: "a" } },
  { name: "float32, another seed", precision: "fp32", options: { seed: "b" } },
  { name: "int8", precision: "int8", options: { seed: "a" } },
  ...[1, 2, 3].map((unguidedLast) => ({
    name: `float32, the last ${unguidedLast} unguided`,
    precision: "fp32" as const,
    options: { seed: "a", unguidedLast },
  })),
  { name: "int8, the last 1 unguided", precision: "int8", options: { seed: "a", unguidedLast: 1 } },
];
/** With a refiner only: a small model has none of its own. */
const REFINED: readonly Way[] = [1, 2].map((refined) => ({
  name: `float32, the last ${refined} by 2 blocks of 5`,
  precision: "fp32",
  options: { seed: "a" },
  refined,
}));

/** Classes in turn. */
async function draw(
  model: Var,
  count: number,
  { way: { options, refined }, refiner }: { way: Omit<Way, "name" | "precision">; refiner?: Var },
): Promise<PictureSet> {
  const labels = Array.from({ length: count }, (_, i) => i % model.config.classes);
  const bytes = pixelCount(model.size) * 3;
  const pixels = new Uint8Array(count * bytes);
  if (refined && refiner) {
    const job = { labels, seed: options.seed, last: refined };
    const pictures = await drawRefined({ deep: model, refiner }, job);
    for (const [i, { data }] of pictures.entries()) pixels.set(data, i * bytes);
  } else
    for await (const { index, picture } of generate(model, { ...options, labels }))
      pixels.set(picture.data, index * bytes);
  return { count, ...model.size, pixels };
}

/** The model of --refiner with the embedded model's tokenizer. */
const openRefiner = async (): Promise<Var | undefined> =>
  values.refiner === undefined
    ? undefined
    : loadVarFrom(
        {
          var: join(values.refiner, "var.safetensors"),
          vqvae: here(`../models/${MODEL}/vqvae.safetensors`),
        },
        { threads: THREADS },
      );

async function quality(count: number) {
  const classes = (await loadVarFrom(MODEL)).labels;
  const groups = [...new Set(classes.map((label) => label.split("/")[0]!))];
  const train = await openDataset(`emoji:${groups.join(",")}`, { size: 64, split: "train" });
  const network = await openNetwork("lab:emoji");
  const options = { network, metrics: ["fid", "kid"] as const };
  const rows = [];
  let first: PictureSet | undefined;
  const refiner = await openRefiner();
  for (const way of [...WAYS, ...(refiner ? REFINED : [])]) {
    const { name, precision } = way;
    const model = await loadVarFrom(MODEL, { precision, threads: THREADS });
    const set = await draw(model, count, { way, refiner });
    await model.release();
    const data = await compareSets(set, train, options);
    const base = first && (await compareSets(set, first, options));
    first ??= set;
    rows.push({
      name,
      data: {
        fid: data.get("fid")!.value!,
        kid: data.get("kid")!.value!,
        interval: data.get("kid")!.interval!,
      },
      base: base && {
        fid: base.get("fid")!.value!,
        kid: base.get("kid")!.value!,
        interval: base.get("kid")!.interval!,
      },
    });
    console.error(name, rows.at(-1));
  }
  await refiner?.release();
  return { count, train: train.count, network: "lab:emoji", rows };
}

/** Milliseconds a picture with everything compiled, turns taken. */
async function speed(
  from: string | VarPaths,
  count: number,
  { rounds, refiner }: { rounds: number; refiner?: Var },
) {
  const models = {
    fp32: await loadVarFrom(from, { threads: THREADS }),
    int8: await loadVarFrom(from, { threads: THREADS, precision: "int8" }),
  };
  const ways = [...WAYS, ...(refiner ? REFINED : [])].filter(({ options }) => options.seed === "a");
  const ms = new Map<string, number[]>(ways.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++)
    for (const way of ways) {
      const begin = performance.now();
      const options = { ...way.options, batch: count };
      await draw(models[way.precision], count, { way: { ...way, options }, refiner });
      if (round > 0) ms.get(way.name)!.push((performance.now() - begin) / count);
    }
  for (const model of Object.values(models)) await model.release();
  return [...ms].map(([name, list]) => ({ name, ms: spread(list) }));
}

const file = here("results/ways.json");
const before = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
const rounds = Number(values.rounds);
const result = {
  ...before,
  date: new Date().toISOString().slice(0, 10),
  machine: { ...host(), threads: THREADS },
};
if (values.only !== "speed") result.quality = await quality(Number(values.count));
if (values.only !== "quality") {
  const refiner = await openRefiner();
  result.small = await speed(MODEL, 16, { rounds, refiner });
  await refiner?.release();
  if (values.folder) {
    const { var: transformer, vqvae } = await hashedModel(values.folder, 16);
    result.d16 = await speed({ var: transformer, vqvae }, 1, { rounds });
  }
}

interface Row {
  readonly name: string;
  readonly data: { fid: number; kid: number; interval: readonly [number, number] };
  readonly base?: Row["data"];
}
interface Timed {
  readonly name: string;
  readonly ms: { median: number };
}
const kid = ({ kid: value, interval }: Row["data"]) =>
  `${value.toFixed(4)} [${interval.map((v) => v.toFixed(4)).join(", ")}]`;
const timed = (list: readonly Timed[] | undefined, name: string) => {
  const [own, base] = [list?.find((t) => t.name === name), list?.[0]];
  return own && base
    ? `${own.ms.median.toFixed(0)} (${(base.ms.median / own.ms.median).toFixed(2)}x)`
    : "";
};
const page = `# Faster ways of drawing

Pictures of ${MODEL}, ${result.quality?.count} a way, classes in turn, the same seed but for the second row, seen by ${result.quality?.network}: against
the ${result.quality?.train} pictures of its training set, and against those of float32, where the second row is what chance alone
does. KID with its 95 % interval. Milliseconds a picture with everything compiled, turns taken, in brackets how many times as fast as float32: ${MODEL}
sixteen at once; d16 (weights from a hash) alone.

| way | FID to data | KID to data | FID to float32 | KID to float32 | ${MODEL}, ms | d16, ms |
|---|---|---|---|---|---|---|
${((result.quality?.rows ?? []) as Row[])
  .map(
    ({ name, data, base }) =>
      `| ${name} | ${data.fid.toFixed(2)} | ${kid(data)} | ${base ? base.fid.toFixed(2) : ""} | ${base ? kid(base) : ""} | ${timed(result.small, name)} | ${timed(result.d16, name)} |`,
  )
  .join("\n")}

## Counted or tried, not built

Fewer operations for d16 with guidance, of 601 GFLOP of its transformer:

- Keys and values pruned at the last two scales: 4 T P C operations a row and block are all that the P earlier tokens cost
  there, 14.2 GFLOP at the last scale and 5.6 at the one before. Dropping every one of them would save 3.3 %, keeping half 1.6 %;
  declined.
- A shallower model for the last two scales, 425 of the 680 tokens: with 6 of 16 blocks it saves 39 % there and adds
  14 % for reading the tokens before them, so 25 %. The rows "by 2 blocks" try it on ${MODEL} with a second model, trained for
  it on the same tokens (900 updates, against 6,300 of the deep one; \`bench/refine.ts\`). It moves the pictures further from
  the deep model's than ending guidance early does and is no faster, so the library has no such option.

${result.date}, ${Object.entries(result.machine)
  .map(([key, value]) => `${key} ${value}`)
  .join(", ")}
`;
console.log(page);
if (!values.dry) {
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(here("results/ways.md"), page);
}
