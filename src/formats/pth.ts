/** PyTorch checkpoints (.pth, .pt), zip and legacy, read as data. Nothing in the file is ever run. */

import {
  type ByteSource,
  checkedUtf8,
  memorySource,
  readRange,
  tensorFromBytes,
  viewOf,
} from "./bytes.ts";
import { BYTES, type Tensor, type TensorMap } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { type PickleRules, type PickleValue, readPickle } from "./pickle.ts";
import { type PthScene, type PthStorage, pthScene } from "./pth-rules.ts";
import { readZip, readZipEntry, type ZipEntries } from "./zip.ts";

/** What torch.save was given. */
export interface PthFile {
  /** The saved value as plain data: dicts are Maps, lists arrays, tuples frozen arrays. */
  readonly value: PickleValue;
  /** Every tensor in it by its path, keys joined with dots: a state_dict's own names. */
  readonly tensors: TensorMap;
  readonly container: "zip" | "legacy";
}

/** torch.serialization.MAGIC_NUMBER of the legacy container. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;
const MAX_PICKLE = 64 * 2 ** 20;
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

// ---- zip container ----------------------------------------------------------------------------

/** Entries beside data.pkl and the storages, as torch 1.6 to 2.x write them. */
const SMALL_ENTRIES = new Set([
  "version",
  "byteorder",
  ".format_version",
  ".storage_alignment",
  ".data/serialization_id",
]);

function splitFolder(entries: ZipEntries): { folder: string; inside: Map<string, string> } {
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1)
    return refuse(
      `the archive has ${pickles.length} files named <folder>/data.pkl, wanted 1; it is no checkpoint of torch.save`,
    );
  const folder = pickles[0]!.slice(0, -"data.pkl".length);
  const inside = new Map<string, string>();
  for (const name of entries.keys()) {
    const short = name.slice(folder.length);
    if (short === "constants.pkl" || short.startsWith("code/"))
      refuse("the archive is TorchScript, which is a program; save the state_dict instead");
    if (
      !name.startsWith(folder) ||
      !(short === "data.pkl" || SMALL_ENTRIES.has(short) || /^data\/\d{1,9}$/.test(short))
    )
      refuse(`the entry ${JSON.stringify(name)} does not belong to a checkpoint`, { name });
    inside.set(short, name);
  }
  return { folder, inside };
}

async function readZipContainer(source: ByteSource, scene: PthScene): Promise<PickleValue> {
  const entries = await readZip(source);
  const { inside } = splitFolder(entries);
  const entry = (short: string) => entries.get(inside.get(short) ?? "");
  const small = async (short: string): Promise<string | undefined> => {
    const found = entry(short);
    if (!found) return undefined;
    if (found.size > 64) return refuse(`${short} has ${found.size} bytes`);
    return checkedUtf8(`torch: ${short}`, await readZipEntry(source, found)).trim();
  };
  const version = await small("version");
  if (version === undefined || !/^\d{1,4}$/.test(version)) refuse("the archive has no version");
  const byteorder = await small("byteorder");
  if (byteorder !== undefined && byteorder !== "little")
    refuse(`the byte order is ${JSON.stringify(byteorder)}; only little-endian files are read`, {
      byteorder,
    });
  const pickle = entry("data.pkl")!;
  if (pickle.size > MAX_PICKLE)
    refuse(`data.pkl has ${pickle.size} bytes, allowed are ${MAX_PICKLE}`, { size: pickle.size });
  const bytes = await readZipEntry(source, pickle);
  const { value, end } = readPickle(bytes, scene.rules);
  if (end !== bytes.length)
    refuse(`data.pkl goes on for ${bytes.length - end} bytes after its end`);
  for (const short of inside.keys())
    if (short.startsWith("data/") && !scene.storages.has(short.slice(5)))
      refuse(`${short} is a storage that no tensor uses`);
  for (const [key, storage] of scene.storages) {
    const found = entry(`data/${key}`);
    if (!found) return refuse(`storage ${JSON.stringify(key)} is not in the archive`, { key });
    const wanted = storage.shape[0]! * BYTES[storage.dtype];
    if (found.size !== wanted)
      refuse(`storage ${key} has ${found.size} bytes, its ${storage.dtype}s take ${wanted}`, {
        key,
      });
    fillStorage(storage, await readZipEntry(source, found));
  }
  return value;
}

// ---- legacy container -------------------------------------------------------------------------

const NO_NAMES: PickleRules = { globals: new Map() };

/** Five pickles (magic, protocol, system, value, storage keys), then per key a count and its data. */
async function readLegacyContainer(source: ByteSource, scene: PthScene): Promise<PickleValue> {
  const head = await readRange(source, "torch", {
    offset: 0,
    length: Math.min(source.size, MAX_PICKLE),
  });
  let at = 0;
  const next = (rules: PickleRules): PickleValue => {
    const { value, end } = readPickle(head, rules, { start: at });
    at = end;
    return value;
  };
  if (next(NO_NAMES) !== LEGACY_MAGIC) refuse("the file is neither zip nor a legacy checkpoint");
  const protocol = next(NO_NAMES);
  if (protocol !== LEGACY_PROTOCOL)
    refuse(`legacy protocol ${String(protocol)}, wanted ${LEGACY_PROTOCOL}`);
  const system = next(NO_NAMES);
  if (!(system instanceof Map) || system.get("little_endian") !== true)
    refuse("the byte order is big; only little-endian files are read");
  const value = next(scene.rules);
  const keys = next(NO_NAMES);
  if (
    !Array.isArray(keys) ||
    new Set(keys).size !== keys.length ||
    keys.length !== scene.storages.size ||
    !keys.every((key) => scene.storages.has(key))
  )
    return refuse("the list of storages is not that of the tensors");
  for (const key of keys) {
    const storage = scene.storages.get(key)!;
    const what = `torch: storage ${key}`;
    const count = viewOf(await readRange(source, what, { offset: at, length: 8 }));
    if (count.getBigInt64(0, true) !== BigInt(storage.shape[0]!))
      refuse(
        `storage ${key} has ${count.getBigInt64(0, true)} elements, wanted ${storage.shape[0]}`,
      );
    const length = storage.shape[0]! * BYTES[storage.dtype];
    fillStorage(storage, await readRange(source, what, { offset: at + 8, length }));
    at += 8 + length;
  }
  if (at !== source.size) refuse(`${source.size - at} bytes follow the last storage`);
  return value;
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

/**
 * Reads a checkpoint written by torch.save. An interpreter of allowed opcodes and exact names takes
 * notes; nothing is called, and everything else is a refusal that says where and why. Contiguous
 * tensors are views of their storage (shared storages stay shared), strided ones are made dense.
 * @throws InputError for anything that is not a checkpoint of plain data and dense tensors.
 */
export async function readPth(from: ByteSource | Uint8Array): Promise<PthFile> {
  const source = from instanceof Uint8Array ? memorySource(from) : from;
  const first = await readRange(source, "torch", { offset: 0, length: Math.min(source.size, 4) });
  const isZip = first.length === 4 && viewOf(first).getUint32(0, true) === 0x04034b50;
  const scene = pthScene();
  const read = isZip ? readZipContainer : readLegacyContainer;
  const value = await read(source, scene);
  scene.fill(COPY_FLOOR + COPY_RATIO * source.size);
  return { value, tensors: collectTensors(value), container: isZip ? "zip" : "legacy" };
}
