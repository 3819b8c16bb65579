/** What a shape rule sees, and the checks that rules share. No op's rule lives here. */

import type { DType } from "../formats/dtype.ts";
import type { Attrs, Value } from "./graph.ts";
import { type Dim, formatShape, ShapeError } from "./shape.ts";

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
/** The types of a node's outputs. Throws ShapeError when its inputs or attributes do not fit. */
export type Rule = (c: InferContext) => Type[];

/** An input that must be there. */
export const at = (c: InferContext, i: number): Value =>
  c.inputs[i] ?? fail(c, `input ${i} is missing`);

/** Throws with the op, its inputs' types and why; addNode puts the scope before it. */
export function fail(c: InferContext, why: string): never {
  const shapes = c.inputs.map((v) => (v ? `${v.dtype}${formatShape(v.shape)}` : "-")).join(", ");
  throw new ShapeError(`${c.op}(${shapes}): ${why}`, {
    op: c.op,
    attrs: c.attrs,
    shapes: c.inputs.map((v) => v?.shape),
  });
}
export const constInts = (c: InferContext, i: number): number[] =>
  c.ints(i) ?? fail(c, `input ${i} must be an int64 constant`);
export const int = (c: InferContext, name: string, otherwise: number): number =>
  (c.attrs[name] as number | undefined) ?? otherwise;
export const intList = (
  c: InferContext,
  name: string,
  otherwise: readonly number[],
): readonly number[] => (c.attrs[name] as readonly number[] | undefined) ?? otherwise;

export const same: Rule = (c) => [{ dtype: at(c, 0).dtype, shape: [...at(c, 0).shape] }];

export const FLOATS: readonly DType[] = ["float32", "float16", "float64"];
export function wantDtype(c: InferContext, wanted: readonly DType[], i = 0): void {
  const got = at(c, i).dtype;
  if (!wanted.includes(got))
    fail(c, `dtype of input ${i} is ${got}, wanted ${wanted.join(" or ")}; cast it first`);
}
export function sameDtypes(c: InferContext, from = 0): DType {
  const { dtype } = at(c, from);
  for (const v of c.inputs.slice(from))
    if (v && v.dtype !== dtype) fail(c, `dtypes differ (${dtype}, ${v.dtype}); cast one of them`);
  return dtype;
}
export function wantInputs(c: InferContext, count: number): void {
  if (c.inputs.length !== count) fail(c, `takes ${count} inputs, got ${c.inputs.length}`);
}
/** Only these values of an attribute have kernels and gradients here. */
export function wantAttr(c: InferContext, name: string, only: number | readonly number[]): void {
  const got = c.attrs[name];
  if (got !== undefined && String(got) !== String(only))
    fail(c, `${name} = ${got} is not supported, only ${only}`);
}
