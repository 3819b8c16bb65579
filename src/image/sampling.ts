/** From logits to tokens: guidance, temperature, top-k, top-p, the draw. Plain typed arrays; runs no graph. */

import { InputError } from "../formats/errors.ts";

/** What narrows the distribution of a token before it is drawn. */
export interface FilterOptions {
  /** Keep the k largest logits, and those equal to the k-th; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keep the most probable codes that together reach this probability; 0 keeps all. Default 0. */
  readonly topP?: number;
  /** Logits are divided by it first; below 1 sharpens. Default 1. */
  readonly temperature?: number;
}

/** Scale k of K: from 0 at the first to 1 at the last. */
export const scaleRatio = (k: number, scales: number): number =>
  scales === 1 ? 0 : k / (scales - 1);

/**
 * Classifier-free guidance with a strength that rises with the scale: t = guidance * ratio,
 * logits = (1 + t) conditional - t unconditional. So 0 is no guidance, and the first scale has none.
 * Written over the first half and returned as a view of it; rounded as float32 arithmetic does.
 * @param logits [2B, L, V] flat, the unconditional rows last @returns [B, L, V]
 */
export function guide(logits: Float32Array, t: number): Float32Array {
  const n = logits.length / 2;
  const [up, down] = [Math.fround(1 + t), Math.fround(t)];
  for (let i = 0; i < n; i++) {
    logits[i] = Math.fround(up * logits[i]!) - Math.fround(down * logits[n + i]!);
  }
  return logits.subarray(0, n);
}

/** @throws InputError unless the options make sense. */
export function checkFilter({ topK = 0, topP = 0, temperature = 1 }: FilterOptions): void {
  if (!(Number.isInteger(topK) && topK >= 0)) {
    throw new InputError(`top-k must be a whole number, 0 for off, got ${topK}`, { topK });
  }
  if (!(topP >= 0 && topP <= 1)) {
    throw new InputError(`top-p must lie from 0 (off) to 1, got ${topP}`, { topP });
  }
  if (!(temperature >= 1e-4 && temperature < Number.POSITIVE_INFINITY)) {
    throw new InputError(
      `temperature must be at least 0.0001, got ${temperature}; for the likeliest code use top-k 1`,
      { temperature },
    );
  }
}

const BUCKETS = 1024;
const DROPPED = -1;

/**
 * The codes that survive the filters in one row of logits, and their probabilities. Made once per run of rows: all
 * memory is taken here, and a row costs O(V) and allocates nothing.
 *
 * The trick: neither filter sorts the row. Values fall into 1024 equal buckets between the least and the largest; a
 * count (top-k) or a mass (top-p) over the buckets finds the one where the cut lies, and only that one is sorted.
 */
export class RowFilter {
  /** Surviving codes in ascending order; the first `count` are valid. */
  readonly codes: Int32Array;
  /** Their logits after the temperature, beside `codes`. */
  readonly values: Float32Array;
  /** Their unnormalised probabilities exp(l - max), beside `codes`. */
  readonly weights: Float64Array;
  /** Sum of the weights. */
  total = 0;
  count = 0;

  readonly #topK: number;
  readonly #cut: number;
  readonly #temperature: number;
  readonly #size: number;
  readonly #bucketOf: Uint16Array;
  readonly #tally = new Float64Array(BUCKETS);
  readonly #order: Int32Array;

  /** @param size V, the length of a row */
  constructor(size: number, options: FilterOptions = {}) {
    checkFilter(options);
    const { topK = 0, topP = 0, temperature = 1 } = options;
    this.#size = size;
    this.#topK = topK === 0 ? size : Math.min(topK, size);
    this.#cut = topP === 0 ? -1 : Math.fround(1 - topP); // compared in float32, as the official code does
    this.#temperature = temperature;
    this.codes = new Int32Array(size);
    this.weights = new Float64Array(size);
    this.values = new Float32Array(size);
    this.#bucketOf = new Uint16Array(size);
    this.#order = new Int32Array(size);
  }

