/** Python literals, as ast.literal_eval takes them: text, numbers, tuples, lists, dicts. Evaluates nothing. */

import { InputError } from "./bytes.ts";

export type Literal =
  | null
  | boolean
  | number
  | string
  | readonly Literal[]
  | ReadonlyMap<string, Literal>;

/** Escapes of one letter in Python's text literals. */
export const PYTHON_ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  v: "\v",
  a: "\x07",
};

const TOKEN =
  /\s*(?:(?<text>[bu]?'(?:[^'\\]|\\.)*'|[bu]?"(?:[^"\\]|\\.)*")|(?<number>[+-]?\d[\d_]*L?(?![.\w]))|(?<word>[A-Za-z_]\w*)|(?<mark>[[\](){},:]))/suy;

const WORDS: ReadonlyMap<string, Literal> = new Map<string, Literal>([
  ["None", null],
  ["True", true],
  ["False", false],
]);

/** Parses one literal to the end of the text. @throws InputError for anything else, calls and attributes included */
export function parseLiteral(text: string, maxDepth = 32): Literal {
  TOKEN.lastIndex = 0;
  const next = (): RegExpExecArray["groups"] | undefined => {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match) return match.groups;
    if (text.slice(at).trim() !== "") fail(at);
    return undefined;
  };
  const fail = (at: number): never => {
    throw new InputError(`no plain literal: ${JSON.stringify(text.slice(at, at + 40))}`);
  };
  const items = (
    close: string,
    depth: number,
  ): { values: Literal[]; comma: boolean; keys: Literal[] } => {
    const values: Literal[] = [];
    const keys: Literal[] = [];
    let comma = false;
    for (;;) {
      const at = TOKEN.lastIndex;
      const token = next();
      if (token?.mark === close) return { values, comma, keys };
      TOKEN.lastIndex = at;
      let item = value(depth + 1);
      if (close === "}") {
        keys.push(item);
        if (next()?.mark !== ":") fail(at);
        item = value(depth + 1);
      }
      values.push(item);
      const after = next();
      if (after?.mark === close) return { values, comma, keys };
      if (after?.mark !== ",") fail(at);
      comma = true;
    }
  };
  const value = (depth: number): Literal => {
    const at = TOKEN.lastIndex;
    const token = next();
    if (!token || depth > maxDepth) return fail(at);
    if (token.text !== undefined)
      return token.text.replace(/^[bu]/, "").slice(1, -1).replace(/\\(.)/gs, "$1");
    if (token.number !== undefined) return Number(token.number.replace(/[_L]/g, ""));
    if (token.word !== undefined) return WORDS.has(token.word) ? WORDS.get(token.word)! : fail(at);
    if (token.mark === "[") return items("]", depth).values;
    if (token.mark === "(") {
      const { values, comma } = items(")", depth);
      return values.length === 1 && !comma ? values[0]! : values;
    }
    if (token.mark === "{") {
      const { values, keys } = items("}", depth);
      const map = new Map<string, Literal>();
      keys.forEach((key, i) => {
        if (typeof key !== "string" || map.has(key)) fail(at);
        map.set(key as string, values[i]!);
      });
      return map;
    }
    return fail(at);
  };
  const result = value(0);
  if (next()) fail(TOKEN.lastIndex);
  return result;
}
