/** A reader of small golden .safetensors files for tests, independent of the library's own reader. */

import { readFileSync } from "node:fs";
import type { Tensor } from "../src/formats/dtype.ts";

const READ = {
  F32: ["float32", Float32Array],
  I32: ["int32", Int32Array],
  I64: ["int64", BigInt64Array],
  U8: ["uint8", Uint8Array],
} as const;

/** Tensors by name, and the metadata. */
export function readGolden(file: string): {
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
} {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata = {}, ...header } = JSON.parse(
    bytes.toString("utf8", 8, 8 + length),
  );
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    const { dtype, shape, data_offsets } = entry as {
      dtype: keyof typeof READ;
      shape: number[];
      data_offsets: [number, number];
    };
    const [host, Data] = READ[dtype];
    const [start, end] = data_offsets;
    const copy = new Uint8Array(bytes.subarray(8 + length + start, 8 + length + end)); // aligned
    tensors.set(name, { dtype: host, shape, data: new Data(copy.buffer) });
  }
  return { tensors, metadata };
}
