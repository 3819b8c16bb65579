/** Which codes of one row of logits survive top-k and top-p, without sorting the row. Knows nothing of scales or images. */

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
 * Ties fall as in PyTorch's stable sort. The trick: neither filter sorts the row. Values fall into 1024 equal buckets between the least and the largest; a
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
  readonly #tally = new Int32Array(BUCKETS);
  readonly #mass = new Float64Array(BUCKETS);
  readonly #all: Int32Array;
  #min = 0;
  #max = 0;
  readonly #order: Int32Array;

  /** @param size V, the length of a row */
  constructor(size: number, options: FilterOptions = {}) {
    checkFilter(options);
    const { topK = 0, topP = 0, temperature = 1 } = options;
    this.#size = size;
    this.#all = Int32Array.from({ length: size }, (_, v) => v);
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

  /** Copies the finite logits, divided by the temperature, into their buckets, and finds the least and the largest. */
  #gather(logits: Float32Array, start: number): void {
    const { codes, values } = this; // names of their own: the loops below run for every code of every token
    const bucketOf = this.#bucketOf;
    const tally = this.#tally.fill(0);
    const size = this.#size;
    const temperature = this.#temperature;
    const [top, scale] = this.#rangeOf(logits, start);
    let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    let isNumber = true;
    for (let v = 0; v < size; v++) {
      const value =
        temperature === 1 ? logits[start + v]! : Math.fround(logits[start + v]! / temperature);
      values[v] = value;
      if (value < min) min = value;
      if (value > max) max = value;
      if (Number.isNaN(value)) isNumber = false;
      const bucket = bucketIn(top, scale, value);
      bucketOf[v] = bucket;
      tally[bucket]!++;
    }
    if (!isNumber || max === Number.POSITIVE_INFINITY) refuse(logits, start);
    if (max === Number.NEGATIVE_INFINITY)
      throw new RangeError("all logits of a row are -infinity: nothing can be drawn");
    codes.set(this.#all);
    this.count = size;
    this.#max = max;
    this.#min = min;
    if (min > Number.NEGATIVE_INFINITY) return;
    this.#min = this.#dropInfinite();
    this.#spread();
  }

  /** Largest and buckets per unit of a sample of the row: good enough to spread it, as what lies outside is let in. */
  #rangeOf(logits: Float32Array, start: number): [top: number, scale: number] {
    let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let v = 0; v < this.#size; v += 16) {
      const value = logits[start + v]!;
      if (value < min && value > Number.NEGATIVE_INFINITY) min = value;
      if (value > max) max = value;
    }
    return [max / this.#temperature, ((BUCKETS - 1) * this.#temperature) / (max - min || 1)];
  }

  /** Drops what is -infinity; returns the least of the others. */
  #dropInfinite(): number {
    const { codes, values, count } = this;
    let kept = 0;
    let min = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const value = values[i]!;
      if (value === Number.NEGATIVE_INFINITY) continue;
      if (value < min) min = value;
      codes[kept] = codes[i]!;
      values[kept++] = value;
    }
    this.count = kept;
    return min;
  }

  /** Marks what lies below the k-th largest; its equals stay. */
  #keepLargest(): void {
    const { codes, values, count } = this;
    const [bucketOf, tally, order] = [this.#bucketOf, this.#tally, this.#order];
    let wanted = this.#topK;
    let bucket = BUCKETS - 1;
    while (tally[bucket]! < wanted) wanted -= tally[bucket--]!;
    let kept = 0;
    let inside = 0;
    for (let i = 0; i < count; i++) {
      const own = bucketOf[i]!;
      if (own < bucket) continue;
      codes[kept] = codes[i]!;
      values[kept] = values[i]!;
      if (own === bucket) order[inside++] = kept;
      kept++;
    }
    this.count = kept;
    this.#sort(inside);
    const least = values[order[inside - wanted]!]!;
    for (let j = 0; values[order[j]!]! < least; j++) codes[order[j]!] = DROPPED;
    this.#min = least;
  }

  /** exp(l - max) of what is left, and the sum; what was marked goes. */
  #weigh(): void {
    const { codes, values, weights, count } = this;
    const max = this.#max;
    let kept = 0;
    let total = 0;
    for (let i = 0; i < count; i++) {
      if (codes[i] === DROPPED) continue;
      const weight = Math.exp(values[i]! - max);
      codes[kept] = codes[i]!;
      values[kept] = values[i]!;
      weights[kept++] = weight;
      total += weight;
    }
    this.count = kept;
    this.total = total;
  }

  /** Drops, from the least up, what together has at most 1 - topP; of equals the lower code goes first. */
  #keepMass(): void {
    const { codes, values, weights, count } = this;
    const bucketOf = this.#bucketOf;
    const mass = this.#mass.fill(0);
    const scale = 1 / this.total;
    this.#spread();
    for (let i = 0; i < count; i++) mass[bucketOf[i]!]! += this.#share(i, scale);
    let below = 0;
    let bucket = 0;
    // The last bucket holds the largest, which always stays.
    while (bucket < BUCKETS - 1 && Math.fround(below + mass[bucket]!) <= this.#cut) {
      below += mass[bucket++]!;
    }
    const inside = this.#sortBucket(bucket);
    const last = bucket === BUCKETS - 1 ? inside - 1 : inside;
    for (let j = 0; j < last; j++) {
      below += this.#share(this.#order[j]!, scale);
      if (Math.fround(below) > this.#cut) break;
      codes[this.#order[j]!] = DROPPED;
    }
    let kept = 0;
    let total = 0;
    for (let i = 0; i < count; i++) {
      if (bucketOf[i]! < bucket || codes[i] === DROPPED) continue;
      codes[kept] = codes[i]!;
      values[kept] = values[i]!;
      weights[kept++] = weights[i]!;
      total += weights[i]!;
    }
    this.count = kept;
    this.total = total;
  }

  /** Probability in float32, as the official code has it; sums of these in float64 hardly depend on the order. */
  #share(i: number, scale: number): number {
    return Math.fround(this.weights[i]! * scale);
  }

  /** Puts each value into its bucket, the largest into the last one, and counts them. */
  #spread(): void {
    const { values, count } = this;
    const bucketOf = this.#bucketOf;
    const tally = this.#tally.fill(0);
    const [min, max] = [this.#min, this.#max];
    const scale = max > min ? (BUCKETS - 1) / (max - min) : 0;
    for (let i = 0; i < count; i++) {
      const bucket = bucketIn(max, scale, values[i]!);
      bucketOf[i] = bucket;
      tally[bucket]!++;
    }
  }

  /** The places of one bucket into `#order`, sorted. Returns how many. */
  #sortBucket(bucket: number): number {
    const [bucketOf, order] = [this.#bucketOf, this.#order];
    let n = 0;
    for (let i = 0; i < this.count; i++) if (bucketOf[i] === bucket) order[n++] = i;
    this.#sort(n);
    return n;
  }

  /** The first n places in `#order` ascending by value, then by code (shell sort). */
  #sort(n: number): void {
    const { values } = this;
    const order = this.#order;
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
  }
}

/** 0 to BUCKETS - 1, rising with the value: the last for `top` and what is above. */
function bucketIn(top: number, scale: number, value: number): number {
  const below = (top - value) * scale;
  return below >= BUCKETS - 1 ? 0 : below <= 0 ? BUCKETS - 1 : BUCKETS - 1 - (below | 0);
}

function refuse(logits: Float32Array, start: number): never {
  const v = logits.subarray(start).findIndex((logit) => !(logit < Number.POSITIVE_INFINITY));
  throw new RangeError(
    `logit of code ${v} is ${logits[start + v]}: the model's weights or inputs have diverged`,
  );
}
