/** Every op with the shapes and dtypes that backends must get right. Says what to run, not what is right. */

import type { Tensor } from "../../src/formats/dtype.ts";
import { float32ToFloat16 } from "../../src/formats/float16.ts";
import type { Value } from "../../src/tensor/graph.ts";
import { addNode, constant, ints, scalar } from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import * as q8 from "../../src/tensor/ops-int8.ts";
import { type Rng, rng } from "../../src/tensor/rng.ts";
import type { Shape } from "../../src/tensor/shape.ts";
import { bools, distinct, floats, integers, tensor } from "./tensors.ts";

export interface Case {
  readonly name: string;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Shapes with names in them, where the graph is not to know the sizes. */
  readonly shapes?: Readonly<Record<string, Shape>>;
  readonly build: (v: Readonly<Record<string, Value>>) => Value | readonly Value[];
  /** Largest |difference| / max(1, |wanted|). */
  readonly tolerance?: number;
}

const cases: Case[] = [];
const add = (
  name: string,
  feeds: (r: Rng) => Record<string, Tensor>,
  build: Case["build"],
  more: Pick<Case, "shapes" | "tolerance"> = {},
) => {
  cases.push({ name, feeds: feeds(rng(7).child(name)), build, ...more });
};

type Unary = (x: Value) => Value;
type Binary = (a: Value, b: Value) => Value;

const UNARY: Readonly<Record<string, Unary>> = {
  neg: o.neg,
  abs: o.abs,
  sign: o.sign,
  exp: o.exp,
  tanh: o.tanh,
  sigmoid: o.sigmoid,
  relu: o.relu,
  erf: o.erf,
  floor: o.floor,
  round: o.round,
  identity: o.identity,
  stopGradient: o.stopGradient,
  gelu: o.gelu,
  silu: o.silu,
  square: o.square,
  clip: (x) => o.clip(x, -0.5, 1),
  reciprocal: (x) => o.reciprocal(o.add(o.abs(x), 0.5)),
  log: (x) => o.log(o.add(o.abs(x), 0.5)),
  sqrt: (x) => o.sqrt(o.abs(x)),
  softmax: (x) => o.softmax(x),
  logSoftmax: (x) => o.logSoftmax(x),
  l2Normalize: (x) => o.l2Normalize(x),
  "l2Normalize to a length": (x) =>
    o.l2Normalize(x, { length: o.mean(x, { axes: [-1], keepDims: true }) }),
};
for (const [name, f] of Object.entries(UNARY)) {
  add(
    name,
    (r) => ({ x: floats(r, [2, 3, 5]) }),
    ({ x }) => f(x!),
  );
  add(
    `${name} of no rows`,
    (r) => ({ x: floats(r, [0, 3]) }),
    ({ x }) => f(x!),
  );
  add(
    `${name} with a named batch`,
    (r) => ({ x: floats(r, [4, 3]) }),
    ({ x }) => f(x!),
    { shapes: { x: ["B", 3] } },
  );
}
add(
  "round takes halves to even",
  () => ({ x: tensor([6], [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5]) }),
  ({ x }) => o.round(x!),
);
add(
  "softmax over a middle axis with a mask of -infinity",
  (r) => ({
    x: floats(r, [2, 4, 3]),
    m: tensor([1, 4, 1], [0, Number.NEGATIVE_INFINITY, 0, 0]),
  }),
  ({ x, m }) => [o.softmax(o.add(x!, m!), 1), o.softmax(x!, 0)],
);
add(
  "logSoftmax over the first axis",
  (r) => ({ x: floats(r, [4, 3]) }),
  ({ x }) => o.logSoftmax(x!, 0),
);

