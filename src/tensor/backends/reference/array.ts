/** Arrays of the reference kernels, and walks over their elements. No op lives here. */

import type { DType, Tensor, TypedArray } from "../../../formats/dtype.ts";
import { HOST, sizeOf } from "../../../formats/dtype.ts";
import { float16Bits, float16Value } from "../../../formats/float16.ts";
import { stridesOf } from "../../shape.ts";

/** Every dtype is held in doubles, rounded to its own grid after each op; int64 is exact up to 2^53. */
export interface Arr {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** float32 rounds after every op as a runtime does; float64 keeps doubles, for tight finite differences. */
export type Precision = "float32" | "float64";

export const arr = (dtype: DType, shape: readonly number[], data?: Float64Array): Arr => ({
  dtype,
  shape,
  data: data ?? new Float64Array(sizeOf(shape)),
});

const ROUND: Readonly<Partial<Record<DType, (x: number) => number>>> = {
  float32: Math.fround,
  float16: (x) => float16Value(float16Bits(x)),
  int32: (x) => x | 0,
  int8: (x) => (x << 24) >> 24,
  uint8: (x) => x & 255,
  int16: (x) => (x << 16) >> 16,
};

/** Puts every element on the grid of its dtype, in place. */
export function roundTo({ dtype, data }: Arr, precision: Precision): void {
  if (dtype === "float32" && precision === "float64") return;
  const round = ROUND[dtype];
  if (round) for (let i = 0; i < data.length; i++) data[i] = round(data[i]!);
}

/** `as` is the dtype it has in the graph: a float64 tensor may stand for a float32 value. */
export function fromTensor({ dtype, shape, data }: Tensor, as: DType = dtype): Arr {
  const read: (i: number) => number =
    dtype === "float16"
      ? (i) => float16Value(data[i] as number)
      : dtype === "int64"
        ? (i) => exactInt(data[i] as bigint)
        : (i) => data[i] as number;
  return arr(
    as,
    shape,
    Float64Array.from({ length: data.length }, (_, i) => read(i)),
  );
}

function exactInt(x: bigint): number {
  const n = Number(x);
  if (!Number.isSafeInteger(n))
    throw new RangeError(
      `reference: int64 ${x} is beyond 2^53; the reference backend holds doubles`,
    );
  return n;
}

/** The tensor a user sees; with float64 precision, floats come as float64. */
export function toTensor({ dtype, shape, data }: Arr, precision: Precision): Tensor {
  const out = dtype === "float32" && precision === "float64" ? "float64" : dtype;
  let host: TypedArray;
  if (out === "int64") host = BigInt64Array.from(data, (x) => BigInt(x));
  else if (out === "float16") host = Uint16Array.from(data, float16Bits);
  else host = HOST[out].from(data as never) as TypedArray;
  return { dtype: out, shape: [...shape], data: host };
}

/** The shape two or more arrays broadcast to. */
export function commonShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) => {
    let size = 1;
    for (const s of shapes) {
      const d = s[s.length - rank + i] ?? 1;
      if (d === 1 || d === size) continue;
      if (size !== 1) throw new RangeError(`sizes ${size} and ${d} do not broadcast`);
      size = d;
    }
    return size;
  });
}

/** Strides that stand still on the axes where `shape` is stretched to `target`. */
export function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] {
  const strides = stridesOf(shape);
  const lead = target.length - shape.length;
  return target.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : strides[i - lead]!));
}

/** Calls `visit` for every index of a shape, in order, with the offsets that each stride list gives. */
export function walk(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  visit: (i: number, offsets: readonly number[]) => void,
): void {
  const total = sizeOf(shape);
  const index = new Array<number>(shape.length).fill(0);
  const offsets = strides.map(() => 0);
  for (let i = 0; i < total; i++) {
    visit(i, offsets);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const wrap = ++index[axis]! === shape[axis]!;
      strides.forEach((s, k) => {
        offsets[k]! += wrap ? -s[axis]! * (shape[axis]! - 1) : s[axis]!;
      });
      if (!wrap) break;
      index[axis] = 0;
    }
  }
}

/** An array seen as lines along one axis: outer × size × inner. */
export function lines(shape: readonly number[], axis: number) {
  const a = axis < 0 ? axis + shape.length : axis;
  return {
    axis: a,
    outer: sizeOf(shape.slice(0, a)),
    size: shape[a]!,
    inner: sizeOf(shape.slice(a + 1)),
  };
}
