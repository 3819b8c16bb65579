/**
 * How much sooner a picture is there when whole scales are drawn instead of single tokens: VAR beside a raster-order
 * transformer of equal parameters over the same 16x16 latents, made-up weights, one picture at a time, turns taken.
 * `npx tsx bench/raster.ts [--rounds 5] [--only NAME]`. Judges no picture.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Tensor } from "../src/formats/dtype.ts";
import { baselineDrawing, drawBaseline, drawRaster } from "../src/image/baselines/draw.ts";
import {
  Baseline,
  baselineConfig,
  baselineSamplingFlops,
  baselineSpecs,
  equalDepth,
} from "../src/image/baselines/index.ts";
import { type VqvaeConfig, varConfig, vqvaeConfig } from "../src/image/config.ts";
import { samplingFlops } from "../src/image/cost.ts";
import { Var } from "../src/image/model.ts";
import { generate, sample } from "../src/image/sampler.ts";
import { varSpecs } from "../src/image/var-layout.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import { countParams, type ParamSpec } from "../src/nn/spec.ts";
import { rng } from "../src/tensor/rng.ts";
import { type Spread, spread } from "./contest.ts";
import { machine } from "./machine.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, only: { type: "string" } },
});
const FILE = fileURLToPath(new URL("results/raster.json", import.meta.url));
const THREADS = 2;
const CLASSES = 1000;
const PATCH_NUMS = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16];
/** The settings of both: guided, so two rows go through the transformer. */
const DRAWING = { guidance: 4, topK: 900, topP: 0.96 };

/** A decoder for pictures of 64 pixels where the laboratory draws, the official one of 256 at d16. */
const SMALL = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 2, 4], resBlocks: 1, attention: false },
  ...{ codes: 4096, patchNums: PATCH_NUMS },
});
interface Case {
  readonly name: string;
  readonly depth: number;
  readonly width?: number;
  readonly tokenizer: VqvaeConfig;
}
const CASES: readonly Case[] = [
  { name: "laboratory", depth: 4, width: 256, tokenizer: SMALL },
  { name: "d8", depth: 8, tokenizer: SMALL },
  { name: "d16", depth: 16, tokenizer: vqvaeConfig() },
];

/** Weights from one stretch of chance: the time does not depend on them, and normal draws would take minutes. */
function madeUp(specs: readonly ParamSpec[]): Map<string, Tensor> {
  const source = new Float32Array(1 << 20);
  rng("raster").fillNormal(source, { std: 0.02 });
  return new Map(
    specs.map(({ name, shape, value }) => {
      if (value) return [name, value()];
      const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
      for (let at = 0; at < data.length; at += source.length)
        data.set(source.subarray(0, Math.min(source.length, data.length - at)), at);
      return [name, { dtype: "float32", shape, data }];
    }),
  );
}

/** The single-scale sibling of a tokenizer: the same decoder, one map of 16x16. */
const flat = (tokenizer: VqvaeConfig): VqvaeConfig => ({ ...tokenizer, patchNums: [16] });

function models({ depth, width, tokenizer }: Case) {
  const { codes, latent } = tokenizer;
  const dials = { ...(width && { width, heads: width / 64 }), codes, latent, classes: CLASSES };
  const scale = varConfig(depth, { ...dials, patchNums: PATCH_NUMS });
  const raster = baselineConfig("ar", equalDepth("ar", depth), {
    ...{ ...dials, width: scale.width, heads: scale.heads },
    patchNums: [16],
  });
  const tokenizerWeights = madeUp(vqvaeSpecs(tokenizer));
  return {
    var: new Var(
      { config: scale, weights: madeUp(varSpecs(scale)), tokenizer, tokenizerWeights },
      Array.from({ length: CLASSES }, (_, i) => `class ${i}`),
      { threads: THREADS, drawing: DRAWING },
    ),
    ar: new Baseline(
      {
        ...{ kind: "ar" as const, config: raster, weights: madeUp(baselineSpecs("ar", raster)) },
        tokenizer: flat(tokenizer),
        tokenizerWeights: madeUp(vqvaeSpecs(flat(tokenizer))),
      },
      { threads: THREADS },
    ),
    parameters: {
      var: countParams(varSpecs(scale)),
      ar: countParams(baselineSpecs("ar", raster)),
    },
    gflops: {
      var: samplingFlops(scale).total / 1e9,
      ar: baselineSamplingFlops("ar", raster, { steps: 1 }).total / 1e9,
    },
  };
}

