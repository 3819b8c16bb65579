/** Loads model files as data, through the scanner's own machine and list: whatever loads, has scanned clean. Never runs anything. */

import { crc32, inflate } from "../../formats/index.ts";
import { reach } from "../../formats/pth-rules.ts";
import { InputError, memorySource, type PickleValue, viewOf } from "./bytes.ts";
import { readGguf } from "./gguf.ts";
import { allowList } from "./names.ts";
import { NumpyArray, type NumpyType } from "./names-numpy.ts";
import { Made } from "./names-python.ts";
import { TorchStorage, TorchTensor } from "./names-torch.ts";
import { readNpyHeader } from "./npy.ts";
import { newScan } from "./part.ts";
import { Blob, Name, Opaque } from "./pickle-machine.ts";
import { runPickle } from "./pickle-scan.ts";
import type { FileReport } from "./report.ts";
import { readSafeHeader } from "./safetensors.ts";
import { scanPart, scanSource } from "./scan.ts";
import { type Member, readArchive } from "./zip-read.ts";

/** An array of the file: row-major little-endian bytes, as its format names the type. */
export interface LoadedArray {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface Loaded {
  readonly format: "pickle" | "torch zip" | "torch legacy" | "npy" | "npz" | "safetensors" | "gguf";
  /** Arrays by their path: keys joined with "/", beginning with "/"; the root itself is "/". */
  readonly arrays: ReadonlyMap<string, LoadedArray>;
  /** The value of a pickle as plain data. It may contain itself. */
  readonly value: PickleValue | undefined;
}

const MAX_FILE = 2 ** 31;
const MAX_PICKLE = 64 * 2 ** 20;
const MAX_DEPTH = 200;
const MAX_NODES = 2_000_000;
/** Windows on shared storages may make this many times the file. */
const COPY_RATIO = 4;
const COPY_FLOOR = 256 * 2 ** 20;

const refuse = (why: string): never => {
  throw new InputError(`load: ${why}`);
};

/**
 * Loads a file that scans clean: pickles of plain data, PyTorch (zip, legacy), .npy, .npz, safetensors, GGUF.
 * @throws InputError for every other file, and for whatever the scanner has a finding about
 */
export async function loadModel(bytes: Uint8Array, { name }: { name: string }): Promise<Loaded> {
  if (bytes.length > MAX_FILE) return refuse(`${bytes.length} bytes are held at most ${MAX_FILE}`);
  const report = await scanSource(bytes, { name });
  if (report.verdict !== "clean") return refuse(whyNot(report));
  const kind = KINDS[report.format];
  if (!kind) return refuse(`${name} is ${report.format}, which is not loaded`);
  return kind(bytes, name);
}

const whyNot = ({ verdict, findings }: FileReport): string => {
  const [first] = findings;
  return `the file is ${verdict}: ${first ? `${first.effect}; ${first.why}` : "unknown"}`;
};

/** By the scanner's word for the content. */
const KINDS: Readonly<Record<string, (bytes: Uint8Array, name: string) => Promise<Loaded>>> = {
  pickle: async (bytes) => {
    const { value, end } = await pickle(bytes, 0, {});
    if (end !== bytes.length) return refuse("more than one pickle");
    return {
      format: "pickle",
      value,
      arrays: collect(value, () => refuse("a tensor without its storage")),
    };
  },
  "pickle + torch legacy": legacy,
  "zip + torch zip": torchZip,
  zip: npz,
  npy: async (bytes) => ({
    format: "npy",
    value: undefined,
    arrays: new Map([["/", npy(bytes)]]),
  }),
  safetensors,
  gguf,
};

// ---- pickles ----------------------------------------------------------------------------------

async function pickle(
  bytes: Uint8Array,
  at: number,
  { torch = false, allow = allowList() },
): Promise<{ value: PickleValue; end: number; allow: ReturnType<typeof allowList> }> {
  const result = await runPickle({
    source: memorySource(bytes),
    at,
    allow,
    persistent: torch ? allow.torch.persistent : undefined,
    window: bytes.length,
    maxOps: 20_000_000,
  });
  const { error, notes, stopped, value, leftover, end } = result;
  if (error) return refuse(`the pickle cannot be read: ${error.why} at byte ${error.at}`);
  if (notes[0]) return refuse(notes[0].why);
  if (!stopped || value === undefined || leftover > 0) return refuse("the pickle is not whole");
  return { value, end, allow };
}

const keyText = (key: PickleValue): string => String(key);

/** Arrays of a value by path. Refuses what is no plain data, great depth, and values that are a bomb as a tree. */
function collect(
  root: PickleValue,
  tensor: (t: TorchTensor) => LoadedArray,
): Map<string, LoadedArray> {
  const found = new Map<string, LoadedArray>();
  const onPath = new Set<object>();
  let nodes = 0;
  const walk = (v: PickleValue, path: string, depth: number): undefined => {
    if (++nodes > MAX_NODES) return refuse(`more than ${MAX_NODES} values`);
    if (depth > MAX_DEPTH) return refuse(`nesting is deeper than ${MAX_DEPTH}`);
    if (v instanceof Opaque || v instanceof Blob || v instanceof Name)
      return refuse("a value that is no plain data");
    if (v instanceof TorchStorage) return refuse("a storage outside of a tensor");
    if (typeof v !== "object" || v === null || v instanceof Uint8Array || onPath.has(v))
      return undefined;
    if (v instanceof TorchTensor || v instanceof NumpyArray) {
      found.set(path || "/", v instanceof TorchTensor ? tensor(v) : numpy(v));
      return undefined;
    }
    onPath.add(v);
    const below = (key: PickleValue, item: PickleValue) =>
      walk(item, `${path}/${keyText(key)}`, depth + 1);
    if (v instanceof Map) for (const [key, item] of v) below(key, item);
    else if (Array.isArray(v) || v instanceof Set) [...v].forEach((item, i) => void below(i, item));
    else if (v instanceof Made) v.args.forEach((item, i) => void below(i, item));
    onPath.delete(v);
    return undefined;
  };
  walk(root, "", 0);
  return found;
}

/** A NumPy array as the scanner's rules left it. */
function numpy({ type, shape, bytes, fortran }: NumpyArray): LoadedArray {
  if (!type || !bytes || type.hasObjects)
    return refuse("an array of objects, or without its bytes");
  const size = shape.reduce((n, d) => n * d, type.itemsize);
  if (bytes.length !== size) return refuse(`an array of ${size} bytes has ${bytes.length}`);
  const rows = fortran && shape.length > 1 ? rowMajor(bytes, shape, type.itemsize) : bytes;
  return { dtype: type.text.replace(">", "<"), shape, bytes: littleEndian(type, rows) };
}

/** Elements with their bytes turned, where the file has the highest first. */
function littleEndian(type: NumpyType, bytes: Uint8Array): Uint8Array {
  if (type.order !== ">") return bytes;
  const width = type.kind === "c" ? type.itemsize / 2 : type.kind === "U" ? 4 : type.itemsize;
  const out = new Uint8Array(bytes);
  for (let at = 0; at < out.length; at += width) out.subarray(at, at + width).reverse();
  return out;
}

/** Column-major elements in row-major order. */
function rowMajor(bytes: Uint8Array, shape: readonly number[], width: number): Uint8Array {
  let step = 1;
  const strides = shape.map((d) => {
    const stride = step;
    step *= d;
    return stride;
  });
  return gather(bytes, { offset: 0, shape, strides }, width);
}

/** The elements of a strided window, row-major. */
function gather(
  from: Uint8Array,
  { offset, shape, strides }: TorchTensor["window"],
  width: number,
): Uint8Array {
  const count = shape.reduce((n, d) => n * d, 1);
  const out = new Uint8Array(count * width);
  if (count === 0) return out;
  const at = shape.map(() => 0);
  for (let i = 0, index = offset; i < count; i++) {
    out.set(from.subarray(index * width, index * width + width), i * width);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index += strides[axis]!;
      if (++at[axis]! < shape[axis]!) break;
      index -= strides[axis]! * shape[axis]!;
      at[axis] = 0;
    }
  }
  return out;
}

