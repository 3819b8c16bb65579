/** What is differentiated in the property tests: every op with a gradient, over random shapes. Holds no assertions. */

import fc from "fast-check";
import { addNode, ints, type Value } from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import { type Rng, rng } from "../../src/tensor/rng.ts";
import {
  bools,
  distinct,
  floats,
  integers,
  type RandomOptions,
  tensor,
} from "../conformance/tensors.ts";
import type { Subject } from "./check.ts";

/** A random subject and the stream its numbers came from. */
export type Subjects = fc.Arbitrary<{ subject: Subject; r: Rng }>;

const size = fc.integer({ min: 0, max: 3 });
const positive = fc.integer({ min: 1, max: 3 });
const shapes = fc.array(size, { maxLength: 3 });
const streams = fc.integer({ min: 0, max: 1e6 }).map((seed) => rng(seed));

/** Two shapes that stretch to each other: axes become 1, leading ones go. */
const pairs = fc
  .tuple(
    shapes,
    fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 3, maxLength: 3 }),
    fc.nat(3),
  )
  .map(([whole, fate, drop]): [number[], number[]] => {
    const a = whole.map((d, i) => (fate[i] === 0 ? 1 : d));
    const b = whole.map((d, i) => (fate[i] === 1 ? 1 : d));
    return drop % 2
      ? [a, b.slice(Math.min(drop, b.length))]
      : [a.slice(Math.min(drop, a.length)), b];
  });

const subjectsOf = <T>(given: fc.Arbitrary<T>, make: (t: T, r: Rng) => Subject): Subjects =>
  fc.tuple(given, streams).map(([t, r]) => ({ subject: make(t, r), r }));

const unary = (f: (x: Value) => Value, range: RandomOptions = {}): Subjects =>
  subjectsOf(shapes, (shape, r) => ({
    feeds: { x: floats(r, shape, range) },
    build: ({ x }) => f(x!),
  }));
/** Away from kinks: no two elements are near each other or near 0. */
const kinked = (f: (x: Value) => Value): Subjects =>
  subjectsOf(shapes, (shape, r) => ({ feeds: { x: distinct(r, shape) }, build: ({ x }) => f(x!) }));
const binary = (f: (a: Value, b: Value) => Value, range: RandomOptions = {}): Subjects =>
  subjectsOf(pairs, ([a, b], r) => ({
    feeds: { a: floats(r.child("a"), a, range), b: floats(r.child("b"), b, range) },
    build: (v) => f(v.a!, v.b!),
  }));

/** A shape with one axis of at least 1, and that axis. */
const withAxis = fc.tuple(shapes, positive, fc.nat(3)).map(([s, n, at]) => ({
  shape: s.toSpliced(at % (s.length + 1), 0, n),
  axis: at % (s.length + 1),
}));
const along = (f: (x: Value, axis: number) => Value | readonly Value[]): Subjects =>
  subjectsOf(withAxis, ({ shape, axis }, r) => ({
    feeds: { x: distinct(r, shape) },
    build: ({ x }) => f(x!, axis),
  }));
const fold = (f: (x: Value, options: o.ReduceOptions) => Value): Subjects =>
  subjectsOf(
    fc.tuple(withAxis, fc.boolean(), fc.boolean()),
    ([{ shape, axis }, all, keepDims], r) => ({
      feeds: { x: distinct(r, all ? shape.map((d) => Math.max(1, d)) : shape) },
      build: ({ x }) => f(x!, all ? { keepDims } : { axes: [axis - shape.length], keepDims }),
    }),
  );

const products = subjectsOf(
  fc.tuple(fc.tuple(positive, size, positive), pairs, fc.boolean(), fc.boolean()),
  ([[M, K, N], [p, q], transA, transB], r) => ({
    feeds: {
      a: floats(r, [...p.slice(0, 2), ...(transA ? [K, M] : [M, K])]),
      b: floats(r, [...q.slice(p.length > 2 ? 1 : 0).slice(-2), ...(transB ? [N, K] : [K, N])]),
    },
    build: ({ a, b }) => o.matmul(a!, b!, { transA, transB, alpha: transA ? 0.5 : 1 }),
  }),
).filter(({ subject: { feeds } }) =>
  stretch(feeds.a!.shape.slice(0, -2), feeds.b!.shape.slice(0, -2)),
);

