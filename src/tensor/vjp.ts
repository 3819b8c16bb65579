/** The one table of reverse-mode rules: for each op, how a gradient of its result becomes gradients of its inputs. */

import type { Attrs, Value } from "./graph.ts";
import * as o from "./ops.ts";
import { staticShape } from "./shape.ts";
import { convInputGradient, convWeightGradient } from "./vjp-conv.ts";
import {
  convolve,
  generalInputGradient,
  generalWeightGradient,
  isPlain,
} from "./vjp-conv-general.ts";
import * as folds from "./vjp-folds.ts";
import * as movement from "./vjp-movement.ts";
import { outerSums, type Rule, sumTo } from "./vjp-rule.ts";

/** Max and Min of two: ties send half each way, as finite differences see it. */
const choose =
  (wins: (a: Value, b: Value) => Value): Rule =>
  ({ x: [a, b] }, g) => {
    const share = (p: Value, q: Value) =>
      o.mul(o.add(o.cast(wins(p, q), g.dtype), o.mul(o.cast(o.equal(p, q), g.dtype), 0.5)), g);
    return [() => sumTo(share(a!, b!), a!), () => sumTo(share(b!, a!), b!)];
  };

/** (A·B)' for every combination of transposes; alpha scales both sides. */
const matmul: Rule = ({ x: [a, b], attrs }, g) => {
  const [transA, transB] = [attrs.transA === 1, attrs.transB === 1];
  const alpha = (attrs.alpha as number | undefined) ?? 1;
  const product = (p: Value, q: Value, tp: boolean, tq: boolean) =>
    o.matmul(p, q, { transA: tp, transB: tq, alpha });
  return [
    () => sumTo(transA ? product(b!, g, transB, true) : product(g, b!, false, !transB), a!),
    () => sumTo(transB ? product(g, a!, true, transA) : product(a!, g, !transA, false), b!),
  ];
};

const gemm: Rule = ({ x: [a, b, c], attrs }, g) => {
  const [transA, transB] = [attrs.transA === 1, attrs.transB === 1];
  const alpha = (attrs.alpha as number | undefined) ?? 1;
  const product = (p: Value, q: Value, tp: boolean, tq: boolean) =>
    o.gemm(p, q, { transA: tp, transB: tq, alpha });
  return [
    () => (transA ? product(b!, g, transB, true) : product(g, b!, false, !transB)),
    () => (transB ? product(g, a!, true, transA) : product(a!, g, !transA, false)),
    c && (() => sumTo(g, c)),
  ];
};

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const GELU_CUBIC = 0.044715;
/** gelu = x·s with s = sigmoid(2u), u = √(2/π)(x + c·x³); so gelu' = s + (y − y·s)·2u'. */
const gelu: Rule = ({ x: [x], y }, g) => [
  () => {
    const x2 = o.square(x!);
    const k = 2 * SQRT_2_OVER_PI;
    const s = o.sigmoid(o.mul(x!, o.add(o.mul(x2, k * GELU_CUBIC), k)));
    const slope = o.add(o.mul(x2, 3 * k * GELU_CUBIC), k); // 2u'
    return o.mul(g, o.add(s, o.mul(o.sub(y, o.mul(y, s)), slope)));
  },
];

/** x·σ(αx): σ(αx) + α·y·(1 − σ(αx)). */
const quickGelu: Rule = ({ x: [x], y, attrs }, g) => [
  () => {
    const alpha = attrs.alpha as number;
    const s = o.sigmoid(alpha === 1 ? x! : o.mul(x!, alpha));
    const bend = o.sub(y, o.mul(y, s));
    return o.mul(g, o.add(s, alpha === 1 ? bend : o.mul(bend, alpha)));
  },
];

const conv: Rule = ({ x: [x, w, b], attrs }, g) => [
  () => (turns(w!, attrs) ? convInputGradient : generalInputGradient)(x!, w!, g, attrs),
  () => (isPlain(attrs) ? convWeightGradient : generalWeightGradient)(x!, w!, g, attrs),
  b && (() => channelSums(g)),
];
/**
 * Whether dx is written for it in vjp-conv.ts: plain ones, and with groups those of stride 1, where the turned kernel
 * gives a depthwise convolution again, which the runtime has a kernel for.
 */
function turns(w: Value, attrs: Attrs): boolean {
  if (isPlain(attrs)) return true;
  const list = (name: string, otherwise: number[]) =>
    (attrs[name] as readonly number[] | undefined) ?? otherwise;
  const [strides, dilations] = [list("strides", [1, 1]), list("dilations", [1, 1])];
  const reach = [0, 1].map((i) => dilations[i]! * ((w.shape[i + 2] as number) - 1));
  const within = list("pads", [0, 0, 0, 0]).every((pad, i) => pad <= reach[i % 2]!);
  return strides.every((s) => s === 1) && within;
}

/** B C H W -> C. */
const channelSums = (g: Value): Value => {
  const [B, C, H, W] = g.shape as [number, number, number, number];
  return outerSums(o.reshape(g, [B, C, H * W]));
};

/** The adjoint of a convolution: its input gradient is that convolution, its weight gradient the same with roles swapped. */
const convTranspose: Rule = ({ x: [x, w, b], attrs }, g) => [
  () => convolve(g, w!, attrs),
  () => (isPlain(attrs) ? convWeightGradient : generalWeightGradient)(g, w!, x!, attrs),
  b && (() => channelSums(g)),
];

