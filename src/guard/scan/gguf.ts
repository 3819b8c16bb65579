/** GGUF: header, keys and tensor table, strictly; every text of the header is judged. Tensors are not read. */

import { InputError, looseText } from "./bytes.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import { scanTexts } from "./texts.ts";

/** Elements and bytes of a block, by type number (ggml.h). */
const TYPES: Readonly<Record<number, readonly [name: string, elements: number, bytes: number]>> = {
  0: ["F32", 1, 4],
  1: ["F16", 1, 2],
  2: ["Q4_0", 32, 18],
  3: ["Q4_1", 32, 20],
  6: ["Q5_0", 32, 22],
  7: ["Q5_1", 32, 24],
  8: ["Q8_0", 32, 34],
  9: ["Q8_1", 32, 36],
  10: ["Q2_K", 256, 84],
  11: ["Q3_K", 256, 110],
  12: ["Q4_K", 256, 144],
  13: ["Q5_K", 256, 176],
  14: ["Q6_K", 256, 210],
  15: ["Q8_K", 256, 292],
  16: ["IQ2_XXS", 256, 66],
  17: ["IQ2_XS", 256, 74],
  18: ["IQ3_XXS", 256, 98],
  19: ["IQ1_S", 256, 50],
  20: ["IQ4_NL", 32, 18],
  21: ["IQ3_S", 256, 110],
  22: ["IQ2_S", 256, 82],
  23: ["IQ4_XS", 256, 136],
  24: ["I8", 1, 1],
  25: ["I16", 1, 2],
  26: ["I32", 1, 4],
  27: ["I64", 1, 8],
  28: ["F64", 1, 8],
  29: ["IQ1_M", 256, 56],
  30: ["BF16", 1, 2],
  34: ["TQ1_0", 256, 54],
  35: ["TQ2_0", 256, 66],
  39: ["MXFP4", 32, 17],
};

/** Bytes of the plain value types; 8 is text, 9 an array. */
const WIDTHS: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const TEXT = 8;
const ARRAY = 9;
const BOOL = 7;

/** Keys, tensors and texts of files that exist stay far below. */
const MAX_COUNT = 10_000_000;
const MAX_DEPTH = 8;
const MAX_NAME = 65_535;

export interface GgufTensor {
  readonly name: string;
  readonly type: string;
  /** Innermost first, as the file has it. */
  readonly dims: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

export interface Gguf {
  readonly tensors: readonly GgufTensor[];
  /** Where tensor data starts. */
  readonly data: number;
}

interface Reader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at: number;
  /** Told every text with its key. */
  readonly onText: (key: string, text: string, at: number) => void;
}

const fail = (r: { at: number }, why: string): never => {
  throw new InputError(`gguf: ${why} at byte ${r.at}`, { at: r.at });
};

function need(r: Reader, n: number): number {
  if (!(n <= r.bytes.length - r.at))
    return fail(r, `needs ${n} bytes, ${r.bytes.length - r.at} are left`);
  r.at += n;
  return r.at - n;
}
const u32 = (r: Reader): number => r.view.getUint32(need(r, 4), true);
const u64 = (r: Reader): number => {
  const value = r.view.getBigUint64(need(r, 8), true);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : fail(r, `the number ${value}`);
};

function text(r: Reader, max = 64 * 2 ** 20): string {
  const length = u64(r);
  if (length > max) return fail(r, `text of ${length} bytes`);
  const at = need(r, length);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(r.bytes.subarray(at, at + length));
  } catch {
    return fail(r, "text that is no UTF-8");
  }
}

/** Reads over one value; texts are told. Returns plain numbers, for the alignment. */
function value(r: Reader, key: string, type: number, depth: number): number | undefined {
  const width = WIDTHS[type];
  if (width !== undefined) {
    const at = need(r, width);
    if (type === BOOL && r.bytes[at]! > 1) fail(r, "a truth value that is neither 0 nor 1");
    return type === 4 ? r.view.getUint32(at, true) : undefined;
  }
  if (type === TEXT) {
    const at = r.at + 8;
    r.onText(key, text(r), at);
    return undefined;
  }
  if (type !== ARRAY) return fail(r, `value type ${type}`);
  if (depth >= MAX_DEPTH) return fail(r, `arrays nested deeper than ${MAX_DEPTH}`);
  const of = u32(r);
  const count = u64(r);
  const each = WIDTHS[of];
  if (each !== undefined) {
    need(r, count * each);
    return undefined;
  }
  if (of !== TEXT && of !== ARRAY) return fail(r, `an array of type ${of}`);
  if (count > MAX_COUNT) return fail(r, `an array of ${count} elements`);
  for (let i = 0; i < count; i++) value(r, key, of, depth + 1);
  return undefined;
}

