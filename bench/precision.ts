/** What 8 bits cost in quality and save in time: against float32 on the same weights, beside what chance alone does. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openFeatureNet } from "../src/cli/feature-net.ts";
import type { Tensor } from "../src/formats/dtype.ts";
import type { Var } from "../src/image/model.ts";
import { loadVarFrom, type VarPaths } from "../src/image/node.ts";
import { perceptualDistance } from "../src/image/perceptual.ts";
import { atPrecision, type Precision } from "../src/image/precision.ts";
import { inputFromIds } from "../src/image/quantizer.ts";
import { rowsOf } from "../src/image/rows.ts";
import { decodeMaps, sample } from "../src/image/sampler.ts";
import { trainingLogits } from "../src/image/var.ts";
import { bindConstants } from "../src/nn/bind.ts";
import { openBackend } from "../src/tensor/backend.ts";
import { createGraph, type Graph, input, output, type Value } from "../src/tensor/graph.ts";
import { type Spread, spread } from "./contest.ts";
import { hashedModel } from "./hashed-model.ts";
import { host } from "./machine.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const THREADS = 2;

interface Drawn {
  /** count L */
  readonly ids: readonly (readonly number[])[];
  readonly classes: readonly number[];
  readonly fHat: Tensor;
  readonly ms: number;
}

/** Greedy or drawn pictures with the tokens of all scales. */
async function draw(
  model: Var,
  options: Parameters<typeof sample>[1] & { count: number },
): Promise<Drawn> {
  const start = performance.now();
  const ids = Array.from({ length: options.count }, (): number[] => []);
  let fHat: Tensor | undefined;
  let classes: readonly number[] = [];
  for await (const step of sample(model, options)) {
    fHat = step.fHat;
    classes = step.classes;
    const own = step.shape[0] * step.shape[1];
    for (const [i, row] of ids.entries())
      for (let t = i * own; t < (i + 1) * own; t++) row.push(Number(step.ids.data[t]));
  }
  return { ids, classes, fHat: fHat!, ms: performance.now() - start };
}

/** Share of equal tokens. */
function agreement(a: Drawn, b: Drawn): number {
  const pairs = a.ids.flatMap((row, i) => row.map((id, t) => id === b.ids[i]![t]));
  return pairs.filter(Boolean).length / pairs.length;
}

/** Logits of all scales for these tokens, which both precisions are given: B L V, flat. */
async function forced(model: Var, { ids, classes }: Forced, change: (g: Graph) => Graph) {
  const { config, tokenizer, weights, tokenizerWeights } = model.parts;
  const L = ids[0]!.length;
  const g = createGraph("forced");
  const given = input(g, "ids", [ids.length, L], "int64");
  const labels = input(g, "labels", [ids.length], "int64");
  const read = inputFromIds(given, bindConstants(g, tokenizerWeights), tokenizer);
  const p = bindConstants(g, weights);
  output(g, "logits", trainingLogits({ input: read, labels }, p, { config }));
  const session = await (await openBackend("ort-node")).compile(change(g), { threads: THREADS });
  try {
    const tensor = (shape: readonly number[], numbers: readonly number[]): Tensor => ({
      dtype: "int64",
      shape,
      data: BigInt64Array.from(numbers, BigInt),
    });
    const feeds = {
      ids: tensor([ids.length, L], ids.flat()),
      labels: tensor([ids.length], classes),
    };
    return (await session.run(feeds)).logits!.data as Float32Array;
  } finally {
    await session.release();
  }
}

interface Forced {
  readonly ids: Drawn["ids"];
  readonly classes: readonly number[];
}

/** Per row of V: whether the likeliest code is the same, and KL(a, b) in nats; means. */
function distance(a: Float32Array, b: Float32Array, V: number) {
  let [same, divergence] = [0, 0];
  for (let at = 0; at < a.length; at += V) {
    const [p, q] = [a, b].map((all) => logSoftmax(all.subarray(at, at + V))) as [
      Float64Array,
      Float64Array,
    ];
    for (let v = 0; v < V; v++) divergence += Math.exp(p[v]!) * (p[v]! - q[v]!);
    same += Number(p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q)));
  }
  return { same: same / (a.length / V), kl: divergence / (a.length / V) };
}

