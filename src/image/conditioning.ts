/** What classes say to the transformer: computed when one is new, then kept. The graph that computes it is in var-step.ts. */

import type { Tensor } from "../formats/dtype.ts";
import type { Tensors } from "../tensor/backend.ts";
import { rowsOf, stack } from "./rows.ts";

/** By name, one row for each class: `start`, `blocks` and `head`. */
export type ClassRows = Tensors;

/** Rows of the classes asked for last, the oldest first. */
export type KnownClasses = Map<number, ClassRows>;

/** Bytes of rows that are kept; d16 has 0.4 MB for a class, d30 1.4 MB. */
const KEPT_BYTES = 2 ** 25;

/**
 * The rows of some classes, in their order. Those that `known` lacks are computed together, as the weights for it, a
 * third of all, have to be read anyway; the longest unused are forgotten.
 * @param compute labels R -> tensors of R rows
 */
export async function classRows(
  known: KnownClasses,
  labels: readonly number[],
  compute: (labels: Tensor) => Promise<Tensors>,
): Promise<ClassRows> {
  const missing = [...new Set(labels)].filter((label) => !known.has(label));
  if (missing.length > 0) {
    const data = BigInt64Array.from(missing, BigInt);
    const made = await compute({ dtype: "int64", shape: [missing.length], data });
    for (const [i, label] of missing.entries()) {
      const rows = Object.entries(made).map(([name, all]) => [name, copyOf(rowsOf(all, i, i + 1))]);
      known.set(label, Object.fromEntries(rows));
    }
  }
  const rows = labels.map((label) => known.get(label)!);
  for (const label of labels) {
    const own = known.get(label)!;
    known.delete(label); // to the end: used last
    known.set(label, own);
  }
  const size = Object.values(rows[0]!).reduce((sum, { data }) => sum + data.byteLength, 0);
  for (const label of [...known.keys()]) {
    if (known.size * size <= KEPT_BYTES) break;
    known.delete(label);
  }
  const names = Object.keys(rows[0]!);
  return Object.fromEntries(names.map((name) => [name, stack(rows.map((row) => row[name]!))]));
}

/** A row with memory of its own, so that it does not hold on to that of the others. */
const copyOf = (row: Tensor): Tensor => ({ ...row, data: row.data.slice() as Float32Array });