/** Every cell of a window gets its share. */
const avgPool: Rule = ({ x: [x], attrs }, g) => [
  () => {
    const [kh, kw] = attrs.kernel_shape as [number, number];
    const [B, C, H, W] = staticShape(g.shape, "AveragePool") as [number, number, number, number];
    const lanes = o.reshape(o.mul(g, 1 / (kh * kw)), [B, C * H, 1, W, 1]);
    const grown = o.reshape(o.expand(lanes, [B, C * H, kh, W, kw]), [B, C, H * kh, W * kw]);
    const [h, w] = x!.shape.slice(2) as [number, number];
    const rest = [h - H * kh, w - W * kw] as const; // rows and columns that no window reached
    if (!rest[0] && !rest[1]) return grown;
    return o.pad(grown, [
      [0, 0],
      [0, 0],
      [0, rest[0]],
      [0, rest[1]],
    ]);
  },
];

/** No gradient flows: what comes out is an index, a truth, or flat almost everywhere. */
const none: Rule = () => [];

export const vjp: Readonly<Record<string, Rule>> = {
  Identity: (_c, g) => [() => g],
  StopGradient: none,
  Add: ({ x: [a, b] }, g) => [() => sumTo(g, a!), () => sumTo(g, b!)],
  Sub: ({ x: [a, b] }, g) => [() => sumTo(g, a!), () => sumTo(o.neg(g), b!)],
  Mul: ({ x: [a, b] }, g) => [() => sumTo(o.mul(g, b!), a!), () => sumTo(o.mul(g, a!), b!)],
  Div: ({ x: [a, b], y }, g) => [
    () => sumTo(o.div(g, b!), a!),
    () => sumTo(o.neg(o.mul(g, o.div(y, b!))), b!),
  ],
  Pow: ({ x: [a, b], y }, g) => [
    () => sumTo(o.mul(g, o.mul(b!, o.pow(a!, o.sub(b!, 1)))), a!),
    // 0ᵇ is flat in b: without the guard 0·log 0 would be NaN.
    () => sumTo(o.mul(g, o.mul(y, o.log(o.where(o.greater(a!, 0), a!, 1)))), b!),
  ],
  Max: choose(o.greater),
  Min: choose(o.less),
  Neg: (_c, g) => [() => o.neg(g)],
  Abs: ({ x: [x] }, g) => [() => o.mul(g, o.sign(x!))],
  Exp: ({ y }, g) => [() => o.mul(g, y)],
  Log: ({ x: [x] }, g) => [() => o.div(g, x!)],
  Sqrt: ({ y }, g) => [() => o.div(o.mul(g, 0.5), y)],
  Reciprocal: ({ y }, g) => [() => o.neg(o.mul(g, o.square(y)))],
  Tanh: ({ y }, g) => [() => o.mul(g, o.sub(1, o.square(y)))],
  Sigmoid: ({ y }, g) => [() => o.mul(g, o.sub(y, o.square(y)))],
  Relu: ({ y }, g) => [() => o.where(o.greater(y, 0), g, 0)],
  Erf: ({ x: [x] }, g) => [
    () => o.mul(g, o.mul(o.exp(o.neg(o.square(x!))), 2 / Math.sqrt(Math.PI))),
  ],
  FastGelu: gelu,
  QuickGelu: quickGelu,
  Clip: ({ x: [x, low, high] }, g) => [
    () => o.where(o.and(o.greaterEqual(x!, low!), o.lessEqual(x!, high!)), g, 0),
  ],
  Where: ({ x: [condition, a, b] }, g) => [
    undefined,
    () => sumTo(o.where(condition!, g, 0), a!),
    () => sumTo(o.where(condition!, 0, g), b!),
  ],
  MatMul: matmul,
  FusedMatMul: matmul,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  AveragePool: avgPool,
  Reshape: ({ x: [x] }, g) => [() => o.reshape(g, x!.shape)],
  Transpose: ({ attrs }, g) => [
    () => {
      const perm = attrs.perm as readonly number[];
      return o.transpose(
        g,
        perm.map((_, i) => perm.indexOf(i)),
      );
    },
  ],
  Expand: ({ x: [x] }, g) => [() => sumTo(g, x!)],
  Slice: movement.slice,
  Split: movement.split,
  Concat: movement.concat,
  Pad: movement.unpad,
  ReduceSum: folds.reduceSum,
  ReduceMean: folds.reduceMean,
  ReduceSumSquare: folds.reduceSumSquare,
  ReduceLogSumExp: folds.reduceLogSumExp,
  ReduceMax: folds.extreme,
  ReduceMin: folds.extreme,
  Softmax: folds.softmax,
  LogSoftmax: folds.logSoftmax,
  LayerNormalization: folds.layerNorm,
  Gather: movement.gather,
  GatherElements: movement.gatherElements,
  TopK: movement.topK,
  Cast: ({ x: [x] }, g) => [() => o.cast(g, x!.dtype)],
  // Comparisons, indices and rounding: flat almost everywhere.
  Equal: none,
  Less: none,
  LessOrEqual: none,
  Greater: none,
  GreaterOrEqual: none,
  And: none,
  Or: none,
  Not: none,
  Sign: none,
  Floor: none,
  Round: none,
  ArgMax: none,
  ArgMin: none,
  OneHot: none,
};

/** Ops of infer.ts that have no rule, and why: a gradient through them is an error, not a zero. */
export const NO_GRADIENT: Readonly<Record<string, string>> = {
  Attention: "fused for inference; build training graphs from matmul and softmax",
  QuantizeLinear: "rounds: its gradient is zero almost everywhere; train in float32",
  DequantizeLinear: "reads whole numbers; train in float32",
  MatMulIntegerToFloat: "reads whole numbers; train in float32",
  QLinearConv: "reads whole numbers; train in float32",
};