/** Makes windows dense, within a budget. */
function tensors(bytesOf: (storage: TorchStorage) => Uint8Array, fileSize: number) {
  let copied = 0;
  return ({ storage, type, window, isLazy }: TorchTensor): LoadedArray => {
    if (isLazy) return refuse("a conjugate or negative view; resolve it before saving");
    const { offset, shape, strides } = window;
    const count = shape.reduce((n, d) => n * d, 1);
    copied += count * type.bytes;
    if (copied > COPY_FLOOR + COPY_RATIO * fileSize)
      return refuse("tensors that are far larger than the file");
    const bytes = bytesOf(storage);
    if ((offset + reach(shape, strides)) * type.bytes > bytes.length)
      return refuse("a window beyond its storage");
    return { dtype: type.name, shape, bytes: gather(bytes, window, type.bytes) };
  };
}

// ---- containers -------------------------------------------------------------------------------

async function content(bytes: Uint8Array, entry: Member): Promise<Uint8Array> {
  const packed = bytes.subarray(entry.offset, entry.offset + entry.packed);
  if (entry.size > 100 * packed.length + 2 ** 20)
    return refuse(`${entry.name} unpacks to ${entry.size} bytes: a bomb`);
  const out =
    entry.method === 0
      ? packed
      : entry.method === 8
        ? await inflate(entry.name, packed, {
            format: "deflate-raw",
            maxBytes: entry.size,
            exact: true,
          })
        : refuse(`${entry.name} is packed by method ${entry.method}`);
  if (out.length !== entry.size || crc32(out) !== entry.crc)
    return refuse(`${entry.name} is damaged`);
  return out;
}

