/** The words of Jinja: splits the inside of a tag into tokens. What they mean is in jinja-parse.ts. */

import { InputError } from "./bytes.ts";
import { PYTHON_ESCAPES } from "./py-literal.ts";

export interface Token {
  readonly type: "name" | "number" | "string" | "op" | "end";
  readonly text: string;
  readonly at: number;
}

const OPS = /^(?:\/\/|\*\*|==|!=|<=|>=|[-+*/%~<>=|.,:()[\]{}])/;
const SPACE = /^\s+/;
const NAME = /^[\p{L}_][\p{L}\p{N}_]*/u;
const NUMBER =
  /^(?:0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)/;
const STRING = /^(?:'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*")/;

export const fail = (why: string, at: number): never => {
  throw new InputError(`template: ${why} at character ${at}`, { at });
};

const ESCAPES: Readonly<Record<string, string>> = { ...PYTHON_ESCAPES, "\n": "" };

/** A Python string literal's value. */
const unquote = (literal: string): string =>
  literal
    .slice(1, -1)
    .replace(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|N\{([^}]*)\}|([0-7]{1,3})|([\s\S]))/g,
      (_, x, u, U, named, octal, c: string) => {
        const code = x ?? u ?? U;
        if (code !== undefined) {
          const point = Number.parseInt(code, 16);
          return point <= 0x10ffff ? String.fromCodePoint(point) : "";
        }
        if (named !== undefined) return /low line|underscore/i.test(named) ? "_" : "?";
        if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
        return ESCAPES[c] ?? c;
      },
    );

/** Tokens up to the end of the tag, and where it ends. @throws InputError for what is no Jinja */
export function tokenize(
  text: string,
  start: number,
  close: string,
): { tokens: Token[]; end: number } {
  const tokens: Token[] = [];
  let at = start;
  let depth = 0;
  if (text[at] === "-" || text[at] === "+") at++;
  for (;;) {
    const rest = text.slice(at, at + 4096);
    if (rest === "") return fail("a tag does not end", start);
    const space = SPACE.exec(rest);
    if (space) {
      at += space[0].length;
      continue;
    }
    if (depth === 0) {
      if (text.startsWith(close, at)) {
        at += close.length;
        break;
      }
      if ((rest[0] === "-" || rest[0] === "+") && text.startsWith(close, at + 1)) {
        at += 1 + close.length;
        break;
      }
    }
    const [type, raw] = word(rest, text, at);
    if (raw === undefined) return fail(`${JSON.stringify(rest.slice(0, 10))} is no Jinja`, at);
    if (type === "op" && "([{".includes(raw)) depth++;
    if (type === "op" && ")]}".includes(raw)) depth--;
    tokens.push({ type, text: type === "string" ? unquote(raw) : raw, at });
    at += raw.length;
    if (tokens.length > 50_000) return fail("a tag is too long", start);
  }
  tokens.push({ type: "end", text: "", at });
  return { tokens, end: at };
}

/** The next token of a tag: its type and its text. */
function word(rest: string, text: string, at: number): [Token["type"], string | undefined] {
  if (rest[0] === "'" || rest[0] === '"') return ["string", STRING.exec(text.slice(at))?.[0]];
  const name = NAME.exec(rest)?.[0];
  if (name !== undefined) return ["name", name];
  const number = NUMBER.exec(rest)?.[0];
  return number !== undefined ? ["number", number] : ["op", OPS.exec(rest)?.[0]];
}
