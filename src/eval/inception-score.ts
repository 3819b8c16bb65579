/** Inception Score: whether a classifier is sure of each picture and finds many classes over all. Needs no reference. */

import { InputError } from "../formats/errors.ts";

export interface InceptionScore {
  /** Mean over the splits. */
  readonly mean: number;
  /** Standard deviation over the splits (divided by their number, as the published scripts do). */
  readonly std: number;
  readonly splits: number;
}

/**
 * exp E KL(p(y|x) || p(y)) over each of `splits` runs of neighbouring pictures (Salimans et al. 2016, arXiv 1606.03498).
 * Takes probabilities a few at a time; keeps only sums.
 */
export class InceptionScoreStream {
  readonly #of: number;
  readonly #splits: number;
  #count = 0;
  #sums: Float64Array[] = [];
  /** Σ p ln p of each split. */
  readonly #negentropy: Float64Array;
  readonly #counts: Float64Array;

  /** @param of pictures in all: which split a picture belongs to follows from it. @param options.splits default 10 */
  constructor(of: number, { splits = 10 }: { splits?: number } = {}) {
    if (of < splits)
      throw new InputError(
        `Inception Score over ${splits} splits needs as many pictures, got ${of}`,
      );
    this.#of = of;
    this.#splits = splits;
    this.#negentropy = new Float64Array(splits);
    this.#counts = new Float64Array(splits);
  }

  /** Probabilities of some pictures, row by row; each row sums to 1. */
  add(probabilities: ArrayLike<number>, classes: number): void {
    for (let at = 0; at < probabilities.length; at += classes) {
      if (this.#count >= this.#of)
        throw new RangeError(`Inception Score: more than the ${this.#of} pictures announced`);
      const split = Math.floor((this.#count++ * this.#splits) / this.#of);
      this.#sums[split] ??= new Float64Array(classes);
      const sums = this.#sums[split]!;
      this.#counts[split]! += 1;
      for (let c = 0; c < classes; c++) {
        const p = probabilities[at + c]!;
        sums[c]! += p;
        if (p > 0) this.#negentropy[split]! += p * Math.log(p);
      }
    }
  }

  score(): InceptionScore {
    if (this.#count !== this.#of)
      throw new RangeError(`Inception Score: ${this.#count} of ${this.#of} pictures came`);
    // E KL(p(y|x) || p(y)) = E Σ p ln p - Σ p̄ ln p̄
    const scores = this.#sums.map((sums, s) => {
      const n = this.#counts[s]!;
      const entropy = sums.reduce((h, sum) => (sum > 0 ? h - (sum / n) * Math.log(sum / n) : h), 0);
      return Math.exp(this.#negentropy[s]! / n + entropy);
    });
    const mean = scores.reduce((sum, x) => sum + x, 0) / scores.length;
    const std = Math.sqrt(scores.reduce((sum, x) => sum + (x - mean) ** 2, 0) / scores.length);
    return { mean, std, splits: this.#splits };
  }
}

/** Logits to probabilities in float64, row by row. */
export function softmaxRows(logits: ArrayLike<number>, classes: number): Float64Array {
  const out = new Float64Array(logits.length);
  for (let at = 0; at < logits.length; at += classes) {
    let most = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < classes; c++) most = Math.max(most, logits[at + c]!);
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += out[at + c] = Math.exp(logits[at + c]! - most);
    for (let c = 0; c < classes; c++) out[at + c]! /= sum;
  }
  return out;
}
