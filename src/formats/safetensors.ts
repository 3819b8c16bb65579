/** The safetensors format, whole or by range. Sharded checkpoints are in safetensors-index.ts. */

import {
  type ByteSource,
  bytesOf,
  checkedSize,
  checkedUtf8,
  concatBytes,
  readRange,
  tensorFromBytes,
} from "./bytes.ts";
import { BYTES, type DType, sizeOf, type Tensor, type TensorMap } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { type Json, parseJson } from "./json.ts";
import { type LazyTensor, lazyRange } from "./lazy.ts";

const CODE: Readonly<Record<DType, string>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
};
const DTYPE_OF = new Map(Object.entries(CODE).map(([dtype, code]) => [code, dtype as DType]));

/** Also the cap of the reference implementation. */
const MAX_HEADER = 100_000_000;
const METADATA = "__metadata__";
/** What the header says of each tensor. */
const ENTRY = ["dtype", "shape", "data_offsets"];

/** Where one tensor lies; `offset` counts from the start of the file. */
export interface SafetensorsEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly length: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of the header. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

export interface Safetensors {
  readonly tensors: TensorMap;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the header says of a tensor. */
interface Described {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/**
 * The head of a safetensors file whose tensors follow it in this order, without gaps. With it a file larger than
 * memory is written, one tensor at a time.
 */
export function safetensorsHeader(
  tensors: ReadonlyMap<string, Described>,
  { metadata = {} }: { metadata?: Readonly<Record<string, string>> } = {},
): Uint8Array {
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push([METADATA, metadata]);
  let at = 0;
  for (const [name, { dtype, shape }] of tensors) {
    if (name === METADATA) throw new RangeError(`safetensors: no tensor may be named ${METADATA}`);
    const end = at + sizeOf(shape) * BYTES[dtype];
    entries.push([name, { dtype: CODE[dtype], shape, data_offsets: [at, end] }]);
    at = end;
  }
  // By hand, because an object would move keys like "0" to the front and lose "__proto__".
  const json = entries.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(",");
  const text = new TextEncoder().encode(`{${json}}`);
  const length = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, 8);
  return header;
}

/**
 * The pieces of a safetensors file: the header, then one view per tensor. For writing large files
 * without holding them twice; `writeSafetensors` joins them.
 */
export function safetensorsParts(
  tensors: TensorMap,
  options: { metadata?: Readonly<Record<string, string>> } = {},
): Uint8Array[] {
  for (const [name, { dtype, shape, data }] of tensors)
    if (data.byteLength !== sizeOf(shape) * BYTES[dtype])
      throw new RangeError(
        `safetensors: "${name}" is ${dtype} [${shape}] and holds ${data.byteLength} bytes; it cannot be written`,
      );
  return [
    safetensorsHeader(tensors, options),
    ...[...tensors.values()].map((t) => bytesOf(t.data)),
  ];
}

/** The bytes of a safetensors file: tensors in the given order, the same bytes for the same data. */
export function writeSafetensors(
  tensors: TensorMap,
  options: { metadata?: Readonly<Record<string, string>> } = {},
): Uint8Array {
  return concatBytes(safetensorsParts(tensors, options));
}

// ---- reading ----------------------------------------------------------------------------------

function headerLength(first8: Uint8Array, size: number): number {
  const length = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true);
  if (length < 2n || length > BigInt(Math.min(MAX_HEADER, size - 8)))
    throw new InputError(
      `safetensors: the header says ${length} bytes, allowed are 2 to ${Math.min(MAX_HEADER, size - 8)}; the file is truncated or not safetensors`,
      { length: String(length), size },
    );
  return Number(length);
}

const isNumbers = (v: Json | undefined): v is readonly number[] =>
  Array.isArray(v) && v.every((n) => typeof n === "number");

function readEntry(name: string, info: Json, dataStart: number): SafetensorsEntry {
  const what = `safetensors: tensor ${JSON.stringify(name)}`;
  if (!(info instanceof Map) || info.size !== 3 || !ENTRY.every((key) => info.has(key)))
    throw new InputError(`${what}: wanted exactly ${ENTRY.join(", ")}`);
  const [code, shape, offsets] = ENTRY.map((key) => info.get(key));
  const dtype = typeof code === "string" ? DTYPE_OF.get(code) : undefined;
  if (!dtype)
    throw new InputError(
      `${what}: dtype ${JSON.stringify(code)} is not supported; known: ${[...DTYPE_OF.keys()].join(", ")}`,
      { name, dtype: code },
    );
  if (!isNumbers(shape) || !isNumbers(offsets) || offsets.length !== 2)
    throw new InputError(`${what}: shape and data_offsets must be lists of integers`, { name });
  const [begin, end] = offsets as [number, number];
  const length = checkedSize(what, shape) * BYTES[dtype];
  if (begin < 0 || end - begin !== length)
    throw new InputError(
      `${what}: ${dtype} [${shape}] takes ${length} bytes, data_offsets [${begin}, ${end}] span ${end - begin}`,
      { name, begin, end, length },
    );
  return { dtype, shape, offset: dataStart + begin, length };
}

