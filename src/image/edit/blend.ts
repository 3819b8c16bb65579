/** Puts a drawn picture into the one it was drawn for, pixel by pixel, so that the seam is not seen. Draws nothing. */

import type { Picture } from "../sheet.ts";
import type { Mask } from "./mask.ts";

/** How kept pixels and drawn ones meet. */
export const BLENDS = {
  /** As the decoder gives it: kept places are as the tokenizer can tell them. */
  none: { keeps: false, shifts: false },
  /** Kept pixels are the picture's own; the mask's soft edge mixes. */
  feather: { keeps: true, shifts: false },
  /** The same, and the drawn part is shifted in colour so that it meets its surroundings at the edge. */
  seamless: { keeps: true, shifts: true },
} as const;
export type Blend = keyof typeof BLENDS;

/** Pixels of standard deviation that hide a seam best at 64 pixels a side (bench/results/edit-quality.md). */
const SOFT = 2;
/** A soft edge is at most this share of how deep the hole is: a wider one would bring back what a thin stroke is to remove. */
const DEEP = 1 / 4;

/** The usual soft edge of a mask, in pixels of standard deviation: 2, and less where what is drawn is thin. */
export const softEdge = (mask: Mask): number => Math.min(SOFT, DEEP * depthOf(mask));

/** The longest way from a drawn pixel to one that is kept whole, in chessboard steps; all of the size where nothing is kept. */
function depthOf({ width, height, data }: Mask): number {
  const far = Math.max(width, height);
  const steps = new Uint16Array(width * height).fill(far);
  let deepest = 0;
  for (const back of [false, true])
    for (let n = 0; n < data.length; n++) {
      const i = back ? data.length - 1 - n : n;
      const [x, y] = [i % width, Math.floor(i / width)];
      const [side, row] = back ? [1, 1] : [-1, -1];
      const at = (dx: number, dy: number) => {
        const inside = x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height;
        return inside ? steps[i + dy * width + dx]! + 1 : far;
      };
      const near = Math.min(at(side, 0), at(-1, row), at(0, row), at(1, row));
      steps[i] = data[i]! >= 1 ? 0 : Math.min(steps[i]!, near);
      if (back) deepest = Math.max(deepest, steps[i]!);
    }
  return deepest;
}

/**
 * Both pictures and the mask are of one size. `feather` widens the edge, in pixels of standard deviation; default
 * `softEdge`.
 */
export function blendInto(
  picture: Picture,
  drawn: Picture,
  { mask, blend, feather = softEdge(mask) }: { mask: Mask; blend: Blend; feather?: number },
): Picture {
  const { keeps, shifts } = BLENDS[blend];
  if (!keeps) return drawn;
  const { width, height } = picture;
  const meets = shifts ? withSurroundings(picture, drawn, mask) : Float32Array.from(drawn.data);
  const soft = feather > 0 ? softened(mask, feather) : mask.data;
  const data = new Uint8Array(picture.data.length);
  for (let i = 0; i < data.length; i++) {
    const m = soft[Math.floor(i / 3)]!;
    const value = m * picture.data[i]! + (1 - m) * meets[i]!;
    data[i] = Math.min(255, Math.max(0, Math.round(value)));
  }
  return { width, height, channels: 3, data };
}

/**
 * The drawn part plus the smoothest correction that makes its edge meet the kept pixels: a membrane stretched over
 * the hole between their differences. Pérez et al. 2003, "Poisson Image Editing", eq. 4 and section 3. H W 3
 */
function withSurroundings(picture: Picture, drawn: Picture, mask: Mask): Float32Array {
  const n = mask.data.length;
  const out = Float32Array.from(drawn.data);
  const hole = Uint8Array.from(mask.data, (m) => (m < 1 ? 1 : 0));
  if (!hole.includes(0)) return out; // nothing is kept, so there is nothing to meet
  const plane = new Float32Array(n);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < n; i++)
      plane[i] = hole[i] ? 0 : picture.data[i * 3 + c]! - drawn.data[i * 3 + c]!;
    membrane(plane, hole, mask);
    for (let i = 0; i < n; i++) if (hole[i]) out[i * 3 + c]! += plane[i]!;
  }
  return out;
}

