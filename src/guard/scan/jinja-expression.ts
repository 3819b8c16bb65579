/** The expressions of Jinja: plain trees, and the parser of one tag. Statements are in jinja-parse.ts. */

import { fail, type Token } from "./jinja-tokens.ts";

/** An expression. `at` counts characters of the template. */
export type Node =
  | {
      readonly kind: "const";
      readonly value: string | number | boolean | null;
      readonly at: number;
    }
  | { readonly kind: "name"; readonly name: string; readonly at: number }
  | { readonly kind: "list"; readonly items: readonly Node[]; readonly at: number }
  | {
      readonly kind: "dict";
      readonly items: readonly (readonly [Node, Node])[];
      readonly at: number;
    }
  | { readonly kind: "attr"; readonly of: Node; readonly name: string; readonly at: number }
  | { readonly kind: "item"; readonly of: Node; readonly key: Node; readonly at: number }
  | { readonly kind: "slice"; readonly parts: readonly (Node | undefined)[]; readonly at: number }
  | { readonly kind: "call"; readonly of: Node; readonly args: readonly Arg[]; readonly at: number }
  | {
      readonly kind: "filter";
      readonly of: Node;
      readonly name: string;
      readonly args: readonly Arg[];
      readonly at: number;
    }
  | {
      readonly kind: "test";
      readonly of: Node;
      readonly name: string;
      readonly args: readonly Arg[];
      readonly at: number;
    }
  | {
      readonly kind: "op";
      readonly op: string;
      readonly args: readonly Node[];
      readonly at: number;
    };

export interface Arg {
  readonly name?: string | undefined;
  readonly value: Node;
}

// ---- parser ------------------------------------------------------------------------------

/** Reads the tokens of one tag. */
export class Parser {
  at = 0;
  depth = 0;
  constructor(readonly tokens: readonly Token[]) {}

  get token(): Token {
    return this.tokens[this.at]!;
  }
  is(text: string): boolean {
    return this.token.text === text && (this.token.type === "op" || this.token.type === "name");
  }
  take(text: string): boolean {
    if (!this.is(text)) return false;
    this.at++;
    return true;
  }
  want(text: string): void {
    if (!this.take(text))
      fail(`wanted ${text}, got ${JSON.stringify(this.token.text)}`, this.token.at);
  }
  name(): string {
    if (this.token.type !== "name") return fail("wanted a name", this.token.at);
    return this.tokens[this.at++]!.text;
  }
  get ended(): boolean {
    return this.token.type === "end";
  }

  /** a if b else c, and lower. */
  expression(): Node {
    if (++this.depth > 200) return fail("nesting is too deep", this.token.at);
    let node = this.binary(0);
    while (this.is("if")) {
      const { at } = this.token;
      this.at++;
      const test = this.binary(0);
      const other = this.take("else") ? this.expression() : undefined;
      node = { kind: "op", op: "if", args: other ? [node, test, other] : [node, test], at };
    }
    this.depth--;
    return node;
  }

  binary(level: number): Node {
    if (level === LEVELS.length) return this.unary();
    if (level === NOT_LEVEL && this.is("not")) {
      const { at } = this.token;
      this.at++;
      return { kind: "op", op: "not", args: [this.binary(level)], at };
    }
    let node = this.binary(level + 1);
    for (;;) {
      const { at } = this.token;
      let op = LEVELS[level]!.find((text) => this.is(text));
      if (op === "not" && this.tokens[this.at + 1]?.text !== "in") op = undefined;
      if (op === undefined) return node;
      this.at++;
      if (op === "not") this.want("in");
      node = { kind: "op", op, args: [node, this.binary(level + 1)], at };
    }
  }

  unary(): Node {
    const { at } = this.token;
    for (const op of ["-", "+"])
      if (this.take(op)) return { kind: "op", op: `unary${op}`, args: [this.unary()], at };
    const base = this.postfix(this.primary());
    if (!this.take("**")) return this.filtered(base);
    return this.filtered({ kind: "op", op: "**", args: [base, this.unary()], at });
  }