function readMetadata(json: Json | undefined): Record<string, string> {
  if (json === undefined) return {};
  if (!(json instanceof Map) || ![...json.values()].every((v) => typeof v === "string"))
    throw new InputError(`safetensors: ${METADATA} must map text to text`);
  return Object.fromEntries(json) as Record<string, string>;
}

/** Entries must tile the data: in order of offset, without holes, overlap or rest. */
function checkTiling(entries: ReadonlyMap<string, SafetensorsEntry>, start: number, size: number) {
  let at = start;
  const sorted = [...entries].sort(
    ([, a], [, b]) => a.offset - b.offset || a.length - b.length, // empty ones first
  );
  for (const [name, { offset, length }] of sorted) {
    if (offset !== at)
      throw new InputError(
        `safetensors: tensor ${JSON.stringify(name)} starts at byte ${offset}, wanted ${at}; tensors must follow each other without ${offset < at ? "overlap" : "a hole"}`,
        { name, offset, wanted: at },
      );
    at += length;
  }
  if (at !== size)
    throw new InputError(
      `safetensors: the tensors end at byte ${at}, the file at ${size}; it is ${at > size ? "truncated" : "followed by foreign bytes"}`,
      { end: at, size },
    );
}

function parseHeader(header: Uint8Array, size: number): SafetensorsHeader {
  const what = "safetensors header";
  if (header[0] !== 0x7b) throw new InputError(`${what}: does not begin with {`);
  const text = checkedUtf8(what, header);
  // Padding is spaces only: JSON would let line breaks and tabs pass as well.
  if (!text.replace(/ +$/, "").endsWith("}"))
    throw new InputError(`${what}: does not end with } and spaces`);
  const json = parseJson(text, what, { integers: true });
  if (!(json instanceof Map)) throw new InputError(`${what}: is no object`);
  const start = 8 + header.length;
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, info] of json)
    if (name !== METADATA) entries.set(name, readEntry(name, info, start));
  checkTiling(entries, start, size);
  return { metadata: readMetadata(json.get(METADATA)), entries };
}

/**
 * Reads and checks only the header, by range: two small reads however large the file.
 * @throws InputError when any rule of the format is broken.
 */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const first = await readRange(source, "safetensors", { offset: 0, length: 8 });
  const length = headerLength(first, source.size);
  const header = await readRange(source, "safetensors", { offset: 8, length });
  return parseHeader(header, source.size);
}

/** Reads one tensor of a checked header by range. */
export async function readSafetensorsTensor(
  source: ByteSource,
  header: SafetensorsHeader,
  name: string,
): Promise<Tensor> {
  const what = `safetensors: tensor ${JSON.stringify(name)}`;
  const entry = header.entries.get(name);
  if (!entry) throw new InputError(`${what} is not in the file`, { name });
  return tensorFromBytes(what, { ...entry, bytes: await readRange(source, what, entry) });
}

/** The tensors of a checked header, each to be read by range when it is needed. */
export const lazySafetensors = (
  source: ByteSource,
  { entries }: SafetensorsHeader,
): Map<string, LazyTensor> =>
  new Map(
    [...entries].map(([name, entry]) => [
      name,
      lazyRange(source, `safetensors: tensor ${JSON.stringify(name)}`, entry),
    ]),
  );

/**
 * Reads a whole file from memory; tensors are views where aligned.
 * @throws InputError when any rule of the format is broken.
 */
export function readSafetensors(bytes: Uint8Array): Safetensors {
  if (bytes.length < 8)
    throw new InputError(`safetensors: the file has ${bytes.length} bytes, wanted 8 and more`);
  const length = headerLength(bytes.subarray(0, 8), bytes.length);
  const { entries, metadata } = parseHeader(bytes.subarray(8, 8 + length), bytes.length);
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of entries)
    tensors.set(
      name,
      tensorFromBytes(`safetensors: tensor ${JSON.stringify(name)}`, {
        ...entry,
        bytes: bytes.subarray(entry.offset, entry.offset + entry.length),
      }),
    );
  return { tensors, metadata };
}
