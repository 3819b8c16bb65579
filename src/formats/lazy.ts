/** Tensors that are read when they are needed: dtype and shape now, data later. Opens no files: see node.ts. */

import { type ByteSource, readRange, tensorFromBytes } from "./bytes.ts";
import { BYTES, type DType, sizeOf, type Tensor, type TypedArray } from "./dtype.ts";

/** Bytes of a file that are a tensor's data as it lies in memory: dense, row-major, little-endian. */
export interface FileRange {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  /** What the file's key was when it was opened: with another one it is not to be mapped. */
  readonly key?: string;
}

/** A tensor whose data is read when asked for, and at every asking anew: who asks holds the only copy. */
export interface LazyTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  read(): Promise<TypedArray>;
  /** Where a runtime may map the data from disk instead of reading it; absent for data that has to be computed. */
  readonly file?: FileRange;
  /** Names the content: the same key, the same data. For caches on disk; absent where nothing is sure. */
  readonly key?: string;
}

/** A tensor in memory or one to be read. */
export type Weight = Tensor | LazyTensor;
/** Weights by name, in file order. */
export type WeightMap = ReadonlyMap<string, Weight>;

export const isLazy = (weight: Weight): weight is LazyTensor => "read" in weight;

/** Bytes of a tensor's data. */
export const weightBytes = ({ dtype, shape }: Weight): number => sizeOf(shape) * BYTES[dtype];

/** The tensor with its data. @throws InputError when its file changed or ends too early */
export const readWeight = async (weight: Weight): Promise<Tensor> =>
  isLazy(weight) ? { dtype: weight.dtype, shape: weight.shape, data: await weight.read() } : weight;

/** Readings that wait for the disk at the same time. */
const TOGETHER = 16;

/** All tensors with their data, a few being read at a time; `which` leaves the others as they are. */
export async function readWeights(
  weights: WeightMap,
  which: (name: string, weight: LazyTensor) => boolean = () => true,
): Promise<Map<string, Weight>> {
  const out = new Map<string, Weight>(weights); // keeps the order
  const wanted = [...weights].filter(([name, weight]) => isLazy(weight) && which(name, weight));
  for (let at = 0; at < wanted.length; at += TOGETHER)
    await Promise.all(
      wanted
        .slice(at, at + TOGETHER)
        .map(async ([name, weight]) => out.set(name, await readWeight(weight))),
    );
  return out;
}

/** Where a dense tensor lies in a source; its length has been checked against dtype and shape. */
export interface Place {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly length: number;
}

/** A tensor that lies in a source as it is. `what` opens its error sentences. */
export function lazyRange(source: ByteSource, what: string, place: Place): LazyTensor {
  const { dtype, shape, offset, length } = place;
  const { path, key } = source;
  return {
    dtype,
    shape,
    read: async () => {
      const bytes = await readRange(source, what, place);
      return tensorFromBytes(what, { dtype, shape, bytes }).data;
    },
    // Nobody maps floats that begin between two floats.
    ...(path !== undefined &&
      offset % BYTES[dtype] === 0 && { file: { path, offset, length, key } }),
    ...(key !== undefined && { key: `${key} ${dtype} ${offset}+${length}` }),
  };
}

/** What one tensor becomes: the dtypes and shapes of the new ones, and how their data is made. */
export interface Derivation<K extends string> {
  /** Names the computation and its options, with a version: the content is that of the source and this. */
  readonly name: string;
  readonly outputs: Readonly<
    Record<K, { readonly dtype: DType; readonly shape: readonly number[] }>
  >;
  /** All outputs from the data of the source, which it must not write over. */
  make(data: TypedArray): Readonly<Record<K, TypedArray>>;
}

/**
 * Replaces a weight by tensors computed from it when they are needed, e.g. float32 by int8 values and their scales.
 * The source is read, and `make` runs, once for all outputs when these are read one after the other; of what has been
 * read nothing is kept.
 */
export function deriveWeights<K extends string>(
  source: Weight,
  { name, outputs, make }: Derivation<K>,
): Record<K, LazyTensor> {
  const keys = Object.keys(outputs) as K[];
  let made: { readonly all: Promise<Map<K, TypedArray>>; readonly left: Set<K> } | undefined;
  const makeAll = async (): Promise<Map<K, TypedArray>> => {
    const results = make((await readWeight(source)).data);
    return new Map(keys.map((key) => [key, results[key]]));
  };
  const read = async (key: K): Promise<TypedArray> => {
    if (!made?.left.has(key)) made = { all: makeAll(), left: new Set(keys) };
    const { all, left } = made;
    left.delete(key);
    if (left.size === 0) made = undefined;
    try {
      const results = await all;
      const data = results.get(key)!;
      results.delete(key);
      return data;
    } catch (error) {
      made = undefined; // a failure is not kept for the others
      throw error;
    }
  };
  const origin = isLazy(source) ? source.key : undefined;
  return Object.fromEntries(
    keys.map((key): [K, LazyTensor] => [
      key,
      {
        ...outputs[key],
        read: () => read(key),
        ...(origin !== undefined && { key: `${origin} -> ${name} ${key}` }),
      },
    ]),
  ) as Record<K, LazyTensor>;
}
