/** Whether a batch is the one that data, order and seed determine. Knows no data set: rows are bytes. */

import type { Tensor } from "../../formats/dtype.ts";
import { sameBytes } from "../sign/encoding.ts";
import { createSketcher, type Hash, SKETCH } from "../state/index.ts";

/** Fingerprints of all rows of a data set, taken before the first update. */
export interface DataRecord {
  /** Positions whose row is not what it was. */
  changed(indices: Iterable<number>, row: (index: number) => Tensor): number[];
}

/** @param row what picture `index` is made of: tokens or pixels, and its label */
export function recordData(
  count: number,
  row: (index: number) => Tensor,
  { secret, hash }: { readonly secret: Uint8Array; readonly hash?: Hash },
): DataRecord {
  const sketcher = createSketcher(secret, hash);
  const sketches = new Uint8Array(count * SKETCH);
  for (let i = 0; i < count; i++) sketches.set(sketcher.tensor(row(i)), i * SKETCH);
  const was = (i: number) => sketches.subarray(i * SKETCH, (i + 1) * SKETCH);
  return {
    changed: (indices, now) =>
      [...new Set(indices)].filter(
        (i) => i >= count || !sameBytes(sketcher.tensor(now(i)), was(i)),
      ),
  };
}

/** The first of the expected tensors that was fed with other bytes, or not at all. */
export function differingFeed(
  expected: Readonly<Record<string, Tensor>>,
  fed: Readonly<Record<string, Tensor>>,
): string | undefined {
  return Object.keys(expected).find((name) => {
    const [want, got] = [expected[name]!, fed[name]];
    return !got || got.dtype !== want.dtype || !sameBytes(bytesOf(want), bytesOf(got));
  });
}

const bytesOf = ({ data }: Tensor): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
