/** Ops as free functions: the vocabulary in which models are written. Each appends ONNX nodes; none computes. */

import type { DType } from "../formats/dtype.ts";
import { ONNX_DTYPE } from "../formats/onnx.ts";
import {
  type Attrs,
  addNode,
  type Domain,
  filled,
  ints,
  scalar,
  sharedConstant,
  type Value,
} from "./graph.ts";
import { type Dim, formatShape, type Shape, ShapeError } from "./shape.ts";

/** A value, or a number that becomes a scalar constant of the partner's dtype. */
export type Operand = Value | number;

const MS: Domain = "com.microsoft";
const one = (
  op: string,
  inputs: (Value | undefined)[],
  attrs: Attrs = {},
  domain: Domain = "",
): Value => addNode(inputs[0]!.graph, op, inputs, attrs, { domain })[0]!;

const lift = (x: Operand, like: Value): Value =>
  typeof x === "number" ? scalar(like.graph, x, like.dtype) : x;
const binary =
  (op: string) =>
  (a: Operand, b: Operand): Value => {
    const like = typeof a === "number" ? b : a;
    if (typeof like === "number")
      throw new ShapeError(`${op}(${a}, ${b}): at least one side must be a graph value`);
    return one(op, [lift(a, like), lift(b, like)]);
  };
const unary =
  (op: string) =>
  (x: Value): Value =>
    one(op, [x]);

// ---- elementwise, with NumPy broadcasting

export const add = binary("Add");
export const sub = binary("Sub");
export const mul = binary("Mul");
export const div = binary("Div");
export const pow = binary("Pow");
export const maximum = binary("Max");
export const minimum = binary("Min");
export const equal = binary("Equal");
export const less = binary("Less");
export const lessEqual = binary("LessOrEqual");
export const greater = binary("Greater");
export const greaterEqual = binary("GreaterOrEqual");
export const and = binary("And");
export const or = binary("Or");
export const not = unary("Not");
export const neg = unary("Neg");
export const abs = unary("Abs");
export const sign = unary("Sign");
export const exp = unary("Exp");
export const log = unary("Log");
export const sqrt = unary("Sqrt");
export const reciprocal = unary("Reciprocal");
export const tanh = unary("Tanh");
export const sigmoid = unary("Sigmoid");
export const relu = unary("Relu");
export const erf = unary("Erf");
export const floor = unary("Floor");
/** To the nearest integer, halves to the even one. */
export const round = unary("Round");
export const identity = unary("Identity");
export const square = (x: Value): Value => mul(x, x);

/** max(x, slope·x) for slopes below 1, as (1 + s)/2·x + (1 - s)/2·|x|: no comparison in its gradient. */
export const leakyRelu = (x: Value, slope: number): Value =>
  add(mul(x, (1 + slope) / 2), mul(abs(x), (1 - slope) / 2));

/** x · sigmoid(x). */
export const silu = (x: Value): Value => one("QuickGelu", [x], { alpha: 1 }, MS);

/** GELU in its tanh approximation, as the reference uses it. */
export const gelu = (x: Value): Value => one("FastGelu", [x], {}, MS);

/** Condition ? a : b, elementwise. */
export const where = (condition: Value, a: Operand, b: Operand): Value => {
  const like = typeof a === "number" ? b : a;
  if (typeof like === "number") throw new ShapeError("where: one branch must be a graph value");
  return one("Where", [condition, lift(a, like), lift(b, like)]);
};

/** Limits x to [low, high]; the gradient is passed inside and zero outside. */
export const clip = (x: Value, low: number, high: number): Value =>
  one("Clip", [x, scalar(x.graph, low, x.dtype), scalar(x.graph, high, x.dtype)]);

export const cast = (x: Value, to: DType): Value =>
  x.dtype === to ? x : one("Cast", [x], { to: ONNX_DTYPE[to] });

/** The value, with no gradient through it. */
export const stopGradient = (x: Value): Value => one("StopGradient", [x]);

// ---- products

export interface MatmulOptions {
  transA?: boolean;
  transB?: boolean;
  /** Factor on the product. */
  alpha?: number;
}