const BINARY: Readonly<Record<string, Binary>> = {
  add: o.add,
  sub: o.sub,
  mul: o.mul,
  div: o.div,
  maximum: o.maximum,
  minimum: o.minimum,
  equal: o.equal,
  less: o.less,
  lessEqual: o.lessEqual,
  greater: o.greater,
  greaterEqual: o.greaterEqual,
};
const STRETCHED: readonly (readonly [number[], number[]])[] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [
    [2, 1, 4],
    [3, 1],
  ],
  [[], [2, 2]],
  [[1], [0, 3]],
  [
    [2, 0, 1],
    [1, 1, 3],
  ],
];
for (const [name, f] of Object.entries(BINARY)) {
  for (const [a, b] of STRETCHED)
    add(
      `${name} of [${a}] and [${b}]`,
      (r) => ({ a: floats(r.child("a"), a), b: floats(r.child("b"), b, { low: 0.5, high: 2 }) }),
      (v) => f(v.a!, v.b!),
    );
  add(
    `${name} of int64`,
    (r) => ({
      a: integers(r, [2, 3], { low: -5, high: 6 }),
      b: integers(r, [3], { low: 1, high: 4 }),
    }),
    (v) => f(v.a!, v.b!),
  );
  add(
    `${name} with named dimensions`,
    (r) => ({ a: floats(r, [2, 3, 4]), b: floats(r, [3, 1], { low: 0.5, high: 2 }) }),
    (v) => f(v.a!, v.b!),
    { shapes: { a: ["B", "L", 4], b: ["L", 1] } },
  );
}
add(
  "pow",
  (r) => ({ a: floats(r, [2, 3], { low: 0.5, high: 3 }), b: floats(r, [3]) }),
  ({ a, b }) => [o.pow(a!, b!), o.pow(o.neg(a!), 3), o.pow(2, b!)],
);
add(
  "truths: and, or, not, equal of bool",
  (r) => ({ a: bools(r, [4, 3]), b: bools(r, [3]) }),
  ({ a, b }) => [o.and(a!, b!), o.or(a!, b!), o.not(a!), o.equal(a!, b!)],
);
add(
  "where with all three stretched",
  (r) => ({ c: bools(r, [4, 1]), a: floats(r, [3]), b: floats(r, [2, 1, 1]) }),
  ({ c, a, b }) => [o.where(c!, a!, b!), o.where(c!, a!, 7)],
);
add(
  "where of int64",
  (r) => ({ c: bools(r, [4]), a: integers(r, [4]), b: integers(r, [1]) }),
  ({ c, a, b }) => o.where(c!, a!, b!),
);
add(
  "cast between every pair",
  (r) => ({ x: tensor([5], [-2.7, -0.5, 0, 1.5, 3.2]), i: integers(r, [4]), b: bools(r, [3]) }),
  ({ x, i, b }) => [
    o.cast(x!, "int64"),
    o.cast(x!, "int32"),
    o.cast(x!, "bool"),
    o.cast(i!, "float32"),
    o.cast(i!, "bool"),
    o.cast(b!, "float32"),
    o.cast(b!, "int64"),
    o.cast(o.cast(x!, "float16"), "float32"),
    o.mul(o.cast(x!, "float64"), 1 / 3),
  ],
);
add(
  "float16 goes in and comes out as bits", // engines with a Float16Array of their own wrap it in that
  () => {
    const bits = float32ToFloat16(Float32Array.of(0.5, -2, 65504, 2 ** -14));
    return { x: { dtype: "float16", shape: [4], data: bits } };
  },
  ({ x }) => [o.cast(o.mul(o.cast(x!, "float32"), 0.5), "float16"), o.cast(x!, "float32")],
);
add(
  "neg and abs of int64",
  (r) => ({ x: integers(r, [5], { low: -4, high: 4 }) }),
  ({ x }) => [o.neg(x!), o.abs(x!)],
);

// ---- products

for (const [a, b] of [
  [
    [2, 3],
    [3, 4],
  ],
  [
    [5, 2, 3],
    [3, 4],
  ],
  [
    [2, 1, 2, 3],
    [3, 3, 4],
  ],
  [
    [1, 1],
    [1, 1],
  ],
  [
    [0, 3],
    [3, 4],
  ],
  [
    [2, 0],
    [0, 4],
  ],
] as const)
  for (const flags of [0, 1, 2, 3]) {
    const [transA, transB] = [Boolean(flags & 1), Boolean(flags & 2)];
    const swap = (s: readonly number[], yes: boolean) =>
      yes ? [...s.slice(0, -2), s.at(-1)!, s.at(-2)!] : [...s];
    add(
      `matmul of [${a}] and [${b}], transposed ${transA} ${transB}`,
      (r) => ({ a: floats(r, swap(a, transA)), b: floats(r, swap(b, transB)) }),
      (v) => o.matmul(v.a!, v.b!, { transA, transB }),
    );
    if (a.length === 2 && b.length === 2)
      add(
        `gemm of [${a}] and [${b}], transposed ${transA} ${transB}`,
        (r) => ({
          a: floats(r, swap(a, transA)),
          b: floats(r, swap(b, transB)),
          c: floats(r, [4]),
        }),
        (v) => [
          o.gemm(v.a!, v.b!, { transA, transB, alpha: 0.5 }),
          ...(b[1] === 4 ? [o.gemm(v.a!, v.b!, { transA, transB, bias: v.c! })] : []),
        ],
      );
  }
