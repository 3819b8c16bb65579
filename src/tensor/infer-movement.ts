/** Shape rules of ops that move elements: reshapes, cuts, joins, look-ups. */

import { addDims, quotient } from "./dims.ts";
import {
  at,
  constInts,
  fail,
  type InferContext,
  int,
  intList,
  type Rule,
  sameDtypes,
  wantAttr,
} from "./infer-context.ts";
import { axisOf, broadcastShapes, type Dim, formatShape } from "./shape.ts";

/** ONNX's 0 copies the dimension at the same place, -1 is what is left over. */
export const reshape: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const target = constInts(c, 1);
  const out: Dim[] = target.map((d, i) => {
    if (d !== 0 || int(c, "allowzero", 0) === 1) return d;
    return shape[i] ?? fail(c, `0 at place ${i} copies a dimension that is not there`);
  });
  const hole = out.indexOf(-1);
  const left = quotient(
    shape,
    out.filter((_, i) => i !== hole),
  );
  const empty = hole < 0 && out.includes(0) && shape.includes(0);
  if (!empty && (left === undefined || (hole < 0 && left !== 1)))
    fail(c, `cannot reshape ${formatShape(shape)} to ${formatShape(target)}; the sizes differ`);
  if (hole >= 0) out[hole] = left!;
  return [{ dtype, shape: out }];
};

export const transpose: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const reversed = shape.map((_, i) => shape.length - 1 - i);
  const perm = intList(c, "perm", reversed);
  if ([...perm].sort((a, b) => a - b).some((p, i) => p !== i) || perm.length !== shape.length)
    fail(c, `perm ${formatShape([...perm])} is not an order of ${shape.length} axes`);
  return [{ dtype, shape: perm.map((p) => shape[p]!) }];
};

export const expand: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  return [{ dtype, shape: broadcastShapes(shape, constInts(c, 1), c.op) }];
};

export const concat: Rule = (c) => {
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

export const split: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const axis = axisOf(int(c, "axis", 0), shape.length, c.op);
  const sizes = constInts(c, 1);
  if (sizes.length !== c.outputs || sizes.some((n) => n < 0))
    fail(c, `${c.outputs} outputs for parts ${sizes}`);
  if (sizes.reduce((a, b) => a + b, 0) !== shape[axis])
    fail(c, `parts ${sizes} do not sum to ${shape[axis]} on axis ${axis}`);
  return sizes.map((n) => ({ dtype, shape: shape.map((d, i) => (i === axis ? n : d)) }));
};

/** One cut of a Slice with its bounds resolved: `count` elements from `first` in steps of `step`. */
export interface Cut {
  readonly axis: number;
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

/** The cuts of a Slice node. Throws ShapeError where an axis is only known by name. */
export function cutsOf(
  c: Pick<InferContext, "op" | "inputs" | "attrs" | "ints" | "outputs">,
): Cut[] {
  const { shape } = at(c, 0);
  const [starts, ends] = [constInts(c, 1), constInts(c, 2)];
  const axes = c.inputs[3] ? constInts(c, 3) : starts.map((_, i) => i);
  const steps = c.inputs[4] ? constInts(c, 4) : starts.map(() => 1);
  return axes.map((a, i) => {
    const axis = axisOf(a, shape.length, c.op);
    const [n, step] = [shape[axis]!, steps[i]!];
    if (typeof n !== "number") return fail(c, `axis ${axis} ("${n}") must have a known size`);
    if (step === 0) fail(c, "a step of 0 goes nowhere");
    const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
    const bound = (x: number) => Math.min(high, Math.max(low, x < 0 ? x + n : x));
    const first = Math.max(0, bound(starts[i]!));
    return { axis, first, step, count: Math.max(0, Math.ceil((bound(ends[i]!) - first) / step)) };
  });
}

export const slice: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const out = [...shape];
  for (const { axis, count } of cutsOf(c)) out[axis] = count;
  return [{ dtype, shape: out }];
};

/** Zeros around; other modes and values have no gradient here. */
export const pad: Rule = (c) => {
  const { shape, dtype } = at(c, 0);
  const pads = constInts(c, 1);
  if (c.attrs.mode !== undefined && c.attrs.mode !== "constant") fail(c, "only constant padding");
  if (c.inputs.length > 2) fail(c, "pads with zeros only; leave the value out");
  if (pads.length !== 2 * shape.length || pads.some((p) => p < 0))
    fail(c, `pads ${formatShape(pads)} must be ${2 * shape.length} numbers of 0 or more`);
  return [{ dtype, shape: shape.map((d, i) => addDims(d, pads[i]! + pads[i + shape.length]!)) }];
};

function wantIndices(c: InferContext, i: number): void {
  const { dtype } = at(c, i);
  if (dtype !== "int64" && dtype !== "int32")
    fail(c, `indices are ${dtype}, wanted int64 or int32; cast them`);
}

export const gather: Rule = (c) => {
  const [table, ids] = [at(c, 0), at(c, 1)];
  wantIndices(c, 1);
  const axis = axisOf(int(c, "axis", 0), table.shape.length, c.op);
  const [before, after] = [table.shape.slice(0, axis), table.shape.slice(axis + 1)];
  return [{ dtype: table.dtype, shape: [...before, ...ids.shape, ...after] }];
};

export const gatherElements: Rule = (c) => {
  const [x, ids] = [at(c, 0), at(c, 1)];
  wantIndices(c, 1);
  const axis = axisOf(int(c, "axis", 0), x.shape.length, c.op);
  if (
    ids.shape.length !== x.shape.length ||
    ids.shape.some((d, i) => i !== axis && d !== x.shape[i])
  )
    fail(c, `data and indices may only differ on axis ${axis}`);
  return [{ dtype: x.dtype, shape: [...ids.shape] }];
};

export const oneHot: Rule = (c) => {
  wantIndices(c, 0);
  wantAttr(c, "axis", -1);
  const depth = constInts(c, 1);
  return [{ dtype: at(c, 2).dtype, shape: [...at(c, 0).shape, depth[0]!] }];
};