function stretch(a: readonly number[], b: readonly number[]): boolean {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => i).every((i) => {
    const [x, y] = [a[a.length - 1 - i] ?? 1, b[b.length - 1 - i] ?? 1];
    return x === y || x === 1 || y === 1;
  });
}

const gemms = subjectsOf(
  fc.tuple(size, size, size, fc.boolean(), fc.boolean(), fc.constantFrom("none", "row", "all")),
  ([M, K, N, transA, transB, bias], r) => ({
    feeds: {
      a: floats(r, transA ? [K, M] : [M, K]),
      b: floats(r, transB ? [N, K] : [K, N]),
      c: floats(r, bias === "all" ? [M, N] : [N]),
    },
    build: ({ a, b, c }) =>
      o.gemm(a!, b!, { transA, transB, alpha: 0.5, bias: bias === "none" ? undefined : c! }),
  }),
);

const side = fc.integer({ min: 0, max: 2 });
const convolutions = subjectsOf(
  fc.record({
    kernel: fc.tuple(positive, positive),
    extra: fc.tuple(fc.nat(2), fc.nat(2)),
    stride: fc.integer({ min: 1, max: 3 }),
    pad: fc.tuple(side, side, side, side),
    channels: fc.tuple(fc.constantFrom(1, 2, 8), positive, positive), // 8: in parts
  }),
  ({ kernel: [kh, kw], extra, stride, pad, channels: [B, C, O] }, r) => ({
    feeds: {
      x: floats(r, [B, C, kh + extra[0], kw + extra[1]]),
      w: floats(r, [O, C, kh, kw]),
      b: floats(r, [O]),
    },
    build: ({ x, w, b }) => o.conv2d(x!, w!, { stride, pad, bias: b! }),
  }),
);
const transposed = subjectsOf(
  fc.tuple(positive, fc.integer({ min: 1, max: 2 }), fc.nat(1), positive),
  ([k, stride, extra, n], r) => ({
    feeds: { x: floats(r, [1, 2, n, n + 1]), w: floats(r, [2, 3, k, k]) },
    build: ({ x, w }) =>
      addNode(x!.graph, "ConvTranspose", [x, w], {
        kernel_shape: [k, k],
        strides: [stride, stride],
        pads: [0, 0, k > 1 ? 1 : 0, 0],
        output_padding: [stride > 1 ? extra : 0, 0],
      }),
  }),
);

const slices = subjectsOf(
  fc.tuple(
    withAxis,
    fc.integer({ min: -4, max: 4 }),
    fc.integer({ min: -5, max: 4 }),
    fc.constantFrom(1, 2, 3, -1, -2),
  ),
  ([{ shape, axis }, start, end, step], r) => ({
    feeds: { x: floats(r, shape) },
    build: ({ x }) => o.slice(x!, { axis, start, end, step }),
  }),
);
const cutsOfTwo = subjectsOf(
  fc.tuple(fc.nat(2), fc.constantFrom(1, 2, -1)),
  ([start, step], r) => ({
    feeds: { x: floats(r, [4, 5]) },
    build: ({ x }) => {
      const [g, ends] = [x!.graph, step > 0 ? [4, 4] : [-9, -9]];
      const from = step > 0 ? [start, 1] : [3, 4 - start];
      return addNode(g, "Slice", [
        x,
        ints(g, from),
        ints(g, ends),
        ints(g, [0, 1]),
        ints(g, [step, step]),
      ]);
    },
  }),
);

