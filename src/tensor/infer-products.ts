/** Shape rules of products and windows: matrices, convolutions, pooling, attention. */

import {
  at,
  FLOATS,
  fail,
  type InferContext,
  int,
  intList,
  type Rule,
  sameDtypes,
  wantAttr,
  wantDtype,
} from "./infer-context.ts";
import { broadcastShapes, type Dim, type Shape } from "./shape.ts";

const swap = (shape: Shape, yes: boolean): Dim[] =>
  yes ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : [...shape];

export const matmul: Rule = (c) => {
  const dtype = sameDtypes(c);
  if (at(c, 0).shape.length < 2 || at(c, 1).shape.length < 2)
    fail(c, "both sides need rank 2 or more; reshape vectors to a row or a column");
  const a = swap(at(c, 0).shape, int(c, "transA", 0) === 1);
  const b = swap(at(c, 1).shape, int(c, "transB", 0) === 1);
  if (a.at(-1) !== b.at(-2))
    fail(c, `inner sizes ${a.at(-1)} and ${b.at(-2)} differ; transpose one side or fix a width`);
  const batch = broadcastShapes(a.slice(0, -2), b.slice(0, -2), c.op);
  return [{ dtype, shape: [...batch, a.at(-2)!, b.at(-1)!] }];
};

export const gemm: Rule = (c) => {
  sameDtypes(c);
  if (at(c, 0).shape.length !== 2 || at(c, 1).shape.length !== 2)
    fail(c, "both sides need rank 2; use matmul for batches");
  const [type] = matmul({ ...c, inputs: c.inputs.slice(0, 2) });
  const bias = c.inputs[2];
  if (bias) {
    const both = broadcastShapes(type!.shape, bias.shape, c.op);
    if (both.length !== 2 || both.some((d, i) => d !== type!.shape[i]))
      fail(c, `a bias may not stretch the product [${type!.shape}]`);
  }
  return [type!];
};

/** Number of places of a window along spatial axis i. */
function window(c: InferContext, size: Dim, i: number, kernel: number): number {
  if (typeof size !== "number") return fail(c, `spatial size "${size}" must be a number`);
  const [stride, pads] = [intList(c, "strides", [1, 1]), intList(c, "pads", [0, 0, 0, 0])];
  if (pads.some((p) => p < 0)) fail(c, `pads ${pads} must not be negative; slice instead`);
  const reach = intList(c, "dilations", [1, 1])[i]! * (kernel - 1) + 1;
  const span = size + pads[i]! + pads[i + 2]! - reach;
  if (span < 0) fail(c, `a window of ${kernel} does not fit in ${size} with padding ${pads}`);
  return Math.floor(span / stride[i]!) + 1;
}

/** Checks images and weights of a convolution; the weights must be numbers throughout. */
function convShapes(c: InferContext): { x: Shape; w: number[] } {
  const [x, w] = [at(c, 0).shape, at(c, 1).shape];
  if (x.length !== 4 || w.length !== 4) fail(c, "wants images B C H W and weights O C kh kw");
  if (w.some((d) => typeof d !== "number")) fail(c, "sizes of weights must be numbers");
  return { x, w: w as number[] };
}

export const conv: Rule = (c) => {
  const dtype = sameDtypes(c);
  const { x, w } = convShapes(c);
  const group = int(c, "group", 1);
  const takes = w[1]! * group;
  if (x[1] !== takes) fail(c, `image has ${x[1]} channels, weights take ${takes}`);
  if (w[0]! % group) fail(c, `${group} groups do not divide ${w[0]} output channels`);
  const bias = c.inputs[2];
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== w[0]))
    fail(c, `bias must be [${w[0]}], one entry per output channel`);
  return [
    { dtype, shape: [x[0]!, w[0]!, ...[0, 1].map((i) => window(c, x[i + 2]!, i, w[i + 2]!))] },
  ];
};

export const convTranspose: Rule = (c) => {
  const dtype = sameDtypes(c);
  const { x, w } = convShapes(c);
  const out = w[1]! * int(c, "group", 1);
  const bias = c.inputs[2];
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== out))
    fail(c, `bias must be [${out}], one entry per output channel`);
  if (x[1] !== w[0]) fail(c, `image has ${x[1]} channels, weights take ${w[0]}`);
  const [stride, pads] = [intList(c, "strides", [1, 1]), intList(c, "pads", [0, 0, 0, 0])];
  const dilation = intList(c, "dilations", [1, 1]);
  const extra = intList(c, "output_padding", [0, 0]);
  const spatial = [0, 1].map((i) => {
    const n = x[i + 2]!;
    if (typeof n !== "number") return fail(c, `spatial size "${n}" must be a number`);
    const reach = dilation[i]! * (w[i + 2]! - 1) + 1;
    return stride[i]! * (n - 1) + reach - pads[i]! - pads[i + 2]! + extra[i]!;
  });
  return [{ dtype, shape: [x[0]!, out, ...spatial] }];
};

/** Windows that do not overlap, no padding. */
export const averagePool: Rule = (c) => {
  wantDtype(c, FLOATS);
  const { shape, dtype } = at(c, 0);
  if (shape.length !== 4) fail(c, "wants images B C H W");
  const kernel = intList(c, "kernel_shape", []);
  if (String(intList(c, "strides", [1, 1])) !== String(kernel))
    fail(c, `strides must equal the kernel ${kernel}; overlapping windows are not supported`);
  wantAttr(c, "pads", [0, 0, 0, 0]);
  wantAttr(c, "ceil_mode", 0);
  const spatial = [0, 1].map((i) => window(c, shape[i + 2]!, i, kernel[i]!));
  return [{ dtype, shape: [shape[0]!, shape[1]!, ...spatial] }];
};

/** Attention of opset 23 on q B h L d, k B h M d, v B h M e; a mask broadcasts to B h L M, bool or additive. */
export const attention: Rule = (c) => {
  const [q, k, v] = [at(c, 0), at(c, 1), at(c, 2)];
  if ([q, k, v].some((t) => t.shape.length !== 4)) fail(c, "wants q, k, v as B h L d");
  sameDtypes({ ...c, inputs: [q, k, v] });
  wantAttr(c, "is_causal", 0);
  const [B, h, L, d] = q.shape as [Dim, Dim, Dim, Dim];
  const M = k.shape[2]!;
  const fits = (t: Shape) => t[0] === B && t[1] === h && t[2] === M;
  if (!fits(k.shape) || !fits(v.shape) || k.shape[3] !== d)
    fail(c, "q, k and v must agree in batch, heads and width, k and v in length");
  const mask = c.inputs[3];
  if (mask) {
    if (mask.dtype !== "bool" && mask.dtype !== q.dtype) fail(c, "the mask must be bool or float");
    const both = broadcastShapes(mask.shape, [B, h, L, M], c.op);
    if (both.length !== 4 || both.some((n, i) => n !== [B, h, L, M][i]))
      fail(c, `the mask must broadcast to [${[B, h, L, M]}]`);
  }
  return [{ dtype: q.dtype, shape: [B, h, L, v.shape[3]!] }];
};
