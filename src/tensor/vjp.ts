/** The one table of reverse-mode rules: for each op, how a gradient of its result becomes gradients of its inputs. */

import { type Attrs, constantInts, filled, type Node, type Value } from "./graph.ts";
import * as o from "./ops.ts";
import { axisOf, elements, sameShape, staticShape } from "./shape.ts";
import { convInputGradient, convWeightGradient } from "./vjp-conv.ts";

export interface VjpContext {
  readonly node: Node;
  readonly attrs: Attrs;
  /** What the node took and gave. */
  readonly x: readonly Value[];
  readonly y: Value;
}

/** For each input a thunk that appends its gradient; a missing thunk means no gradient flows there. */
export type Pullback = readonly ((() => Value) | undefined)[];
/** `g` is the gradient of the first output; `gs` of all, undefined where nothing flowed. */
export type Rule = (c: VjpContext, g: Value, gs: readonly (Value | undefined)[]) => Pullback;

/** Sums a gradient down to the shape of the operand that was broadcast. */
export function sumTo(g: Value, like: Value): Value {
  if (sameShape(g.shape, like.shape)) return g;
  const [from, to] = [staticShape(g.shape, "gradient"), staticShape(like.shape, "operand")];
  const lead = from.length - to.length;
  const gone = from.map((d, i) => i < lead || (to[i - lead] === 1 && d !== 1));
  if (!gone.includes(true)) return o.reshape(g, to);
  const head = gone.indexOf(false) < 0 ? gone.length : gone.indexOf(false);
  const tail = Math.max(head, gone.lastIndexOf(false) + 1);
  if (elements(from) === 0 || gone.slice(head, tail).includes(true))
    return o.reshape(o.sum(g, { axes: gone.flatMap((yes, i) => (yes ? [i] : [])) }), to);
  const [A, M, T] = [from.slice(0, head), from.slice(head, tail), from.slice(tail)].map((s) =>
    elements(s),
  ) as [number, number, number];
  return o.reshape(outerSums(o.reshape(g, [A, M, T])), to);
}

/** A M T -> M. Products with ones use both cores and vector units; ReduceSum over outer axes does not. */
function outerSums(x: Value): Value {
  const [A, M, T] = x.shape as [number, number, number];
  const rows = T === 1 ? x : o.matmul(o.reshape(x, [A * M, T]), filled(x.graph, [T, 1], 1)); // AM 1
  return o.reshape(A === 1 ? rows : columnSums(o.reshape(rows, [A, M])), [M]);
}

/** N D -> 1 D. */
const columnSums = (x: Value): Value => o.matmul(filled(x.graph, [1, x.shape[0] as number], 1), x);

const likeInput = (c: VjpContext, g: Value, i = 0): Value => o.reshape(g, c.x[i]!.shape);

/** Puts back the axes that a reduction removed, as size 1. */
function keepAxes(c: VjpContext, g: Value): Value {
  const { shape } = c.x[0]!;
  const axes = constantInts(c.x[1])?.map((a) => axisOf(a, shape.length, "reduce"));
  return o.reshape(
    g,
    shape.map((d, i) => (!axes || axes.includes(i) ? 1 : d)),
  );
}
const spread = (c: VjpContext, g: Value): Value =>
  o.expand(keepAxes(c, g), staticShape(c.x[0]!.shape, c.node.op));
const reducedCount = (c: VjpContext): number => elements(c.x[0]!.shape) / elements(c.y.shape);

/** Gradient shared equally among the elements that attain an extreme. */
const extreme: Rule = (c, g) => [
  () => {
    const hit = o.cast(o.equal(c.x[0]!, keepAxes(c, c.y)), "float32");
    const count = o.sum(hit, { axes: constantInts(c.x[1]), keepDims: true });
    return o.mul(hit, o.div(keepAxes(c, g), count));
  },
];

