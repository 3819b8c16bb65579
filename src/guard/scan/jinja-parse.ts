/** A parser of Jinja templates into plain trees. Renders nothing; what the trees may hold is in jinja.ts. */

import { type Node, Parser } from "./jinja-expression.ts";
import { fail, type Token, tokenize } from "./jinja-tokens.ts";

/** A statement or printed expression, in the order of the template. Blocks are flat: nesting does not matter here. */
export interface Tag {
  /** "print" or the word of the statement. */
  readonly word: string;
  readonly at: number;
  /** Names it defines: targets of set and for, macros and their parameters. */
  readonly defines: readonly string[];
  /** Name of the macro, when it defines one. */
  readonly macro?: string;
  readonly nodes: readonly Node[];
  /** What a set or for gives to its single target. */
  readonly value?: Node | undefined;
}

// ---- template to tags -------------------------------------------------------------------------

/** Splits a template and parses every tag. @throws InputError where it is no Jinja */
export function parseTemplate(template: string): Tag[] {
  const tags: Tag[] = [];
  const open = /\{\{|\{%|\{#/g;
  for (let match = open.exec(template); match; match = open.exec(template)) {
    const at = match.index;
    if (match[0] === "{#") {
      const end = template.indexOf("#}", at + 2);
      if (end < 0) return fail("a comment does not end", at);
      open.lastIndex = end + 2;
      continue;
    }
    const close = match[0] === "{{" ? "}}" : "%}";
    const { tokens, end } = tokenize(template, at + 2, close);
    open.lastIndex = end;
    if (close === "}}") tags.push(printTag(tokens, at));
    else {
      const tag = statement(tokens, at);
      tags.push(
        tag.word === "set" && !tag.value ? { ...tag, value: blockText(template, end) } : tag,
      );
      if (tag.word === "raw" || tag.word === "verbatim") {
        const stop = /\{%[-+]?\s*end(raw|verbatim)\s*[-+]?%\}/g;
        stop.lastIndex = end;
        if (!stop.exec(template)) return fail("raw text does not end", at);
        open.lastIndex = stop.lastIndex;
      }
    }
  }
  return tags;
}

/** What a set block begins with: its text is a constant as far as the next tag. */
function blockText(template: string, at: number): Node {
  const next = template.slice(at).search(/\{[{%#]/);
  return { kind: "const", value: template.slice(at, next < 0 ? undefined : at + next), at };
}

// ---- statements -------------------------------------------------------------------------------

function printTag(tokens: readonly Token[], at: number): Tag {
  const p = new Parser(tokens);
  const nodes = all(p);
  return { word: "print", at, defines: [], nodes };
}

/** Expressions up to the end of the tag, with commas between them. */
function all(p: Parser): Node[] {
  const nodes: Node[] = [];
  while (!p.ended) {
    nodes.push(p.expression());
    if (!p.ended) p.want(",");
  }
  return nodes;
}

/** Targets of set and for: names, tuples of names, attributes of namespaces. */
function targets(p: Parser, stop: string): { defines: string[]; nodes: Node[] } {
  const defines: string[] = [];
  const nodes: Node[] = [];
  p.take("(");
  while (!p.is(stop) && !p.ended && !p.is("|")) {
    const node = p.postfix(p.primary());
    if (node.kind === "name") defines.push(node.name);
    else nodes.push(node);
    p.take(")");
    p.take(",");
  }
  return { defines, nodes };
}

function statement(tokens: readonly Token[], at: number): Tag {
  const p = new Parser(tokens);
  const word = p.name();
  if (word === "set") {
    const { defines, nodes } = targets(p, "=");
    if (!p.take("=")) {
      if (p.take("|")) p.dotted(); // a block that is filtered before it is set
      return { word, at, defines, nodes };
    }
    const values = all(p);
    return {
      word,
      at,
      defines,
      nodes: [...nodes, ...values],
      value: values.length === 1 ? values[0] : undefined,
    };
  }
  if (word === "for") {
    const { defines, nodes } = targets(p, "in");
    p.want("in");
    const over = p.binary(0);
    const rest: Node[] = [over];
    if (p.take("if")) rest.push(p.expression());
    p.take("recursive");
    return { word, at, defines, nodes: [...nodes, ...rest], value: over };
  }
  if (word === "macro" || word === "call") {
    let macro: string | undefined;
    const defines: string[] = [];
    const nodes: Node[] = [];
    if (word === "macro") macro = p.name();
    if (p.take("("))
      while (!p.take(")")) {
        defines.push(p.name());
        if (p.take("=")) nodes.push(p.expression());
        if (!p.is(")")) p.want(",");
      }
    if (word === "call") nodes.push(...all(p));
    return macro === undefined ? { word, at, defines, nodes } : { word, at, defines, nodes, macro };
  }
  if (word === "with") {
    const defines: string[] = [];
    const nodes: Node[] = [];
    while (!p.ended) {
      defines.push(p.name());
      p.want("=");
      nodes.push(p.expression());
      p.take(",");
    }
    return { word, at, defines, nodes };
  }
  if (word === "filter") {
    const name = p.dotted();
    const args = p.is("(") ? p.args() : [];
    return {
      word,
      at,
      defines: [],
      nodes: [{ kind: "filter", of: { kind: "const", value: "", at }, name, args, at }],
    };
  }
  if (
    ["include", "import", "from", "extends", "block", "trans", "generation"].includes(word) ||
    word.startsWith("end")
  )
    return { word, at, defines: [], nodes: [] };
  return { word, at, defines: [], nodes: all(p) };
}
