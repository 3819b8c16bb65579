/** Reverse-mode rules of ops that move elements. Listed in vjp.ts. */

import { constantInts, filled, sharedConstant, type Value } from "./graph.ts";
import { type Cut, cutsOf } from "./infer-movement.ts";
import * as o from "./ops.ts";
import { axisOf, elements, staticShape } from "./shape.ts";
import type { Rule } from "./vjp-rule.ts";

/** Rows that were picked, summed where an index repeats. */
export const gather: Rule = ({ x: [table, ids], attrs }, g) => [
  () => {
    const shape = staticShape(table!.shape, "Gather");
    const axis = axisOf(attrs.axis as number, shape.length, "Gather");
    const [A, V, T] = [
      elements(shape.slice(0, axis)),
      shape[axis]!,
      elements(shape.slice(axis + 1)),
    ];
    const n = elements(ids!.shape);
    // ScatterND(add) races on CPU when an index repeats, so a one-hot product instead.
    const hot = oneHot(o.reshape(ids!, [n, 1]), 1, V); // n V
    const rows = o.reshape(g, axis === 0 ? [n, T] : [A, n, T]);
    const product = axis === 0 ? o.gemm : o.matmul;
    return o.reshape(product(hot, rows, { transA: true }), shape); // (A) V T
  },
];

/**
 * 1 where an index of the axis of size 1 names the place, 0 elsewhere: that axis grows to `size`. Indices below 0 count
 * from the end. The operator OneHot says the same, but on one core: 2.4 ms instead of 0.35 for 2080 ids of 1024.
 */
function oneHot(indices: Value, axis: number, size: number): Value {
  const ids = o.cast(indices, "int64");
  const places = sharedConstant(ids.graph, `places ${size}`, () => ({
    dtype: "int64",
    shape: [size],
    data: BigInt64Array.from({ length: size }, (_, i) => BigInt(i)),
  }));
  const lane = ids.shape.slice(axis).map((_, i) => (i ? 1 : size)); // size 1 ... 1
  const fromStart = o.where(o.less(ids, 0), o.add(ids, size), ids);
  return o.cast(o.equal(fromStart, o.reshape(places, lane)), "float32");
}

/** Scatters g to the positions picked along an axis; exact also where an index repeats. */
function scatter(x: Value, indices: Value, { axis: raw, g }: { axis: number; g: Value }): Value {
  const axis = axisOf(raw, x.shape.length, "scatter");
  const size = x.shape[axis] as number;
  // One index each: nothing can repeat.
  if (indices.shape[axis] === 1) return o.mul(oneHot(indices, axis, size), g);
  const lifted = (v: Value) => o.reshape(v, v.shape.toSpliced(axis, 0, 1)); // ... 1 n ...
  const spread = o.mul(oneHot(lifted(indices), axis, size), lifted(g)); // ... size n ...
  return o.sum(spread, { axes: [axis + 1] });
}

export const gatherElements: Rule = ({ x: [x, indices], attrs }, g) => [
  () => scatter(x!, indices!, { axis: attrs.axis as number, g }),
];

export const topK: Rule = ({ node, x: [x], attrs }, g) => [
  () => scatter(x!, node.outputs[1]!, { axis: attrs.axis as number, g }),
];

/** Every cut undone on its own: zeros go where nothing was taken. */
export const slice: Rule = ({ node, attrs, x: [x] }, g) => [
  () => {
    const ints = (i: number) => constantInts(node.inputs[i]);
    const cuts = cutsOf({ op: "Slice", inputs: node.inputs, attrs, outputs: 1, ints });
    return cuts.reduce((v, c) => uncut(v, x!.shape[c.axis] as number, c), g);
  },
];

function uncut(g: Value, n: number, { axis, first, step, count }: Cut): Value {
  const along = (size: number) => g.shape.map((d, i) => (i === axis ? size : d));
  if (count === n && step === 1) return g;
  if (count === 0) return filled(g.graph, staticShape(along(n), "Slice"), 0);
  const stride = Math.abs(step);
  let rows =
    step > 0 ? g : o.slice(g, { axis, start: -1, end: -Number.MAX_SAFE_INTEGER, step: -1 });
  if (stride > 1) {
    // Zeros between the rows: one more axis, padded, then folded back.
    const [lead, tail] = [g.shape.slice(0, axis), g.shape.slice(axis + 1)];
    const lifted = o.reshape(rows, [...lead, count, 1, ...tail]);
    const gaps = lifted.shape.map((_, i) => [0, i === axis + 1 ? stride - 1 : 0] as const);
    rows = o.reshape(o.pad(lifted, gaps), [...lead, count * stride, ...tail]);
    rows = o.slice(rows, { axis, end: (count - 1) * stride + 1 });
  }
  const low = step > 0 ? first : first + step * (count - 1);
  const rest = n - low - ((count - 1) * stride + 1);
  return o.pad(
    rows,
    g.shape.map((_, i) => (i === axis ? [low, rest] : [0, 0])),
  );
}

export const split: Rule = ({ node, attrs }, _g, gs) => [
  () =>
    o.concat(
      node.outputs.map((y, i) => gs[i] ?? filled(y.graph, staticShape(y.shape, "Split"), 0)),
      attrs.axis as number,
    ),
];

export const concat: Rule = ({ x, attrs, node }, g) => {
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

export const unpad: Rule = (c, g) => [
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
