/** Shape and dtype rules, one line or function per ONNX op. Checks; never computes. */

import type { DType } from "../formats/dtype.ts";
import { addDims } from "./dims.ts";
import type { Attrs, Value } from "./graph.ts";
import { axisOf, broadcastShapes, type Dim, formatShape, type Shape, ShapeError } from "./shape.ts";

export interface InferContext {
  readonly op: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly attrs: Attrs;
  /** How many outputs the node wants. */
  readonly outputs: number;
  /** The numbers of an input that is an int64 constant. */
  ints(input: number): number[] | undefined;
}
export interface Type {
  dtype: DType;
  shape: Dim[];
}
type Rule = (c: InferContext) => Type[];

const at = (c: InferContext, i: number): Value => {
  const v = c.inputs[i];
  if (!v) throw new ShapeError(`${c.op}: input ${i} is missing`);
  return v;
};
const fail = (c: InferContext, why: string): never => {
  const shapes = c.inputs.map((v) => (v ? `${v.dtype}${formatShape(v.shape)}` : "-")).join(", ");
  throw new ShapeError(`${c.op}(${shapes}): ${why}`, { op: c.op, attrs: c.attrs });
};
const constInts = (c: InferContext, i: number): number[] =>
  c.ints(i) ?? fail(c, `input ${i} must be a constant`);
const int = (c: InferContext, name: string, otherwise: number): number =>
  (c.attrs[name] as number | undefined) ?? otherwise;
const intList = (c: InferContext, name: string, otherwise: number[]): readonly number[] =>
  (c.attrs[name] as readonly number[] | undefined) ?? otherwise;

const same: Rule = (c) => [{ dtype: at(c, 0).dtype, shape: [...at(c, 0).shape] }];

function wantDtype(c: InferContext, wanted: readonly DType[]): void {
  const got = at(c, 0).dtype;
  if (!wanted.includes(got))
    fail(c, `dtype is ${got}, wanted ${wanted.join(" or ")}; cast it first`);
}
const FLOATS: readonly DType[] = ["float32", "float16", "float64"];
const floatMap: Rule = (c) => {
  wantDtype(c, FLOATS);
  return same(c);
};

function sameDtypes(c: InferContext, from = 0): DType {
  const dtype = at(c, from).dtype;
  for (const v of c.inputs.slice(from))
    if (v && v.dtype !== dtype) fail(c, `dtypes differ (${dtype}, ${v.dtype}); cast one of them`);
  return dtype;
}
const broadcast =
  (result?: DType): Rule =>
  (c) => {
    const dtype = sameDtypes(c);
    const shape = c.inputs.reduce<Dim[]>((s, v) => broadcastShapes(s, v?.shape ?? [], c.op), []);
    return [{ dtype: result ?? dtype, shape }];
  };

const swap = (shape: Shape, yes: boolean): Dim[] =>
  yes ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : [...shape];

const matmul: Rule = (c) => {
  const dtype = sameDtypes(c);
  if (at(c, 0).shape.length < 2 || at(c, 1).shape.length < 2)
    fail(c, "both sides need rank 2 or more");
  const a = swap(at(c, 0).shape, int(c, "transA", 0) === 1);
  const b = swap(at(c, 1).shape, int(c, "transB", 0) === 1);
  if (a.at(-1) !== b.at(-2)) fail(c, `inner sizes ${a.at(-1)} and ${b.at(-2)} differ`);
  const batch = broadcastShapes(a.slice(0, -2), b.slice(0, -2), c.op);
  return [{ dtype, shape: [...batch, a.at(-2)!, b.at(-1)!] }];
};

const gemm: Rule = (c) => {
  if (at(c, 0).shape.length !== 2 || at(c, 1).shape.length !== 2) fail(c, "both sides need rank 2");
  const [type] = matmul({ ...c, inputs: c.inputs.slice(0, 2) });
  const bias = c.inputs[2];
  if (bias) broadcastShapes(type!.shape, bias.shape, c.op);
  return [type!];
};

function window(c: InferContext, size: Dim, i: number, kernel: number): number {
  if (typeof size !== "number") return fail(c, "spatial sizes must be numbers");
  const [stride, pads] = [intList(c, "strides", [1, 1]), intList(c, "pads", [0, 0, 0, 0])];
  const dilation = intList(c, "dilations", [1, 1])[i]!;
  const span = size + pads[i]! + pads[i + 2]! - dilation * (kernel - 1) - 1;
  if (span < 0) fail(c, `a window of ${kernel} does not fit in ${size} with padding`);
  return Math.floor(span / stride[i]!) + 1;
}

const conv: Rule = (c) => {
  const dtype = sameDtypes(c);
  const [x, w] = [at(c, 0).shape, at(c, 1).shape];
  if (x.length !== 4 || w.length !== 4) fail(c, "wants images B C H W and weights O C kh kw");
  const group = int(c, "group", 1);
  if (x[1] !== (w[1] as number) * group)
    fail(c, `image has ${x[1]} channels, weights take ${(w[1] as number) * group}`);
  if (c.inputs[2] && c.inputs[2].shape[0] !== w[0]) fail(c, `bias must have ${w[0]} entries`);
  const spatial = [0, 1].map((i) => window(c, x[i + 2]!, i, w[i + 2] as number));
  return [{ dtype, shape: [x[0]!, w[0]!, ...spatial] }];
};

