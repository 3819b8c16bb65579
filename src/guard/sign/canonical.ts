/** JSON in its one canonical form (RFC 8785, JCS): what is signed or hashed has exactly one text. Not a parser. */

import { checkedUtf8 } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";
import { type Json, parseJson } from "../../formats/json.ts";
import { sameBytes, utf8 } from "./encoding.ts";

/** Values that canonical JSON can say: plain objects, or Maps as our parser makes them. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | ReadonlyMap<string, JsonValue>
  | { readonly [key: string]: JsonValue | undefined };

const isMap = (value: object): value is ReadonlyMap<string, JsonValue> => value instanceof Map;

/** By UTF-16 code units, as RFC 8785 section 3.2.3 wants; this is what `<` does on strings. */
const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) =>
  a < b ? -1 : a > b ? 1 : 0;

function text(value: string): string {
  // I-JSON (RFC 7493) forbids lone surrogates; JSON.stringify would quietly escape them.
  if (/\p{Surrogate}/u.test(value))
    throw new InputError("canonical JSON: a string has half a surrogate pair; give valid Unicode");
  return JSON.stringify(value);
}

/**
 * The canonical text of a value (RFC 8785): sorted keys, no blanks, numbers as ECMAScript writes them. Keys whose value
 * is undefined are left out.
 * @throws InputError for NaN, infinities, lone surrogates and everything that JSON cannot say
 */
export function canonicalJson(value: JsonValue): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return text(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value))
      throw new InputError(`canonical JSON: ${value} is no JSON number; write it as a string`);
    return JSON.stringify(value); // -0 becomes 0, as section 3.2.2.3 says
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object")
    throw new InputError(`canonical JSON: a ${typeof value} cannot be written`);
  const entries = isMap(value)
    ? [...value]
    : Object.entries(value as { readonly [key: string]: JsonValue | undefined });
  const said = entries.filter((e): e is [string, JsonValue] => e[1] !== undefined).sort(byKey);
  return `{${said.map(([key, v]) => `${text(key)}:${canonicalJson(v)}`).join(",")}}`;
}

/** UTF-8 bytes of the canonical text. */
export const canonicalBytes = (value: JsonValue): Uint8Array => utf8(canonicalJson(value));

/**
 * Parses bytes that must be canonical JSON. One value has one byte string, so nothing can be altered unseen.
 * @throws InputError where they are not JSON, or JSON in another form
 */
export function parseCanonical(bytes: Uint8Array, what: string): Json {
  const value = parseJson(checkedUtf8(what, bytes), what);
  if (!sameBytes(canonicalBytes(value as JsonValue), bytes))
    throw new InputError(`${what}: the JSON is not in canonical form (RFC 8785)`);
  return value;
}

/** A member of a parsed object that must be there and of a type. @throws InputError naming the path */
export function member<T extends keyof MemberTypes>(
  value: Json | undefined,
  key: string,
  { type, what }: { type: T; what: string },
): MemberTypes[T] {
  const found = value instanceof Map ? value.get(key) : undefined;
  if (kindOf(found) !== type)
    throw new InputError(`${what}: wanted ${key} as ${type}, got ${kindOf(found)}`, { what, key });
  return found as MemberTypes[T];
}

interface MemberTypes {
  string: string;
  number: number;
  boolean: boolean;
  list: readonly Json[];
  object: ReadonlyMap<string, Json>;
}

const kindOf = (value: Json | undefined): string =>
  value === undefined
    ? "nothing"
    : value === null
      ? "null"
      : value instanceof Map
        ? "object"
        : Array.isArray(value)
          ? "list"
          : typeof value;

/** Parsed JSON (Maps) as plain data with null prototypes, for printing. */
export function plainJson(value: Json): unknown {
  if (value instanceof Map) {
    const plain: Record<string, unknown> = Object.create(null);
    for (const [key, v] of value) plain[key] = plainJson(v);
    return plain;
  }
  return Array.isArray(value) ? value.map(plainJson) : value;
}
