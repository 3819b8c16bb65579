/** Small tensors for tests, from numbers or from a stream. Holds no assertions. */

import { type DType, HOST, sizeOf, type Tensor, type TypedArray } from "../../src/formats/dtype.ts";
import type { Rng } from "../../src/tensor/rng.ts";

/** A tensor of given numbers. */
export function tensor(
  shape: readonly number[],
  numbers: readonly number[],
  dtype: DType = "float32",
): Tensor {
  const data =
    dtype === "int64"
      ? BigInt64Array.from(numbers, BigInt)
      : (HOST[dtype].from(numbers as never) as TypedArray);
  return { dtype, shape, data };
}

export interface RandomOptions {
  low?: number;
  high?: number;
}

/** Uniform float32 in [low, high). */
export const floats = (
  rng: Rng,
  shape: readonly number[],
  { low = -2, high = 2 }: RandomOptions = {},
): Tensor =>
  tensor(
    shape,
    Array.from({ length: sizeOf(shape) }, () => low + (high - low) * rng.uniform()),
  );

/** Uniform integers in [low, high). */
export const integers = (
  rng: Rng,
  shape: readonly number[],
  { low = 0, high = 3, dtype = "int64" }: RandomOptions & { dtype?: DType } = {},
): Tensor =>
  tensor(
    shape,
    Array.from({ length: sizeOf(shape) }, () => low + rng.int(high - low)),
    dtype,
  );

export const bools = (rng: Rng, shape: readonly number[]): Tensor =>
  integers(rng, shape, { high: 2, dtype: "bool" });

/** Different floats far enough apart that no order depends on rounding, shuffled. */
export function distinct(rng: Rng, shape: readonly number[]): Tensor {
  const n = sizeOf(shape);
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = rng.int(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return tensor(
    shape,
    order.map((k) => (k - n / 2) * 0.37 + 0.05),
  );
}

/** All numbers of a tensor. */
export const numbers = (t: Tensor): number[] =>
  Array.from(t.data as ArrayLike<number | bigint>, Number);