/** Reads the header. @param duplicate told of every key that stands twice @throws InputError for any broken rule */
export function readGguf(
  bytes: Uint8Array,
  size: number,
  {
    onText = () => {},
    duplicate = (key: string, at: number) =>
      void fail({ at }, `the key ${JSON.stringify(key)} stands twice`),
  }: { onText?: Reader["onText"]; duplicate?: (key: string, at: number) => void } = {},
): Gguf {
  const r: Reader = {
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    at: 4,
    onText,
  };
  const version = u32(r);
  if (version !== 2 && version !== 3) return fail(r, `version ${version}`);
  const [tensorCount, keyCount] = [u64(r), u64(r)];
  if (tensorCount > MAX_COUNT || keyCount > MAX_COUNT)
    return fail(r, `${tensorCount} tensors and ${keyCount} keys`);
  const keys = new Set<string>();
  let alignment = 32;
  for (let i = 0; i < keyCount; i++) {
    const at = r.at;
    const key = text(r, MAX_NAME);
    if (keys.has(key)) duplicate(key, at);
    keys.add(key);
    onText("key", key, at + 8);
    const type = u32(r);
    const number = value(r, key, type, 0);
    if (key === "general.alignment") {
      if (type !== 4 || !number || (number & (number - 1)) !== 0 || number > 2 ** 20)
        return fail(r, `alignment ${number}`);
      alignment = number;
    }
  }
  const tensors = readTensors(r, tensorCount, alignment);
  const data = Math.ceil(r.at / alignment) * alignment;
  checkLayout(tensors, { data, size, alignment });
  return { tensors, data };
}

function readTensors(r: Reader, count: number, alignment: number): GgufTensor[] {
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const name = text(r, MAX_NAME);
    if (names.has(name)) fail(r, `the tensor ${JSON.stringify(name)} stands twice`);
    names.add(name);
    const rank = u32(r);
    if (rank > 4) fail(r, `a tensor of ${rank} dimensions`);
    const dims: number[] = [];
    let count = 1;
    for (let d = 0; d < rank; d++) {
      dims.push(u64(r));
      count *= dims[d]! || 1;
      if (!Number.isSafeInteger(count)) fail(r, "dimensions that overflow");
    }
    const elements = dims.includes(0) ? 0 : count;
    const number = u32(r);
    const type = TYPES[number];
    if (!type) return fail(r, `tensor type ${number}`);
    if ((dims[0] ?? 1) % type[1] !== 0)
      fail(r, `rows of ${dims[0]} elements are no blocks of ${type[1]}`);
    const offset = u64(r);
    if (offset % alignment !== 0) fail(r, `offset ${offset} is not aligned to ${alignment}`);
    tensors.push({ name, type: type[0], dims, offset, bytes: (elements / type[1]) * type[2] });
  }
  return tensors;
}

function checkLayout(
  tensors: readonly GgufTensor[],
  { data, size, alignment }: { data: number; size: number; alignment: number },
): void {
  let end = 0;
  for (const t of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    const what = `gguf: tensor ${JSON.stringify(t.name.slice(0, 80))}`;
    if (t.offset < end) throw new InputError(`${what} overlaps its neighbour`);
    if (t.bytes > size - data - t.offset) throw new InputError(`${what} ends after the file`);
    end = t.offset + t.bytes;
  }
  if (size - data - end > alignment)
    throw new InputError(`gguf: ${size - data - end} bytes follow the last tensor`);
}

export async function scanGguf(part: Part): Promise<void> {
  const { source } = part;
  const bytes = await peek(source, 0, part.scan.limits.maxHeld);
  let reached = 0;
  try {
    readGguf(bytes, source.size, {
      onText: (key, text, at) => {
        reached = at;
        scanTexts(part, key, text, at);
      },
      duplicate: (key, at) =>
        void found(part, "gguf-duplicate", {
          severity: "suspicious",
          at,
          effect: "shows one value to checkers and another to loaders",
          why: `the key ${JSON.stringify(key.slice(0, 80))} stands twice`,
        }),
    });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    unreadable(part, error.message, Number(error.data.at ?? 0));
    // Whatever a less strict reader would still find.
    const rest = looseText(bytes.subarray(reached, reached + (1 << 20)));
    for (const match of rest.matchAll(/\{[{%][^\0]{1,4000}?[%}]\}/g))
      if (/__\w+__|\|\s*attr|\b(import|include)\b/.test(match[0]))
        scanTexts(part, "after the damage", match[0]);
  }
}