add(
  "matmul with alpha",
  (r) => ({ a: floats(r, [2, 2, 3]), b: floats(r, [2, 4, 3]) }),
  ({ a, b }) => o.matmul(a!, b!, { transB: true, alpha: 0.25 }),
);
add(
  "linear on rows, on a batch and on a named batch",
  (r) => ({
    x: floats(r, [6, 3]),
    y: floats(r, [2, 2, 3]),
    z: floats(r, [5, 3]),
    w: floats(r, [4, 3]),
    b: floats(r, [4]),
  }),
  ({ x, y, z, w, b }) => [
    o.linear(x!, w!, b!),
    o.linear(y!, w!, b!),
    o.linear(o.reshape(z!, [1, "B", 3]), w!, b!),
  ],
  { shapes: { z: ["B", 3] } },
);
for (const [name, kernel, options] of [
  ["3x3 same", [3, 3], { pad: 1 }],
  ["1x1", [1, 1], {}],
  ["3x3 stride 2, padded right and below", [3, 3], { stride: 2, pad: [0, 0, 1, 1] }],
  ["4x2, uneven padding", [4, 2], { pad: [2, 1, 0, 0] }],
  ["2x2 stride 2", [2, 2], { stride: 2 }],
] as const) {
  const [kh, kw] = kernel;
  for (const batch of [2, "B"] as const)
    add(
      `conv ${name}, batch ${batch}`,
      (r) => ({ x: floats(r, [2, 3, 6, 5]), w: floats(r, [4, 3, kh, kw]), b: floats(r, [4]) }),
      ({ x, w, b }) => [o.conv2d(x!, w!, { ...options, bias: b! }), o.conv2d(x!, w!, options)],
      { shapes: { x: [batch, 3, 6, 5] } },
    );
}
add(
  "conv and its transpose with groups, dilations and unequal strides",
  (r) => ({
    x: floats(r, [2, 4, 7, 8]),
    w: floats(r, [6, 2, 2, 3]),
    g: floats(r, [2, 6, 3, 4]),
    b: floats(r, [4]),
  }),
  ({ x, w, g, b }) => {
    const attrs = {
      kernel_shape: [2, 3],
      strides: [2, 1],
      dilations: [2, 3],
      pads: [1, 0, 0, 2],
      group: 2,
    };
    return [
      ...addNode(x!.graph, "Conv", [x, w], attrs),
      ...addNode(x!.graph, "ConvTranspose", [g, w, b], { ...attrs, output_padding: [1, 0] }),
    ];
  },
);
for (const [stride, pads, extra] of [
  [1, [0, 0, 0, 0], [0, 0]],
  [2, [0, 0, 1, 1], [0, 1]],
  [2, [1, 1, 1, 1], [1, 1]],
] as const)
  add(
    `transposed convolution, stride ${stride}, pads ${pads}`,
    (r) => ({ x: floats(r, [2, 3, 3, 4]), w: floats(r, [3, 2, 3, 3]) }),
    ({ x, w }) =>
      addNode(x!.graph, "ConvTranspose", [x, w], {
        kernel_shape: [3, 3],
        strides: [stride, stride],
        pads,
        output_padding: extra,
      }),
  );
