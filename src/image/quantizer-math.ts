/** The constant matrices of the multi-scale quantizer: resizing as matrix products. Runs no graph, holds no weights. */

import type { Tensor } from "../formats/dtype.ts";
import { mapShape, mapTokens, type PatchNum } from "./scales.ts";

/**
 * A resize along one axis is a matrix product: resized = M X N^T with M [to, from] along y and N along x. All rows
 * sum to 1.
 */
function matrix(
  to: number,
  from: number,
  row: (i: number, add: (j: number, w: number) => void) => void,
): Tensor {
  for (const [name, side] of Object.entries({ to, from })) {
    if (!Number.isInteger(side) || side < 1) {
      throw new RangeError(`resize matrix: ${name} is ${side}, want a side of at least 1`);
    }
  }
  const sums = new Float64Array(to * from); // float64, as taps clamped to one place add up
  for (let i = 0; i < to; i++) row(i, (j, w) => (sums[i * from + j]! += w));
  return { dtype: "float32", shape: [to, from], data: Float32Array.from(sums) };
}

/** Adaptive average pooling ("area"): cell i is the mean over floor(i from/to) to ceil((i+1) from/to) - 1. [to, from] */
export function areaMatrix(from: number, to: number): Tensor {
  return matrix(to, from, (i, add) => {
    const first = Math.floor((i * from) / to);
    const end = Math.ceil(((i + 1) * from) / to);
    for (let j = first; j < end; j++) add(j, 1 / (end - first));
  });
}

const A = -0.75; // the sharpness PyTorch uses; OpenCV's too, Pillow's is -0.5

/** Cubic convolution kernel at distance x from the tap; Keys 1981, "Cubic convolution interpolation", eq. 15 with a = A. */
function cubic(x: number): number {
  if (x <= 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
  return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
}

/** Bicubic as PyTorch's `interpolate(mode="bicubic", align_corners=False)`, without antialias. [to, from] */
export function bicubicMatrix(from: number, to: number): Tensor {
  return matrix(to, from, (i, add) => {
    const source = ((i + 0.5) * from) / to - 0.5; // may be negative: taps are clamped, the position is not
    const left = Math.floor(source);
    for (let tap = left - 1; tap <= left + 2; tap++) {
      add(Math.min(from - 1, Math.max(0, tap)), cubic(Math.abs(source - tap)));
    }
  });
}

/** Bilinear as PyTorch's `interpolate(mode="bilinear", align_corners=False)`, without antialias. [to, from] */
export function bilinearMatrix(from: number, to: number): Tensor {
  return matrix(to, from, (i, add) => {
    const source = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const left = Math.floor(source);
    add(left, 1 - (source - left));
    add(Math.min(from - 1, left + 1), source - left);
  });
}

/**
 * M X N^T for maps on the host, in float64; the graph does the same with two matrix products.
 * @param along M [H, h] along y, N [W, w] along x @param maps [n, h, w] flat @returns [n, H, W] flat
 */
export function resizeMaps(
  along: readonly [Tensor, Tensor],
  maps: ArrayLike<number>,
): Float32Array {
  const [H, h] = along[0].shape as [number, number];
  const [W, w] = along[1].shape as [number, number];
  const [rows, columns] = along.map(({ data }) => data as Float32Array) as [
    Float32Array,
    Float32Array,
  ];
  const count = maps.length / (h * w);
  const out = new Float32Array(count * H * W);
  const half = new Float64Array(H * w);
  for (let n = 0; n < count; n++) {
    const base = n * h * w;
    for (let i = 0; i < H; i++) {
      for (let x = 0; x < w; x++) {
        let sum = 0;
        for (let y = 0; y < h; y++) sum += rows[i * h + y]! * maps[base + y * w + x]!;
        half[i * w + x] = sum;
      }
    }
    for (let i = 0; i < H; i++) {
      for (let j = 0; j < W; j++) {
        let sum = 0;
        for (let x = 0; x < w; x++) sum += half[i * w + x]! * columns[j * w + x]!;
        out[(n * H + i) * W + j] = sum;
      }
    }
  }
  return out;
}

/**
 * Which phi convolution each scale uses: the nearest of `phis` ticks to k / (scales - 1).
 * For 10 scales and 4 phis two scales lie exactly between ticks; the rounding of float64 decides, and with these
 * very expressions it decides as the official code: [0,0,1,1,1,2,2,3,3,3].
 */
export function phiIndex(scales: number, phis: number): number[] {
  const edge = phis === 4 ? 1 / 3 / phis : 1 / 2 / phis;
  const last = 1 - edge;
  const step = (last - edge) / (phis - 1);
  const ticks = Array.from({ length: phis }, (_, i) =>
    i > 0 && i === phis - 1 ? last : i === 0 ? edge : i * step + edge,
  );
  return Array.from({ length: scales }, (_, k) => {
    const at = scales === 1 ? 0 : k / (scales - 1);
    const distances = ticks.map((tick) => Math.abs(tick - at));
    return distances.indexOf(Math.min(...distances)); // the first of equals
  });
}

/**
 * Where an edit keeps the given picture at one scale: the mask resized bilinearly, compared with one half.
 * Maps of up to three tokens are always kept, as they decide the whole picture.
 * @param mask 1 keep, 0 generate, flat @param shape the mask's
 * @returns the map `pn`, flat, of 0 and 1
 */
export function maskAtScale(
  mask: ArrayLike<number>,
  [h, w]: readonly [height: number, width: number],
  pn: PatchNum,
): Uint8Array {
  if (mapTokens(pn) <= 3) return new Uint8Array(mapTokens(pn)).fill(1);
  const [toHeight, toWidth] = mapShape(pn);
  const soft = resizeMaps([bilinearMatrix(h, toHeight), bilinearMatrix(w, toWidth)], mask);
  return Uint8Array.from(soft, (v) => (v > 0.5 ? 1 : 0));
}
