/** PyTorch checkpoints (.pth, .pt), zip and legacy, read as data. Nothing in the file is ever run. */

import { type ByteSource, memorySource, tensorFromBytes } from "./bytes.ts";
import { BYTES, sizeOf, type Tensor, type TensorMap, type TypedArray } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { type LazyTensor, lazyRange, type Weight } from "./lazy.ts";
import type { PickleValue } from "./pickle.ts";
import { readContainer, type StoredBytes } from "./pth-containers.ts";
import { gather, isDense, type PthStorage, type PthWindow, pthScene, reach } from "./pth-rules.ts";
import type { Crc32 } from "./zip.ts";

/** What torch.save was given. */
export interface PthFile {
  /** The saved value as plain data: dicts are Maps, lists arrays, tuples frozen arrays. */
  readonly value: PickleValue;
  /** Every tensor in it by its path, keys joined with dots: a state_dict's own names. */
  readonly tensors: TensorMap;
  readonly container: "zip" | "legacy";
}

/** Copies of strided tensors may take this many times the file, so shared windows are no bomb. */
const COPY_RATIO = 4;
const COPY_FLOOR = 256 * 2 ** 20;

const refuse = (why: string, data: Record<string, unknown> = {}): never => {
  throw new InputError(`torch: ${why}`, data);
};

function fillStorage(storage: PthStorage, bytes: Uint8Array): void {
  const { key, dtype, shape } = storage;
  storage.data = tensorFromBytes(`torch: storage ${key}`, { dtype, shape, bytes }).data;
}

// ---- whole ------------------------------------------------------------------------------------

const isTensor = (v: PickleValue): v is Tensor & object =>
  typeof v === "object" && v !== null && "dtype" in v && "data" in v && "shape" in v;

/** A value may share its parts; walked as a tree it must stay this small. */
const MAX_NODES = 2_000_000;

/**
 * All tensors inside plain data, by path; keys and list positions are joined with dots.
 * @throws InputError when two paths read the same.
 */
export function collectTensors(value: PickleValue): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  let nodes = 0;
  const walk = (v: PickleValue, path: string): void => {
    if (++nodes > MAX_NODES) refuse(`the value has more than ${MAX_NODES} parts; it is a bomb`);
    const below = (key: unknown) => (path === "" ? String(key) : `${path}.${String(key)}`);
    if (isTensor(v)) {
      if (found.has(path)) refuse(`two tensors have the path ${JSON.stringify(path)}`, { path });
      found.set(path, v);
    } else if (v instanceof Map) for (const [key, item] of v) walk(item, below(key));
    else if (Array.isArray(v)) for (const [i, item] of v.entries()) walk(item, below(i));
  };
  walk(value, "");
  return found;
}

/** Bytes that dense copies of strided tensors may take. */
const maxCopied = ({ size }: ByteSource): number => COPY_FLOOR + COPY_RATIO * size;

/**
 * Reads a checkpoint written by torch.save. An interpreter of allowed opcodes and exact names takes
 * notes; nothing is called, and everything else is a refusal that says where and why. Contiguous
 * tensors are views of their storage (shared storages stay shared), strided ones are made dense.
 * @throws InputError for anything that is not a checkpoint of plain data and dense tensors.
 */
export async function readPth(from: ByteSource | Uint8Array): Promise<PthFile> {
  const source = from instanceof Uint8Array ? memorySource(from) : from;
  const scene = pthScene();
  const { value, stored, container } = await readContainer(source, scene);
  for (const [key, storage] of scene.storages) fillStorage(storage, await stored.get(key)!.whole());
  scene.fill(maxCopied(source));
  return { value, tensors: collectTensors(value), container };
}

// ---- tensors that are read later ---------------------------------------------------------------

export interface LazyPth {
  /** Every tensor by its path; to be read while the source can be. */
  readonly tensors: ReadonlyMap<string, Weight>;
  readonly container: "zip" | "legacy";
}

/**
 * The tensors of a checkpoint without their data: pickle, directory and headers are read and checked as by `readPth`,
 * the storages only compared with their CRCs, in little memory.
 * @param options.verify whether storages are compared with their CRCs now, which reads the file once; default true
 * @param options.crc a faster CRC-32, where there is one
 */
export async function lazyPth(
  source: ByteSource,
  { verify = true, crc }: { verify?: boolean; crc?: Crc32 } = {},
): Promise<LazyPth> {
  const scene = pthScene();
  const { value, stored, container } = await readContainer(source, scene);
  if (verify) for (const bytes of stored.values()) await bytes.check(crc);
  const windows = new Map<object, PthWindow>(scene.windows.map((w) => [w.tensor, w]));
  const tensors = new Map<string, Weight>();
  for (const [path, tensor] of collectTensors(value)) {
    const window = windows.get(tensor) ?? wholeStorage(tensor as PthStorage);
    tensors.set(path, lazyWindow(source, window, stored.get(window.storage.key)!));
  }
  return { tensors, container };
}

/** A storage that was saved by itself. */
const wholeStorage = (storage: PthStorage): PthWindow => ({
  tensor: storage,
  storage,
  offset: 0,
  strides: [1],
});

function lazyWindow(source: ByteSource, window: PthWindow, stored: StoredBytes): Weight {
  const { tensor, storage, offset: first, strides } = window;
  const { dtype, shape } = tensor;
  const what = `torch: storage ${storage.key}`;
  const width = BYTES[dtype];
  const size = sizeOf(shape);
  if (size === 0) return tensor;
  const count = reach(shape, strides); // elements of the storage from the first to the last
  if (!isDense(shape, strides) && size * width > maxCopied(source))
    refuse(`a strided tensor [${shape}] would take ${size * width} bytes made dense`, { shape });
  const range = { offset: first * width, length: count * width }; // within the storage
  const { offset } = stored;
  const flat: LazyTensor =
    offset !== undefined
      ? lazyRange(source, what, { ...range, dtype, shape: [count], offset: offset + range.offset })
      : { dtype, shape: [count], read: () => inflated(what, { dtype, range, stored }) };
  if (isDense(shape, strides)) return { ...flat, shape };
  return { dtype, shape, read: async () => gather(window, await flat.read(), { start: first }) };
}

/** Part of a compressed storage. */
async function inflated(
  what: string,
  {
    dtype,
    range,
    stored,
  }: {
    dtype: Tensor["dtype"];
    range: { offset: number; length: number };
    stored: StoredBytes;
  },
): Promise<TypedArray> {
  const bytes = (await stored.whole()).subarray(range.offset, range.offset + range.length);
  return tensorFromBytes(what, { dtype, shape: [range.length / BYTES[dtype]], bytes }).data;
}