add(
  "average pool, also where the edge is left over",
  (r) => ({ x: floats(r, [2, 3, 4, 6]), y: floats(r, [1, 1, 5, 5]) }),
  ({ x, y }) => [o.avgPool(x!, 2), o.avgPool(y!, 2)],
);
add(
  "8 bits: levels, halves to even, kept in range; products of levels",
  (r) => ({
    x: tensor([2, 4], [0.5, 1.5, -0.5, 2.49, -200, 200, 0, -0.25]),
    a: floats(r, [2, 3, 8]),
    w: integers(r, [8, 5], { low: -127, high: 128, dtype: "int8" }),
    s: floats(r, [5]),
  }),
  ({ x, a, w, s }) => {
    const g = x!.graph;
    const unsigned = { scale: scalar(g, 0.5), zero: scalar(g, 128, "uint8") };
    const signed = { scale: scalar(g, 1), zero: scalar(g, 0, "int8") };
    const product = q8.matmulInt8(q8.quantize(o.mul(a!, 40), unsigned), w!, s!);
    const [levels, other] = [q8.quantize(x!, unsigned), q8.quantize(x!, signed)];
    return [levels.levels, other.levels, q8.dequantize(levels), q8.dequantize(other), product];
  },
);
for (const [pads, strides] of [
  [
    [1, 1, 1, 1],
    [1, 1],
  ],
  [
    [0, 0, 1, 1],
    [2, 2],
  ],
] as const)
  add(
    `8 bits: convolution with stride ${strides[0]}`,
    (r) => ({
      x: floats(r, [2, 6, 5, 8]),
      w: integers(r, [4, 8, 3, 3], { low: -127, high: 128, dtype: "int8" }),
      s: floats(r, [4], { low: 0.01, high: 0.02 }),
      b: integers(r, [4], { low: -3000, high: 3000, dtype: "int32" }),
    }),
    ({ x, w, s, b }) => {
      const g = x!.graph;
      const at = (scale: number, zero: number) => ({
        scale: scalar(g, scale),
        zero: scalar(g, zero, "uint8"),
      });
      const zero = constant(g, { dtype: "int8", shape: [4], data: new Int8Array(4) });
      const weight = { levels: w!, scale: s!, zero };
      const attrs = { kernel_shape: [3, 3], pads, strides };
      const y = q8.conv2dInt8(q8.quantize(x!, at(0.0157, 101)), weight, {
        ...{ bias: b!, to: at(0.37, 130), attrs },
      });
      return q8.dequantize(y);
    },
  );
add(
  "attention: plain, added mask, bool mask",
  (r) => ({
    q: floats(r, [2, 2, 3, 4]),
    k: floats(r, [2, 2, 5, 4]),
    v: floats(r, [2, 2, 5, 6]),
    m: floats(r, [3, 5]),
    t: tensor([3, 5], [1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1], "bool"),
  }),
  ({ q, k, v, m, t }) => [
    o.attention(q!, k!, v!),
    o.attention(q!, k!, v!, { mask: m!, scale: 0.7 }),
    o.attention(q!, k!, v!, { mask: t! }),
  ],
);
add(
  "cached keys: concat of P and L, attended two ways",
  (r) => ({
    q: floats(r, [2, 2, 3, 4]),
    past: floats(r, [2, 2, 5, 4]),
    now: floats(r, [2, 2, 3, 4]),
    m: floats(r, [3, 8]),
  }),
  ({ q, past, now, m }) => {
    const keys = o.concat([past!, now!], 2); // B 2 P+L 4
    const scores = o.add(o.matmul(q!, keys, { transB: true, alpha: 0.5 }), m!);
    return [keys, o.matmul(o.softmax(scores), keys), o.attention(q!, keys, keys, { mask: m! })];
  },
  {
    shapes: {
      q: ["B", 2, "L", 4],
      past: ["B", 2, "P", 4],
      now: ["B", 2, "L", 4],
      m: ["L", "P+L"],
    },
  },
);

// ---- shapes