const rasterJob = (options: { labels: number[]; seed: number }) => ({
  labels: options.labels,
  chances: [rng(options.seed).child(0)],
  drawing: baselineDrawing("ar", options),
});
const clock = async (work: () => Promise<unknown>): Promise<number> => {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
};
async function last<T>(steps: AsyncIterable<T>): Promise<void> {
  for await (const _ of steps);
}

interface Row {
  readonly name: string;
  readonly date: string;
  readonly parameters: { readonly var: number; readonly ar: number };
  readonly gflops: { readonly var: number; readonly ar: number };
  /** Milliseconds: the tokens of one picture, and the picture whole. */
  readonly tokens: { readonly var: Spread; readonly ar: Spread };
  readonly picture: { readonly var: Spread; readonly ar: Spread };
}

async function measure(one: Case, rounds: number): Promise<Row> {
  const { var: scale, ar, parameters, gflops } = models(one);
  const ms = { tokens: { var: [], ar: [] }, picture: { var: [], ar: [] } } as Record<
    "tokens" | "picture",
    Record<"var" | "ar", number[]>
  >;
  for (let round = 0; round <= rounds; round++) {
    const options = { labels: [round], seed: round, ...DRAWING }; // a class never drawn before, for both
    const times = {
      var: await clock(() => last(sample(scale, options))),
      ar: await clock(() => drawRaster(ar, rasterJob(options))),
    };
    const other = { ...options, labels: [500 + round] };
    const whole = {
      var: await clock(() => last(generate(scale, other))),
      ar: await clock(() => last(drawBaseline(ar, other))),
    };
    if (round === 0) continue; // compiles
    for (const who of ["var", "ar"] as const) {
      ms.tokens[who].push(times[who]);
      ms.picture[who].push(whole[who]);
    }
  }
  await scale.release();
  await ar.release();
  const both = (of: Record<"var" | "ar", number[]>) => ({ var: spread(of.var), ar: spread(of.ar) });
  const date = new Date().toISOString().slice(0, 10);
  return {
    name: one.name,
    date,
    parameters,
    gflops,
    tokens: both(ms.tokens),
    picture: both(ms.picture),
  };
}

const ratio = ({ var: own, ar }: Row["tokens"]): string =>
  `${own.median.toFixed(0)} and ${ar.median.toFixed(0)} ms, **${(ar.median / own.median).toFixed(1)}x**`;
const million = (n: number): string => (n / 1e6).toFixed(1);
const page = (rows: readonly Row[], facts: object): string => `# Next scale beside next token

One picture at a time over 16x16 latents (VAR: 680 tokens in 10 passes; raster order: 256 tokens in 256 passes with
cached keys and values), equal parameters and width, guided, float32, ${THREADS} threads, a class never drawn before, weights
made up, turns taken, medians. "Picture" adds the decoder, which is the same for both. VAR computes twice the FLOPs of
raster order here, in a twenty-fifth of the passes: what that gains depends on how much a pass costs beside its FLOPs,
which on two cores is little. The paper's "about 20 times" was measured on a graphics processor, where it is nearly all.

| model | parameters, VAR and raster (M) | GFLOP of the tokens, VAR and raster | tokens, VAR and raster | picture, VAR and raster |
|---|---|---|---|---|
${rows
  .map(
    (row) =>
      `| ${row.name} | ${million(row.parameters.var)} and ${million(row.parameters.ar)} | ${row.gflops.var.toFixed(1)} and ${row.gflops.ar.toFixed(1)} | ${ratio(row.tokens)} | ${ratio(row.picture)} |`,
  )
  .join("\n")}

${Object.entries(facts)
  .map(([key, value]) => `${key} ${value}`)
  .join(", ")}. \`npx tsx bench/raster.ts\`
`;

const before: Row[] = existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")).rows : [];
const rows = new Map(before.map((row) => [row.name, row]));
for (const one of CASES) {
  if (values.only && values.only !== one.name) continue;
  rows.set(one.name, await measure(one, Number(values.rounds)));
  const { torch: _, openblas: _o, ...facts } = machine({ threads: THREADS });
  const ordered = CASES.flatMap(({ name }) => rows.get(name) ?? []);
  writeFileSync(FILE, `${JSON.stringify({ machine: facts, rows: ordered }, null, 2)}\n`);
  writeFileSync(FILE.replace(".json", ".md"), page(ordered, facts));
  console.log(page(ordered, facts));
}