function logSoftmax(row: Float32Array): Float64Array {
  const values = Float64Array.from(row);
  const most = Math.max(...values);
  const total = Math.log(values.reduce((sum, v) => sum + Math.exp(v - most), 0)) + most;
  return values.map((v) => v - total);
}

/** Of pictures in [-1, 1], in dB, one for each. */
function psnrs(a: Tensor, b: Tensor): number[] {
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  const own = x.length / a.shape[0]!;
  return Array.from({ length: a.shape[0]! }, (_, i) => {
    let squares = 0;
    for (let at = i * own; at < (i + 1) * own; at++) squares += (x[at]! - y[at]!) ** 2;
    return 10 * Math.log10((4 * own) / squares);
  });
}

/** Features of a network of photographs where it is there, else of our own classifier of emoji. */
const PHOTOS = here("../../shared/data/mobilenet_v2_imagenet.onnx");
const LOOKS = existsSync(PHOTOS) ? PHOTOS : "lab:emoji";

/** How different pairs of pictures look, B 3 S S each in [-1, 1]: `perceptualDistance`, from 0 to 4, for each pair. */
async function looks(pairs: readonly (readonly [Tensor, Tensor])[]): Promise<Spread[]> {
  const size = pairs[0]![0].shape[3]!;
  const g = createGraph("looks");
  const [a, b] = ["a", "b"].map((name) => input(g, name, [1, 3, size, size])) as [Value, Value];
  output(g, "distance", perceptualDistance(a, b, await openFeatureNet(LOOKS)));
  const session = await (await openBackend("ort-node")).compile(g, { threads: THREADS });
  const all: Spread[] = [];
  try {
    for (const [x, y] of pairs) {
      const own: number[] = [];
      for (let i = 0; i < x.shape[0]!; i++) {
        const { distance: d } = await session.run({
          a: rowsOf(x, i, i + 1),
          b: rowsOf(y, i, i + 1),
        });
        own.push(d!.data[0] as number);
      }
      all.push(spread(own));
    }
  } finally {
    await session.release();
  }
  return all;
}

/** What a file of 8 bits a channel keeps of pictures in [-1, 1]. */
const rounded = ({ dtype, shape, data }: Tensor): Tensor => ({
  dtype,
  shape,
  data: (data as Float32Array).map((v) => Math.round((v + 1) * 127.5) / 127.5 - 1),
});

/** Decoding and drawing once more with everything compiled, per picture, the two precisions taking turns. */
async function times(models: Readonly<Record<Precision, Var>>, count: number, rounds: number) {
  const ms: Record<Precision, number[]> = { fp32: [], int8: [] };
  for (let round = 0; round <= rounds; round++)
    for (const precision of ["fp32", "int8"] as const) {
      const start = performance.now();
      const { fHat } = await draw(models[precision], { count, seed: round });
      await decodeMaps(models[precision], fHat);
      if (round > 0) ms[precision].push((performance.now() - start) / count);
    }
  return { fp32: spread(ms.fp32), int8: spread(ms.int8) };
}

async function compare(
  name: string,
  from: string | VarPaths,
  { count, rounds }: { count: number; rounds: number },
) {
  const [fp32, int8] = [
    await loadVarFrom(from, { threads: THREADS }),
    await loadVarFrom(from, { threads: THREADS, precision: "int8" }),
  ];
  try {
    const greedy = { count, seed: "precision", topK: 1, topP: 0 };
    const [a, b] = [await draw(fp32, greedy), await draw(int8, greedy)];
    const [c, d] = [
      await draw(fp32, { count, seed: "precision" }),
      await draw(int8, { count, seed: "precision" }),
    ];
    // The same maps through both decoders: what the decoder alone does.
    const [pictures, coarse] = [await decodeMaps(fp32, c.fHat), await decodeMaps(int8, c.fHat)];
    const decoded = psnrs(pictures, coarse);
    const other = await draw(fp32, { count, labels: c.classes, seed: "another" });
    const [look, file, seed] = await looks([
      [pictures, coarse],
      [pictures, rounded(pictures)],
      [pictures, await decodeMaps(fp32, other.fHat)],
    ]);
    const given = { ids: c.ids, classes: c.classes };
    const full = await forced(fp32, given, (g) => g);
    const ranges = new Map();
    const eight = await forced(int8, given, (g) =>
      atPrecision("scale", g, { precision: "int8", ranges }),
    );
    const { parameters } = fp32.info;
    return {
      name,
      parameters: parameters.transformer + parameters.tokenizer,
      count,
      forced: distance(full, eight, fp32.config.codes),
      greedy: agreement(a, b),
      drawn: agreement(c, d),
      decoder: spread(decoded),
      looks: { int8: look!, file: file!, seed: seed! },
      ms: rounds > 0 ? await times({ fp32, int8 }, Math.min(count, 4), rounds) : msBefore(name),
    };
  } finally {
    await fp32.release();
    await int8.release();
  }
}
type Row = Awaited<ReturnType<typeof compare>>;