add(
  "reshape: flat, left over, named, scalar, empty",
  (r) => ({
    x: floats(r, [2, 3, 4]),
    y: floats(r, [2, 3, 4]),
    s: floats(r, [1]),
    e: floats(r, [0, 3]),
  }),
  ({ x, y, s, e }) => [
    o.reshape(x!, [6, 4]),
    o.reshape(x!, ["*", 2]),
    o.reshape(y!, ["B", 12]),
    o.reshape(o.reshape(y!, ["*", 4]), ["B", 3, 4]),
    o.reshape(s!, []),
    o.reshape(e!, [3, 0]),
  ],
  { shapes: { y: ["B", 3, 4] } },
);
add(
  "transpose in every order of three axes",
  (r) => ({ x: floats(r, [2, 3, 4]) }),
  ({ x }) =>
    [
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ].map((p) => o.transpose(x!, p)),
);
add(
  "slice: ends, steps, backwards, empty, two axes",
  (r) => ({ x: floats(r, [5, 4]) }),
  ({ x }) => {
    const many = (...args: number[][]) => {
      const inputs = args.map((a) => ints(x!.graph, a));
      return addNode(x!.graph, "Slice", [x, ...inputs])[0]!;
    };
    return [
      o.slice(x!, { axis: 0, start: 1, end: 3 }),
      o.slice(x!, { axis: -1, start: -2 }),
      o.slice(x!, { axis: 0, step: 2 }),
      o.slice(x!, { axis: 0, start: -1, end: -Number.MAX_SAFE_INTEGER, step: -1 }),
      o.slice(x!, { axis: 0, start: 4, end: 0, step: -3 }),
      o.slice(x!, { axis: 0, start: 3, end: 3 }),
      o.slice(x!, { axis: 0, start: 9 }),
      many([1, 0], [4, 3], [0, 1], [2, 1]),
    ];
  },
);
add(
  "concat and split, with an empty part",
  (r) => ({ a: floats(r, [2, 3]), b: floats(r, [2, 0]), c: floats(r, [2, 2]) }),
  ({ a, b, c }) => [
    o.concat([a!, b!, c!], 1),
    o.concat([a!, a!], 0),
    ...o.split(a!, [1, 2], 1),
    ...o.split(a!, [1, 0, 1], 0),
  ],
);
add(
  "concat of int64",
  (r) => ({ a: integers(r, [2]), b: integers(r, [3]) }),
  ({ a, b }) => o.concat([a!, b!], 0),
);
add(
  "expand and pad",
  (r) => ({ x: floats(r, [2, 1, 3]), s: floats(r, []) }),
  ({ x, s }) => [
    o.expand(x!, [4, 2, 5, 3]),
    o.expand(s!, [2, 2]),
    o.expand(x!, [2, 0, 3]),
    o.pad(x!, [
      [0, 0],
      [1, 2],
      [3, 0],
    ]),
  ],
);
add(
  "upsample2x, also with a named batch",
  (r) => ({ x: floats(r, [2, 3, 2, 3]), y: floats(r, [2, 3, 2, 3]) }),
  ({ x, y }) => [o.upsample2x(x!), o.upsample2x(y!)],
  { shapes: { y: ["B", 3, 2, 3] } },
);
add(
  "upsample2xConv beside upsample2x and conv2d",
  (r) => ({ x: floats(r, [2, 3, 2, 3]), w: floats(r, [4, 3, 3, 3]), b: floats(r, [4]) }),
  ({ x, w, b }) => [
    o.upsample2xConv(x!, w!, b!),
    o.conv2d(o.upsample2x(x!), w!, { bias: b!, pad: 1 }),
  ],
);

// ---- folds

