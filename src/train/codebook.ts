/** The health of a codebook in training: which codes are used, at which scale, and new life for dead ones. */

import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Rng } from "../tensor/rng.ts";

/** A code is dead below this share of its fair hits; the official trainer's figure. */
const DEAD_SHARE = 0.03;
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

/** Hits of each code over all scales, and their sum. */
function totals({ hits }: CodebookUse): { perCode: Float64Array; all: number } {
  const [K, V] = hits.shape as [number, number];
  const perCode = new Float64Array(V);
  for (let k = 0; k < K; k++)
    for (let v = 0; v < V; v++) perCode[v]! += (hits.data as Float32Array)[k * V + v]!;
  return { perCode, all: perCode.reduce((a, b) => a + b, 0) };
}

/** Share of codes in use, and the perplexity of their distribution (V when all are used equally). */
export function codebookHealth(use: CodebookUse): { usage: number; perplexity: number } {
  const { perCode, all } = totals(use);
  const fair = all / perCode.length;
  const alive = perCode.reduce((n, hits) => n + (hits >= DEAD_SHARE * fair ? 1 : 0), 0);
  const entropy = perCode.reduce((h, n) => (n > 0 ? h - (n / all) * Math.log(n / all) : h), 0);
  return { usage: alive / perCode.length, perplexity: Math.exp(entropy) };
}

/**
 * Moves dead codes onto vectors that were to be quantized just now, drawn at random, and clears their moments.
 * Changes `codebook` and `moments` in place; returns how many were revived.
 * After "codebook reset" of Jukebox (Dhariwal et al. 2020, section 3.2).
 */
export function reviveDeadCodes(
  use: CodebookUse,
  to: { codebook: Tensor; moments: readonly Tensor[]; z: Tensor },
  rng: Rng,
): number {
  const { codebook, moments, z } = to;
  const [V, C] = codebook.shape as [number, number];
  const rows = z.shape[0]!;
  const { perCode, all } = totals(use);
  const fair = all / V;
  const K = use.hits.shape[0]!;
  let revived = 0;
  for (let v = 0; v < V; v++) {
    if (perCode[v]! >= DEAD_SHARE * fair) continue;
    const from = rng.int(rows) * C;
    for (let c = 0; c < C; c++) codebook.data[v * C + c] = z.data[from + c]!;
    for (const m of moments) m.data.fill(0 as never, v * C, (v + 1) * C);
    // A revived code starts with its fair share, so that it has time to be found.
    for (let k = 0; k < K; k++) use.hits.data[k * V + v] = fair / K;
    revived++;
  }
  return revived;
}