async function members(bytes: Uint8Array): Promise<readonly Member[]> {
  const archive = await readArchive(memorySource(bytes));
  if (archive.fault || archive.oddities.length > 0 || archive.gaps.length > 0)
    return refuse(archive.fault ?? archive.oddities[0]?.why ?? "bytes that belong to no entry");
  return archive.members;
}

const SMALL = /^(version|byteorder|\.format_version|\.storage_alignment|\.data\/serialization_id)$/;

async function torchZip(bytes: Uint8Array): Promise<Loaded> {
  const list = await members(bytes);
  const main = list.find((m) => /^[^/]+\/data\.pkl$/.test(m.name));
  if (!main || main.size > MAX_PICKLE) return refuse("no data.pkl, or one that is too large");
  const folder = main.name.slice(0, -"data.pkl".length);
  const byName = new Map(list.map((m) => [m.name, m]));
  const order = byName.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(await content(bytes, order)).trim() !== "little")
    return refuse("big-endian storages");
  if (!byName.has(`${folder}version`)) return refuse("the archive has no version");
  const data = await content(bytes, main);
  const { value, end, allow } = await pickle(data, 0, { torch: true });
  if (end !== data.length) return refuse("data.pkl goes on after its end");
  const storages = new Map<string, Uint8Array>();
  for (const { name } of list) {
    const short = name.slice(folder.length);
    const key = /^data\/([\w.-]+)$/.exec(short)?.[1];
    const known =
      name === main.name ||
      SMALL.test(short) ||
      (key !== undefined && allow.torch.storages.has(key));
    if (!name.startsWith(folder) || !known)
      return refuse(`${name} does not belong to a checkpoint`);
  }
  for (const { key, bytes: size } of allow.torch.storages.values()) {
    const entry = byName.get(`${folder}data/${key}`);
    if (!entry || entry.size !== size)
      return refuse(`storage ${key} is missing or of another size`);
    storages.set(key, await content(bytes, entry));
  }
  const arrays = collect(
    value,
    tensors((s) => storages.get(s.key)!, bytes.length),
  );
  return { format: "torch zip", value, arrays };
}

