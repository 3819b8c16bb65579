/**
 * How pictures are brought to the size a network looks at, by name. The same pictures give another FID under another
 * kernel (Parmar et al. 2022, "On aliased resizing", arXiv 2104.11222), so every number names its kernel.
 */

import type { Tensor } from "../formats/dtype.ts";
import { bilinearMatrix } from "../image/quantizer-math.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import { constant } from "../tensor/graph.ts";
import { matmul, transpose } from "../tensor/ops.ts";

/** Weights of one axis: [to, from], rows sum to 1. */
type Kernel = (from: number, to: number) => Tensor;

const KERNELS = {
  /** Antialiased cubic (a = -0.5) as Pillow's on floats: what clean-fid does. Nothing is rounded or clipped. */
  bicubic: (from, to) => antialiased(from, to, { reach: 2, weight: keys }),
  /** Antialiased triangle, as Pillow's bilinear on floats. */
  bilinear: (from, to) => antialiased(from, to, { reach: 1, weight: (x) => Math.max(0, 1 - x) }),
  /** PyTorch's interpolate(mode="bilinear", align_corners=False) without antialias: what pytorch-fid does. */
  "torch-bilinear": bilinearMatrix,
  /** TensorFlow 1's resize_bilinear without half-pixel centres: inside the 2015 graph, so what the ADM evaluator does. */
  "tf1-bilinear": (from, to) =>
    axis(to, from, (i) => {
      const source = Math.min(from - 1, (i * from) / to);
      const left = Math.floor(source);
      return [
        [left, 1 - (source - left)],
        [Math.min(from - 1, left + 1), source - left],
      ];
    }),
} as const satisfies Record<string, Kernel>;

export type ResizeKernel = keyof typeof KERNELS;
export const RESIZE_KERNELS = Object.keys(KERNELS) as readonly ResizeKernel[];

/** The weights of a kernel for one axis. [to, from] */
export const resizeMatrix = (kernel: ResizeKernel, from: number, to: number): Tensor =>
  KERNELS[kernel](from, to);

/** Resizes maps to a square inside a graph, in float32, each axis for itself. B C H W -> B C to to; equal sides pass unchanged. */
export function resizeTo(x: Value, to: number, kernel: ResizeKernel): Value {
  const g: Graph = x.graph;
  const [H, W] = x.shape.slice(-2) as [number, number];
  const across = (v: Value, from: number) =>
    from === to ? v : matmul(v, constant(g, flipped(resizeMatrix(kernel, from, to))));
  const wide = across(x, W); // B C H to
  if (H === to) return wide;
  const turned = transpose(wide, [0, 1, 3, 2]); // B C to H
  return transpose(across(turned, H), [0, 1, 3, 2]);
}

/** Keys 1981 with a = -0.5, x >= 0. */
function keys(x: number): number {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/** A kernel that widens when it shrinks a picture, normalised over the pixels that exist, as Pillow's. */
function antialiased(
  from: number,
  to: number,
  { reach, weight }: { reach: number; weight: (x: number) => number },
): Tensor {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return axis(to, from, (i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach * stretch + 0.5));
    const taps = Array.from({ length: end - first }, (_, k): [number, number] => [
      first + k,
      weight(Math.abs(first + k - centre + 0.5) / stretch),
    ]);
    const sum = taps.reduce((total, [, w]) => total + w, 0);
    return taps.map(([j, w]): [number, number] => [j, w / sum]);
  });
}

function axis(to: number, from: number, row: (i: number) => readonly [number, number][]): Tensor {
  const data = new Float32Array(to * from);
  for (let i = 0; i < to; i++) for (const [j, w] of row(i)) data[i * from + j]! += w;
  return { dtype: "float32", shape: [to, from], data };
}

function flipped({ shape, data }: Tensor): Tensor {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = Number(data[i * columns + j]);
  return { dtype: "float32", shape: [columns, rows], data: out };
}
