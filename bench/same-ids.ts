/**
 * How surely a seed gives the same tokens in Node and in a page: pictures that differ are counted and traced to the
 * logits and the margin of the first token that fell otherwise. Times nothing.
 *
 *   npx tsx bench/same-ids.ts [--count 50] [--backend ort-web|ort-webgpu] [--dry]
 */

import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { loadVar, type Var } from "../src/image/model.ts";
import { chanceOf, ordersOf, type SampleOptions } from "../src/image/orders.ts";
import { RowFilter } from "../src/image/row-filter.ts";
import { mapTokens, tokenCount } from "../src/image/scales.ts";
import { call, MODELS } from "../test/e2e/browser/calls.ts";
import { bundlePage, openBrowser, SOFTWARE_GPU } from "../test/e2e/browser/chromium.ts";
import { logitsOf } from "../test/e2e/browser/work.ts";
import { host } from "./machine.ts";

const MODEL = "emoji64";
const { values: flags } = parseArgs({
  options: {
    count: { type: "string", default: "50" },
    backend: { type: "string", default: "ort-web" },
    dry: { type: "boolean", default: false },
  },
});
const COUNT = Number(flags.count);
const backend = flags.backend as "ort-web" | "ort-webgpu";

const SETTINGS: Readonly<Record<string, Partial<SampleOptions>>> = {
  "the model's own settings": {},
  "without top-k and top-p": { topK: 0, topP: 0 },
};
/** The third rule's chance takes V² sums a row: every so many rows. */
const EVERY = 16;

interface Drawn {
  readonly ids: readonly number[];
  /** L V flat. */
  readonly logits: Float32Array;
}

/** Surviving codes' probabilities on both sides, by code. */
interface Both {
  readonly p: Float64Array;
  readonly q: Float64Array;
}

/** Chance that a shared uniform number names two codes: each has its own stretch of [0, 1), laid out in an order. */
function stretchesDiffer({ p, q }: Both, order: ArrayLike<number>): number {
  let [a, b, same] = [0, 0, 0];
  for (let n = 0; n < order.length; n++) {
    const [endA, endB] = [a + p[order[n]!]!, b + q[order[n]!]!];
    same += Math.max(0, Math.min(endA, endB) - Math.max(a, b));
    [a, b] = [endA, endB];
  }
  return Math.max(0, 1 - same);
}

/** Chance that the largest of log p + g and of log q + g differ, the noise g being shared. */
function largestDiffer({ p, q }: Both): number {
  let same = 0;
  for (let i = 0; i < p.length; i++) {
    if (p[i] === 0 || q[i] === 0) continue;
    let sum = 0;
    for (let j = 0; j < p.length; j++) sum += Math.max(p[j]! / p[i]!, q[j]! / q[i]!);
    same += 1 / sum;
  }
  return Math.max(0, 1 - same);
}

/** Ways to choose a code, ours first: the chance that the two sides choose different ones from their logits. */
const RULES: Readonly<Record<string, (both: Both) => number>> = {
  "inverse CDF, codes in their order": (both) =>
    stretchesDiffer(
      both,
      both.p.map((_, i) => i),
    ),
  "inverse CDF, likeliest first": (both) =>
    stretchesDiffer(
      both,
      both.p.map((_, i) => i).sort((i, j) => both.p[j]! - both.p[i]! || i - j),
    ),
  "largest of logit + Gumbel noise": largestDiffer,
};

interface Pair {
  readonly options: SampleOptions;
  readonly here: Drawn;
  readonly there: Drawn;
}

/** Tokens of the scales up to k. */
const tokensUpTo = ({ patchNums }: Var, k: number): number =>
  tokenCount({ patchNums: patchNums.slice(0, k + 1) });

/** The first token that differs, and by how little. */
function trace(model: Var, { options, here, there }: Pair) {
  const t = here.ids.findIndex((id, i) => id !== there.ids[i]);
  if (t < 0) return undefined;
  const V = model.config.codes;
  const ends = model.patchNums.map((_, k) => tokensUpTo(model, k));
  const k = ends.findIndex((end) => t < end);
  const from = k === 0 ? 0 : ends[k - 1]!;
  const [order] = ordersOf(model, options);
  const uniforms = chanceOf(order!, k).fillUniform(
    new Float32Array(mapTokens(model.patchNums[k]!)),
  );
  const u = uniforms[t - from]!;
  /** Where u lies, in shares of the whole, beyond the nearest edge between two codes. */
  const margin = ({ logits }: Drawn) => {
    const row = new RowFilter(V, order!.drawing);
    row.select(logits, t * V);
    let [sum, least] = [0, 1];
    for (let i = 0; i < row.count; i++) {
      sum += row.weights[i]! / row.total;
      least = Math.min(least, Math.abs(u - sum));
    }
    return { margin: least, survivors: row.count };
  };
  const [a, b] = [here, there].map(({ logits }) => logits.subarray(t * V, (t + 1) * V));
  const off = a!.map((v, i) => Math.abs(v - b![i]!));
  return {
    options,
    token: t,
    scale: k,
    codes: [here.ids[t]!, there.ids[t]!],
    uniform: u,
    node: margin(here),
    page: margin(there),
    worstLogit: off.reduce((x, y) => Math.max(x, y)),
    tokensAfter: here.ids.filter((id, i) => id !== there.ids[i]).length,
  };
}