/** Batched matrix product; `transA`/`transB` swap the last two axes for free. */
export function matmul(
  a: Value,
  b: Value,
  { transA = false, transB = false, alpha = 1 }: MatmulOptions = {},
): Value {
  if (!transA && !transB && alpha === 1) return one("MatMul", [a, b]);
  const attrs = { transA: Number(transA), transB: Number(transB), alpha };
  return one("FusedMatMul", [a, b], attrs, MS);
}

/** alpha·A·B + bias for matrices; the fastest product there is on CPU. */
export const gemm = (
  a: Value,
  b: Value,
  { bias, transA = false, transB = false, alpha = 1 }: MatmulOptions & { bias?: Value } = {},
): Value =>
  one("Gemm", bias ? [a, b, bias] : [a, b], {
    transA: Number(transA),
    transB: Number(transB),
    alpha,
  });

/** x·Wᵀ + b with W as PyTorch stores it (out, in). x (..., in) -> (..., out). */
export function linear(x: Value, weight: Value, bias?: Value): Value {
  const [out, last] = [weight.shape[0]!, x.shape.at(-1)!];
  if (x.shape.length === 2) return gemm(x, weight, { bias, transB: true });
  if (x.shape.some((d) => typeof d === "string")) {
    // Named dimensions cannot be flattened and restored. Not a transpose: folding it would copy the weight.
    const y = matmul(x, weight, { transB: true });
    return bias ? add(y, bias) : y;
  }
  const rows = reshape(x, ["*", last]); // rows in
  return reshape(gemm(rows, weight, { bias, transB: true }), [...x.shape.slice(0, -1), out]);
}

export interface ConvOptions {
  stride?: number;
  /** One number for all sides, or [top, left, bottom, right]. */
  pad?: number | readonly [number, number, number, number];
}

/** 2-D convolution; x B C H W, weight O C kh kw, bias O. */
export function conv2d(
  x: Value,
  weight: Value,
  { bias, stride = 1, pad = 0 }: ConvOptions & { bias?: Value } = {},
): Value {
  const pads = typeof pad === "number" ? [pad, pad, pad, pad] : pad;
  return one("Conv", bias ? [x, weight, bias] : [x, weight], {
    kernel_shape: weight.shape.slice(2) as number[],
    strides: [stride, stride],
    pads,
  });
}

export interface AttentionOptions {
  /** Broadcasts to B h L M: bool (false is not seen) or float, added to the scores. */
  mask?: Value;
  /** Factor on q·kᵀ; 1/√d by default. */
  scale?: number;
}

/** softmax(scale·q·kᵀ + mask)·v in one kernel, for inference. q B h L d, k B h M d, v B h M e -> B h L e. */
export function attention(
  q: Value,
  k: Value,
  v: Value,
  { mask, scale }: AttentionOptions = {},
): Value {
  return one("Attention", mask ? [q, k, v, mask] : [q, k, v], scale ? { scale } : {});
}

// ---- shapes

/**
 * Same elements, another shape. "*" takes what is left over; named dimensions are the input's own, and all
 * but one of them must keep their places.
 */
export function reshape(x: Value, shape: Shape): Value {
  const target = shape.map((d, i) => (typeof d === "number" ? d : d === x.shape[i] ? 0 : -1));
  if (target.filter((d) => d === -1).length > 1)
    throw new ShapeError(
      `reshape ${formatShape(x.shape)} to ${formatShape(shape)}: keep named dimensions in their places`,
      { from: x.shape, to: shape },
    );
  const allowzero = shape.includes(0) ? 1 : 0;
  return one("Reshape", [x, ints(x.graph, target)], { allowzero });
}

export const transpose = (x: Value, perm: readonly number[]): Value =>
  perm.every((p, i) => p === i) ? x : one("Transpose", [x], { perm });

/** Swaps the last two axes. */
export const swapLast = (x: Value): Value => {
  const r = x.shape.length;
  return transpose(x, [...Array(r - 2).keys(), r - 1, r - 2]);
};

