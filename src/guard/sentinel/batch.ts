/** Whether a batch is the one that data, order and seed determine. Knows no data set: rows are bytes. */

import type { Tensor } from "../../formats/dtype.ts";
import { type DigestKey, digest, digestKey, wordsOf } from "./digest.ts";
import { secretStream } from "./secret.ts";

/** Fingerprints of all rows of a data set, taken before the first update. */
export interface DataRecord {
  /** Positions whose row is not what it was. */
  changed(indices: Iterable<number>, row: (index: number) => Uint32Array): number[];
}

/** @param row what picture `index` is made of: tokens or pixels, and its label */
export function recordData(
  count: number,
  row: (index: number) => Uint32Array,
  secret: Uint8Array,
): DataRecord {
  const key: DigestKey = digestKey(secretStream(secret, "data key"));
  const digests = Float64Array.from({ length: count }, (_, i) => digest(row(i), key));
  return {
    changed: (indices, now) =>
      [...new Set(indices)].filter((i) => i >= count || digest(now(i), key) !== digests[i]),
  };
}

/** The first of the expected tensors that was fed with other bytes, or not at all. */
export function differingFeed(
  expected: Readonly<Record<string, Tensor>>,
  fed: Readonly<Record<string, Tensor>>,
): string | undefined {
  return Object.keys(expected).find((name) => {
    const [want, got] = [expected[name]!, fed[name]];
    return !got || got.dtype !== want.dtype || !sameWords(wordsOf(want), wordsOf(got));
  });
}

const sameWords = (a: Uint32Array, b: Uint32Array): boolean =>
  a.length === b.length && a.every((word, i) => word === b[i]);
