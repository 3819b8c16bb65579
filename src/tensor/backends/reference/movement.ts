/** Reference kernels that move elements and compute nothing: reshapes, cuts, joins, look-ups. */

import { sizeOf } from "../../../formats/dtype.ts";
import { stridesOf } from "../../shape.ts";
import { type Arr, arr, broadcastStrides, commonShape, lines, walk } from "./array.ts";
import { intsOf, type Kernel, list, num } from "./kernel.ts";

const reshape: Kernel = (c) => {
  const [x, target] = [c.x[0]!, intsOf(c.x[1])!];
  const keepZero = num(c, "allowzero", 0) === 1;
  const shape = target.map((d, i) => (d === 0 && !keepZero ? x.shape[i]! : d));
  const hole = shape.indexOf(-1);
  if (hole >= 0) shape[hole] = x.data.length / sizeOf(shape.filter((d) => d !== -1));
  if (sizeOf(shape) !== x.data.length)
    throw new RangeError(`${x.data.length} elements do not fill [${shape}]`);
  return [arr(x.dtype, shape, x.data)];
};

/** A view read through strides, copied out. */
function gatherStrided(x: Arr, shape: number[], strides: number[], start = 0): Arr {
  const out = arr(x.dtype, shape);
  walk(shape, [strides], (i, [p]) => {
    out.data[i] = x.data[start + p!]!;
  });
  return out;
}

const transpose: Kernel = (c) => {
  const x = c.x[0]!;
  const perm = list(
    c,
    "perm",
    x.shape.map((_, i) => x.shape.length - 1 - i),
  );
  const strides = stridesOf(x.shape);
  return [
    gatherStrided(
      x,
      perm.map((p) => x.shape[p]!),
      perm.map((p) => strides[p]!),
    ),
  ];
};

const expand: Kernel = ({ x: [x, target] }) => {
  const shape = commonShape([x!.shape, intsOf(target)!]);
  return [gatherStrided(x!, shape, broadcastStrides(x!.shape, shape))];
};

const slice: Kernel = ({ x: [x, starts, ends, axes, steps] }) => {
  const shape = [...x!.shape];
  const strides = stridesOf(shape);
  let origin = 0;
  const from = intsOf(starts)!;
  from.forEach((s, k) => {
    const raw = axes ? axes.data[k]! : k;
    const axis = raw < 0 ? raw + shape.length : raw;
    const [n, step] = [x!.shape[axis]!, steps ? steps.data[k]! : 1];
    const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
    const bound = (v: number) => Math.min(high, Math.max(low, v < 0 ? v + n : v));
    const first = Math.max(0, bound(s));
    const last = bound(ends!.data[k]!);
    shape[axis] = Math.max(0, Math.ceil((last - first) / step));
    origin += first * strides[axis]!;
    strides[axis]! *= step;
  });
  return [gatherStrided(x!, shape, strides, origin)];
};

const concat: Kernel = (c) => {
  const { axis, outer, inner } = lines(c.x[0]!.shape, num(c, "axis", 0));
  const shape = [...c.x[0]!.shape];
  shape[axis] = c.x.reduce((n, v) => n + v.shape[axis]!, 0);
  const out = arr(c.x[0]!.dtype, shape);
  let at = 0;
  for (let o = 0; o < outer; o++)
    for (const v of c.x) {
      const run = v.shape[axis]! * inner;
      out.data.set(v.data.subarray(o * run, (o + 1) * run), at);
      at += run;
    }
  return [out];
};

const split: Kernel = (c) => {
  const { axis, outer, size, inner } = lines(c.x[0]!.shape, num(c, "axis", 0));
  let start = 0;
  return intsOf(c.x[1])!.map((part) => {
    const out = arr(
      c.x[0]!.dtype,
      c.x[0]!.shape.map((d, i) => (i === axis ? part : d)),
    );
    for (let o = 0; o < outer; o++) {
      const at = (o * size + start) * inner;
      out.data.set(c.x[0]!.data.subarray(at, at + part * inner), o * part * inner);
    }
    start += part;
    return out;
  });
};

const pad: Kernel = ({ x: [x, pads] }) => {
  const rank = x!.shape.length;
  const shape = x!.shape.map((d, i) => d + pads!.data[i]! + pads!.data[i + rank]!);
  const strides = stridesOf(shape);
  const origin = strides.reduce((n, s, i) => n + s * pads!.data[i]!, 0);
  const out = arr(x!.dtype, shape);
  walk(x!.shape, [strides], (i, [p]) => {
    out.data[origin + p!] = x!.data[i]!;
  });
  return [out];
};

/** An index that may count from the end; outside is an error, never a silent zero. */
function place(index: number, size: number): number {
  const i = index < 0 ? index + size : index;
  if (i < 0 || i >= size) throw new RangeError(`index ${index} is outside an axis of ${size}`);
  return i;
}

const gather: Kernel = (c) => {
  const [table, ids] = c.x as [Arr, Arr];
  const { axis, outer, size, inner } = lines(table.shape, num(c, "axis", 0));
  const out = arr(table.dtype, [
    ...table.shape.slice(0, axis),
    ...ids.shape,
    ...table.shape.slice(axis + 1),
  ]);
  let at = 0;
  for (let o = 0; o < outer; o++)
    for (const id of ids.data) {
      const from = (o * size + place(id, size)) * inner;
      out.data.set(table.data.subarray(from, from + inner), at);
      at += inner;
    }
  return [out];
};

const gatherElements: Kernel = (c) => {
  const [x, ids] = c.x as [Arr, Arr];
  const { axis, size } = lines(x.shape, num(c, "axis", 0));
  const out = arr(x.dtype, ids.shape);
  const strides = stridesOf(x.shape);
  const along = strides[axis]!;
  walk(ids.shape, [strides.map((s, i) => (i === axis ? 0 : s))], (i, [p]) => {
    out.data[i] = x.data[p! + place(ids.data[i]!, size) * along]!;
  });
  return [out];
};

/** An index outside gives a row of the off value, as ONNX says. */
const oneHot: Kernel = ({ x: [ids, depth, values] }) => {
  const n = depth!.data[0]!;
  const out = arr(values!.dtype, [...ids!.shape, n]);
  out.data.fill(values!.data[0]!);
  ids!.data.forEach((id, i) => {
    const k = id < 0 ? id + n : id;
    if (k >= 0 && k < n) out.data[i * n + k] = values!.data[1]!;
  });
  return [out];
};

export const movement: Readonly<Record<string, Kernel>> = {
  Reshape: reshape,
  Transpose: transpose,
  Expand: expand,
  Slice: slice,
  Concat: concat,
  Split: split,
  Pad: pad,
  Gather: gather,
  GatherElements: gatherElements,
  OneHot: oneHot,
};
