/** Shape rules of products and convolutions in 8 bits. What they compute: backends/reference/quantized.ts. */

import {
  at,
  fail,
  type InferContext,
  int,
  type Rule,
  wantDtype,
  wantInputs,
} from "./infer-context.ts";
import * as products from "./infer-products.ts";
import type { Dim, Shape } from "./shape.ts";

const isScalar = (shape: Shape): boolean => shape.length === 0;

/** Scales and zero points of whole tensors at those inputs. */
function wantScalars(c: InferContext, ...places: readonly number[]): void {
  if (places.some((i) => !isScalar(at(c, i).shape)))
    fail(c, "scales and zero points must be scalars; divide by scales of rows beforehand");
}

const LEVELS = ["uint8", "int8"] as const;

/** x, one scale and one zero point for all of it -> the dtype of the zero point. */
export const quantize: Rule = (c) => {
  wantInputs(c, 3);
  wantDtype(c, ["float32"]);
  wantDtype(c, ["float32"], 1);
  wantDtype(c, LEVELS, 2);
  wantScalars(c, 1, 2);
  return [{ dtype: at(c, 2).dtype, shape: [...at(c, 0).shape] }];
};

/** Levels back to numbers. */
export const dequantize: Rule = (c) => {
  wantInputs(c, 3);
  wantDtype(c, LEVELS);
  wantDtype(c, ["float32"], 1);
  if (at(c, 2).dtype !== at(c, 0).dtype) fail(c, "the zero point must be of the levels' dtype");
  wantScalars(c, 1, 2);
  return [{ dtype: "float32", shape: [...at(c, 0).shape] }];
};

/**
 * x uint8 B H W C with scale and zero point, weight int8 O C kh kw with scales (O) and zero points (O), scale and zero
 * point of the result, bias int32 (O) in units of both scales -> uint8 B H W O.
 */
export const conv: Rule = (c) => {
  wantInputs(c, 9);
  for (const i of [0, 2, 7]) wantDtype(c, ["uint8"], i);
  for (const i of [1, 4, 6]) wantDtype(c, ["float32"], i);
  for (const i of [3, 5]) wantDtype(c, ["int8"], i);
  wantDtype(c, ["int32"], 8);
  wantScalars(c, 1, 2, 6, 7);
  if (int(c, "channels_last", 0) !== 1)
    fail(c, "only images B H W C are supported; transpose them");
  const O = at(c, 3).shape[0];
  for (const i of [4, 5, 8])
    if (at(c, i).shape.length !== 1 || at(c, i).shape[0] !== O)
      fail(c, `input ${i} must be [${O}], one entry per output channel`);
  const like = (i: number, shape: Shape) => ({ ...at(c, i), dtype: "uint8" as const, shape });
  const image = at(c, 0).shape;
  if (image.length !== 4) fail(c, "wants images B H W C");
  const [B, H, W, C] = image as [Dim, Dim, Dim, Dim];
  const inputs = [like(0, [B, C, H, W]), like(3, at(c, 3).shape)];
  const [b, o, h, w] = products.conv({ ...c, inputs })[0]!.shape as [Dim, Dim, Dim, Dim];
  return [{ dtype: "uint8", shape: [b, h, w, o] }];
};

/** A uint8 (..., M, K), B int8 K N, A's scale and B's scales (N), A's zero point -> float32 (..., M, N). */
export const matmul: Rule = (c) => {
  wantInputs(c, 5);
  wantDtype(c, ["uint8"]); // the kernels for signed times signed are many times slower
  wantDtype(c, ["int8"], 1);
  wantDtype(c, ["float32"], 2);
  wantDtype(c, ["float32"], 3);
  wantDtype(c, ["uint8"], 4);
  if (at(c, 1).shape.length !== 2) fail(c, "the right side must be a matrix");
  wantScalars(c, 2, 4);
  const [a, b] = [at(c, 0), { ...at(c, 1), dtype: at(c, 0).dtype }];
  const { shape } = products.matmul({ ...c, inputs: [a, b] })[0]!;
  const scales = at(c, 3).shape;
  if (scales.length !== 1 || scales[0] !== shape.at(-1))
    fail(c, `the right side has ${shape.at(-1)} columns and scales [${scales}]; give one for each`);
  return [{ dtype: "float32", shape: [...shape] }];
};