  primary(): Node {
    const { type, text, at } = this.token;
    this.at++;
    if (type === "string") {
      let value = text;
      while (this.token.type === "string") value += this.tokens[this.at++]!.text;
      return { kind: "const", value, at };
    }
    if (type === "number") return { kind: "const", value: Number(text.replace(/_/g, "")), at };
    if (type === "name") {
      const word = WORDS.get(text);
      return word === undefined
        ? { kind: "name", name: text, at }
        : { kind: "const", value: word, at };
    }
    if (text === "(") {
      const items = this.items(")");
      return items.length === 1 && !items.comma ? items[0]! : { kind: "list", items, at };
    }
    if (text === "[") return { kind: "list", items: this.items("]"), at };
    if (text === "{") {
      const items: [Node, Node][] = [];
      while (!this.take("}")) {
        const key = this.expression();
        this.want(":");
        items.push([key, this.expression()]);
        if (!this.is("}")) this.want(",");
      }
      return { kind: "dict", items, at };
    }
    return fail(`wanted a value, got ${JSON.stringify(text)}`, at);
  }

  items(close: string): Node[] & { comma?: boolean } {
    const items: Node[] & { comma?: boolean } = [];
    while (!this.take(close)) {
      items.push(this.expression());
      if (this.is(close)) continue;
      this.want(",");
      items.comma = true;
    }
    return items;
  }

  postfix(start: Node): Node {
    let node = start;
    for (;;) {
      const { at } = this.token;
      if (this.take(".")) {
        if (this.token.type === "number")
          node = { kind: "item", of: node, key: this.primary(), at };
        else node = { kind: "attr", of: node, name: this.name(), at };
      } else if (this.take("[")) {
        node = { kind: "item", of: node, key: this.subscript(), at };
      } else if (this.is("(")) node = { kind: "call", of: node, args: this.args(), at };
      else return node;
    }
  }

  subscript(): Node {
    const { at } = this.token;
    const parts: (Node | undefined)[] = [];
    let colons = 0;
    while (!this.take("]")) {
      if (this.take(":")) {
        colons++;
        if (parts.length < colons) parts.push(undefined);
      } else if (this.take(",")) parts.push(undefined);
      else parts.push(this.expression());
    }
    return colons === 0 && parts.length === 1 ? parts[0]! : { kind: "slice", parts, at };
  }

  args(): Arg[] {
    const args: Arg[] = [];
    this.want("(");
    while (!this.take(")")) {
      this.take("*");
      this.take("**");
      const named =
        this.token.type === "name" &&
        this.tokens[this.at + 1]?.text === "=" &&
        this.tokens[this.at + 1]?.type === "op";
      const name = named ? this.name() : undefined;
      if (named) this.want("=");
      args.push({ name, value: this.expression() });
      if (!this.is(")")) this.want(",");
    }
    return args;
  }

  filtered(start: Node): Node {
    let node = start;
    for (;;) {
      const { at } = this.token;
      if (this.take("|")) {
        const name = this.dotted();
        node = { kind: "filter", of: node, name, args: this.is("(") ? this.args() : [], at };
      } else if (this.take("is")) {
        this.take("not");
        const name = this.dotted();
        const bare =
          (this.token.type === "name" && !STOPS.has(this.token.text)) ||
          ["string", "number"].includes(this.token.type) ||
          this.is("[") ||
          this.is("{");
        const args = this.is("(")
          ? this.args()
          : bare
            ? [{ value: this.postfix(this.primary()) }]
            : [];
        node = { kind: "test", of: node, name, args, at };
      } else if (this.is("(") || this.is("[") || this.is(".")) node = this.postfix(node);
      else return node;
    }
  }
  dotted(): string {
    let name = this.name();
    while (this.take(".")) name += `.${this.name()}`;
    return name;
  }
}

/** From the weakest operator to the strongest. */
const LEVELS: readonly (readonly string[])[] = [
  ["or"],
  ["and"],
  [], // not
  ["==", "!=", "<=", ">=", "<", ">", "in", "not"],
  ["+", "-"],
  ["~"],
  ["*", "//", "/", "%"],
];
const NOT_LEVEL = 2;
const STOPS = new Set(["and", "or", "if", "else", "in", "is", "not", "recursive"]);
const WORDS: ReadonlyMap<string, string | boolean | null> = new Map([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
] as const);