const FOLDS = {
  sum: o.sum,
  mean: o.mean,
  max: o.max,
  min: o.min,
  sumSquares: o.sumSquares,
  logSumExp: o.logSumExp,
};
for (const [name, f] of Object.entries(FOLDS)) {
  add(
    name,
    (r) => ({ x: floats(r, [2, 3, 4]), one: floats(r, [3, 1]) }),
    ({ x, one }) => [
      f(x!),
      f(x!, { axes: [1] }),
      f(x!, { axes: [0, 2], keepDims: true }),
      f(x!, { axes: [-1] }),
      f(one!, { axes: [1] }),
    ],
  );
  add(
    `${name} with named dimensions`,
    (r) => ({ x: floats(r, [2, 3, 4]) }),
    ({ x }) => [f(x!, { axes: [1] }), f(x!, { axes: [-1], keepDims: true })],
    { shapes: { x: ["B", "L", 4] } },
  );
}
add(
  "sum and mean over an empty axis and beside one",
  (r) => ({ x: floats(r, [0, 3]) }),
  ({ x }) => [o.sum(x!, { axes: [0] }), o.sum(x!, { axes: [1] }), o.mean(x!, { axes: [1] })],
);
add(
  "sum, max and min of int64",
  (r) => ({ x: integers(r, [3, 4], { low: -9, high: 9 }) }),
  ({ x }) => [o.sum(x!, { axes: [0] }), o.max(x!, { axes: [1] }), o.min(x!)],
);
add(
  "argMax and argMin take the first of equals",
  () => ({ x: tensor([2, 4], [1, 5, 5, 0, -1, -1, -3, -3]) }),
  ({ x }) => [o.argMax(x!, 1), o.argMin(x!, 1), o.argMax(x!, 0), o.argMin(x!, -1)],
);
add(
  "topK of the last and of the first axis",
  (r) => ({ x: distinct(r, [3, 5]) }),
  ({ x }) => [...o.topK(x!, 2), ...o.topK(x!, 3, 0), ...o.topK(x!, 5)],
);
add(
  "layerNorm: bare, weight, bias, one row, named rows",
  (r) => ({ x: floats(r, [2, 3, 8]), y: floats(r, [4, 8]), w: floats(r, [8]), b: floats(r, [8]) }),
  ({ x, y, w, b }) => [
    o.layerNorm(x!),
    o.layerNorm(x!, { weight: w! }),
    o.layerNorm(x!, { weight: w!, bias: b!, eps: 0.1 }),
    o.layerNorm(o.slice(x!, { axis: 1, end: 1 }), { weight: w!, bias: b! }),
    o.layerNorm(y!, { weight: w!, bias: b! }),
  ],
  { shapes: { y: ["N", 8] } },
);
add(
  "layerNorm gives its statistics",
  (r) => ({ x: floats(r, [3, 8]), w: floats(r, [8]) }),
  ({ x, w }) =>
    addNode(x!.graph, "LayerNormalization", [x, w], { axis: -1, epsilon: 0.01 }, { outputs: 3 }),
);
add(
  "groupNorm, also with a named batch",
  (r) => ({
    x: floats(r, [2, 4, 3, 3]),
    y: floats(r, [2, 4, 3, 3]),
    w: floats(r, [4]),
    b: floats(r, [4]),
  }),
  ({ x, y, w, b }) => [
    o.groupNorm(x!, { weight: w!, bias: b!, groups: 2 }),
    o.groupNorm(y!, { groups: 4 }),
  ],
  { shapes: { y: ["B", 4, 3, 3] } },
);

// ---- look-ups

add(
  "embedding, gather on axis 1, negative and repeated ids",
  () => ({
    table: tensor(
      [4, 3],
      Array.from({ length: 12 }, (_, i) => i),
    ),
    ids: tensor([2, 3], [0, 3, 3, -1, 1, 0], "int64"),
    few: tensor([2], [2, 0], "int32"),
  }),
  ({ table, ids, few }) => [
    o.embedding(table!, ids!),
    addNode(table!.graph, "Gather", [table, few], { axis: 1 })[0]!,
  ],
);
add(
  "embedding of no ids, and of a named length",
  (r) => ({ table: floats(r, [4, 3]), none: integers(r, [0]), ids: integers(r, [5]) }),
  ({ table, none, ids }) => [o.embedding(table!, none!), o.embedding(table!, ids!)],
  { shapes: { ids: ["L"] } },
);
add(
  "gatherElements on both axes",
  (r) => ({ x: floats(r, [3, 4]), i: integers(r, [3, 2], { high: 4 }), j: integers(r, [5, 4]) }),
  ({ x, i, j }) => [o.gatherElements(x!, i!, 1), o.gatherElements(x!, j!, 0)],
);
add(
  "oneHot",
  (r) => ({ ids: integers(r, [2, 3], { high: 4 }) }),
  ({ ids }) => o.oneHot(ids!, 4),
);
add(
  "crossEntropy and mse",
  (r) => ({ x: floats(r, [5, 4]), t: integers(r, [5], { high: 4 }), y: floats(r, [5, 4]) }),
  ({ x, t, y }) => [o.crossEntropy(x!, t!), o.mse(x!, y!)],
);

export const CASES: readonly Case[] = cases;