/** Chance of a token to fall otherwise, by rule, over rows whose past is the same on both sides. */
function chances(model: Var, pairs: readonly Pair[]) {
  const V = model.config.codes;
  const total: Record<string, number> = Object.fromEntries(Object.keys(RULES).map((r) => [r, 0]));
  let rows = 0;
  for (const { options, here, there } of pairs) {
    const [order] = ordersOf(model, options);
    const filter = new RowFilter(V, order!.drawing);
    const ended = model.patchNums.map((_, k) => tokensUpTo(model, k));
    for (let at = 0; at < here.ids.length; at++) {
      // A scale reads the scales before it alone.
      const past = ended.findLast((end) => end <= at) ?? 0;
      if (here.ids.slice(0, past).some((id, i) => id !== there.ids[i])) break;
      if (at % EVERY !== 3) continue; // 3 is no border of scales
      const [p, q] = [here, there].map(({ logits }) => {
        filter.select(logits, at * V);
        const out = new Float64Array(V);
        for (let i = 0; i < filter.count; i++)
          out[filter.codes[i]!] = filter.weights[i]! / filter.total;
        return out;
      });
      rows++;
      for (const [name, chance] of Object.entries(RULES)) total[name]! += chance({ p: p!, q: q! });
    }
  }
  return { rows, chance: Object.fromEntries(Object.entries(total).map(([r, x]) => [r, x / rows])) };
}

interface Result {
  readonly what: string;
  readonly pictures: number;
  readonly tokens: number;
  readonly traces: readonly NonNullable<ReturnType<typeof trace>>[];
  readonly rows: number;
  readonly chance: Readonly<Record<string, number>>;
}
type Report = Readonly<
  Record<
    string,
    { date: string; machine: ReturnType<typeof host>; model: string; results: Result[] }
  >
>;

const NAMES: Readonly<Record<string, string>> = {
  "ort-web": "WebAssembly",
  "ort-webgpu": "WebGPU (Chromium's software adapter)",
};

function sheet(report: Report): string {
  const lines = ["# The same tokens in Node and in a page", ""];
  for (const [name, { date, machine, model: of, results: all }] of Object.entries(report)) {
    lines.push(
      `## ${NAMES[name]}`,
      "",
      `${of}, seeds from 0, ${date}, ${machine.cpu}, Node ${machine.node}. Chances are exact for the logits of both sides.`,
      "",
      "| settings | pictures that differ | expected by | chance of a token to fall otherwise |",
      "|---|---|---|---|",
    );
    for (const { what, pictures, traces, chance } of all)
      for (const [rule, share] of Object.entries(chance)) {
        const seen = rule === Object.keys(RULES)[0] ? `${traces.length} of ${pictures}` : "";
        lines.push(`| ${what} | ${seen} | ${rule} | ${share.toExponential(1)} |`);
      }
    lines.push("");
    for (const { what, traces } of all)
      for (const { options, token, scale, codes, uniform, node, page: there, worstLogit } of traces)
        lines.push(
          `Seed ${options.seed}, ${what}: first at token ${token} (scale ${scale}), code ${codes[0]} here and ${codes[1]} there. ` +
            `The uniform number ${uniform.toFixed(9)} lies ${node.margin.toExponential(1)} and ${there.margin.toExponential(1)} ` +
            `from an edge between two of ${node.survivors} codes; the logits of that token differ by at most ${worstLogit.toExponential(1)}.`,
          "",
        );
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

const model = await loadVar(MODELS[MODEL]!, { backend: "ort-node" });
const files = new Map((await bundlePage()).files);
files.set(`/${MODEL}/var.safetensors`, MODELS[MODEL]!.var);
files.set(`/${MODEL}/vqvae.safetensors`, MODELS[MODEL]!.vqvae);
const browser = await openBrowser(files, backend === "ort-webgpu" ? { args: SOFTWARE_GPU } : {});
const page = await browser.open();
const results: Result[] = [];
for (const [what, settings] of Object.entries(SETTINGS)) {
  const pairs: Pair[] = [];
  for (let seed = 0; seed < COUNT; seed++) {
    const options = { seed, ...settings };
    const [told] = await call(page, "logits", MODEL, { backend, all: [options] });
    const { buffer } = Uint8Array.from(Buffer.from(told!.logits, "base64"));
    const there = { ids: told!.ids, logits: new Float32Array(buffer) };
    pairs.push({ options, here: await logitsOf(model, options), there });
    console.error(`${what}: ${seed + 1} of ${COUNT}`);
  }
  const traces = pairs.map((pair) => trace(model, pair)).filter((one) => one !== undefined);
  const tokens = COUNT * model.info.tokens;
  results.push({ what, pictures: COUNT, tokens, traces, ...chances(model, pairs) });
}
await browser.close();
await model.release();

const PATH = new URL("results/same-ids.json", import.meta.url);
const before = await readFile(PATH, "utf8").then(JSON.parse, () => ({}));
const at = { date: new Date().toISOString().slice(0, 10), machine: host(), model: MODEL, results };
const report: Report = { ...before, [backend]: at };
if (flags.dry) console.log(JSON.stringify(at, null, 1));
else {
  await writeFile(PATH, `${JSON.stringify(report, null, 1)}\n`);
  await writeFile(new URL("results/same-ids.md", import.meta.url), sheet(report));
}
