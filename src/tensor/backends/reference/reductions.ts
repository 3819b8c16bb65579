/** Reference kernels that fold axes: sums, extremes, softmax, norms, selection of the largest. */

import { type Arr, arr, lines } from "./array.ts";
import { intsOf, type Kernel, type KernelContext, num } from "./kernel.ts";

/** Every result cell with the elements that fold into it, in order. */
function reduced(c: KernelContext, fold: (values: number[]) => number): Arr[] {
  const x = c.x[0]!;
  const rank = x.shape.length;
  const axes = intsOf(c.x[1])?.map((a) => (a < 0 ? a + rank : a)) ?? x.shape.map((_, i) => i);
  const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
  const out = arr(x.dtype, kept);
  const cells = Array.from(out.data, () => [] as number[]);
  const index = new Array<number>(rank).fill(0);
  for (const value of x.data) {
    let cell = 0;
    for (let i = 0; i < rank; i++) cell = cell * kept[i]! + (kept[i] === 1 ? 0 : index[i]!);
    cells[cell]!.push(value);
    for (let i = rank - 1; i >= 0 && ++index[i]! === x.shape[i]!; i--) index[i] = 0;
  }
  cells.forEach((values, i) => {
    out.data[i] = fold(values);
  });
  const shape = num(c, "keepdims", 1) === 1 ? kept : x.shape.filter((_, i) => !axes.includes(i));
  return [arr(x.dtype, shape, out.data)];
}
const reduction =
  (fold: (values: number[]) => number): Kernel =>
  (c) =>
    reduced(c, fold);

const sum = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0);
const largest = (v: readonly number[]): number =>
  v.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
const smallest = (v: readonly number[]): number =>
  v.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
function logSumExp(v: readonly number[]): number {
  const top = largest(v);
  if (!Number.isFinite(top)) return top;
  return top + Math.log(sum(v.map((x) => Math.exp(x - top))));
}

/** Runs `line` on every line along an axis; it gives the line that takes its place. */
function alongAxis(x: Arr, axis: number, line: (v: number[]) => number[]): Arr {
  const { outer, size, inner } = lines(x.shape, axis);
  const out = arr(x.dtype, x.shape);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (k: number) => (o * size + k) * inner + i;
      const values = Array.from({ length: size }, (_, k) => x.data[at(k)]!);
      line(values).forEach((y, k) => {
        out.data[at(k)] = y;
      });
    }
  return out;
}

/** Positions in order of `before`; ties keep the lower index first. */
const ordered = (v: readonly number[], before: (a: number, b: number) => number): number[] =>
  v.map((_, i) => i).sort((i, j) => before(v[i]!, v[j]!) || i - j);

const argBest =
  (before: (a: number, b: number) => number): Kernel =>
  (c) => {
    const x = c.x[0]!;
    const { axis, outer, size, inner } = lines(x.shape, num(c, "axis", 0));
    if (size === 0) throw new RangeError("an axis of size 0 has no largest element");
    const keep = num(c, "keepdims", 1) === 1;
    const out = arr(
      "int64",
      x.shape.flatMap((d, i) => (i === axis ? (keep ? [1] : []) : [d])),
    );
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const v = Array.from({ length: size }, (_, k) => x.data[(o * size + k) * inner + i]!);
        out.data[o * inner + i] = ordered(v, before)[0]!;
      }
    return [out];
  };

const topK: Kernel = (c) => {
  const x = c.x[0]!;
  const { axis, outer, size, inner } = lines(x.shape, num(c, "axis", -1));
  const k = c.x[1]!.data[0]!;
  if (k > size) throw new RangeError(`k = ${k} exceeds an axis of ${size}`);
  const shape = x.shape.map((d, i) => (i === axis ? k : d));
  const [values, indices] = [arr(x.dtype, shape), arr("int64", shape)];
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const v = Array.from({ length: size }, (_, j) => x.data[(o * size + j) * inner + i]!);
      ordered(v, (a, b) => b - a)
        .slice(0, k)
        .forEach((from, j) => {
          values.data[(o * k + j) * inner + i] = v[from]!;
          indices.data[(o * k + j) * inner + i] = from;
        });
    }
  return [values, indices];
};

export function softmaxOf(v: number[]): number[] {
  const top = largest(v);
  const e = v.map((x) => Math.exp(x - top));
  const total = sum(e);
  return e.map((x) => x / total);
}

/** Also gives the mean and the inverse deviation of every row. */
const layerNorm: Kernel = (c) => {
  const [x, w, b] = c.x as [Arr, Arr, Arr | undefined];
  const C = x.shape.at(-1)!;
  const rows = x.data.length / (C || 1);
  const stats = [...x.shape.slice(0, -1), 1];
  const [y, means, invs] = [arr(x.dtype, x.shape), arr(x.dtype, stats), arr(x.dtype, stats)];
  for (let r = 0; r < rows; r++) {
    const row = x.data.subarray(r * C, (r + 1) * C);
    const mean = row.reduce((a, v) => a + v, 0) / C;
    const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / C;
    const inv = 1 / Math.sqrt(variance + num(c, "epsilon", 1e-5));
    row.forEach((v, i) => {
      y.data[r * C + i] = (v - mean) * inv * w.data[i]! + (b ? b.data[i]! : 0);
    });
    means.data[r] = mean;
    invs.data[r] = inv;
  }
  return [y, means, invs].slice(0, c.outputs);
};

export const reductions: Readonly<Record<string, Kernel>> = {
  ReduceSum: reduction(sum),
  ReduceMean: reduction((v) => sum(v) / v.length),
  ReduceMax: reduction(largest),
  ReduceMin: reduction(smallest),
  ReduceSumSquare: reduction((v) => sum(v.map((x) => x * x))),
  ReduceLogSumExp: reduction(logSumExp),
  ArgMax: argBest((a, b) => b - a),
  ArgMin: argBest((a, b) => a - b),
  TopK: topK,
  Softmax: (c) => [alongAxis(c.x[0]!, num(c, "axis", -1), softmaxOf)],
  LogSoftmax: (c) => [
    alongAxis(c.x[0]!, num(c, "axis", -1), (v) => {
      const total = logSumExp(v);
      return v.map((x) => x - total);
    }),
  ],
  LayerNormalization: layerNorm,
};