export interface SliceOptions {
  axis: number;
  start?: number;
  end?: number;
  step?: number;
}
export function slice(
  x: Value,
  { axis, start = 0, end = Number.MAX_SAFE_INTEGER, step = 1 }: SliceOptions,
): Value {
  const g = x.graph;
  return one("Slice", [x, ints(g, [start]), ints(g, [end]), ints(g, [axis]), ints(g, [step])]);
}

export const concat = (values: readonly Value[], axis: number): Value =>
  values.length === 1 ? values[0]! : one("Concat", [...values], { axis });

/** Cuts an axis into parts of the given sizes. */
export const split = (x: Value, sizes: readonly number[], axis: number): Value[] =>
  addNode(x.graph, "Split", [x, ints(x.graph, sizes)], { axis }, { outputs: sizes.length });

/** Repeats axes of size 1 (and adds leading ones) up to `shape`. */
export const expand = (x: Value, shape: readonly number[]): Value =>
  one("Expand", [x, ints(x.graph, shape)]);

/** Adds zeros around the last axes; `pads` lists [before, after] for every axis of x. */
export const pad = (x: Value, pads: readonly (readonly [number, number])[]): Value =>
  one("Pad", [x, ints(x.graph, [...pads.map((p) => p[0]), ...pads.map((p) => p[1])])]);

/** Nearest-neighbour doubling of height and width. B C H W -> B C 2H 2W. */
export function upsample2x(x: Value): Value {
  const [B, C, H, W] = x.shape as [Dim, number, number, number];
  const lanes = reshape(x, [B, C * H, 1, W, 1]); // B CH 1 W 1
  const twice = one("Expand", [lanes, ints(x.graph, [1, 1, 2, 1, 2])]); // B CH 2 W 2
  return reshape(twice, [B, C, 2 * H, 2 * W]);
}

/** What two neighbouring output pixels see of a 3-tap kernel when each input pixel stands twice: 4 taps from 3. */
const DOUBLED = [
  [0, 0, 1],
  [0, 1, 1],
  [1, 1, 0],
  [1, 0, 0],
] as const;

/**
 * conv2d(upsample2x(x), weight, { bias, pad: 1 }) for 3x3 kernels as one transposed convolution with a 4x4 kernel
 * summed beforehand: 4/9 of the work, and the large image is never made. x B C H W -> B O 2H 2W.
 */
export function upsample2xConv(x: Value, weight: Value, bias: Value): Value {
  const [O, C, kh, kw] = weight.shape as [number, number, number, number];
  if (kh !== 3 || kw !== 3)
    throw new ShapeError(
      `upsample2xConv: got a ${kh}x${kw} kernel, want 3x3; use upsample2x, conv2d`,
    );
  const taps = sharedConstant(x.graph, "doubled taps", () => ({
    dtype: "float32",
    shape: [9, 16],
    data: Float32Array.from({ length: 144 }, (_, n) => {
      const [from, to] = [Math.floor(n / 16), n % 16];
      const row = DOUBLED[Math.floor(to / 4)]![Math.floor(from / 3) as 0 | 1 | 2];
      return row * DOUBLED[to % 4]![(from % 3) as 0 | 1 | 2];
    }),
  }));
  const flat = transpose(reshape(weight, [O, C, 9]), [1, 0, 2]); // C O 9
  const kernel = reshape(matmul(flat, taps), [C, O, 4, 4]);
  return one("ConvTranspose", [x, kernel, bias], {
    kernel_shape: [4, 4],
    strides: [2, 2],
    pads: [1, 1, 1, 1],
  });
}

// ---- reductions

export interface ReduceOptions {
  axes?: readonly number[];
  keepDims?: boolean;
}
const reduction =
  (op: string) =>
  (x: Value, { axes, keepDims = false }: ReduceOptions = {}): Value =>
    one(op, axes ? [x, ints(x.graph, axes)] : [x], { keepdims: Number(keepDims) });

export const sum = reduction("ReduceSum");
export const mean = reduction("ReduceMean");
export const max = reduction("ReduceMax");
export const min = reduction("ReduceMin");
export const sumSquares = reduction("ReduceSumSquare");
export const logSumExp = reduction("ReduceLogSumExp");

export const argMax = (x: Value, axis: number): Value => one("ArgMax", [x], { axis, keepdims: 0 });
export const argMin = (x: Value, axis: number): Value => one("ArgMin", [x], { axis, keepdims: 0 });