/** Look-ups with repeated and negative ids; none at all, too. */
const lookups = subjectsOf(
  fc.tuple(withAxis, fc.array(size, { maxLength: 2 })),
  ([{ shape, axis }, at], r) => ({
    feeds: {
      x: floats(r, shape),
      ids: integers(r, at, { low: -shape[axis]!, high: shape[axis]! }),
    },
    build: ({ x, ids }) => addNode(x!.graph, "Gather", [x, ids], { axis }),
  }),
);
const picks = subjectsOf(fc.tuple(withAxis, size), ([{ shape, axis }, n], r) => ({
  feeds: {
    x: floats(r, shape),
    ids: integers(r, shape.with(axis, n), { low: 0, high: shape[axis]! }),
  },
  build: ({ x, ids }) => o.gatherElements(x!, ids!, axis),
}));

const norms = subjectsOf(
  fc.tuple(
    fc.array(size, { maxLength: 2 }),
    fc.integer({ min: 2, max: 5 }),
    fc.boolean(),
    fc.boolean(),
  ),
  ([rows, C, weight, bias], r) => ({
    feeds: { x: distinct(r, [...rows, C]), w: floats(r, [C]), b: floats(r, [C]) },
    build: ({ x, w, b }) =>
      o.layerNorm(x!, { weight: weight ? w! : undefined, bias: bias ? b! : undefined, eps: 0.01 }),
  }),
);

const halves = (x: Value): readonly Value[] => {
  const n = x.shape[0] as number;
  return o.split(x, [Math.floor(n / 2), n - Math.floor(n / 2)], 0);
};

