/** Protocol Buffers wire format, driven by tables. Knows no schema; the ONNX one is in onnx-schema.ts. */

import { bytesOf, checkedUtf8 } from "./bytes.ts";
import { InputError } from "./errors.ts";

/** An int64: a number while it is exact, a bigint beyond 2^53. */
export type Int = number | bigint;

interface Scalars {
  int: Int;
  ints: readonly Int[];
  float: number;
  floats: readonly number[];
  double: number;
  doubles: readonly number[];
  string: string;
  strings: readonly string[];
  bytes: Uint8Array;
}

/** One field: its number and its kind; plural kinds are repeated fields. */
type Field =
  | readonly [no: number, kind: keyof Scalars]
  | readonly [no: number, kind: "message" | "messages", schema: Schema];

/** A message type: field names in the order they are written. */
export interface Schema {
  readonly [name: string]: Field;
}

/** The plain data of a message type; absent fields are undefined. */
export type MessageOf<S> = {
  readonly [K in keyof S]?: S[K] extends readonly [number, infer Kind extends keyof Scalars]
    ? Scalars[Kind]
    : S[K] extends readonly [number, "message", infer M]
      ? MessageOf<M>
      : S[K] extends readonly [number, "messages", infer M]
        ? readonly MessageOf<M>[]
        : never;
};

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

// ---- writing ----------------------------------------------------------------------------------

/** Bytes in pieces: small ones are gathered, large ones kept as views until the single copy. */
class Rope {
  length = 0;
  readonly #parts: Uint8Array[] = [];
  #small: number[] = [];

  byte(b: number): void {
    this.#small.push(b);
    this.length += 1;
  }

  varint(value: Int): void {
    if (typeof value === "number" && value >= 0) {
      let n = value;
      for (; n > 127; n = Math.floor(n / 128)) this.byte((n % 128) | 128);
      this.byte(n);
      return;
    }
    let v = BigInt.asUintN(64, BigInt(value));
    for (; v > 127n; v >>= 7n) this.byte(Number(v & 127n) | 128);
    this.byte(Number(v));
  }

  tag(no: number, wire: number): void {
    this.varint(no * 8 + wire);
  }

  bytes(bytes: Uint8Array): void {
    if (bytes.length < 64) for (const b of bytes) this.#small.push(b);
    else {
      this.#flush();
      this.#parts.push(bytes);
    }
    this.length += bytes.length;
  }

