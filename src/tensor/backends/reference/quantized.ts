/** Reference kernels of products in 8 bits. */

import { type Arr, arr } from "./array.ts";
import type { Kernel } from "./kernel.ts";
import { products } from "./products.ts";

const RANGE = { uint8: [0, 255], int8: [-128, 127] } as const;

/** To the nearest whole number, halves to the even one. */
function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** x / scale, rounded, moved by the zero point and kept in range. */
const quantize: Kernel = ({ x: [x, scale, zero] }) => {
  const { dtype, data } = zero!;
  const [least, most] = RANGE[dtype as keyof typeof RANGE];
  const out = arr(dtype, x!.shape);
  for (let i = 0; i < out.data.length; i++) {
    const level = roundEven(Math.fround(x!.data[i]! / scale!.data[0]!)) + data[0]!;
    out.data[i] = Math.min(most, Math.max(least, level));
  }
  return [out];
};

/** (A - zero)·B, exact, times A's scale and the scale of B's column. */
const matmul: Kernel = (c) => {
  const [a, b, scale, scales, zero] = c.x as [Arr, Arr, Arr, Arr, Arr];
  const moved = arr(
    "int32",
    a.shape,
    a.data.map((level) => level - zero.data[0]!),
  );
  const [product] = products.MatMul!({ ...c, x: [moved, b] }) as [Arr];
  const columns = scales.data.length;
  const out = arr("float32", product.shape);
  for (let i = 0; i < out.data.length; i++)
    out.data[i] = product.data[i]! * Math.fround(scale.data[0]! * scales.data[i % columns]!);
  return [out];
};

export const quantized: Readonly<Record<string, Kernel>> = {
  QuantizeLinear: quantize,
  MatMulIntegerToFloat: matmul,
};
