/** The five row filters of PNG, both ways (ISO 15948, clause 9). Knows nothing of chunks or colours. */

import { InputError } from "./errors.ts";

interface Layout {
  /** Bytes in a row. */
  readonly stride: number;
  /** Bytes from a sample to its left neighbour: those of a whole pixel, at least 1. */
  readonly pixel: number;
}

/** Predictors from the left, upper and upper left byte, by filter number. */
const PREDICT = [
  (_a: number, _b: number, _c: number) => 0,
  (a: number, _b: number, _c: number) => a,
  (_a: number, b: number, _c: number) => b,
  (a: number, b: number, _c: number) => (a + b) >> 1,
  (a: number, b: number, c: number) => {
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  },
] as const;

/**
 * Filters rows for compression. Per row the filter with the smallest sum of absolute differences,
 * the heuristic the standard suggests (clause 12.8); the lowest number wins a tie.
 * @param data rows of `stride` bytes.
 * @returns rows of 1 + `stride` bytes.
 */
export function filterRows(data: Uint8Array, { stride, pixel }: Layout): Uint8Array {
  const rows = data.length / stride;
  const out = new Uint8Array(rows * (stride + 1));
  const zero = new Uint8Array(stride);
  const candidates = PREDICT.map(() => new Uint8Array(stride));
  for (let r = 0; r < rows; r++) {
    const row = data.subarray(r * stride, (r + 1) * stride);
    const up = r > 0 ? data.subarray((r - 1) * stride, r * stride) : zero;
    let best = 0;
    let bestSum = Number.POSITIVE_INFINITY;
    for (const [f, predict] of PREDICT.entries()) {
      const to = candidates[f]!;
      let sum = 0;
      for (let i = 0; i < stride; i++) {
        const a = i < pixel ? 0 : row[i - pixel]!;
        const c = i < pixel ? 0 : up[i - pixel]!;
        const d = (row[i]! - predict(a, up[i]!, c)) & 255;
        to[i] = d;
        sum += d < 128 ? d : 256 - d;
      }
      if (sum < bestSum) [best, bestSum] = [f, sum];
    }
    out[r * (stride + 1)] = best;
    out.set(candidates[best]!, r * (stride + 1) + 1);
  }
  return out;
}

/** Undoes `filterRows`: rows of 1 + `stride` bytes to rows of `stride`. */
export function unfilterRows(filtered: Uint8Array, { stride, pixel }: Layout): Uint8Array {
  const rows = filtered.length / (stride + 1);
  const out = new Uint8Array(rows * stride);
  const zero = new Uint8Array(stride);
  for (let r = 0; r < rows; r++) {
    const at = r * (stride + 1);
    const predict = PREDICT[filtered[at]!];
    if (!predict)
      throw new InputError(`png: row ${r} has filter ${filtered[at]}; known are 0 to 4`);
    const row = out.subarray(r * stride, (r + 1) * stride);
    const up = r > 0 ? out.subarray((r - 1) * stride, r * stride) : zero;
    for (let i = 0; i < stride; i++) {
      const a = i < pixel ? 0 : row[i - pixel]!;
      const c = i < pixel ? 0 : up[i - pixel]!;
      row[i] = filtered[at + 1 + i]! + predict(a, up[i]!, c);
    }
  }
  return out;
}
