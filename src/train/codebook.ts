/** The health of a codebook in training: which codes are used, at which scale, and new life for dead ones. */

import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Rng } from "../tensor/rng.ts";

/** A code is dead below this share of its fair hits; the official trainer's figure. */
const DEAD_SHARE = 0.03;
/** A scale is short of codes below this usage: from there revival feeds it first, and people are warned. */
export const SHORT_USAGE = 0.5;
/** Scales with fewer tokens cannot be asked to use half of a codebook; they are judged by their perplexity. */
export const JUDGED_TOKENS = 16;
/** Share of the codebook that a revival may take from the least used codes for the scales that are short. */
const MOVED_SHARE = 0.01;
/** Weight of the past in the running mean of hits: short at first, then long, as the official code. */
const memory = (updates: number): number => (updates === 0 ? 0 : updates < 100 ? 0.9 : 0.99);

/** Running mean of hits per scale and code; the buffer `quantize.ema_vocab_hit_SV`. */
export interface CodebookUse {
  readonly hits: Tensor; // K V
  updates: number;
}

export const newCodebookUse = (scales: number, codes: number): CodebookUse => ({
  hits: { dtype: "float32", shape: [scales, codes], data: new Float32Array(scales * codes) },
  updates: 0,
});

/** The counts of a checkpoint. @throws InputError when they are absent or of another codebook */
export function restoreCodebookUse(
  { hits, updates }: { hits?: Tensor; updates?: unknown },
  scales: number,
  codes: number,
): CodebookUse {
  const wanted = `float32[${scales}, ${codes}]`;
  const found = hits ? `${hits.dtype}[${hits.shape.join(", ")}]` : "nothing";
  if (!hits || found !== wanted || !Number.isSafeInteger(updates) || (updates as number) < 0)
    throw new InputError(
      `the checkpoint counts code hits in ${found} after ${updates} updates, want ${wanted} and a whole number; use the checkpoint of this very run`,
      { found, wanted, updates },
    );
  const use = newCodebookUse(scales, codes);
  (use.hits.data as Float32Array).set(hits.data as Float32Array);
  use.updates = updates as number;
  return use;
}

/** Counts one batch. `ids[k]` B pn². */
export function countHits(use: CodebookUse, ids: readonly Tensor[]): void {
  const V = use.hits.shape[1]!;
  const data = use.hits.data as Float32Array;
  const past = memory(use.updates++);
  const counts = new Float64Array(V);
  ids.forEach((scale, k) => {
    counts.fill(0);
    for (const id of scale.data) counts[Number(id)]! += 1;
    for (let v = 0; v < V; v++) data[k * V + v] = data[k * V + v]! * past + counts[v]! * (1 - past);
  });
}

/** How a set of hits is spread over the codes. */
export interface Health {
  /** Share of codes that are alive. */
  readonly usage: number;
  /** V when all are used equally, 1 when one code serves for all. */
  readonly perplexity: number;
}

/** Hits of each code over all scales. V */
function perCode({ hits }: CodebookUse): Float64Array {
  const [K, V] = hits.shape as [number, number];
  const sums = new Float64Array(V);
  for (let k = 0; k < K; k++)
    for (let v = 0; v < V; v++) sums[v]! += (hits.data as Float32Array)[k * V + v]!;
  return sums;
}
const total = (counts: ArrayLike<number>): number => Array.from(counts).reduce((a, b) => a + b, 0);

function healthOf(counts: ArrayLike<number>): Health {
  const all = total(counts);
  const least = (DEAD_SHARE * all) / counts.length;
  let [alive, entropy] = [0, 0];
  for (let v = 0; v < counts.length; v++) {
    const n = counts[v]!;
    if (n > 0 && n >= least) alive++;
    if (n > 0) entropy -= (n / all) * Math.log(n / all);
  }
  return { usage: alive / counts.length, perplexity: Math.exp(entropy) };
}

/** Over all scales together, and at each. */
export function codebookHealth(use: CodebookUse): Health & { readonly scales: Health[] } {
  const [K, V] = use.hits.shape as [number, number];
  const data = use.hits.data as Float32Array;
  const scales = Array.from({ length: K }, (_, k) => healthOf(data.subarray(k * V, (k + 1) * V)));
  return { ...healthOf(perCode(use)), scales };
}