async function legacy(bytes: Uint8Array): Promise<Loaded> {
  const magic = await pickle(bytes, 0, {});
  const protocol = await pickle(bytes, magic.end, {});
  const system = await pickle(bytes, protocol.end, {});
  if (
    protocol.value !== 1001 ||
    !(system.value instanceof Map) ||
    system.value.get("little_endian") !== true
  )
    return refuse("an unknown or big-endian legacy checkpoint");
  const main = await pickle(bytes, system.end, { torch: true });
  const keys = await pickle(bytes, main.end, {});
  const known = main.allow.torch.storages;
  if (
    !Array.isArray(keys.value) ||
    keys.value.length !== known.size ||
    new Set(keys.value).size !== known.size
  )
    return refuse("the list of storages is not that of the tensors");
  const storages = new Map<string, Uint8Array>();
  let at = keys.end;
  for (const key of keys.value) {
    const storage = known.get(String(key));
    if (!storage || at + 8 + storage.bytes > bytes.length)
      return refuse(`storage ${String(key)} is missing or cut off`);
    if (viewOf(bytes).getBigInt64(at, true) !== BigInt(storage.count))
      return refuse(`storage ${storage.key} has another size`);
    storages.set(storage.key, bytes.subarray(at + 8, at + 8 + storage.bytes));
    at += 8 + storage.bytes;
  }
  if (at !== bytes.length) return refuse("bytes follow the last storage");
  const arrays = collect(
    main.value,
    tensors((s) => storages.get(s.key)!, bytes.length),
  );
  return { format: "torch legacy", value: main.value, arrays };
}

function npy(bytes: Uint8Array): LoadedArray {
  const { type, shape, fortran, data } = readNpyHeader(bytes);
  const array = new NumpyArray();
  Object.assign(array, { type, shape, fortran, bytes: bytes.subarray(data) });
  return numpy(array);
}

async function npz(bytes: Uint8Array): Promise<Loaded> {
  const arrays = new Map<string, LoadedArray>();
  for (const entry of await members(bytes)) {
    if (!entry.name.endsWith(".npy")) return refuse(`${entry.name} is no array`);
    arrays.set(`/${entry.name.slice(0, -4)}`, npy(await content(bytes, entry)));
  }
  if (arrays.size === 0) return refuse("an archive without arrays");
  return { format: "npz", value: undefined, arrays };
}

/** torch's names of safetensors' types, where they differ from its own. */
const SAFE_TYPES: Readonly<Record<string, string>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  C64: "complex64",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U64: "uint64",
  U32: "uint32",
  U16: "uint16",
  U8: "uint8",
  BOOL: "bool",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
  F8_E8M0: "float8_e8m0fnu",
  F8_E4M3FNUZ: "float8_e4m3fnuz",
  F8_E5M2FNUZ: "float8_e5m2fnuz",
};

async function safetensors(bytes: Uint8Array, name: string): Promise<Loaded> {
  const source = memorySource(bytes);
  const scan = newScan(scanPart, bytes.length);
  const { entries, data } = await readSafeHeader({ scan, source, name, path: "", depth: 0 });
  const arrays = new Map<string, LoadedArray>();
  for (const { name, dtype, shape, begin, end } of entries)
    arrays.set(`/${name}`, {
      dtype: SAFE_TYPES[dtype] ?? dtype,
      shape,
      bytes: bytes.subarray(data + begin, data + end),
    });
  return { format: "safetensors", value: undefined, arrays };
}

async function gguf(bytes: Uint8Array): Promise<Loaded> {
  const { tensors, data } = readGguf(bytes, bytes.length);
  const arrays = new Map<string, LoadedArray>();
  for (const t of tensors)
    arrays.set(`/${t.name}`, {
      dtype: t.type,
      shape: [...t.dims].reverse(),
      bytes: bytes.subarray(data + t.offset, data + t.offset + t.bytes),
    });
  return { format: "gguf", value: undefined, arrays };
}
