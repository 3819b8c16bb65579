/** The two containers of PyTorch checkpoints: where the pickle and the storages lie. What they mean is in pth.ts. */

import { type ByteSource, checkedUtf8, readRange, viewOf } from "./bytes.ts";
import { BYTES } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { type PickleRules, type PickleValue, readPickle } from "./pickle.ts";
import type { PthScene } from "./pth-rules.ts";
import {
  type Crc32,
  checkZipEntry,
  readZip,
  readZipEntry,
  type ZipEntries,
  type ZipEntry,
} from "./zip.ts";

/** The bytes of one storage in the file; their number has been checked against dtype and elements. */
export interface StoredBytes {
  /** Where they begin in the file; undefined when they are compressed. */
  readonly offset: number | undefined;
  /** All of them; those of a zip archive after their CRC has been checked. */
  whole(): Promise<Uint8Array>;
  /** Compares them with their CRC, where there is one, in little memory. */
  check(crc?: Crc32): Promise<void>;
}

/** A checkpoint whose pickle has been read and whose storages have not. */
export interface PthContainer {
  readonly container: "zip" | "legacy";
  readonly value: PickleValue;
  /** By key, one for each storage of the scene. */
  readonly stored: ReadonlyMap<string, StoredBytes>;
}

/** Reads the pickle of a checkpoint into the scene and finds the storages. @throws InputError */
export async function readContainer(source: ByteSource, scene: PthScene): Promise<PthContainer> {
  const first = await readRange(source, "torch", { offset: 0, length: Math.min(source.size, 4) });
  const isZip = first.length === 4 && viewOf(first).getUint32(0, true) === 0x04034b50;
  return isZip ? readZipContainer(source, scene) : readLegacyContainer(source, scene);
}

/** torch.serialization.MAGIC_NUMBER of the legacy container. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;
const MAX_PICKLE = 64 * 2 ** 20;

const refuse = (why: string, data: Record<string, unknown> = {}): never => {
  throw new InputError(`torch: ${why}`, data);
};

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

async function readZipContainer(source: ByteSource, scene: PthScene): Promise<PthContainer> {
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
  const stored = new Map<string, StoredBytes>();
  for (const [key, storage] of scene.storages) {
    const found = entry(`data/${key}`);
    if (!found) return refuse(`storage ${JSON.stringify(key)} is not in the archive`, { key });
    const wanted = storage.shape[0]! * BYTES[storage.dtype];
    if (found.size !== wanted)
      refuse(`storage ${key} has ${found.size} bytes, its ${storage.dtype}s take ${wanted}`, {
        key,
      });
    stored.set(key, storedEntry(source, found));
  }
  return { container: "zip", value, stored };
}

const storedEntry = (source: ByteSource, entry: ZipEntry): StoredBytes => ({
  offset: entry.method === "stored" ? entry.offset : undefined,
  whole: () => readZipEntry(source, entry),
  check: (crc) => checkZipEntry(source, entry, { crc }),
});

// ---- legacy container -------------------------------------------------------------------------

const NO_NAMES: PickleRules = { globals: new Map() };

/** Five pickles (magic, protocol, system, value, storage keys), then per key a count and its data. */
async function readLegacyContainer(source: ByteSource, scene: PthScene): Promise<PthContainer> {
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
    refuse(
      `legacy protocol ${typeof protocol === "object" ? "of no number" : String(protocol)}, wanted ${LEGACY_PROTOCOL}`,
    );
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
  const stored = new Map<string, StoredBytes>();
  for (const key of keys as string[]) {
    const storage = scene.storages.get(key)!;
    const what = `torch: storage ${key}`;
    const count = viewOf(await readRange(source, what, { offset: at, length: 8 }));
    if (count.getBigInt64(0, true) !== BigInt(storage.shape[0]!))
      refuse(
        `storage ${key} has ${count.getBigInt64(0, true)} elements, wanted ${storage.shape[0]}`,
      );
    const range = { offset: at + 8, length: storage.shape[0]! * BYTES[storage.dtype] };
    stored.set(key, {
      offset: range.offset,
      whole: () => readRange(source, what, range),
      check: async () => {},
    });
    at = range.offset + range.length;
  }
  if (at !== source.size)
    refuse(
      at < source.size
        ? `${source.size - at} bytes follow the last storage`
        : `the storages end at byte ${at}, the file at ${source.size}; it is truncated`,
    );
  return { container: "legacy", value, stored };
}
