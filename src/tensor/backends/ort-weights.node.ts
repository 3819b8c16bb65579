/** Constants too large for a model in memory: mapped from the files they lie in, or first written into the cache. */

import { node } from "../../formats/builtins.node.ts";
import { bytesOf } from "../../formats/bytes.ts";
import { type CacheOptions, cachedFile, compiledFolder } from "../../formats/cached-file.node.ts";
import {
  type FileRange,
  isLazy,
  type LazyTensor,
  readWeight,
  type Weight,
  weightBytes,
} from "../../formats/lazy.ts";
import { openUnchanged } from "../../formats/node.ts";
import type { OnnxInitializer } from "../../formats/onnx.ts";
import type { Value } from "../graph.ts";
import { MODEL_BYTES, type PlaceWeights, placeInModel } from "./ort-weights.ts";

// The runtime takes the model from memory and its external data from files under one folder
// (session.model_external_initializers_file_folder_path); it maps each tensor, repacks those it multiplies by, and
// unmaps them. So a checkpoint is its own weight file, wherever it lies under the root, and no copy of it is made,
// neither in memory nor on disk. Measured for the largest graph of d16, 806 MB of weights (onnxruntime-node 1.30):
// session in 0.9 s of processor time and 0.93 GB at most, against 6.3 s and 5.0 GB with the weights in the model.

const FOLDER = "session.model_external_initializers_file_folder_path";
/** Smaller constants lie in the model: a mapping has its price. */
const LEAST = 4096;
/** Bytes below which what has no key is put into the model. */
const PASSING = 2 ** 20;
/** Places in a file of ours begin at multiples of this: a cache line. */
const ALIGN = 64;

/** Where each constant goes. */
interface Sorted {
  readonly model: ReadonlyMap<Value, Weight>;
  readonly mapped: readonly (readonly [Value, FileRange])[];
  /** Into a file of ours. */
  readonly written: ReadonlyMap<Value, Weight>;
}

export interface DiskOptions extends CacheOptions {
  /**
   * Data that has to be computed is written into the cache when there are more bytes of it than this, and computed at
   * every compile into the model otherwise. Default 32 MiB.
   */
  computedInModel?: number;
}

/** The constants of a graph for onnxruntime-node. */
export const placeOnDisk =
  ({ computedInModel = 2 ** 25, ...cache }: DiskOptions = {}): PlaceWeights =>
  async (weights) => {
    const { model, mapped, written } = onOneDrive(sortWeights(weights, computedInModel), {
      weights,
      folder: cache.folder ?? compiledFolder(),
    });
    await checkUnchanged(mapped.map(([, range]) => range));
    const file = written.size > 0 ? await writtenFile(written, cache) : undefined;
    const outside = [...mapped, ...(file?.places ?? [])];
    const { placed } = await placeInModel(model);
    if (outside.length === 0) return { placed };
    const { root } = node.path.parse(outside[0]![1].path);
    return {
      placed: new Map([...placed, ...outside.map(([v, range]) => external(v, range, root))]),
      session: { extra: { [FOLDER]: root } },
      clear: file?.clear,
    };
  };

function sortWeights(weights: ReadonlyMap<Value, Weight>, computedInModel: number): Sorted {
  const [model, written] = [new Map<Value, Weight>(), new Map<Value, Weight>()];
  const mapped: (readonly [Value, FileRange])[] = [];
  const all = [...weights];
  const held = all.filter(([, weight]) => !isLazy(weight) || !weight.file);
  const bytes = (some: typeof all) =>
    some.reduce((sum, [, weight]) => sum + weightBytes(weight), 0);
  const computed = held.filter(([, weight]) => isLazy(weight));
  const isNamed = computed.some(([, weight]) => (weight as LazyTensor).key !== undefined);
  const isComputedWritten = bytes(computed) > computedInModel;
  const inMemory = bytes(held) - (isComputedWritten ? bytes(computed) : 0);
  const isAllWritten = inMemory > MODEL_BYTES / 2; // the runtime holds them twice while it compiles
  // What lies on another drive than the first is read into the model.
  const first = all.map(([, w]) => (isLazy(w) ? w.file : undefined)).find((file) => file);
  for (const [v, weight] of weights) {
    const file = isLazy(weight) ? weight.file : undefined;
    const isSmall = weightBytes(weight) < LEAST;
    if (file && !isSmall && rootOf(file) === rootOf(first!)) mapped.push([v, file]);
    // Small ones too: computing one may mean computing the large one beside it. But one of nameless content would make the
    // file nameless, and so written at every start.
    else if (isLazy(weight) && !file && isComputedWritten && !(isNamed && isPassing(weight)))
      written.set(v, weight);
    else if (isAllWritten && !isSmall) written.set(v, weight);
    else model.set(v, weight);
  }
  return { model, mapped, written };
}

