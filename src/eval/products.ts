/** Products of tall matrices in float64, through the engine: what covariances, kernels and distances are made of. */

import type { Tensor } from "../formats/dtype.ts";
import { type Backend, openBackend } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { matmul, transpose } from "../tensor/ops.ts";

/** Rows of numbers: count x width. What networks say is float32, and is kept so; products are float64. */
export interface Rows {
  readonly count: number;
  readonly width: number;
  readonly data: Float32Array | Float64Array;
}

/** Room for so many numbers of the same kind. */
export const room = (like: Rows["data"], length: number): Rows["data"] =>
  new (like instanceof Float32Array ? Float32Array : Float64Array)(length);

const asFloat64 = (data: Rows["data"]): Float64Array =>
  data instanceof Float64Array ? data : new Float64Array(data);

/** Two products, compiled once. Has a life: release it. */
export interface Products {
  /** a · bᵀ: every row of a with every row of b. n d, m d -> n m. */
  rowsByRows(a: Rows, b: Rows): Promise<Float64Array>;
  /** aᵀ · b: columns with columns. n d, n e -> d e. */
  columnsByColumns(a: Rows, b: Rows): Promise<Float64Array>;
  release(): Promise<void>;
}

const GRAPHS = {
  rows: { a: ["n", "d"], b: ["m", "d"], transposed: "b" },
  columns: { a: ["n", "d"], b: ["n", "e"], transposed: "a" },
} as const;

/** @param options.backend default the fastest here */
export async function openProducts({
  backend,
}: {
  backend?: Backend | undefined;
} = {}): Promise<Products> {
  const engine = backend ?? (await openBackend());
  const compile = (kind: keyof typeof GRAPHS) => {
    const { a, b, transposed } = GRAPHS[kind];
    const g = createGraph(`product of ${kind}`);
    const [x, y] = [input(g, "a", a, "float64"), input(g, "b", b, "float64")];
    const flip = (v: typeof x, name: string) => (name === transposed ? transpose(v, [1, 0]) : v);
    output(g, "product", matmul(flip(x, "a"), flip(y, "b")));
    return engine.compile(g);
  };
  const [rows, columns] = [await compile("rows"), await compile("columns")];
  const tensor = ({ count, width, data }: Rows): Tensor => ({
    dtype: "float64",
    shape: [count, width],
    data: asFloat64(data),
  });
  const by = (session: typeof rows) => async (a: Rows, b: Rows) =>
    (await session.run({ a: tensor(a), b: tensor(b) })).product!.data as Float64Array;
  return {
    rowsByRows: by(rows),
    columnsByColumns: by(columns),
    async release() {
      await rows.release();
      await columns.release();
    },
  };
}

/** Rows `from` to before `to`: a view. */
export const rowsBetween = ({ width, count, data }: Rows, from: number, to: number): Rows => {
  const end = Math.min(count, to);
  return { count: end - from, width, data: data.subarray(from * width, end * width) };
};

/** Rows that a product takes at once: memory stays small however many there are. */
const CHUNK = 1024;

/** All rows of a with all rows of b in blocks n m, row-major; `i` and `j` are the numbers of a block's first rows. */
export async function* blocks(
  a: Rows,
  b: Rows,
  { products, signal }: { products: Products; signal?: AbortSignal | undefined },
): AsyncGenerator<{ i: number; j: number; n: number; m: number; inner: Float64Array }> {
  for (let i = 0; i < a.count; i += CHUNK) {
    const own = rowsBetween(a, i, i + CHUNK);
    const wide = { ...own, data: asFloat64(own.data) };
    for (let j = 0; j < b.count; j += CHUNK) {
      signal?.throwIfAborted();
      const other = rowsBetween(b, j, j + CHUNK);
      const inner = await products.rowsByRows(wide, other);
      yield { i, j, n: own.count, m: other.count, inner };
    }
  }
}

/** The rows with these numbers, copied. */
export function chosenRows({ width, data }: Rows, indices: ArrayLike<number>): Rows {
  const out = room(data, indices.length * width);
  for (let i = 0; i < indices.length; i++)
    out.set(data.subarray(indices[i]! * width, (indices[i]! + 1) * width), i * width);
  return { count: indices.length, width, data: out };
}