const convTranspose: Rule = (c) => {
  const dtype = sameDtypes(c);
  const [x, w] = [at(c, 0).shape, at(c, 1).shape];
  if (x[1] !== w[0]) fail(c, `image has ${x[1]} channels, weights take ${w[0]}`);
  const [stride, pads] = [intList(c, "strides", [1, 1]), intList(c, "pads", [0, 0, 0, 0])];
  const extra = intList(c, "output_padding", [0, 0]);
  const spatial = [0, 1].map(
    (i) =>
      stride[i]! * ((x[i + 2] as number) - 1) +
      (w[i + 2] as number) -
      pads[i]! -
      pads[i + 2]! +
      extra[i]!,
  );
  return [{ dtype, shape: [x[0]!, (w[1] as number) * int(c, "group", 1), ...spatial] }];
};

const pool: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const kernel = intList(c, "kernel_shape", []);
  const spatial = [0, 1].map((i) => window(c, shape[i + 2]!, i, kernel[i]!));
  return [{ dtype, shape: [shape[0]!, shape[1]!, ...spatial] }];
};

/** ONNX's 0 copies the dimension at the same place, -1 is what is left over. */
const reshape: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const target = constInts(c, 1);
  const out: Dim[] = target.map((d, i) => {
    if (d !== 0 || int(c, "allowzero", 0) === 1) return d;
    return shape[i] ?? fail(c, `0 at place ${i} copies a dimension that is not there`);
  });
  const hole = out.indexOf(-1);
  const rest = (s: Dim[]) =>
    s.filter((d) => typeof d === "number").reduce((n: number, d) => n * (d as number), 1);
  const names = (s: Dim[]) => s.filter((d) => typeof d === "string");
  const left = names([...shape]);
  for (const name of names(out)) {
    const i = left.indexOf(name);
    if (i < 0) fail(c, `"${name}" is not a dimension of the input`);
    left.splice(i, 1);
  }
  const have = rest([...shape]);
  if (hole >= 0) {
    const known = rest(out.filter((_, i) => i !== hole));
    if (left.length === 0 ? known === 0 || have % known !== 0 : have !== known)
      fail(c, `cannot reshape to ${formatShape(target)}`);
    out[hole] = left.length === 0 ? have / known : left.join("*");
  } else if (left.length > 0 || have !== rest(out))
    fail(c, `cannot reshape to ${formatShape(target)}`);
  return [{ dtype, shape: out }];
};

const transpose: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const perm = intList(
    c,
    "perm",
    shape.map((_, i) => shape.length - 1 - i),
  );
  if ([...perm].sort((a, b) => a - b).some((p, i) => p !== i) || perm.length !== shape.length)
    fail(c, `perm ${formatShape([...perm])} is not an order of ${shape.length} axes`);
  return [{ dtype, shape: perm.map((p) => shape[p]!) }];
};

const concat: Rule = (c) => {
  const dtype = sameDtypes(c);
  const first = at(c, 0).shape;
  const axis = axisOf(int(c, "axis", 0), first.length, c.op);
  const shape = [...first];
  for (const v of c.inputs.slice(1)) {
    if (v!.shape.length !== first.length || v!.shape.some((d, i) => i !== axis && d !== first[i]))
      fail(c, `only axis ${axis} may differ`);
    shape[axis] = addDims(shape[axis]!, v!.shape[axis]!);
  }
  return [{ dtype, shape }];
};

const split: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const axis = axisOf(int(c, "axis", 0), shape.length, c.op);
  const sizes = constInts(c, 1);
  if (sizes.reduce((a, b) => a + b, 0) !== shape[axis])
    fail(c, `parts ${sizes} do not sum to ${shape[axis]}`);
  return sizes.map((n) => ({ dtype, shape: shape.map((d, i) => (i === axis ? n : d)) }));
};

const slice: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const [starts, ends] = [constInts(c, 1), constInts(c, 2)];
  const axes = c.inputs[3] ? constInts(c, 3) : starts.map((_, i) => i);
  const steps = c.inputs[4] ? constInts(c, 4) : starts.map(() => 1);
  const out = [...shape];
  axes.forEach((a, i) => {
    const axis = axisOf(a, shape.length, c.op);
    const n = shape[axis];
    if (typeof n !== "number") return fail(c, `axis ${axis} ("${n}") must have a known size`);
    const step = steps[i]!;
    const clampTo = (x: number, low: number, high: number) =>
      Math.min(high, Math.max(low, x < 0 ? x + n : x));
    const start = step > 0 ? clampTo(starts[i]!, 0, n) : clampTo(starts[i]!, 0, n - 1);
    const end = step > 0 ? clampTo(ends[i]!, 0, n) : clampTo(ends[i]!, -1, n - 1);
    out[axis] = Math.max(0, Math.ceil((end - start) / step));
  });
  return [{ dtype, shape: out }];
};