/** Max and Min of two: ties send half each way, as finite differences see it. */
const choose =
  (wins: (a: Value, b: Value) => Value): Rule =>
  ({ x: [a, b] }, g) => {
    const share = (p: Value, q: Value) =>
      o.mul(o.add(o.cast(wins(p, q), "float32"), o.mul(o.cast(o.equal(p, q), "float32"), 0.5)), g);
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

/** dx = σ⁻¹(g·w − mean(g·w) − x̂·mean(g·w·x̂)), row means as matrix-vector products. */
const layerNorm: Rule = ({ node, x: [x, w, b] }, g) => {
  const [, mean, inv] = node.outputs as [Value, Value, Value];
  const C = x!.shape.at(-1) as number;
  const rows = (v: Value) => o.reshape(v, [elements(v.shape) / C, C]);
  const flat = (v: Value) => o.reshape(v, [elements(v.shape), 1]);
  let cached: { xHat: Value; gx: Value; g2: Value } | undefined;
  const parts = () => {
    if (!cached) {
      const g2 = rows(g);
      const xHat = o.mul(o.sub(rows(x!), flat(mean)), flat(inv)); // N C
      cached = { g2, xHat, gx: o.mul(g2, xHat) };
    }
    return cached;
  };
  return [
    () => {
      const { g2, xHat, gx } = parts();
      const column = o.reshape(w!, [C, 1]);
      const m1 = o.mul(o.matmul(g2, column), 1 / C); // N 1
      const m2 = o.mul(o.matmul(gx, column), 1 / C); // N 1
      const plain = x!.graph.constants.has(w!) && isOnes(w!);
      const gw = plain ? g2 : o.mul(g2, w!);
      const dx = o.mul(o.sub(o.sub(gw, m1), o.mul(xHat, m2)), flat(inv));
      return o.reshape(dx, x!.shape);
    },
    () => o.reshape(columnSums(parts().gx), w!.shape),
    b && (() => o.reshape(columnSums(parts().g2), b.shape)),
  ];
};
const isOnes = (v: Value): boolean => v.graph.shared.get(`filled 1 ${v.shape.join()}`) === v;

const softmax: Rule = ({ y, attrs }, g) => [
  () => {
    const gy = o.mul(g, y);
    const total = o.sum(gy, { axes: [attrs.axis as number], keepDims: true });
    return o.sub(gy, o.mul(y, total));
  },
];

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

const gather: Rule = ({ x: [table, ids], attrs }, g) => {
  if (attrs.axis !== 0) throw new Error("Gather: gradients are written for axis 0 only");
  return [
    () => {
      // ScatterND(add) races on CPU when an index repeats, so a one-hot product instead.
      const V = table!.shape[0] as number;
      const width = elements(table!.shape.slice(1));
      const n = elements(ids!.shape);
      const hot = o.oneHot(o.reshape(ids!, [n]), V); // n V
      const rows = o.reshape(g, [n, width]);
      return o.reshape(o.gemm(hot, rows, { transA: true }), table!.shape);
    },
  ];
};

/** The picked positions of a one-hot mask; exact also where an index repeats. */
const gatherElements: Rule = ({ x: [x, indices], attrs }, g) => {
  const rank = x!.shape.length;
  const axis = axisOf(attrs.axis as number, rank, "GatherElements");
  return [
    () => {
      const hot = o.oneHot(indices!, x!.shape[axis] as number); // indices.shape n
      const spreadOut = o.mul(hot, o.reshape(g, [...g.shape, 1]));
      const summed = o.sum(spreadOut, { axes: [axis] }); // shape without axis, n last
      const perm = [...Array(rank - 1).keys()];
      perm.splice(axis, 0, rank - 1);
      return o.transpose(summed, perm);
    },
  ];
};

const slice: Rule = (c, g) => [
  () => {
    const shape = staticShape(c.x[0]!.shape, "Slice");
    const [start, , axes, steps] = [1, 2, 3, 4].map((i) => constantInts(c.x[i])!);
    if (axes!.length !== 1) throw new Error("Slice: gradients are written for one axis at a time");
    const axis = axisOf(axes![0]!, shape.length, "Slice");
    const [n, step, count] = [shape[axis]!, steps![0]!, c.y.shape[axis] as number];
    if (count === 0) return filled(g.graph, shape, 0);
    const limit = step > 0 ? [0, n] : [0, n - 1];
    const from = start![0]! < 0 ? start![0]! + n : start![0]!;
    const first = Math.min(limit[1]!, Math.max(limit[0]!, from));
    let [low, rows] = [first, g];
    if (step < 0) {
      rows = o.slice(g, { axis, start: -1, end: -(2 ** 40), step: -1 });
      low = first + step * (count - 1);
    }
    const stride = Math.abs(step);
    if (stride > 1) {
      // Zeros between the rows: one more axis, padded, then folded back.
      const lead = shape.slice(0, axis);
      const tail = shape.slice(axis + 1);
      const lifted = o.reshape(rows, [...lead, count, 1, ...tail]);
      const pads = lifted.shape.map((_, i) => [0, i === axis + 1 ? stride - 1 : 0] as const);
      rows = o.reshape(o.pad(lifted, pads), [...lead, count * stride, ...tail]);
      rows = o.slice(rows, { axis, end: (count - 1) * stride + 1 });
    }
    const covered = (count - 1) * stride + 1;
    return o.pad(
      rows,
      shape.map((_, i) => (i === axis ? [low, n - low - covered] : [0, 0])),
    );
  },
];

const split: Rule = ({ node, attrs }, _g, gs) => [
  () =>
    o.concat(
      node.outputs.map((y, i) => gs[i] ?? filled(y.graph, staticShape(y.shape, "Split"), 0)),
      attrs.axis as number,
    ),
];

const concat: Rule = ({ x, attrs, node }, g) => {
  const axis = axisOf(attrs.axis as number, g.shape.length, "Concat");
  let parts: Value[] | undefined;
  const cut = () => {
    parts ??= o.split(
      g,
      node.inputs.map((v) => v!.shape[axis] as number),
      axis,
    );
    return parts;
  };
  return x.map((_, i) => () => cut()[i]!);
};

const unpad: Rule = (c, g) => [
  () => {
    const pads = constantInts(c.x[1])!;
    const rank = g.shape.length;
    return c.x[0]!.shape.reduce<Value>((v, d, i) => {
      const [before, after] = [pads[i]!, pads[i + rank]!];
      if (!before && !after) return v;
      return o.slice(v, { axis: i, start: before, end: before + (d as number) });
    }, g);
  },
];

const conv: Rule = ({ x: [x, w, b], attrs }, g) => [
  () => convInputGradient(x!, w!, g, attrs),
  () => convWeightGradient(x!, w!, g, attrs),
  b && (() => channelSums(g)),
];
/** B C H W -> C. */
const channelSums = (g: Value): Value => {
  const [B, C, H, W] = g.shape as [number, number, number, number];
  return outerSums(o.reshape(g, [B, C, H * W]));
};

const avgPool: Rule = ({ x: [x], attrs }, g) => [
  () => {
    const [k] = attrs.kernel_shape as [number, number];
    const [B, C, H, W] = staticShape(g.shape, "AveragePool") as [number, number, number, number];
    const lanes = o.reshape(o.mul(g, 1 / (k * k)), [B, C * H, 1, W, 1]);
    const [, , h, w] = x!.shape as number[];
    const grown = o.reshape(o.expand(lanes, [B, C * H, k, W, k]), [B, C, H * k, W * k]);
    const rest = [h! - H * k, w! - W * k] as const;
    return rest[0] || rest[1]
      ? o.pad(grown, [
          [0, 0],
          [0, 0],
          [0, rest[0]],
          [0, rest[1]],
        ])
      : grown;
  },
];

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
    () => sumTo(o.mul(g, o.mul(y, o.log(a!))), b!),
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
  AveragePool: avgPool,
  Reshape: (c, g) => [() => likeInput(c, g)],
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
  Slice: slice,
  Split: split,
  Concat: concat,
  Pad: unpad,
  ReduceSum: (c, g) => [() => spread(c, g)],
  ReduceMean: (c, g) => [() => o.mul(spread(c, g), 1 / reducedCount(c))],
  ReduceSumSquare: (c, g) => [() => o.mul(o.mul(c.x[0]!, 2), keepAxes(c, g))],
  ReduceLogSumExp: (c, g) => [() => o.mul(o.exp(o.sub(c.x[0]!, keepAxes(c, c.y))), keepAxes(c, g))],
  ReduceMax: extreme,
  ReduceMin: extreme,
  Softmax: softmax,
  LogSoftmax: ({ y, attrs }, g) => [
    () => {
      const total = o.sum(g, { axes: [attrs.axis as number], keepDims: true });
      return o.sub(g, o.mul(o.exp(y), total));
    },
  ],
  LayerNormalization: layerNorm,
  Gather: gather,
  GatherElements: gatherElements,
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