/** The k largest along an axis, largest first: [values, int64 indices]. */
export const topK = (x: Value, k: number, axis = -1): [Value, Value] =>
  addNode(x.graph, "TopK", [x, ints(x.graph, [k])], { axis }, { outputs: 2 }) as [Value, Value];

// ---- normalisation, look-up, losses

export const softmax = (x: Value, axis = -1): Value => one("Softmax", [x], { axis });
export const logSoftmax = (x: Value, axis = -1): Value => one("LogSoftmax", [x], { axis });

export interface NormOptions {
  weight?: Value;
  bias?: Value;
  eps?: number;
}

/** Normalises the last axis to mean 0, variance 1; then weight and bias where given. */
export function layerNorm(x: Value, { weight, bias, eps = 1e-6 }: NormOptions = {}): Value {
  const C = x.shape.at(-1) as number;
  const ones = weight ?? filled(x.graph, [C], 1);
  // All three outputs: the statistics are what the backward pass needs.
  const inputs = bias ? [x, ones, bias] : [x, ones];
  return addNode(
    x.graph,
    "LayerNormalization",
    inputs,
    { axis: -1, epsilon: eps },
    { outputs: 3 },
  )[0]!;
}

/** Normalises groups of channels of an image, then scales and shifts each channel. x B C H W. */
export function groupNorm(
  x: Value,
  { weight, bias, groups = 32, eps = 1e-6 }: NormOptions & { groups?: number } = {},
): Value {
  const [B, C, H, W] = x.shape as [Dim, number, number, number];
  if (C % groups)
    throw new ShapeError(`groupNorm: ${groups} groups do not divide ${C} channels; use a multiple`);
  const rows = reshape(x, [B, groups, (C / groups) * H * W]); // B G CHW/G
  let y = reshape(layerNorm(rows, { eps }), [B, C, H, W]);
  if (weight) y = mul(y, reshape(weight, [C, 1, 1]));
  if (bias) y = add(y, reshape(bias, [C, 1, 1]));
  return y;
}

/**
 * x / max(‖x‖₂, eps) along the last axis. The bound stands under the root: there a zero row has a gradient too.
 * @param options.length of the result instead of 1; spreads over x without its last axis
 */
export function l2Normalize(
  x: Value,
  { length, eps = 1e-12 }: { length?: Value; eps?: number } = {},
): Value {
  const norm = sqrt(maximum(sum(square(x), { axes: [-1], keepDims: true }), eps * eps));
  return length ? mul(x, div(length, norm)) : div(x, norm);
}

/** Rows of a table. table V C, ids int64 of any shape -> ids.shape C. */
export const embedding = (table: Value, ids: Value): Value =>
  one("Gather", [table, ids], { axis: 0 });

/** Elements of x at `indices` along an axis; both of the same rank. */
export const gatherElements = (x: Value, indices: Value, axis: number): Value =>
  one("GatherElements", [x, indices], { axis });

/** 1 where the index is, 0 elsewhere. ids (...) -> (..., depth) float32. */
export const oneHot = (ids: Value, depth: number): Value => {
  const g = ids.graph;
  const values = sharedConstant(g, "zero-one", () => ({
    dtype: "float32",
    shape: [2],
    data: Float32Array.of(0, 1),
  }));
  return one("OneHot", [ids, ints(g, [depth]), values], { axis: -1 });
};

/** −log softmax(logits)[target] for each row. logits N V, targets int64 N -> N. */
export function crossEntropy(logits: Value, targets: Value): Value {
  const N = logits.shape[0]!;
  const picked = gatherElements(logSoftmax(logits), reshape(targets, [N, 1]), 1); // N 1
  return neg(reshape(picked, [N]));
}

/** Mean of squared differences over all elements: a scalar. */
export const mse = (a: Value, b: Value): Value => mean(square(sub(a, b)));

/** Mean over windows of kernel×kernel that do not overlap. B C H W. */
export const avgPool = (x: Value, kernel: number): Value =>
  one("AveragePool", [x], { kernel_shape: [kernel, kernel], strides: [kernel, kernel] });
