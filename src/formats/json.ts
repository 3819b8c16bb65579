/** Strict JSON from outside: double keys, excess depth and inexact integers are refused. Not a writer. */

import { InputError } from "./errors.ts";

/** Parsed JSON. Objects are Maps, so that no key of a file can touch an object's prototype. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const BLANK = /[ \t\n\r]*/y;
const WORDS: ReadonlyMap<string, Json> = new Map([
  ["null", null],
  ["true", true],
  ["false", false],
]);

/**
 * Parses one JSON text to its end.
 * @param what opens every error sentence, e.g. "safetensors header".
 * @param integers refuse every number that is not written as an integer below 2^53.
 * @param maxDepth nesting allowed.
 * @throws InputError with the character offset.
 */
export function parseJson(
  text: string,
  what: string,
  { integers = false, maxDepth = 64 } = {},
): Json {
  let at = 0;
  const fail = (why: string): never => {
    throw new InputError(`${what}: ${why} at character ${at}`, { at });
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const blank = () => match(BLANK);
  const expectChar = (c: string) => {
    blank();
    if (text[at] !== c) fail(`wanted ${c}, got ${JSON.stringify(text[at] ?? "the end")}`);
    at++;
  };
  const string = (): string => {
    if (text[at] !== '"') return fail("wanted a string");
    const start = at;
    for (let i = at + 1; ; i++) {
      if (i >= text.length) return fail("a string does not end");
      if (text[i] === "\\") i++;
      else if (text[i] === '"') {
        at = i + 1;
        break;
      }
    }
    try {
      return JSON.parse(text.slice(start, at)); // one string: escapes and control characters
    } catch {
      at = start;
      return fail("a string has a bad escape or a control character");
    }
  };
  const number = (): number => {
    const found = match(NUMBER);
    if (!found) return fail("wanted a value");
    const value = Number(found[0]);
    if (integers && (found[1] || found[2] || !Number.isSafeInteger(value)))
      fail(`${found[0]} is not an integer below 2^53`);
    return value;
  };
  /** Items between brackets; `item` reads one. */
  const items = (close: string, item: () => void) => {
    at++;
    blank();
    if (text[at] === close) at++;
    else
      for (;;) {
        item();
        blank();
        if (text[at] === close) return void at++;
        expectChar(",");
        blank();
      }
  };
  const value = (depth: number): Json => {
    blank();
    if (depth > maxDepth) fail(`nesting is deeper than ${maxDepth}`);
    const c = text[at];
    if (c === '"') return string();
    if (c === "[") {
      const list: Json[] = [];
      items("]", () => list.push(value(depth + 1)));
      return list;
    }
    if (c === "{") {
      const map = new Map<string, Json>();
      items("}", () => {
        const key = string();
        if (map.has(key)) fail(`the key ${JSON.stringify(key)} stands twice`);
        expectChar(":");
        map.set(key, value(depth + 1));
      });
      return map;
    }
    for (const [word, meaning] of WORDS)
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    return number();
  };
  const result = value(0);
  blank();
  if (at < text.length) fail("something follows the JSON value");
  return result;
}