/** Computed from what was in memory: quick to compute, and nobody could find it again. */
const isPassing = (weight: LazyTensor): boolean =>
  weight.key === undefined && weightBytes(weight) < PASSING;

/** Several drives have no common root: if anything is written on another drive, everything is. */
function onOneDrive(
  sorted: Sorted,
  { weights, folder }: { weights: ReadonlyMap<Value, Weight>; folder: string },
): Sorted {
  const { model, mapped, written } = sorted;
  const { root } = node.path.parse(node.path.resolve(folder));
  if (written.size === 0 || mapped.every(([, range]) => rootOf(range) === root)) return sorted;
  const moved = mapped.map(([v]) => [v, weights.get(v)!] as const);
  return { model, mapped: [], written: new Map([...written, ...moved]) };
}

/** The runtime maps by name: whatever lies there now. */
async function checkUnchanged(ranges: readonly FileRange[]): Promise<void> {
  const keys = new Map(ranges.map(({ path, key }) => [path, key]));
  for (const [path, key] of keys)
    if (key !== undefined) await (await openUnchanged(path, key)).close();
}

const rootOf = ({ path }: FileRange): string => node.path.parse(path).root;

function external(v: Value, range: FileRange, root: string): [Value, OnnxInitializer] {
  const { relative, sep } = node.path;
  const location = relative(root, range.path).split(sep).join("/");
  const { offset, length } = range;
  const { name, dtype, shape } = v;
  return [v, { name, dtype, shape: shape as number[], external: { location, offset, length } }];
}

/** Writes weights one after the other, or finds the file that has them. At most one of them is in memory. */
async function writtenFile(weights: ReadonlyMap<Value, Weight>, cache: CacheOptions) {
  const places: [Value, { offset: number; length: number }][] = [];
  let size = 0;
  for (const [v, weight] of weights) {
    const offset = Math.ceil(size / ALIGN) * ALIGN;
    const length = weightBytes(weight);
    places.push([v, { offset, length }]);
    size = offset + length;
  }
  async function* make(): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (const [v, { offset, length }] of places) {
      if (offset > at) yield new Uint8Array(offset - at);
      yield bytesOf((await readWeight(weights.get(v)!)).data);
      at = offset + length;
    }
  }
  const name = contentName(weights);
  const kept = name !== undefined;
  const path = await cachedFile({ name: name ?? passingName(), size, make }, cache);
  return {
    places: places.map(([v, range]): [Value, FileRange] => [v, { ...range, path }]),
    // What nobody can find again goes as soon as the system lets it: at once, or when it is no longer mapped.
    clear: kept ? undefined : () => node.fs.rm(path, { force: true }).catch(() => undefined),
  };
}

/** A name for the content of these weights in this order; undefined when one of them has no key. */
function contentName(weights: ReadonlyMap<Value, Weight>): string | undefined {
  const keys = [...weights.values()].map((weight) => (isLazy(weight) ? weight.key : undefined));
  if (keys.includes(undefined)) return undefined;
  const hash = node.crypto.createHash("sha256");
  for (const key of keys) hash.update(`${key}\n`);
  return `${hash.digest("hex")}.bin`;
}

let passing = 0;
const passingName = (): string => `passing-${process.pid}-${passing++}.bin`;