/** Times of an earlier run, for one without rounds. */
function msBefore(name: string): { fp32: Spread; int8: Spread } {
  const { rows } = JSON.parse(readFileSync(here("results/precision.json"), "utf8"));
  return (rows as Row[]).find((row) => row.name === name)!.ms;
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const look = ({ median }: Spread) => median.toExponential(1);
const page = (rows: readonly Row[], facts: string) => `# int8 beside float32

The same weights, classes and seeds in both. "Same likeliest code" and "KL" are those of
the transformer's logits when both are given the same tokens of all earlier scales, over all places. "Tokens equal" counts
tokens as sampling goes on its own: one that falls otherwise changes all later scales. "Decoder" is
the same maps through both decoders: PSNR, and how different the pictures look, the squared distance of features at
length 1 (Zhang et al. 2018, eq. 1, all channels alike, mean over layers; from 0 to 4) of ${LOOKS.split("/").at(-1)}. Beside it the
same distance between float32 and its own pictures in 8 bits a channel, as any file has them, and to those of
another seed. Milliseconds are per picture with everything compiled, up to four at once, turns
taken.

| model | parameters | pictures | same likeliest code | KL of codes, nats | tokens equal, greedy | tokens equal, drawn | decoder PSNR, dB | looks: decoder | 8-bit file | another seed | float32, ms | int8, ms | times as fast |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
${rows
  .map(
    (r) =>
      `| ${r.name} | ${(r.parameters / 1e6).toFixed(0)} M | ${r.count} | ${percent(r.forced.same)} | ${r.forced.kl.toExponential(1)} | ${percent(r.greedy)} | ${percent(r.drawn)} | ${r.decoder.median.toFixed(1)} (${r.decoder.min.toFixed(1)}-${r.decoder.max.toFixed(1)}) | ${look(r.looks.int8)} | ${look(r.looks.file)} | ${look(r.looks.seed)} | ${r.ms.fp32.median.toFixed(0)} | ${r.ms.int8.median.toFixed(0)} | ${(r.ms.fp32.median / r.ms.int8.median).toFixed(2)} |`,
  )
  .join("\n")}

${facts}
`;

const { values } = parseArgs({
  options: {
    folder: { type: "string" },
    count: { type: "string", default: "32" },
    rounds: { type: "string", default: "5" },
    dry: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const rows = [
  await compare("emoji64, trained", "emoji64", { count: Number(values.count), rounds }),
];
if (values.folder) {
  const { var: transformer, vqvae } = await hashedModel(values.folder, 16);
  const paths = { var: transformer, vqvae };
  rows.push(
    await compare("d16, weights from a hash", paths, { count: 2, rounds: Math.min(rounds, 2) }),
  );
}
const facts = `${new Date().toISOString().slice(0, 10)}, ${Object.entries(host())
  .map(([key, value]) => `${key} ${value}`)
  .join(", ")}, threads ${THREADS}`;
console.log(page(rows, facts));
if (!values.dry) {
  writeFileSync(here("results/precision.json"), `${JSON.stringify({ rows, facts }, null, 2)}\n`);
  writeFileSync(here("results/precision.md"), page(rows, facts));
}
