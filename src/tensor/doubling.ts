/** Doubling an image and convolving it, for inference: four small convolutions. The form for training is in ops.ts. */

import type { TypedArray } from "../formats/dtype.ts";
import { deriveWeights } from "../formats/lazy.ts";
import { isConstant, sharedConstant, type Value } from "./graph.ts";
import { concat, conv2d, reshape, upsample2xConv } from "./ops.ts";
import { type Dim, ShapeError } from "./shape.ts";

/**
 * Of the doubled image, the pixels of even rows see the rows i - 1 (once) and i (twice), those of odd rows i (twice)
 * and i + 1: per axis, which taps of three fall together, for even and for odd places.
 */
const TOGETHER = [
  [0, 1, 1],
  [0, 0, 1],
] as const;

/** [row, column] of the four interleaved images, even = 0. */
const PHASES = [
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
] as const;

/**
 * conv2d(upsample2x(x), weight, { bias, pad: 1 }) for constant 3x3 kernels: one 2x2 convolution for each of the four
 * images of which the result is interleaved. 4/9 of the work, at the speed of convolutions, which the runtime's
 * transposed ones do not reach (VAR's decoder, 160 to 640 channels: 100 ms instead of 266).
 * x B C H W -> B O 2H 2W.
 */
export function doubledConv(x: Value, weight: Value, bias: Value): Value {
  if (!isConstant(weight)) return upsample2xConv(x, weight, bias);
  const [B, C, H, W] = x.shape as [Dim, number, number, number];
  const [O, , kh, kw] = weight.shape as [number, number, number, number];
  if (kh !== 3 || kw !== 3)
    throw new ShapeError(`doubledConv: got a ${kh}x${kw} kernel, want 3x3; use upsample2x, conv2d`);
  const kernels = deriveWeights(weight.graph.constants.get(weight)!, {
    name: "2x2 kernels of a doubled image, 1",
    outputs: Object.fromEntries(
      PHASES.map((phase) => [String(phase), { dtype: "float32", shape: [O, C, 2, 2] }] as const),
    ),
    make: (data) =>
      Object.fromEntries(PHASES.map((phase) => [String(phase), phaseKernel(data, phase)])),
  });
  const image = ([row, column]: readonly [number, number]): Value => {
    const name = `${weight.name} ${row}${column}`;
    const kernel = sharedConstant(x.graph, name, () => kernels[`${row},${column}`]!, name);
    return conv2d(x, kernel, { bias, pad: [1 - row, 1 - column, row, column] }); // B O H W
  };
  const [a, b, c, d] = PHASES.map((phase) => reshape(image(phase), [B, O, H, W, 1]));
  const rows = (even: Value, odd: Value) => reshape(concat([even, odd], 4), [B, O, H, 1, 2 * W]);
  return reshape(concat([rows(a!, b!), rows(c!, d!)], 3), [B, O, 2 * H, 2 * W]);
}

/** O C 3 3 -> O C 2 2: the taps that see the same pixel, added up. */
function phaseKernel(data: TypedArray, [row, column]: readonly [number, number]): Float32Array {
  const from = data as Float32Array;
  const out = new Float32Array((from.length / 9) * 4);
  const [rows, columns] = [TOGETHER[row as 0 | 1], TOGETHER[column as 0 | 1]];
  const sums = new Float64Array(4);
  for (let kernel = 0; kernel < from.length / 9; kernel++) {
    sums.fill(0);
    for (let i = 0; i < 9; i++)
      sums[2 * rows[(i / 3) | 0]! + columns[i % 3]!]! += from[9 * kernel + i]!;
    out.set(sums, 4 * kernel);
  }
  return out;
}
