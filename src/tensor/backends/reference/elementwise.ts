/** Reference kernels that work element by element, with broadcasting. */

import type { DType } from "../../../formats/dtype.ts";
import { ONNX_DTYPE } from "../../../formats/onnx.ts";
import { type Arr, arr, broadcastStrides, commonShape, walk } from "./array.ts";
import { type Kernel, num } from "./kernel.ts";

const map =
  (f: (x: number) => number): Kernel =>
  ({ x: [x] }) => [arr(x!.dtype, x!.shape, x!.data.map(f))];

const zip =
  (f: (a: number, b: number) => number, dtype?: DType): Kernel =>
  ({ x: [a, b] }) => {
    const shape = commonShape([a!.shape, b!.shape]);
    const out = arr(dtype ?? a!.dtype, shape);
    const strides = [a!, b!].map((v) => broadcastStrides(v.shape, shape));
    walk(shape, strides, (i, [p, q]) => {
      out.data[i] = f(a!.data[p!]!, b!.data[q!]!);
    });
    return [out];
  };
const compare = (f: (a: number, b: number) => boolean): Kernel =>
  zip((a, b) => Number(f(a, b)), "bool");

/** Integers divide towards zero, as in C. */
const divide: Kernel = (c) =>
  (c.x[0]!.dtype.startsWith("float") ? zip((a, b) => a / b) : zip((a, b) => Math.trunc(a / b)))(c);

const where: Kernel = ({ x: [condition, a, b] }) => {
  const all = [condition!, a!, b!];
  const shape = commonShape(all.map((v) => v.shape));
  const out = arr(a!.dtype, shape);
  const strides = all.map((v) => broadcastStrides(v.shape, shape));
  walk(shape, strides, (i, [p, q, r]) => {
    out.data[i] = condition!.data[p!] ? a!.data[q!]! : b!.data[r!]!;
  });
  return [out];
};

const clip: Kernel = ({ x: [x, low, high] }) => [
  arr(
    x!.dtype,
    x!.shape,
    x!.data.map((v) => Math.min(high!.data[0]!, Math.max(low!.data[0]!, v))),
  ),
];

const DTYPE_OF = Object.fromEntries(Object.entries(ONNX_DTYPE).map(([k, v]) => [v, k as DType]));

/** Floats are cut towards zero on their way to integers. */
const cast: Kernel = (c) => {
  const x = c.x[0] as Arr;
  const to = DTYPE_OF[num(c, "to", 0)]!;
  const convert =
    to === "bool"
      ? (v: number) => Number(v !== 0)
      : to.startsWith("float")
        ? (v: number) => v
        : Math.trunc;
  return [arr(to, x.shape, x.data.map(convert))];
};

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Halves go to the even neighbour. */
const roundEven = (x: number): number => {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
};

/** Error function to double precision: its series near zero, its continued fraction far out (DLMF 7.6.1, 7.9.1). */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z;
    let total = z;
    for (let n = 1; n < 60; n++) {
      term *= (-z * z) / n;
      total += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * total) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

const GELU_SCALE = Math.sqrt(2 / Math.PI);

export const elementwise: Readonly<Record<string, Kernel>> = {
  Identity: ({ x: [x] }) => [x!],
  StopGradient: ({ x: [x] }) => [x!],
  Neg: map((x) => -x),
  Abs: map(Math.abs),
  Sign: map(Math.sign),
  Not: map((x) => 1 - x),
  Exp: map(Math.exp),
  Log: map(Math.log),
  Sqrt: map(Math.sqrt),
  Reciprocal: map((x) => 1 / x),
  Tanh: map(Math.tanh),
  Sigmoid: map(sigmoid),
  Relu: map((x) => Math.max(x, 0)),
  Erf: map(erf),
  Floor: map(Math.floor),
  Round: map(roundEven),
  FastGelu: map((x) => 0.5 * x * (1 + Math.tanh(GELU_SCALE * (x + 0.044715 * x ** 3)))),
  QuickGelu: (c) => map((x) => x * sigmoid(num(c, "alpha", 1.702) * x))(c),
  Clip: clip,
  Add: zip((a, b) => a + b),
  Sub: zip((a, b) => a - b),
  Mul: zip((a, b) => a * b),
  Div: divide,
  Pow: zip((a, b) => a ** b),
  Max: zip(Math.max),
  Min: zip(Math.min),
  Equal: compare((a, b) => a === b),
  Less: compare((a, b) => a < b),
  LessOrEqual: compare((a, b) => a <= b),
  Greater: compare((a, b) => a > b),
  GreaterOrEqual: compare((a, b) => a >= b),
  And: compare((a, b) => Boolean(a && b)),
  Or: compare((a, b) => Boolean(a || b)),
  Where: where,
  Cast: cast,
};