  /**
   * Selects from `logits[start .. start + V)`. Codes at -infinity never survive.
   * @throws RangeError on NaN, +infinity, or nothing finite: the model has diverged
   */
  select(logits: Float32Array, start = 0): void {
    this.#gather(logits, start);
    if (this.#topK < this.count) this.#keepLargest();
    this.#weigh();
    if (this.#cut >= 0) this.#keepMass();
  }

  /** The code where the cumulative probability passes `u` in [0, 1). */
  draw(u: number): number {
    let rest = u * this.total;
    for (let i = 0; i < this.count; i++) {
      rest -= this.weights[i]!;
      if (rest < 0) return this.codes[i]!;
    }
    return this.codes[this.count - 1]!; // rounding left a crumb
  }

  /** Copies the finite logits, divided by the temperature. */
  #gather(logits: Float32Array, start: number): void {
    let count = 0;
    for (let v = 0; v < this.#size; v++) {
      const logit = logits[start + v]!;
      if (logit === Number.NEGATIVE_INFINITY) continue;
      if (!(logit < Number.POSITIVE_INFINITY)) {
        throw new RangeError(
          `logit of code ${v} is ${logit}: the model's weights or inputs have diverged`,
        );
      }
      this.codes[count] = v;
      this.values[count++] = logit / this.#temperature;
    }
    if (count === 0)
      throw new RangeError("all logits of a row are -infinity: nothing can be drawn");
    this.count = count;
  }

  /** Drops what lies below the k-th largest; its equals stay. */
  #keepLargest(): void {
    this.#spread();
    const tally = this.#tally.fill(0);
    for (let i = 0; i < this.count; i++) tally[this.#bucketOf[i]!]!++;
    let wanted = this.#topK;
    let bucket = BUCKETS - 1;
    while (tally[bucket]! < wanted) wanted -= tally[bucket--]!;
    const inside = this.#sortBucket(bucket);
    const least = this.values[this.#order[inside - wanted]!]!;
    for (let i = 0; i < this.count; i++) if (this.values[i]! < least) this.codes[i] = DROPPED;
    this.#compact();
  }

  /** exp(l - max) of what is left, and the sum. */
  #weigh(): void {
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < this.count; i++) if (this.values[i]! > max) max = this.values[i]!;
    let total = 0;
    for (let i = 0; i < this.count; i++) total += this.weights[i] = Math.exp(this.values[i]! - max);
    this.total = total;
  }

  /** Drops, from the least up, what together has at most 1 - topP; of equals the lower code goes first. */
  #keepMass(): void {
    this.#spread();
    const tally = this.#tally.fill(0);
    const scale = 1 / this.total;
    for (let i = 0; i < this.count; i++) tally[this.#bucketOf[i]!]! += this.#share(i, scale);
    let below = 0;
    let bucket = 0;
    // The last bucket holds the largest, which always stays.
    while (bucket < BUCKETS - 1 && Math.fround(below + tally[bucket]!) <= this.#cut) {
      below += tally[bucket++]!;
    }
    const inside = this.#sortBucket(bucket);
    const last = bucket === BUCKETS - 1 ? inside - 1 : inside;
    let dropped = 0;
    for (; dropped < last; dropped++) {
      below += this.#share(this.#order[dropped]!, scale);
      if (Math.fround(below) > this.#cut) break;
    }
    for (let j = 0; j < dropped; j++) this.codes[this.#order[j]!] = DROPPED;
    for (let i = 0; i < this.count; i++) if (this.#bucketOf[i]! < bucket) this.codes[i] = DROPPED;
    this.#compact();
    this.total = 0;
    for (let i = 0; i < this.count; i++) this.total += this.weights[i]!;
  }

  /** Probability in float32, as the official code has it; sums of these in float64 hardly depend on the order. */
  #share(i: number, scale: number): number {
    return Math.fround(this.weights[i]! * scale);
  }

  /** Puts each value into its bucket; the largest value is always in the last one. */
  #spread(): void {
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < this.count; i++) {
      const value = this.values[i]!;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    const scale = max > min ? BUCKETS / (max - min) : 0;
    for (let i = 0; i < this.count; i++) {
      this.#bucketOf[i] = Math.max(0, BUCKETS - 1 - Math.floor((max - this.values[i]!) * scale));
    }
  }

  /** The places of one bucket into `#order`, ascending by value, then by code (shell sort). Returns how many. */
  #sortBucket(bucket: number): number {
    const { values } = this;
    const order = this.#order;
    let n = 0;
    for (let i = 0; i < this.count; i++) if (this.#bucketOf[i] === bucket) order[n++] = i;
    for (let gap = n >> 1; gap > 0; gap = gap === 2 ? 1 : Math.floor(gap / 2.2)) {
      for (let j = gap; j < n; j++) {
        const place = order[j]!;
        const value = values[place]!;
        let at = j;
        for (; at >= gap; at -= gap) {
          const other = order[at - gap]!;
          const larger = values[other]! > value || (values[other]! === value && other > place);
          if (!larger) break;
          order[at] = other;
        }
        order[at] = place;
      }
    }
    return n;
  }

  /** Closes the gaps left by dropped codes. */
  #compact(): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (this.codes[i] === DROPPED) continue;
      this.codes[kept] = this.codes[i]!;
      this.values[kept] = this.values[i]!;
      this.weights[kept++] = this.weights[i]!;
    }
    this.count = kept;
  }
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
