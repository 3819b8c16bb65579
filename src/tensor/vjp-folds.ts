/** Reverse-mode rules of ops that fold axes: reductions, softmax, layer normalisation. Listed in vjp.ts. */

import { constantInts, type Value } from "./graph.ts";
import * as o from "./ops.ts";
import { axisOf, elements, staticShape } from "./shape.ts";
import { columnSums, type Rule, type VjpContext } from "./vjp-rule.ts";

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
export const extreme: Rule = (c, g) => [
  () => {
    const hit = o.cast(o.equal(c.x[0]!, keepAxes(c, c.y)), g.dtype);
    const count = o.sum(hit, { axes: constantInts(c.x[1]), keepDims: true });
    return o.mul(hit, o.div(keepAxes(c, g), count));
  },
];

export const reduceSum: Rule = (c, g) => [() => spread(c, g)];
export const reduceMean: Rule = (c, g) => [() => o.mul(spread(c, g), 1 / reducedCount(c))];
export const reduceSumSquare: Rule = (c, g) => [() => o.mul(o.mul(c.x[0]!, 2), keepAxes(c, g))];
export const reduceLogSumExp: Rule = (c, g) => [
  () => o.mul(o.exp(o.sub(c.x[0]!, keepAxes(c, c.y))), keepAxes(c, g)),
];

export const softmax: Rule = ({ y, attrs }, g) => [
  () => {
    const gy = o.mul(g, y);
    const total = o.sum(gy, { axes: [attrs.axis as number], keepDims: true });
    return o.sub(gy, o.mul(y, total));
  },
];

export const logSoftmax: Rule = ({ y, attrs }, g) => [
  () => {
    const total = o.sum(g, { axes: [attrs.axis as number], keepDims: true });
    return o.sub(g, o.mul(o.exp(y), total));
  },
];

/**
 * dx = σ⁻¹(g·w − mean(g·w) − x̂·mean(g·w·x̂)), row means as matrix-vector products. The statistics are results too:
 * the first gradient uses them, so a gradient of it comes back through them.
 */
export const layerNorm: Rule = ({ node, x: [x, w, b] }, g, [, gMean, gInv]) => {
  const [, mean, inv] = node.outputs as [Value, Value, Value];
  const C = x!.shape.at(-1) as number;
  const rows = (v: Value) => o.reshape(v, [elements(v.shape) / C, C]);
  const flat = (v: Value) => o.reshape(v, [elements(v.shape), 1]);
  let cached: { xHat: Value; gx: Value; g2: Value } | undefined;
  // Without scale and shift the result is x̂ itself: two passes over what is often the largest tensor are saved.
  const isNormalised = isOnes(w!) && !b;
  const normalised = () =>
    isNormalised ? rows(node.outputs[0]!) : o.mul(o.sub(rows(x!), flat(mean)), flat(inv)); // N C
  const parts = () => {
    if (!cached) {
      const [g2, xHat] = [rows(g), normalised()];
      cached = { g2, xHat, gx: o.mul(g2, xHat) };
    }
    return cached;
  };
  const throughResult = () => {
    const { g2, xHat, gx } = parts();
    const column = o.reshape(w!, [C, 1]);
    const m1 = o.mul(o.matmul(g2, column), 1 / C); // N 1
    const m2 = o.mul(o.matmul(gx, column), 1 / C); // N 1
    const gw = isOnes(w!) ? g2 : o.mul(g2, w!);
    return o.mul(o.sub(o.sub(gw, m1), o.mul(xHat, m2)), flat(inv));
  };
  /** ∂mean/∂x = 1/C, ∂inv/∂x = −inv²·x̂/C. */
  const throughStatistics = () => {
    const terms: Value[] = [];
    if (gMean) terms.push(flat(gMean));
    if (gInv) terms.push(o.neg(o.mul(o.mul(flat(gInv), o.square(flat(inv))), normalised())));
    return o.mul(terms.reduce(o.add), 1 / C); // N 1 or N C
  };
  return [
    () => {
      let dx = g && throughResult();
      if (gMean || gInv) {
        const more = throughStatistics();
        dx = dx ? o.add(dx, more) : o.expand(more, [elements(x!.shape) / C, C]);
      }
      return o.reshape(dx, x!.shape);
    },
    g && (() => o.reshape(columnSums(parts().gx), w!.shape)),
    g && b && (() => o.reshape(columnSums(parts().g2), b.shape)),
  ];
};
const isOnes = (v: Value): boolean => v.graph.shared.get(`filled 1 ${v.shape.join()}`) === v;