export const SUBJECTS: Readonly<Record<string, Subjects>> = {
  identity: unary(o.identity),
  neg: unary(o.neg),
  exp: unary(o.exp),
  log: unary(o.log, { low: 0.5, high: 3 }),
  sqrt: unary(o.sqrt, { low: 0.5, high: 3 }),
  reciprocal: unary(o.reciprocal, { low: 0.5, high: 3 }),
  tanh: unary(o.tanh),
  sigmoid: unary(o.sigmoid),
  erf: unary(o.erf),
  gelu: unary(o.gelu),
  silu: unary(o.silu),
  "quick gelu with alpha": unary(
    (x) => addNode(x.graph, "QuickGelu", [x], { alpha: 1.702 }, { domain: "com.microsoft" })[0]!,
  ),
  abs: kinked(o.abs),
  relu: kinked(o.relu),
  leakyRelu: kinked((x) => o.leakyRelu(x, 0.2)),
  clip: kinked((x) => o.clip(x, -0.5, 0.75)),
  "a value used twice and thrice": unary((x) => o.mul(o.add(x, o.exp(x)), x)),
  add: binary(o.add),
  sub: binary(o.sub),
  mul: binary(o.mul),
  div: binary(o.div, { low: 0.5, high: 2 }),
  pow: binary(o.pow, { low: 0.5, high: 2 }),
  "maximum and minimum": subjectsOf(pairs, ([a, b], r) => ({
    feeds: {
      a: distinct(r.child("a"), a),
      // Shifted by a third of a step: never equal to an element of a.
      b: floats(r.child("b"), b, { low: 0.11, high: 0.12 }),
    },
    build: (v) => [o.maximum(v.a!, v.b!), o.minimum(v.a!, v.b!)],
  })),
  where: subjectsOf(pairs, ([a, b], r) => ({
    feeds: { c: bools(r.child("c"), b), a: floats(r.child("a"), a), b: floats(r.child("b"), [1]) },
    build: (v) => o.where(v.c!, v.a!, v.b!),
  })),
  cast: unary((x) => o.cast(o.exp(o.cast(x, "float64")), "float32")),
  matmul: products,
  gemm: gemms,
  conv: convolutions,
  "conv with groups, dilations, unequal strides": subjectsOf(
    fc.tuple(positive, positive, positive, positive, fc.integer({ min: 1, max: 2 }), side),
    ([sy, sx, dy, dx, group, pad], r) => ({
      feeds: { x: floats(r, [2, 2 * group, 5, 6]), w: floats(r, [2 * group, 2, 2, 2]) },
      build: ({ x, w }) =>
        addNode(x!.graph, "Conv", [x, w], {
          kernel_shape: [2, 2],
          strides: [sy, sx],
          dilations: [dy, dx],
          pads: [pad, 0, 1, pad],
          group,
        })[0]!,
    }),
  ),
  "transposed convolution with groups, dilations, unequal strides": subjectsOf(
    fc.tuple(positive, positive, positive, positive, fc.integer({ min: 1, max: 2 })),
    ([sy, sx, dy, dx, group], r) => ({
      feeds: {
        x: floats(r, [2, 2 * group, 2, 3]),
        w: floats(r, [2 * group, 2, 2, 2]),
        b: floats(r, [2 * group]),
      },
      build: ({ x, w, b }) =>
        addNode(x!.graph, "ConvTranspose", [x, w, b], {
          kernel_shape: [2, 2],
          strides: [sy, sx],
          dilations: [dy, dx],
          pads: [1, 0, 0, 1],
          output_padding: [sy - 1, 0],
          group,
        })[0]!,
    }),
  ),
  "transposed convolution": transposed,
  "average pool": subjectsOf(fc.tuple(positive, positive, positive), ([k, h, w], r) => ({
    feeds: { x: floats(r, [1, 2, k * h + (k > 1 ? 1 : 0), k * w]) },
    build: ({ x }) => o.avgPool(x!, k),
  })),
  upsample2x: subjectsOf(fc.tuple(positive, positive), ([h, w], r) => ({
    feeds: { x: floats(r, [2, 2, h, w]) },
    build: ({ x }) => o.upsample2x(x!),
  })),
  upsample2xConv: subjectsOf(fc.tuple(positive, positive, positive), ([h, w, O], r) => ({
    feeds: { x: floats(r, [2, 2, h, w]), w: floats(r, [O, 2, 3, 3]), b: floats(r, [O]) },
    build: ({ x, w: weight, b }) => o.upsample2xConv(x!, weight!, b!),
  })),
  reshape: subjectsOf(shapes, (s, r) => ({
    feeds: { x: floats(r, s) },
    build: ({ x }) => o.reshape(x!, [...s].reverse()),
  })),
  transpose: subjectsOf(shapes, (s, r) => ({
    feeds: { x: floats(r, s) },
    build: ({ x }) =>
      o.transpose(
        x!,
        s.map((_, i) => (i + 1) % s.length),
      ),
  })),
  expand: subjectsOf(pairs, ([a, b], r) => ({
    feeds: { x: floats(r, a) },
    build: ({ x }) => o.expand(x!, b),
  })),
  slice: slices,
  "slice of two axes": cutsOfTwo,
  concat: subjectsOf(fc.tuple(withAxis, size), ([{ shape, axis }, n], r) => ({
    feeds: { a: floats(r.child("a"), shape), b: floats(r.child("b"), shape.with(axis, n)) },
    build: ({ a, b }) => o.concat([a!, b!, a!], axis),
  })),
  split: subjectsOf(fc.integer({ min: 1, max: 4 }), (n, r) => ({
    feeds: { x: floats(r, [n, 2]) },
    build: ({ x }) => halves(x!),
  })),
  "split with an unused part": subjectsOf(fc.nat(1), (i, r) => ({
    feeds: { x: floats(r, [3, 2]) },
    build: ({ x }) => halves(x!)[i]!,
  })),
  pad: subjectsOf(shapes, (s, r) => ({
    feeds: { x: floats(r, s) },
    build: ({ x }) =>
      o.pad(
        x!,
        s.map((_, i) => [i % 2, (i + 1) % 3] as const),
      ),
  })),
  sum: fold(o.sum),
  mean: fold(o.mean),
  sumSquares: fold(o.sumSquares),
  logSumExp: subjectsOf(withAxis, ({ shape, axis }, r) => ({
    feeds: { x: floats(r, shape) },
    build: ({ x }) => o.logSumExp(x!, { axes: [axis] }),
  })),
  max: fold((x, options) => (x.shape.includes(0) ? o.sum(x, options) : o.max(x, options))),
  min: fold((x, options) => (x.shape.includes(0) ? o.sum(x, options) : o.min(x, options))),
  softmax: along(o.softmax),
  logSoftmax: along(o.logSoftmax),
  topK: along((x, axis) => o.topK(x, Math.min(2, x.shape[axis] as number), axis)[0]),
  layerNorm: norms,
  groupNorm: subjectsOf(fc.constantFrom(1, 2, 4), (groups, r) => ({
    feeds: { x: floats(r, [2, 4, 2, 3]), w: floats(r, [4]), b: floats(r, [4]) },
    build: ({ x, w, b }) => o.groupNorm(x!, { weight: w!, bias: b!, groups, eps: 0.01 }),
  })),
  l2Normalize: subjectsOf(positive, (n, r) => ({
    feeds: { x: floats(r, [n, 3], { low: 0.2, high: 2 }), length: floats(r, [n, 1]) },
    build: ({ x, length }) => o.add(o.l2Normalize(x!), o.l2Normalize(x!, { length: length! })),
  })),
  gather: lookups,
  gatherElements: picks,
  crossEntropy: subjectsOf(positive, (n, r) => ({
    feeds: { x: floats(r, [n, 4]), t: integers(r, [n], { high: 4 }) },
    build: ({ x, t }) => o.crossEntropy(x!, t!),
  })),
  mse: subjectsOf(positive, (n, r) => ({
    feeds: { a: floats(r.child("a"), [n, 2]), b: floats(r.child("b"), [2]) },
    build: ({ a, b }) => o.mse(a!, b!),
  })),
  linear: subjectsOf(shapes, (s, r) => ({
    feeds: { x: floats(r, [...s, 3]), w: floats(r, [2, 3]), b: floats(r, [2]) },
    build: ({ x, w, b }) => o.linear(x!, w!, b!),
  })),
};

