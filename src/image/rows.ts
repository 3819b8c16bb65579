/** Tensors on the host as rows along their first axis: zeros, a part, several together. Runs no graph. */

import { sizeOf, type Tensor } from "../formats/dtype.ts";

/** Zeros. */
export const float = (shape: readonly number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: new Float32Array(sizeOf(shape)),
});

/** Rows from `start` to before `end`, or to the last: a view. */
export function rowsOf({ dtype, shape, data }: Tensor, start: number, end: number): Tensor {
  const [n, ...rest] = shape as [number, ...number[]];
  const width = sizeOf(rest);
  const stop = Math.min(end, n);
  return {
    dtype,
    shape: [stop - start, ...rest],
    data: data.subarray(start * width, stop * width),
  };
}

/** Tensors of the same dtype and row shape, one after the other along the first axis. */
export function stack(parts: readonly Tensor[]): Tensor {
  const [one] = parts as [Tensor];
  if (parts.length === 1) return one;
  const n = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const shape = [n, ...one.shape.slice(1)];
  const Data = one.data.constructor as new (length: number) => Float32Array;
  const data = new Data(sizeOf(shape));
  let at = 0;
  for (const part of parts) {
    data.set(part.data as Float32Array, at);
    at += part.data.length;
  }
  return { dtype: one.dtype, shape, data };
}
