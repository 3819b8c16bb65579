/** What a reverse-mode rule is, and the sums that rules share. The rules stand in vjp.ts. */

import { type Attrs, filled, type Node, type Value } from "./graph.ts";
import * as o from "./ops.ts";
import { elements, sameShape, staticShape } from "./shape.ts";

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
export function outerSums(x: Value): Value {
  const [A, M, T] = x.shape as [number, number, number];
  const rows = T === 1 ? x : o.matmul(o.reshape(x, [A * M, T]), filled(x.graph, [T, 1], 1)); // AM 1
  return o.reshape(A === 1 ? rows : columnSums(o.reshape(rows, [A, M])), [M]);
}

/** N D -> 1 D. */
export const columnSums = (x: Value): Value =>
  o.matmul(filled(x.graph, [1, x.shape[0] as number], 1), x);