/** Smooth subjects of fixed shapes, for gradients of gradients. */
export const SMOOTH: Readonly<Record<string, Subject>> = {
  "a small network with norm and softmax": {
    feeds: {
      x: floats(rng(1), [3, 4]),
      w: floats(rng(2), [5, 4]),
      b: floats(rng(3), [5]),
      gain: floats(rng(4), [5]),
    },
    build: ({ x, w, b, gain }) => {
      const h = o.gelu(o.linear(x!, w!, b!));
      return o.softmax(o.layerNorm(h, { weight: gain!, bias: b!, eps: 0.1 }));
    },
  },
  "convolutions of stride 1 and 2 with group norm": {
    feeds: {
      x: floats(rng(5), [1, 2, 4, 4]),
      w: floats(rng(6), [2, 2, 3, 3]),
      v: floats(rng(7), [1, 2, 2, 2]),
    },
    build: ({ x, w, v }) => {
      const h = o.silu(o.groupNorm(o.conv2d(x!, w!, { pad: 1 }), { groups: 2, eps: 0.1 }));
      return o.conv2d(h, v!, { stride: 2 });
    },
  },
  "attention with look-up, tanh, erf, roots and powers": {
    feeds: {
      table: floats(rng(8), [4, 3], { low: 0.4, high: 2 }),
      ids: tensor([2, 3], [0, 1, 1, 3, 2, 0], "int64"),
    },
    build: ({ table, ids }) => {
      const x = o.embedding(table!, ids!); // 2 3 3
      const a = o.softmax(o.matmul(x, x, { transB: true, alpha: 0.5 }));
      const y = o.matmul(a, x);
      return [o.tanh(y), o.erf(y), o.sqrt(y), o.pow(y, 1.5), o.log(y), o.div(1, y), o.sigmoid(y)];
    },
  },
  "reductions, slices, parts and joins": {
    feeds: { x: floats(rng(9), [3, 4]), y: floats(rng(10), [4]) },
    build: ({ x, y }) => {
      const z = o.exp(o.mul(x!, y!));
      const [p, q] = o.split(z, [1, 3], 1);
      return [
        o.mean(o.square(z), { axes: [0] }),
        o.logSumExp(z, { axes: [1] }),
        o.sumSquares(o.concat([o.slice(z, { axis: 1, step: 2 }), p!], 1)),
        o.sum(o.mul(q!, q!), { axes: [0] }),
        o.logSoftmax(
          o.pad(z, [
            [1, 0],
            [0, 1],
          ]),
          0,
        ),
        o.l2Normalize(z),
      ];
    },
  },
};
