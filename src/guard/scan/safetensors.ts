/** safetensors and its index: the strict rules of the format, and what hides in its text. Tensors are not read. */

import { parseJson, readSafetensorsIndex } from "../../formats/index.ts";
import { InputError, looseText, viewOf } from "./bytes.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import type { Head } from "./sniff.ts";
import { scanTexts } from "./texts.ts";

/** Bits of an element; every type of the format. */
const BITS: Readonly<Record<string, number>> = {
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  C64: 64,
  I64: 64,
  I32: 32,
  I16: 16,
  I8: 8,
  U64: 64,
  U32: 32,
  U16: 16,
  U8: 8,
  BOOL: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
};
const MAX_HEADER = 100_000_000;

export interface SafeEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafeHeader {
  readonly entries: readonly SafeEntry[];
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data starts. */
  readonly data: number;
}

const fail = (why: string): never => {
  throw new InputError(`safetensors: ${why}`);
};

/** Reads and checks a header by range, all types of the format included. @throws InputError for any broken rule */
export async function readSafeHeader(part: Part): Promise<SafeHeader> {
  const { source } = part;
  const first = await peek(source, 0, 8);
  if (first.length < 8) return fail(`the file has ${source.size} bytes`);
  const length = Number(viewOf(first).getBigUint64(0, true));
  if (length < 2 || length > Math.min(MAX_HEADER, source.size - 8))
    return fail(`the header says ${length} bytes, ${source.size - 8} follow`);
  const raw = await source.read(8, length);
  if (raw[0] !== 0x7b) return fail("the header does not begin with {");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    return fail("the header is not UTF-8");
  }
  if (!/\} *$/.test(text.slice(-4096))) return fail("the header does not end with } and spaces");
  const json = parseJson(text, "safetensors header", { integers: true });
  if (!(json instanceof Map)) return fail("the header is no object");
  const entries: SafeEntry[] = [];
  const metadata = new Map<string, string>();
  for (const [name, info] of json) {
    if (!(info instanceof Map)) return fail(`${JSON.stringify(name.slice(0, 80))} is no object`);
    if (name === "__metadata__") {
      for (const [key, value] of info)
        typeof value === "string" ? metadata.set(key, value) : fail("metadata is no text");
      continue;
    }
    entries.push(readEntry(name, info as ReadonlyMap<string, unknown>));
  }
  const data = 8 + length;
  let at = 0;
  for (const { name, begin, end } of [...entries].sort(
    (a, b) => a.begin - b.begin || a.end - b.end,
  )) {
    if (begin !== at)
      return fail(`${JSON.stringify(name.slice(0, 80))} begins at ${begin}, wanted ${at}`);
    at = end;
  }
  if (at !== source.size - data)
    return fail(`the tensors end at ${at}, the data at ${source.size - data}`);
  return { entries, metadata, data };
}

function readEntry(name: string, info: ReadonlyMap<string, unknown>): SafeEntry {
  const what = JSON.stringify(name.slice(0, 80));
  const [dtype, shape, offsets] = ["dtype", "shape", "data_offsets"].map((key) => info.get(key));
  const bits = typeof dtype === "string" && Object.hasOwn(BITS, dtype) ? BITS[dtype] : undefined;
  const sizes = (v: unknown): v is number[] =>
    Array.isArray(v) && v.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (
    info.size !== 3 ||
    bits === undefined ||
    !sizes(shape) ||
    !sizes(offsets) ||
    offsets.length !== 2
  )
    return fail(`${what} is not described by dtype, shape and data_offsets`);
  const [begin, end] = offsets as [number, number];
  const product = shape.reduce((n, d) => n * BigInt(d), BigInt(bits));
  // Partial products must not overflow either, even where a later size is zero.
  const partial = shape.reduce((n, d) => n * BigInt(d || 1), 1n);
  if (partial > 2n ** 63n) return fail(`${what} has more elements than fit`);
  if (product % 8n !== 0n) return fail(`${what} ends inside a byte`);
  if (end < begin || product / 8n !== BigInt(end - begin))
    return fail(`${what} takes ${product / 8n} bytes, its offsets span ${end - begin}`);
  return { name, dtype: dtype as string, shape, begin, end };
}

export async function scanSafetensors(part: Part, head: Head): Promise<void> {
  try {
    const { metadata } = await readSafeHeader(part);
    for (const [key, value] of metadata) scanTexts(part, key, value);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    unreadable(part, error.message);
    // What the header says may still be shown to programs that are less strict.
    scanTexts(part, "header", looseText(head.bytes.subarray(8)));
  }
}

/** model.safetensors.index.json: shards are files beside it. */
export async function scanSafetensorsIndex(part: Part): Promise<void> {
  const bytes = await peek(part.source, 0, Math.min(part.source.size, 100_000_000));
  try {
    readSafetensorsIndex(bytes);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const file = error.data.file;
    if (typeof file !== "string") return void unreadable(part, error.message);
    const leaves = /\.\.|^[\\/~]|:|\\|\0|%2e|%2f/i.test(file);
    found(part, "index-path", {
      severity: leaves ? "malicious" : "suspicious",
      effect: `makes the loader open ${JSON.stringify(file.slice(0, 120))}, outside of the model's folder`,
      why: "shards must be plain names of .safetensors files beside the index",
    });
  }
}
