/** Shape rules of products in 8 bits. What they compute: backends/reference/quantized.ts. */

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
