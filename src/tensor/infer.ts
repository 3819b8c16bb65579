/** Shape and dtype rules: one table, one line per ONNX op. Checks; never computes. */

import type { DType } from "../formats/dtype.ts";
import { ONNX_DTYPE } from "../formats/onnx.ts";
import { isConstant } from "./graph.ts";
import {
  at,
  constInts,
  FLOATS,
  fail,
  int,
  type Rule,
  same,
  sameDtypes,
  type Type,
  wantDtype,
  wantInputs,
} from "./infer-context.ts";
import * as movement from "./infer-movement.ts";
import * as products from "./infer-products.ts";
import * as quantized from "./infer-quantized.ts";
import { axisOf, broadcastShapes, type Dim } from "./shape.ts";

const of =
  (dtypes: readonly DType[], rule: Rule = same): Rule =>
  (c) => {
    wantDtype(c, dtypes);
    return rule(c);
  };
const floatMap = of(FLOATS);
const NUMBERS: readonly DType[] = [...FLOATS, "int64", "int32"];

/** Two operands of one dtype, stretched to each other. */
const broadcast =
  (result?: DType): Rule =>
  (c) => {
    wantInputs(c, 2);
    const dtype = sameDtypes(c);
    return [
      { dtype: result ?? dtype, shape: broadcastShapes(at(c, 0).shape, at(c, 1).shape, c.op) },
    ];
  };
const arithmetic = of(NUMBERS, broadcast());
const comparison = of(NUMBERS, broadcast("bool"));
const logic = of(["bool"], broadcast("bool"));

/** Bounds are constants: no gradient flows to them. */
const clip: Rule = (c) => {
  sameDtypes(c);
  wantInputs(c, 3);
  for (const v of c.inputs.slice(1))
    if (!isConstant(v!) || v!.shape.length) fail(c, "bounds must be constant scalars; use maximum");
  return same(c);
};

/** Softmax and friends: any axis. */
const alongAxis: Rule = (c) => {
  axisOf(int(c, "axis", -1), at(c, 0).shape.length, c.op);
  return floatMap(c);
};

const dropAxes = (shape: readonly Dim[], axes: readonly number[], keep: boolean): Dim[] =>
  shape.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d]));

/** Axes as an input (ReduceSum and friends since opset 18); none means all. */
const reduce: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const given = c.inputs[1] && constInts(c, 1).map((a) => axisOf(a, shape.length, c.op));
  if (given && (given.length === 0 || new Set(given).size < given.length))
    fail(c, `axes [${given}] must be different and at least one; leave them out to reduce all`);
  const axes = given ?? shape.map((_, i) => i);
  return [{ dtype, shape: dropAxes(shape, axes, int(c, "keepdims", 1) === 1) }];
};

const argReduce: Rule = (c) => {
  const { shape } = at(c, 0);
  const axis = axisOf(int(c, "axis", 0), shape.length, c.op);
  return [{ dtype: "int64", shape: dropAxes(shape, [axis], int(c, "keepdims", 1) === 1) }];
};

const topK: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const axis = axisOf(int(c, "axis", -1), shape.length, c.op);
  const [k, n] = [constInts(c, 1)[0]!, shape[axis]!];
  if (k < 0 || (typeof n === "number" && k > n)) fail(c, `k = ${k} of an axis of ${n}`);
  const out = shape.map((d, i) => (i === axis ? k : d));
  return [
    { dtype, shape: out },
    { dtype: "int64", shape: out },
  ];
};

/** Over the last axis only: that is what the gradient is written for. */
const layerNorm: Rule = (c) => {
  const dtype = sameDtypes(c);
  const { shape } = at(c, 0);
  if (axisOf(int(c, "axis", -1), shape.length, c.op) !== shape.length - 1)
    fail(c, "normalises the last axis only; transpose first");
  for (const v of c.inputs.slice(1))
    if (v && (v.shape.length !== 1 || v.shape[0] !== shape.at(-1)))
      fail(c, `weight and bias must be [${shape.at(-1)}]`);
  const stats = [...shape.slice(0, -1), 1];
  return [shape, stats, stats].map((s): Type => ({ dtype, shape: [...s] }));
};

const cast: Rule = (c) => {
  const found = Object.entries(ONNX_DTYPE).find(([, code]) => code === int(c, "to", 0));
  const dtype = (found?.[0] as DType) ?? fail(c, `unknown target dtype ${c.attrs.to}`);
  return [{ dtype, shape: [...at(c, 0).shape] }];
};

const where: Rule = (c) => {
  wantInputs(c, 3);
  const dtype = sameDtypes(c, 1);
  wantDtype(c, ["bool"]);
  const shape = c.inputs.reduce<Dim[]>((s, v) => broadcastShapes(s, v!.shape, c.op), []);
  return [{ dtype, shape }];
};

export const infer: Readonly<Record<string, Rule>> = {
  Identity: same,
  StopGradient: same,
  Neg: of(NUMBERS),
  Abs: of(NUMBERS),
  Sign: of(NUMBERS),
  Not: of(["bool"]),
  Clip: of(NUMBERS, clip),
  Exp: floatMap,
  Log: floatMap,
  Sqrt: floatMap,
  Reciprocal: floatMap,
  Tanh: floatMap,
  Sigmoid: floatMap,
  Relu: floatMap,
  Erf: floatMap,
  Floor: floatMap,
  Round: floatMap,
  FastGelu: floatMap,
  QuickGelu: floatMap,
  Softmax: alongAxis,
  LogSoftmax: alongAxis,
  Add: arithmetic,
  Sub: arithmetic,
  Mul: arithmetic,
  Div: arithmetic,
  Pow: arithmetic,
  Max: arithmetic,
  Min: arithmetic,
  Equal: broadcast("bool"),
  Less: comparison,
  LessOrEqual: comparison,
  Greater: comparison,
  GreaterOrEqual: comparison,
  And: logic,
  Or: logic,
  Where: where,
  Cast: cast,
  MatMul: of(FLOATS, products.matmul),
  FusedMatMul: of(FLOATS, products.matmul),
  Gemm: of(FLOATS, products.gemm),
  Conv: of(FLOATS, products.conv),
  ConvTranspose: of(FLOATS, products.convTranspose),
  AveragePool: products.averagePool,
  Attention: of(FLOATS, products.attention),
  Reshape: movement.reshape,
  Transpose: movement.transpose,
  Concat: movement.concat,
  Split: movement.split,
  Slice: movement.slice,
  Pad: movement.pad,
  Expand: movement.expand,
  Gather: movement.gather,
  GatherElements: movement.gatherElements,
  OneHot: movement.oneHot,
  ReduceSum: of(NUMBERS, reduce),
  ReduceMean: of(FLOATS, reduce),
  ReduceMax: of(NUMBERS, reduce),
  ReduceMin: of(NUMBERS, reduce),
  ReduceSumSquare: of(FLOATS, reduce),
  ReduceLogSumExp: of(FLOATS, reduce),
  ArgMax: of(NUMBERS, argReduce),
  ArgMin: of(NUMBERS, argReduce),
  TopK: of(NUMBERS, topK),
  LayerNormalization: of(FLOATS, layerNorm),
  QuantizeLinear: quantized.quantize,
  DequantizeLinear: quantized.dequantize,
  MatMulIntegerToFloat: quantized.matmul,
  QLinearConv: quantized.conv,
};