/** What is wrong with a codebook, a sentence per trouble. `tokens[k]` per picture, `names[k]` for people. */
export function codebookTroubles(
  { usage, scales }: ReturnType<typeof codebookHealth>,
  { tokens, names }: { tokens: readonly number[]; names: readonly string[] },
): string[] {
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const short = scales.flatMap(({ usage: own }, k) =>
    tokens[k]! >= JUDGED_TOKENS && own < SHORT_USAGE ? [`${names[k]} uses ${percent(own)}`] : [],
  );
  const constant = names.filter((_, k) => scales[k]!.perplexity < 1.5);
  return [
    ...(usage < 0.95
      ? [
          `${percent(1 - usage)} of the codes are dead; revive more often or take a smaller codebook`,
        ]
      : []),
    ...(short.length
      ? [
          `of the codes, ${short.join(", ")}: these scales have few words; raise --entropy or --scale-drop, or take a smaller codebook`,
        ]
      : []),
    ...(constant.length
      ? [`${constant.join(", ")} says the same of every picture: it has collapsed`]
      : []),
  ];
}

export interface Revival {
  /** V C; changed in place, as all tensors here. */
  readonly codebook: Tensor;
  /** The optimizer's moments of the codebook: those of a moved code are cleared. V C each. */
  readonly moments: readonly Tensor[];
  /** Other copies of the codebook that follow at once, such as its running mean. V C each. */
  readonly followers?: readonly Tensor[];
  /** What was to be quantized just now, scale by scale: B·pn² rows of C. */
  readonly z: Tensor;
  /** Tokens of one picture at each scale. */
  readonly tokens: readonly number[];
}

/**
 * Moves dead codes onto vectors that were to be quantized just now, and clears their moments: "codebook reset" of
 * Jukebox (Dhariwal et al. 2020, section 3.2). Differs: the vectors come from the scales that are short of codes,
 * where there are any, each by what it lacks; and while a scale is short, the least used codes move as well, up to
 * 1 % of the codebook. Returns how many were moved.
 */
export function reviveDeadCodes(use: CodebookUse, to: Revival, rng: Rng): number {
  const { codebook, moments, followers = [], z, tokens } = to;
  const [V, C] = codebook.shape as [number, number];
  const K = use.hits.shape[0]!;
  const all = perCode(use);
  const fair = total(all) / V;
  const lack = codebookHealth(use).scales.map(({ usage }, k) =>
    tokens[k]! >= JUDGED_TOKENS ? Math.max(0, SHORT_USAGE - usage) : 0,
  );
  const short = total(lack) > 0;
  const order = Array.from(all.keys()).sort((a, b) => all[a]! - all[b]! || a - b);
  const moved = order.filter(
    (v, i) => all[v]! < DEAD_SHARE * fair || (short && i < MOVED_SHARE * V),
  );
  const pick = rowPicker({ rows: z.shape[0]!, tokens, weights: short ? lack : undefined }, rng);
  for (const v of moved) {
    const { row, scale } = pick();
    for (const table of [codebook, ...followers])
      for (let c = 0; c < C; c++) table.data[v * C + c] = z.data[row * C + c]!;
    for (const m of moments) m.data.fill(0 as never, v * C, (v + 1) * C);
    // A revived code starts with its fair share, so that it has time to be found.
    for (let k = 0; k < K; k++)
      use.hits.data[k * V + v] = short ? (k === scale ? fair : 0) : fair / K;
  }
  return moved.length;
}

/** Draws rows of z: any, or first a scale by weight and then one of its rows. */
function rowPicker(
  { rows, tokens, weights }: { rows: number; tokens: readonly number[]; weights?: number[] },
  rng: Rng,
): () => { row: number; scale: number } {
  const batch = rows / total(tokens);
  const starts = tokens.map((_, k) => batch * total(tokens.slice(0, k)));
  if (!weights) return () => ({ row: rng.int(rows), scale: 0 });
  const sum = total(weights);
  const ends = weights.map((_, k) => total(weights.slice(0, k + 1)));
  return () => {
    const at = rng.uniform() * sum;
    const found = ends.findIndex((end) => at < end);
    const scale = found < 0 ? weights.findLastIndex((w) => w > 0) : found;
    return { row: starts[scale]! + rng.int(batch * tokens[scale]!), scale };
  };
}