const pad: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const pads = constInts(c, 1);
  return [{ dtype, shape: shape.map((d, i) => addDims(d, pads[i]! + pads[i + shape.length]!)) }];
};

const expand: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  return [{ dtype, shape: broadcastShapes(shape, constInts(c, 1), c.op) }];
};

/** Axes as an input (ReduceSum and friends since opset 18); none means all. */
const reduce: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const axes = c.inputs[1]
    ? constInts(c, 1).map((a) => axisOf(a, shape.length, c.op))
    : shape.map((_, i) => i);
  const keep = int(c, "keepdims", 1) === 1;
  return [{ dtype, shape: shape.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d])) }];
};

const argReduce: Rule = (c) => {
  const { shape } = at(c, 0);
  const axis = axisOf(int(c, "axis", 0), shape.length, c.op);
  const keep = int(c, "keepdims", 1) === 1;
  return [
    { dtype: "int64", shape: shape.flatMap((d, i) => (i === axis ? (keep ? [1] : []) : [d])) },
  ];
};

const layerNorm: Rule = (c) => {
  wantDtype(c, FLOATS);
  const { shape, dtype } = at(c, 0);
  const axis = axisOf(int(c, "axis", -1), shape.length, c.op);
  for (const v of c.inputs.slice(1)) if (v) broadcastShapes(shape, v.shape, c.op);
  const stats = shape.map((d, i) => (i < axis ? d : 1));
  return [
    { dtype, shape: [...shape] },
    { dtype, shape: stats },
    { dtype, shape: stats },
  ];
};

const gather: Rule = (c) => {
  const [table, ids] = [at(c, 0), at(c, 1)];
  if (ids.dtype !== "int64" && ids.dtype !== "int32") fail(c, "indices must be int64 or int32");
  const axis = axisOf(int(c, "axis", 0), table.shape.length, c.op);
  return [
    {
      dtype: table.dtype,
      shape: [...table.shape.slice(0, axis), ...ids.shape, ...table.shape.slice(axis + 1)],
    },
  ];
};

const gatherElements: Rule = (c) => [{ dtype: at(c, 0).dtype, shape: [...at(c, 1).shape] }];

const oneHot: Rule = (c) => {
  const depth = constInts(c, 1)[0]!;
  return [{ dtype: at(c, 2).dtype, shape: [...at(c, 0).shape, depth] }];
};

const topK: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const axis = axisOf(int(c, "axis", -1), shape.length, c.op);
  const out = shape.map((d, i) => (i === axis ? constInts(c, 1)[0]! : d));
  return [
    { dtype, shape: out },
    { dtype: "int64", shape: out },
  ];
};

const DTYPE_OF_ONNX: Readonly<Record<number, DType>> = {
  1: "float32",
  2: "uint8",
  3: "int8",
  6: "int32",
  7: "int64",
  9: "bool",
  10: "float16",
  11: "float64",
};
const cast: Rule = (c) => [
  {
    dtype: DTYPE_OF_ONNX[int(c, "to", 0)] ?? fail(c, "unknown target"),
    shape: [...at(c, 0).shape],
  },
];

const where: Rule = (c) => {
  const dtype = sameDtypes(c, 1);
  if (at(c, 0).dtype !== "bool") fail(c, "the condition must be bool");
  const shape = c.inputs.reduce<Dim[]>((s, v) => broadcastShapes(s, v!.shape, c.op), []);
  return [{ dtype, shape }];
};

/** opset 23 Attention on q B h L d, k and v B h M d. */
const attention: Rule = (c) => {
  const [q, v] = [at(c, 0), at(c, 2)];
  return [{ dtype: q.dtype, shape: [...q.shape.slice(0, 3), v.shape[3]!] }];
};

export const infer: Readonly<Record<string, Rule>> = {
  Identity: same,
  StopGradient: same,
  Neg: same,
  Abs: same,
  Sign: same,
  Not: same,
  Clip: same,
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
  Softmax: floatMap,
  LogSoftmax: floatMap,
  Add: broadcast(),
  Sub: broadcast(),
  Mul: broadcast(),
  Div: broadcast(),
  Pow: broadcast(),
  Max: broadcast(),
  Min: broadcast(),
  Sum: broadcast(),
  Equal: broadcast("bool"),
  Less: broadcast("bool"),
  LessOrEqual: broadcast("bool"),
  Greater: broadcast("bool"),
  GreaterOrEqual: broadcast("bool"),
  And: broadcast("bool"),
  Or: broadcast("bool"),
  Where: where,
  Cast: cast,
  MatMul: matmul,
  FusedMatMul: matmul,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  AveragePool: pool,
  MaxPool: pool,
  Reshape: reshape,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Expand: expand,
  ReduceSum: reduce,
  ReduceMean: reduce,
  ReduceMax: reduce,
  ReduceMin: reduce,
  ReduceSumSquare: reduce,
  ReduceLogSumExp: reduce,
  ArgMax: argReduce,
  ArgMin: argReduce,
  LayerNormalization: layerNorm,
  Gather: gather,
  GatherElements: gatherElements,
  ScatterElements: same,
  OneHot: oneHot,
  TopK: topK,
  Attention: attention,
};
