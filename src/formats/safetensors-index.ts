/** Sharded safetensors checkpoints: model.safetensors.index.json. Opens only files the caller opens. */

import { type ByteSource, checkedUtf8 } from "./bytes.ts";
import type { Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { parseJson } from "./json.ts";
import type { LazyTensor } from "./lazy.ts";
import {
  lazySafetensors,
  readSafetensorsHeader,
  readSafetensorsTensor,
  type Safetensors,
  type SafetensorsHeader,
} from "./safetensors.ts";

export interface SafetensorsIndex {
  /** Tensor name -> shard file name, in file order. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Shard file names, each once, in order of first use. */
  readonly files: readonly string[];
  /** Bytes of all tensors, when the index says. */
  readonly totalSize: number | undefined;
}

const WHAT = "safetensors index";
/** A plain file name: no separators, no drive, no parent, nothing hidden. */
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/;
const MAX_INDEX = 100_000_000;

/** Reads an index. Shards are file names, never paths: whatever else is an InputError. */
export function readSafetensorsIndex(bytes: Uint8Array): SafetensorsIndex {
  if (bytes.length > MAX_INDEX)
    throw new InputError(`${WHAT}: has ${bytes.length} bytes, allowed are ${MAX_INDEX}`);
  const json = parseJson(checkedUtf8(WHAT, bytes), WHAT);
  const map = json instanceof Map ? json.get("weight_map") : undefined;
  if (!(json instanceof Map) || !(map instanceof Map) || map.size === 0)
    throw new InputError(`${WHAT}: has no weight_map with tensor names`);
  for (const [name, file] of map)
    if (typeof file !== "string" || !FILE_NAME.test(file) || !file.endsWith(".safetensors"))
      throw new InputError(
        `${WHAT}: tensor ${JSON.stringify(name)} is said to be in ${JSON.stringify(file)}; wanted the name of a .safetensors file beside the index`,
        { name, file },
      );
  const metadata = json.get("metadata");
  const total = metadata instanceof Map ? metadata.get("total_size") : undefined;
  if (total !== undefined && !(Number.isSafeInteger(total) && (total as number) >= 0))
    throw new InputError(`${WHAT}: total_size ${JSON.stringify(total)} is not a byte count`);
  const weightMap = map as ReadonlyMap<string, string>;
  return {
    weightMap,
    files: [...new Set(weightMap.values())],
    totalSize: total as number | undefined,
  };
}

interface Shard {
  readonly source: ByteSource;
  readonly header: SafetensorsHeader;
}

interface Shards {
  readonly shards: ReadonlyMap<string, Shard>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Opens all shards and checks their headers against the index, before any tensor is read. */
async function openShards(
  index: SafetensorsIndex,
  open: (file: string) => Promise<ByteSource>,
): Promise<Shards> {
  const shards = new Map<string, Shard>();
  let total = 0;
  const metadata: [string, string][] = [];
  for (const file of index.files) {
    const source = await open(file);
    const header = await readSafetensorsHeader(source);
    for (const [name, { length }] of header.entries) {
      if (index.weightMap.get(name) !== file)
        throw new InputError(
          `${WHAT}: ${file} holds ${JSON.stringify(name)}, which the index does not place there`,
          { file, name },
        );
      total += length;
    }
    metadata.push(...Object.entries(header.metadata));
    shards.set(file, { source, header });
  }
  if (index.totalSize !== undefined && total !== index.totalSize)
    throw new InputError(
      `${WHAT}: says ${index.totalSize} bytes in all, the shards hold ${total}; one is missing or not of this set`,
      { totalSize: index.totalSize, total },
    );
  return { shards, metadata: Object.fromEntries(metadata) };
}

/**
 * Reads all tensors of a sharded checkpoint, in the order of the index. Every shard must hold
 * exactly the tensors the index says, and their bytes must sum up to its total; that is checked on
 * all headers before the first tensor is read.
 * @param open opens a shard by its file name.
 */
export async function readShardedSafetensors(
  index: SafetensorsIndex,
  open: (file: string) => Promise<ByteSource>,
): Promise<Safetensors> {
  const { shards, metadata } = await openShards(index, open);
  const tensors = new Map<string, Tensor>();
  for (const [name, file] of index.weightMap) {
    const { source, header } = shards.get(file)!;
    tensors.set(name, await readSafetensorsTensor(source, header, name));
  }
  return { tensors, metadata };
}

/** The same checks; the tensors are read when they are needed, for which the shards must stay readable. */
export async function lazyShardedSafetensors(
  index: SafetensorsIndex,
  open: (file: string) => Promise<ByteSource>,
): Promise<{
  readonly tensors: Map<string, LazyTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}> {
  const { shards, metadata } = await openShards(index, open);
  const found = new Map(
    [...shards.values()].flatMap(({ source, header }) => [...lazySafetensors(source, header)]),
  );
  const tensors = new Map<string, LazyTensor>();
  for (const [name, file] of index.weightMap) {
    const tensor = found.get(name);
    if (!tensor)
      throw new InputError(`${WHAT}: ${file} lacks the tensor ${JSON.stringify(name)}`, { name });
    tensors.set(name, tensor);
  }
  return { tensors, metadata };
}