/** Sweeps at each resolution; halving the picture first leaves little for them to do. */
const SWEEPS = 24;
/** Over-relaxation for few sweeps from a good start. */
const RELAX = 1.5;
const SMALLEST = 4;

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Solves Laplace's equation in the hole, in place; values outside are the boundary. Coarse to fine. */
function membrane(values: Float32Array, hole: Uint8Array, { width, height }: Size): void {
  if (Math.min(width, height) > SMALLEST && hole.includes(1)) {
    const half = { width: Math.ceil(width / 2), height: Math.ceil(height / 2) };
    const { coarse, open } = halved(values, hole, { width, height, half });
    membrane(coarse, open, half);
    for (let i = 0; i < values.length; i++)
      if (hole[i]) {
        const [x, y] = [i % width, Math.floor(i / width)];
        values[i] = coarse[(y >> 1) * half.width + (x >> 1)]!;
      }
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const i = y * width + x;
        if (!hole[i]) continue;
        let [sum, count] = [0, 0];
        if (x > 0) [sum, count] = [sum + values[i - 1]!, count + 1];
        if (x + 1 < width) [sum, count] = [sum + values[i + 1]!, count + 1];
        if (y > 0) [sum, count] = [sum + values[i - width]!, count + 1];
        if (y + 1 < height) [sum, count] = [sum + values[i + width]!, count + 1];
        values[i]! += RELAX * (sum / count - values[i]!);
      }
}

/** Means of the known values of each 2x2 cell; a cell without one is open. */
function halved(
  values: Float32Array,
  hole: Uint8Array,
  { width, height, half }: Size & { half: Size },
): { coarse: Float32Array; open: Uint8Array } {
  const coarse = new Float32Array(half.width * half.height);
  const counts = new Uint8Array(coarse.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      if (hole[i]) continue;
      const at = (y >> 1) * half.width + (x >> 1);
      coarse[at]! += values[i]!;
      counts[at]! += 1;
    }
  for (let at = 0; at < coarse.length; at++) if (counts[at]) coarse[at]! /= counts[at]!;
  return { coarse, open: Uint8Array.from(counts, (n) => (n === 0 ? 1 : 0)) };
}

/**
 * The mask with what is kept whole under a Gaussian of `sigma` pixels: 1 stays 1, as feathering only reaches into what
 * is drawn, and a mask that is soft by itself stays at least as it is.
 */
function softened({ width, height, data }: Mask, sigma: number): Float32Array {
  const reach = Math.ceil(3 * sigma);
  const weights = Float64Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)),
  );
  const total = weights.reduce((a, b) => a + b, 0);
  const along = (from: Float32Array, step: number, size: number, place: (i: number) => number) =>
    from.map((_, i) => {
      const at = place(i);
      let sum = 0;
      for (let d = -reach; d <= reach; d++) {
        const clamped = Math.min(size - 1, Math.max(0, at + d));
        sum += weights[d + reach]! * from[i + (clamped - at) * step]!;
      }
      return sum / total;
    });
  const whole = data.map((m) => (m >= 1 ? 1 : 0));
  const rows = along(whole, 1, width, (i) => i % width);
  const both = along(rows, width, height, (i) => Math.floor(i / width));
  // Twice what is blurred: half at the edge becomes all of it, so the seam fades from there.
  return data.map((m, i) => (m >= 1 ? 1 : Math.max(m, Math.min(1, 2 * both[i]!))));
}

/** Mean absolute step across the mask's edge, over neighbouring pixels kept and drawn, in 8-bit values. */
export function seamError({ data, width, height }: Picture, mask: Mask): number {
  let [sum, count] = [0, 0];
  const step = (i: number, j: number) => {
    if (mask.data[i]! >= 0.5 === mask.data[j]! >= 0.5) return;
    for (let c = 0; c < 3; c++) sum += Math.abs(data[i * 3 + c]! - data[j * 3 + c]!);
    count += 3;
  };
  for (let i = 0; i < mask.data.length; i++) {
    if ((i + 1) % width !== 0) step(i, i + 1);
    if (i + width < width * height) step(i, i + width);
  }
  return count === 0 ? 0 : sum / count;
}
