/** Numbers and text of protocol 0 the way CPython's C code reads them, and values as people read them. */

import type { PickleValue } from "../../formats/index.ts";
import { Blob, halt, latin1Of, type Machine, Name, Opaque, wrong } from "./pickle-machine.ts";
import { PYTHON_ESCAPES } from "./py-literal.ts";
import { shown } from "./report.ts";

const ODD_NUMBER = "is read differently by different readers of pickles";

function oddNumber(m: Machine, digits: string): void {
  m.watch.odd(
    "pickle-number",
    m.opAt,
    `holds ${JSON.stringify(shown(digits, 40))}, which ${ODD_NUMBER}`,
    "a number that no pickler writes so",
  );
}

const asNumber = (value: bigint): number | bigint => {
  const n = Number(value);
  return Number.isSafeInteger(n) ? n : value;
};

/** Python's own limit for text that becomes an integer. */
const MAX_DIGITS = 4300;

/** INT and LONG: strtol with base 0, which stops at a NUL; booleans are "00" and "01". */
export function decimal(m: Machine, digits: string, booleans: boolean): PickleValue {
  if (booleans && (digits === "00" || digits === "01")) return digits === "01";
  if (/^-?\d+$/.test(digits) && digits.length <= MAX_DIGITS) return asNumber(BigInt(digits));
  if (digits.length > MAX_DIGITS) {
    m.watch.odd(
      "pickle-integer",
      m.opAt,
      `makes Python compute with an integer of ${digits.length} digits`,
      "integers of checkpoints are shorter",
    );
    return new Opaque("a huge integer");
  }
  const plain = digits.split("\0")[0]!.trim().replace(/_/g, "");
  const parts = /^([+-]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|\d+)L?$/.exec(plain);
  if (!parts) return wrong(m, `${JSON.stringify(shown(digits, 40))} is no integer`, 0);
  oddNumber(m, digits);
  const body = parts[2]!.replace(/^0(?=[0-7])/, "0o");
  const value = BigInt(body);
  return asNumber(parts[1] === "-" ? -value : value);
}

/** FLOAT: PyOS_string_to_double. */
export function float(m: Machine, digits: string): PickleValue {
  const parts = /^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)$/i.exec(
    digits.split("\0")[0]!.trim(),
  );
  if (!parts) return wrong(m, `${JSON.stringify(shown(digits, 40))} is no number`, 0);
  if (parts[0] !== digits || !/^-?(\d|inf|nan)/.test(digits)) oddNumber(m, digits);
  return Number(parts[0].replace(/inf(inity)?/i, "Infinity").replace(/nan/i, "NaN"));
}

/** PUT and GET: PyLong_FromString with base 10. */
export function index(m: Machine, digits: string): number {
  if (/^\d{1,10}$/.test(digits)) return Number(digits);
  const plain = digits.split("\0")[0]!.trim().replace(/_/g, "").replace(/^\+/, "");
  if (!/^-?\d{1,15}$/.test(plain))
    return halt(m, `the memo index ${JSON.stringify(shown(digits, 40))} is no number`);
  oddNumber(m, digits);
  return Number(plain);
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...PYTHON_ESCAPES,
  "\\": "\\",
  "'": "'",
  '"': '"',
};

/** STRING: a Python 2 string literal. */
export function unescapeString(m: Machine, raw: Uint8Array): PickleValue {
  const literal = latin1Of(raw).trim();
  const quote = literal[0];
  const quoted =
    literal.length >= 2 && (quote === "'" || quote === '"') && literal.at(-1) === quote;
  const body = quoted ? literal.slice(1, -1) : wrong(m, "a string without quotes", literal);
  if (raw.some((b) => b > 127)) wrong(m, "a Python 2 string that is not ASCII", undefined);
  return body.replace(
    /\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[\s\S])/g,
    (all: string, code: string) =>
      ESCAPES[code] ??
      (code[0] === "x"
        ? String.fromCharCode(Number.parseInt(code.slice(1), 16))
        : /^[0-7]/.test(code)
          ? String.fromCharCode(Number.parseInt(code, 8) & 255)
          : all),
  );
}

/** UNICODE: latin-1 with \u and \U escapes. */
export function unescapeUnicode(m: Machine, raw: Uint8Array): PickleValue {
  return latin1Of(raw).replace(
    /\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})/g,
    (all: string, code: string) => {
      const point = Number.parseInt(code.slice(1), 16);
      return point > 0x10ffff ? wrong(m, "a bad escape", all) : String.fromCodePoint(point);
    },
  );
}

// ---- for people -------------------------------------------------------------------------------

/** A value as text, cut short; never walks deep. */
export function repr(value: PickleValue | undefined, depth = 2): string {
  if (typeof value === "string") return JSON.stringify(shown(value, 80));
  if (value === null || value === undefined) return "None";
  if (typeof value !== "object") return shown(String(value), 40);
  if (value instanceof Name) return shown(value.path, 80);
  if (value instanceof Opaque) return `<${shown(value.what, 80)}>`;
  if (value instanceof Blob) return `<${value.length} bytes>`;
  if (value instanceof Uint8Array)
    return value.length <= 40
      ? `b${JSON.stringify(shown(latin1Of(value)))}`
      : `<${value.length} bytes>`;
  const few = (items: Iterable<unknown>): string => {
    if (depth <= 0) return "…";
    const list: string[] = [];
    for (const item of items) {
      if (list.length === 4) {
        list.push("…");
        break;
      }
      list.push(repr(item as PickleValue, depth - 1));
    }
    return list.join(", ");
  };
  if (Array.isArray(value)) return Object.isFrozen(value) ? `(${few(value)})` : `[${few(value)}]`;
  if (value instanceof Map) return `{${few(value.keys())}}`;
  if (value instanceof Set) return `{${few(value)}}`;
  return `<${value.constructor?.name ?? "object"}>`;
}
