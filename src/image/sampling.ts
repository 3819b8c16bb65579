/** From logits to tokens: guidance, filters, the draw, the smooth mixture. Plain typed arrays; runs no graph. */

import { type FilterOptions, RowFilter } from "./row-filter.ts";

/** Scale k of K: from 0 at the first to 1 at the last. */
export const scaleRatio = (k: number, scales: number): number =>
  scales === 1 ? 0 : k / (scales - 1);

/**
 * Classifier-free guidance with a strength that rises with the scale: t = guidance * ratio,
 * logits = (1 + t) conditional - t unconditional. So 0 is no guidance, and the first scale has none.
 * Written over the first half and returned as a view of it; rounded as float32 arithmetic does.
 * @param logits [2B, L, V] flat, the unconditional rows last
 * @param strengths t of all pictures, or of each @returns [B, L, V]
 */
export function guide(logits: Float32Array, strengths: number | readonly number[]): Float32Array {
  const n = logits.length / 2;
  const each = typeof strengths === "number" ? [strengths] : strengths;
  const size = n / each.length;
  for (const [b, t] of each.entries()) {
    const [up, down] = [Math.fround(1 + t), Math.fround(t)];
    for (let i = b * size; i < (b + 1) * size; i++)
      logits[i] = Math.fround(up * logits[i]!) - Math.fround(down * logits[n + i]!);
  }
  return logits.subarray(0, n);
}

/** Rows of logits with the length of a row. */
interface Rows extends FilterOptions {
  /** V: length of a row. */
  readonly codes: number;
}

/**
 * Sets what the filters drop to -infinity, in place; the rest is divided by the temperature.
 * VAR's `sample_with_top_k_top_p_` without the draw. @param logits [rows, V] flat
 */
export function filterLogits(logits: Float32Array, { codes, ...options }: Rows): Float32Array {
  const filter = new RowFilter(codes, options);
  for (let at = 0; at < rowsEnd(logits, codes); at += codes) {
    filter.select(logits, at);
    logits.fill(Number.NEGATIVE_INFINITY, at, at + codes);
    for (let i = 0; i < filter.count; i++) logits[at + filter.codes[i]!] = filter.values[i]!;
  }
  return logits;
}

/** Probabilities after the filters, 0 for what they drop. @param logits [rows, V] flat, left as it is */
export function filteredProbabilities(
  logits: Float32Array,
  { codes, ...options }: Rows,
): Float32Array {
  const filter = new RowFilter(codes, options);
  const out = new Float32Array(logits.length);
  for (let at = 0; at < rowsEnd(logits, codes); at += codes) {
    filter.select(logits, at);
    for (let i = 0; i < filter.count; i++) {
      out[at + filter.codes[i]!] = filter.weights[i]! / filter.total;
    }
  }
  return out;
}

/**
 * One code per row from the filtered distribution.
 * @param logits [rows, V] flat, left as it is
 * @param options.uniforms one number in [0, 1) per row: the only chance, e.g. `rng.fillUniform(...)`
 */
export function drawTokens(
  logits: Float32Array,
  { codes, uniforms, ...options }: Rows & { readonly uniforms: Float32Array },
): Int32Array {
  const rows = rowsEnd(logits, codes) / codes;
  if (uniforms.length !== rows) {
    throw new RangeError(
      `drawTokens: ${rows} rows of logits need as many uniforms, got ${uniforms.length}`,
    );
  }
  const filter = new RowFilter(codes, options);
  const out = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    filter.select(logits, row * codes);
    out[row] = filter.draw(uniforms[row]!);
  }
  return out;
}

/** Temperature of the Gumbel-softmax: from 0.27 at the first scale to 0.0135 at the last, never below 0.005. */
export const smoothTemperature = (ratio: number): number =>
  Math.max(0.27 * (1 - ratio * 0.95), 0.005);

/**
 * `more_smooth`: instead of the drawn code's vector, a mixture of all surviving codes' vectors by Gumbel-softmax
 * (Jang 2017, eq. 2) that sharpens with the scale. Nicer pictures; not for statistics such as FID.
 * @param logits [rows, V] flat, left as it is
 * @param options.codebook [V, C] flat
 * @param options.ratio `scaleRatio` of this scale
 * @param options.noise [rows, V] flat, exponential of rate 1, e.g. `rng.fillExponential(...)`
 * @returns [rows, C] flat
 */
export function smoothVectors(
  logits: Float32Array,
  { codes, codebook, ratio, noise, ...options }: SmoothOptions,
): Float32Array {
  const rows = rowsEnd(logits, codes) / codes;
  if (noise.length !== logits.length) {
    throw new RangeError(
      `smoothVectors: ${logits.length} logits need as much noise, got ${noise.length}`,
    );
  }
  const channels = codebook.length / codes;
  const filter = new RowFilter(codes, options);
  const out = new Float32Array(rows * channels);
  const sum = new Float64Array(channels);
  for (let row = 0; row < rows; row++) {
    filter.select(logits, row * codes);
    const total = gumbelSoftmax(filter, { ratio, noise, at: row * codes });
    sum.fill(0);
    for (let i = 0; i < filter.count; i++) {
      const share = filter.weights[i]! / total;
      if (share < 1e-12) continue; // below float32 rounding; most are at the later scales
      const from = filter.codes[i]! * channels;
      for (let c = 0; c < channels; c++) sum[c]! += share * codebook[from + c]!;
    }
    out.set(sum, row * channels);
  }
  return out;
}

/** What `smoothVectors` takes besides the logits. */
export interface SmoothOptions extends Rows {
  readonly codebook: Float32Array;
  readonly ratio: number;
  readonly noise: Float32Array;
}

/** Replaces the weights of the selected row by those of softmax((l (1 + ratio) + g) / tau); returns their sum. */
function gumbelSoftmax(
  { codes, values, weights, count }: RowFilter,
  { ratio, noise, at }: { ratio: number; noise: Float32Array; at: number },
): number {
  const tau = smoothTemperature(ratio);
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const gumbel = -Math.log(Math.max(noise[at + codes[i]!]!, 1e-37)); // noise of exactly 0 would win for ever
    const value = (values[i]! * (1 + ratio) + gumbel) / tau;
    weights[i] = value;
    if (value > max) max = value;
  }
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i] = Math.exp(weights[i]! - max);
  return total;
}

function rowsEnd(logits: Float32Array, codes: number): number {
  if (logits.length % codes === 0) return logits.length;
  throw new RangeError(`${logits.length} logits are no whole number of rows of ${codes} codes`);
}
