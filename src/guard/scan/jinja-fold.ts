/** Values of template expressions that can be told without rendering: constants, and what is made of them. */

import type { Node } from "./jinja-expression.ts";

export type Folded = string | number | boolean | null | undefined | readonly Folded[];

const MAX_FOLD = 4096;

const text = (v: Folded): string =>
  v === null ? "None" : Array.isArray(v) ? v.map(text).join(", ") : String(v);
const reversed = (s: string): string => [...s].reverse().join("");

/** The value of an expression, where it can be told without running it. */
export function fold(known: ReadonlyMap<string, Folded>, node: Node, depth = 0): Folded {
  if (depth > 50) return undefined;
  const value = (n: Node) => fold(known, n, depth + 1);
  if (node.kind === "const") return node.value;
  if (node.kind === "name") return known.get(node.name);
  if (node.kind === "list") {
    const items = node.items.map(value);
    return items.includes(undefined) ? undefined : items;
  }
  if (node.kind === "op") return FOLD_OPS[node.op]?.(node.args.map(value));
  if (node.kind === "item") return foldItem(value(node.of), node.key, value);
  const args = "args" in node ? node.args.map((a) => value(a.value)) : [];
  if (args.includes(undefined)) return undefined;
  if (node.kind === "filter") return method(node.name, value(node.of), args);
  if (node.kind === "call" && node.of.kind === "attr")
    return method(node.of.name, value(node.of.of), args);
  return undefined;
}

const FOLD_OPS: Readonly<Record<string, (args: Folded[]) => Folded>> = {
  "~": ([a, b]) => (a === undefined || b === undefined ? undefined : short(text(a) + text(b))),
  "+": ([a, b]) =>
    typeof a === "string" && typeof b === "string"
      ? short(a + b)
      : typeof a === "number" && typeof b === "number"
        ? a + b
        : undefined,
  "*": ([a, b]) =>
    typeof a === "string" && typeof b === "number" && a.length * b < MAX_FOLD
      ? a.repeat(Math.max(0, b))
      : typeof a === "number" && typeof b === "number"
        ? a * b
        : undefined,
  "%": ([a, b]) =>
    typeof a === "string" && b !== undefined
      ? method("format", a, Array.isArray(b) ? b : [b])
      : undefined,
  "unary-": ([a]) => (typeof a === "number" ? -a : undefined),
};
const short = (s: string): Folded => (s.length > MAX_FOLD ? undefined : s);

function foldItem(of: Folded, key: Node, value: (n: Node) => Folded): Folded {
  if (typeof of !== "string" && !Array.isArray(of)) return undefined;
  if (key.kind === "slice") {
    const [from, to, step] = key.parts.map((part) => (part ? value(part) : null));
    if (typeof of === "string" && step === -1 && from === null && (to === null || to === undefined))
      return reversed(of);
    if (step === null || step === undefined || step === 1)
      return of.slice(typeof from === "number" ? from : 0, typeof to === "number" ? to : undefined);
    return undefined;
  }
  const index = value(key);
  return typeof index === "number" ? of.at(index) : undefined;
}

/** Filters and methods of text that attacks use to build names. */
function method(name: string, of: Folded, args: readonly Folded[]): Folded {
  const rules: Readonly<Record<string, () => Folded>> = {
    join: () =>
      Array.isArray(of)
        ? short(of.map(text).join(args[0] === undefined ? "" : text(args[0])))
        : typeof of === "string" && Array.isArray(args[0])
          ? short(args[0].map(text).join(of))
          : of,
    reverse: () =>
      typeof of === "string" ? reversed(of) : Array.isArray(of) ? [...of].reverse() : undefined,
    lower: () => text(of).toLowerCase(),
    upper: () => text(of).toUpperCase(),
    string: () => text(of),
    trim: () => text(of).trim(),
    strip: () => text(of).trim(),
    list: () => (typeof of === "string" ? [...of] : of),
    first: () => (typeof of === "string" || Array.isArray(of) ? of[0] : undefined),
    last: () => (typeof of === "string" || Array.isArray(of) ? of.at(-1) : undefined),
    replace: () =>
      args.length >= 2 ? short(text(of).replaceAll(text(args[0]), text(args[1]))) : undefined,
    format: () => {
      let i = 0;
      return short(
        text(of).replace(/%[sdc]|\{(\d*)[^{}]*\}/g, (_, n?: string) => {
          const arg = args[n ? Number(n) : i++];
          return typeof arg === "number" && _ === "%c" ? String.fromCharCode(arg) : text(arg ?? "");
        }),
      );
    },
  };
  if (of === undefined || !Object.hasOwn(rules, name)) return undefined;
  return rules[name]!();
}