  rope(child: Rope): void {
    this.#flush();
    for (const part of child.#flush()) this.#parts.push(part);
    this.length += child.length;
  }

  done(): Uint8Array {
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.#flush()) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  #flush(): readonly Uint8Array[] {
    if (this.#small.length > 0) this.#parts.push(Uint8Array.from(this.#small));
    this.#small = [];
    return this.#parts;
  }
}

const UTF8 = new TextEncoder();

function lengthDelimited(to: Rope, no: number, bytes: Uint8Array): void {
  to.tag(no, LENGTH);
  to.varint(bytes.length);
  to.bytes(bytes);
}

function int(to: Rope, no: number, value: Int): void {
  if (typeof value === "number" && !Number.isSafeInteger(value))
    throw new RangeError(`protobuf: field ${no} is ${value}, not a whole number`);
  if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value)
    throw new RangeError(`protobuf: field ${no} is ${value}, outside 64 bits`);
  to.tag(no, VARINT);
  to.varint(value);
}

function float(to: Rope, no: number, value: number): void {
  to.tag(no, FIXED32);
  to.bytes(bytesOf(Float32Array.of(value)));
}

function double(to: Rope, no: number, value: number): void {
  to.tag(no, FIXED64);
  to.bytes(bytesOf(Float64Array.of(value)));
}

const WRITE: {
  readonly [K in keyof Scalars]: (to: Rope, no: number, value: Scalars[K]) => void;
} = {
  int,
  ints: (to, no, values) => values.forEach((v) => void int(to, no, v)),
  float,
  floats: (to, no, values) => values.forEach((v) => void float(to, no, v)),
  double,
  doubles: (to, no, values) => lengthDelimited(to, no, bytesOf(Float64Array.from(values))),
  string: (to, no, value) => lengthDelimited(to, no, UTF8.encode(value)),
  strings: (to, no, values) => values.forEach((v) => void lengthDelimited(to, no, UTF8.encode(v))),
  bytes: lengthDelimited,
};

function write<S extends Schema>(schema: S, message: MessageOf<S>): Rope {
  const to = new Rope();
  for (const [name, field] of Object.entries(schema)) {
    const value = (message as Record<string, unknown>)[name];
    if (value === undefined) continue;
    const [no, kind, child] = field;
    if (child === undefined) {
      (WRITE[kind as keyof Scalars] as (to: Rope, no: number, v: unknown) => void)(to, no, value);
      continue;
    }
    for (const m of kind === "messages" ? (value as MessageOf<Schema>[]) : [value]) {
      const inner = write(child, m as MessageOf<Schema>);
      to.tag(no, LENGTH);
      to.varint(inner.length);
      to.rope(inner);
    }
  }
  return to;
}

/**
 * The bytes of a message, fields in table order. Large byte fields are copied once, straight into
 * the single buffer of the final size.
 */
export const encodeMessage = <S extends Schema>(schema: S, message: MessageOf<S>): Uint8Array =>
  write(schema, message).done();

// ---- reading ----------------------------------------------------------------------------------

interface Cursor {
  readonly bytes: Uint8Array;
  readonly what: string;
  at: number;
  readonly end: number;
}

function fail(from: Cursor, why: string): never {
  throw new InputError(`${from.what}: ${why} at byte ${from.at}`, { at: from.at });
}

function readVarint(from: Cursor): Int {
  let low = 0; // first 49 bits: exact in a double
  let high = 0n;
  for (let i = 0; i < 10; i++) {
    if (from.at >= from.end) fail(from, "the message ends inside a number");
    const b = from.bytes[from.at++]!;
    if (i < 7) low += (b & 127) * 2 ** (7 * i);
    else high |= BigInt(b & 127) << BigInt(7 * i);
    if (b < 128) return high === 0n ? low : BigInt.asUintN(64, high | BigInt(low));
  }
  return fail(from, "a number is longer than 10 bytes");
}

/** Two's complement over 64 bits, as protobuf's int32, int64 and enum are. */
function signed(value: Int): Int {
  if (typeof value === "number") return value;
  const v = BigInt.asIntN(64, value);
  const n = Number(v);
  return Number.isSafeInteger(n) ? n : v;
}

function readLength(from: Cursor): Cursor {
  const length = readVarint(from);
  const left = from.end - from.at;
  if (length > left) fail(from, `a field says ${length} bytes, ${left} are left`);
  const at = from.at;
  from.at += Number(length);
  return { ...from, at, end: from.at };
}

function readFixed(from: Cursor, width: 4 | 8): DataView {
  if (from.end - from.at < width) fail(from, `the message ends inside a ${width}-byte number`);
  from.at += width;
  return new DataView(from.bytes.buffer, from.bytes.byteOffset + from.at - width, width);
}

const take = (body: Cursor): Uint8Array => body.bytes.subarray(body.at, body.end);
const readInt = (from: Cursor): Int => signed(readVarint(from));
const readFloat = (from: Cursor): number => readFixed(from, 4).getFloat32(0, true);
const readDouble = (from: Cursor): number => readFixed(from, 8).getFloat64(0, true);
const readText = (from: Cursor): string => {
  const body = readLength(from);
  return checkedUtf8(`${from.what}: at byte ${body.at}`, take(body));
};

/** Per kind: the wire type of one element, how to read it, and whether many may follow. */
const READ: {
  readonly [K in keyof Scalars]: {
    wire: number;
    one: (from: Cursor) => unknown;
    many?: "packable" | "plain";
  };
} = {
  int: { wire: VARINT, one: readInt },
  ints: { wire: VARINT, one: readInt, many: "packable" },
  float: { wire: FIXED32, one: readFloat },
  floats: { wire: FIXED32, one: readFloat, many: "packable" },
  double: { wire: FIXED64, one: readDouble },
  doubles: { wire: FIXED64, one: readDouble, many: "packable" },
  string: { wire: LENGTH, one: readText },
  strings: { wire: LENGTH, one: readText, many: "plain" },
  bytes: { wire: LENGTH, one: (from) => take(readLength(from)) },
};

const SKIP: Readonly<Record<number, (from: Cursor) => unknown>> = {
  [VARINT]: readVarint,
  [FIXED64]: (from) => readFixed(from, 8),
  [LENGTH]: readLength,
  [FIXED32]: (from) => readFixed(from, 4),
};

const byNumber = new WeakMap<Schema, ReadonlyMap<number, readonly [string, Field]>>();

function fieldsOf(schema: Schema): ReadonlyMap<number, readonly [string, Field]> {
  const known = byNumber.get(schema);
  if (known) return known;
  const made = new Map(Object.entries(schema).map(([name, f]) => [f[0], [name, f] as const]));
  byNumber.set(schema, made);
  return made;
}

function readField(from: Cursor, field: Field, before: unknown): unknown {
  const [, kind, child] = field;
  if (child !== undefined) {
    const value = read(readLength(from), child);
    if (kind === "messages") return push(before, value);
    return before === undefined ? value : fail(from, "a field that stands once stands twice");
  }
  const rule = READ[kind as keyof Scalars];
  if (rule.many) return push(before, rule.one(from));
  return before === undefined
    ? rule.one(from)
    : fail(from, "a field that stands once stands twice");
}

function push(list: unknown, value: unknown): unknown[] {
  const out = (list as unknown[] | undefined) ?? [];
  out.push(value);
  return out;
}

function read(from: Cursor, schema: Schema): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  const fields = fieldsOf(schema);
  while (from.at < from.end) {
    const tag = readVarint(from);
    if (tag > 0xffffffff || tag < 8) fail(from, `${tag} is not a field tag`);
    const wire = Number(tag) % 8;
    const [name, field] = fields.get(Math.floor(Number(tag) / 8)) ?? [];
    if (name === undefined || field === undefined) {
      const skip = SKIP[wire];
      if (!skip) fail(from, `wire type ${wire} is unknown`);
      skip(from);
      continue;
    }
    const rule = field[2] === undefined ? READ[field[1] as keyof Scalars] : { wire: LENGTH };
    if (wire === rule.wire) out[name] = readField(from, field, out[name]);
    else if (wire === LENGTH && "many" in rule && rule.many === "packable") {
      const body = readLength(from);
      while (body.at < body.end) out[name] = push(out[name], rule.one(body));
    } else fail(from, `${name} has wire type ${wire}, wanted ${rule.wire}`);
  }
  return out;
}

/**
 * Reads a message. Byte fields are views. Fields the table does not name are skipped, as the format
 * wants; a single field that comes twice is refused, because readers differ on which one counts.
 * @param what opens every error sentence, e.g. "onnx".
 * @throws InputError with the byte offset for anything that is not a message.
 */
export const decodeMessage = <S extends Schema>(
  schema: S,
  bytes: Uint8Array,
  what: string,
): MessageOf<S> => read({ bytes, what, at: 0, end: bytes.length }, schema) as MessageOf<S>;
