/** Shape rules of products and convolutions in 8 bits. What they compute: backends/reference/quantized.ts. */

import { at, fail, type Rule, wantDtype, wantInputs } from "./infer-context.ts";
import * as products from "./infer-products.ts";
import type { Shape } from "./shape.ts";

const isScalar = (shape: Shape): boolean => shape.length === 0;

/** x, one scale and one zero point for all of it -> the dtype of the zero point. */
export const quantize: Rule = (c) => {
  wantInputs(c, 3);
  wantDtype(c, ["float32"]);
  wantDtype(c, ["float32"], 1);
  wantDtype(c, ["uint8", "int8"], 2);
  if (!isScalar(at(c, 1).shape) || !isScalar(at(c, 2).shape))
    fail(c, "scale and zero point must be scalars; divide by scales of rows beforehand");
  return [{ dtype: at(c, 2).dtype, shape: [...at(c, 0).shape] }];
};

/** Levels back to numbers. */
export const dequantize: Rule = (c) => {
  wantInputs(c, 3);
  wantDtype(c, ["uint8", "int8"]);
  wantDtype(c, ["float32"], 1);
  if (at(c, 2).dtype !== at(c, 0).dtype) fail(c, "the zero point must be of the levels' dtype");
  if (!isScalar(at(c, 1).shape) || !isScalar(at(c, 2).shape))
    fail(c, "scale and zero point must be scalars");
  return [{ dtype: "float32", shape: [...at(c, 0).shape] }];
};

/**
 * x uint8 B C H W with scale and zero point, weight int8 O C kh kw with scales (O) and zero points (O), scale and zero
 * point of the result, bias int32 (O) in units of both scales -> uint8.
 */
export const conv: Rule = (c) => {
  wantInputs(c, 9);
  for (const i of [0, 2, 7]) wantDtype(c, ["uint8"], i);
  for (const i of [1, 4, 6]) wantDtype(c, ["float32"], i);
  for (const i of [3, 5]) wantDtype(c, ["int8"], i);
  wantDtype(c, ["int32"], 8);
  if ([1, 2, 6, 7].some((i) => !isScalar(at(c, i).shape)))
    fail(c, "scales and zero points of images must be scalars");
  const O = at(c, 3).shape[0];
  for (const i of [4, 5, 8])
    if (at(c, i).shape.length !== 1 || at(c, i).shape[0] !== O)
      fail(c, `input ${i} must be [${O}], one entry per output channel`);
  const like = (i: number) => ({ ...at(c, i), dtype: "uint8" as const });
  return products.conv({ ...c, inputs: [like(0), like(3)] });
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
  if (!isScalar(at(c, 2).shape) || !isScalar(at(c, 4).shape))
    fail(c, "scale and zero point of the left side must be scalars");
  const [a, b] = [at(c, 0), { ...at(c, 1), dtype: at(c, 0).dtype }];
  const { shape } = products.matmul({ ...c, inputs: [a, b] })[0]!;
  const scales = at(c, 3).shape;
  if (scales.length !== 1 || scales[0] !== shape.at(-1))
    fail(c, `the right side has ${shape.at(-1)} columns and scales [${scales}]; give one for each`);
  return [{ dtype: "float32", shape: [...shape] }];
};
