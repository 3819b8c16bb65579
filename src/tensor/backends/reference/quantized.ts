/** Reference kernels of products and convolutions in 8 bits. */

import { type Arr, arr } from "./array.ts";
import type { Kernel } from "./kernel.ts";
import { movement } from "./movement.ts";
import { products } from "./products.ts";

const RANGE = { uint8: [0, 255], int8: [-128, 127] } as const;

/** To the nearest whole number, halves to the even one. */
function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** Rounded, moved by the zero point and kept in range. */
function toLevels(units: Float64Array, shape: readonly number[], zero: Arr): Arr {
  const [least, most] = RANGE[zero.dtype as keyof typeof RANGE];
  const level = (unit: number) => Math.min(most, Math.max(least, roundEven(unit) + zero.data[0]!));
  return arr(zero.dtype, shape, units.map(level));
}

const quantize: Kernel = ({ x: [x, scale, zero] }) => {
  const units = x!.data.map((v) => Math.fround(v / scale!.data[0]!));
  return [toLevels(units, x!.shape, zero!)];
};

const moved = ({ shape, data }: Arr, zero: number): Arr =>
  arr(
    "int32",
    shape,
    data.map((level) => level - zero),
  );

const dequantize: Kernel = ({ x: [x, scale, zero] }) => {
  const { shape, data } = moved(x!, zero!.data[0]!);
  return [
    arr(
      "float32",
      shape,
      data.map((level) => level * scale!.data[0]!),
    ),
  ];
};

const transpose = (x: Arr, perm: readonly number[]): Arr =>
  movement.Transpose!({ x: [x], attrs: { perm }, outputs: 1 })[0]!;

/** Exact sums times both scales, in units of the result's scale. Images with channels last. */
const conv: Kernel = (c) => {
  const [x, xScale, xZero, w, wScales, wZeros, yScale, yZero, bias] = c.x as Arr[];
  if (wZeros!.data.some((zero) => zero !== 0))
    throw new RangeError("QLinearConv: zero points of weights must be 0");
  const image = transpose(moved(x!, xZero!.data[0]!), [0, 3, 1, 2]);
  const sums = transpose(products.Conv!({ ...c, x: [image, w!, bias!] })[0]!, [0, 2, 3, 1]);
  const O = sums.shape[3]!;
  const units = sums.data.map((total, i) => {
    const channel = i % O;
    return Math.fround(total * ((xScale!.data[0]! * wScales!.data[channel]!) / yScale!.data[0]!));
  });
  return [toLevels(units, sums.shape, yZero!)];
};

/** (A - zero)·B, exact, times A's scale and the scale of B's column. */
const matmul: Kernel = (c) => {
  const [a, b, scale, scales, zero] = c.x as [Arr, Arr, Arr, Arr, Arr];
  const [product] = products.MatMul!({ ...c, x: [moved(a, zero.data[0]!), b] }) as [Arr];
  const columns = scales.data.length;
  const out = arr("float32", product.shape);
  for (let i = 0; i < out.data.length; i++)
    out.data[i] = product.data[i]! * Math.fround(scale.data[0]! * scales.data[i % columns]!);
  return [out];
};

export const quantized: Readonly<Record<string, Kernel>> = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  QLinearConv: conv,
  MatMulIntegerToFloat: matmul,
};
