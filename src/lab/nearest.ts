/**
 * The nearest training picture: how far pictures are from what was learnt, in pixels or in features. Overfitting is
 * told by comparison: a model that copies is nearer to its training pictures than unseen pictures are.
 */

import type { PictureSet } from "../eval/network.ts";
import { quantile } from "./metrics.ts";

/** Vectors in rows: count x size. */
export interface Points {
  readonly count: number;
  readonly size: number;
  readonly data: Float32Array;
}

/** RGB pictures of one size in memory; an ImageDataset is one. */
export type Pictures = PictureSet;

/** Mirrored copies: training mirrors pictures, and a copy of a mirrored picture is a copy. */
export function mirrored({ count, width, height, pixels }: Pictures): Pictures {
  const out = new Uint8Array(pixels.length);
  for (let row = 0; row < count * height; row++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++)
        out[(row * width + width - 1 - x) * 3 + c] = pixels[(row * width + x) * 3 + c]!;
  return { count, width, height, pixels: out };
}

/** Several groups of vectors of one size as one. */
export function joined(parts: readonly Points[]): Points {
  const size = parts[0]?.size ?? 0;
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.data.length, 0));
  let at = 0;
  for (const part of parts) {
    if (part.size !== size) throw new RangeError(`joined: rows of ${part.size} beside ${size}`);
    data.set(part.data, at);
    at += part.data.length;
  }
  return { count: data.length / Math.max(1, size), size, data };
}

/**
 * Pictures as vectors of pixels in 0..1, averaged over squares of `cell` x `cell` pixels. Averaging lets pictures that
 * are the same but for a shift of a pixel or two stay near.
 */
export function shrunkPixels({ count, width, height, pixels }: Pictures, cell: number): Points {
  if (!(cell >= 1 && width % cell === 0 && height % cell === 0))
    throw new RangeError(
      `shrunkPixels: ${width}x${height} pixels do not split into squares of ${cell}`,
    );
  const [w, h] = [width / cell, height / cell];
  const data = new Float32Array(count * h * w * 3);
  for (let i = 0; i < count; i++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++) {
          const target = ((i * h + Math.floor(y / cell)) * w + Math.floor(x / cell)) * 3 + c;
          data[target]! += pixels[((i * height + y) * width + x) * 3 + c]!;
        }
  const scale = 1 / (255 * cell * cell);
  for (let i = 0; i < data.length; i++) data[i]! *= scale;
  return { count, size: h * w * 3, data };
}

/** Standard deviation of each of `channels` equal parts of the rows; 1 where nothing varies. */
export function channelSpread({ count, size, data }: Points, channels: number): Float32Array {
  const plane = size / channels;
  return Float32Array.from({ length: channels }, (_, c) => {
    let [sum, squares] = [0, 0];
    for (let i = 0; i < count; i++)
      for (let j = c * plane; j < (c + 1) * plane; j++) {
        const x = data[i * size + j]!;
        sum += x;
        squares += x * x;
      }
    const n = count * plane;
    const variance = squares / n - (sum / n) ** 2;
    return variance > 1e-12 ? Math.sqrt(variance) : 1;
  });
}

/** Rows with each channel divided by its spread, so that no channel counts more than another. */
export function evenly({ count, size, data }: Points, spread: Float32Array): Points {
  const plane = size / spread.length;
  const out = data.map((x, at) => x / spread[Math.floor((at % size) / plane)]!);
  return { count, size, data: out };
}

/** The nearest row for each query. */
export interface Nearest {
  readonly index: Int32Array;
  /** Root mean square difference per entry. */
  readonly distance: Float64Array;
}

/** Looks at every row; leaves one as soon as it cannot be the nearest. Of equally near rows the first. */
export function nearestOf(queries: Points, among: Points): Nearest {
  const { size } = queries;
  if (size !== among.size || among.count === 0)
    throw new RangeError(
      `nearestOf: queries of ${size} among ${among.count} rows of ${among.size}`,
    );
  const index = new Int32Array(queries.count);
  const distance = new Float64Array(queries.count);
  const [a, b] = [queries.data, among.data];
  for (let q = 0; q < queries.count; q++) {
    let best = Number.POSITIVE_INFINITY;
    for (let row = 0; row < among.count; row++) {
      const [from, to] = [q * size, row * size];
      let sum = 0;
      for (let j = 0; j < size && sum < best; ) {
        const stop = Math.min(size, j + 64); // looking back after each number would cost more than it saves
        for (; j < stop; j++) {
          const d = a[from + j]! - b[to + j]!;
          sum += d * d;
        }
      }
      if (sum < best) {
        best = sum;
        index[q] = row;
      }
    }
    distance[q] = Math.sqrt(best / size);
  }
  return { index, distance };
}

/** How near some pictures are to the training pictures, told beside a baseline. */
export interface Closeness {
  readonly count: number;
  readonly p10: number;
  readonly median: number;
  /** Share that is nearer than 95 % of the baseline: 0.05 for pictures as new as the baseline. */
  readonly suspicious: number;
}

/** @param baseline distances of pictures that were never trained on */
export function closeness(distance: Float64Array, baseline: Float64Array): Closeness {
  const limit = quantile(baseline, 0.05);
  return {
    count: distance.length,
    p10: quantile(distance, 0.1),
    median: quantile(distance, 0.5),
    suspicious: distance.filter((d) => d < limit).length / Math.max(1, distance.length),
  };
}
