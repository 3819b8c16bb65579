/** Arithmetic on dimensions: products and sums of sizes and names, and what names are worth in a run. */

import type { Dim, Shape } from "./shape.ts";

/** A dimension as a number times names; a sum is one name in brackets: "4*B", "2*(P+L)". */
interface Product {
  readonly n: number;
  readonly names: readonly string[];
}

/** Cuts at a sign, but not inside brackets. */
function cut(text: string, sign: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const c of text) {
    if (c === "(") depth++;
    if (c === ")") depth--;
    if (c === sign && depth === 0) parts.push("");
    else parts[parts.length - 1] += c;
  }
  return parts;
}

function productOf(d: Dim): Product {
  if (typeof d === "number") return { n: d, names: [] };
  if (cut(d, "+").length > 1) return { n: 1, names: [`(${d})`] };
  const factors = cut(d, "*");
  const [head] = factors;
  return /^\d+$/.test(head!)
    ? { n: Number(head), names: factors.slice(1) }
    : { n: 1, names: factors };
}

function dimOf({ n, names }: Product): Dim {
  if (n === 0 || names.length === 0) return n;
  if (n !== 1) return [n, ...names].join("*");
  const [only] = names;
  return names.length === 1 && only!.startsWith("(") ? only!.slice(1, -1) : names.join("*");
}

const multiply = (dims: Shape): Product =>
  dims.map(productOf).reduce((a, b) => ({ n: a.n * b.n, names: [...a.names, ...b.names].sort() }), {
    n: 1,
    names: [],
  });

/** Number of elements of a shape that may hold names. */
export const countOf = (shape: Shape): Dim => dimOf(multiply(shape));

/** What is left of the elements of `whole` when `part` is taken out, or undefined when it does not divide. */
export function quotient(whole: Shape, part: Shape): Dim | undefined {
  const [a, b] = [multiply(whole), multiply(part)];
  const names = [...a.names];
  for (const name of b.names) {
    const i = names.indexOf(name);
    if (i < 0) return undefined;
    names.splice(i, 1);
  }
  return b.n === 0 || a.n % b.n !== 0 ? undefined : dimOf({ n: a.n / b.n, names });
}

/** Sum of two dimensions; names are kept as "P+L". */
export const addDims = (a: Dim, b: Dim): Dim =>
  typeof a === "number" && typeof b === "number" ? a + b : a === 0 ? b : b === 0 ? a : `${a}+${b}`;

/** The size of a dimension where the names are bound, or undefined when one is not. */
export function sizeOfDim(d: Dim, bound: ReadonlyMap<string, number>): number | undefined {
  if (typeof d === "number") return d;
  const known = bound.get(d);
  if (known !== undefined) return known;
  if (/^\d+$/.test(d)) return Number(d);
  if (d.startsWith("(") && d.endsWith(")") && cut(d, "*").length === 1 && cut(d, "+").length === 1)
    return sizeOfDim(d.slice(1, -1), bound);
  for (const [sign, join] of SIGNS) {
    const parts = cut(d, sign);
    if (parts.length === 1) continue;
    const sizes = parts.map((p) => sizeOfDim(p, bound));
    return sizes.includes(undefined) ? undefined : (sizes as number[]).reduce(join);
  }
  return undefined;
}
const SIGNS = [
  ["+", (a: number, b: number) => a + b],
  ["*", (a: number, b: number) => a * b],
] as const;

/** Binds the names of a shape that have no size yet to the sizes found. */
export function bindDims(shape: Shape, sizes: readonly number[], bound: Map<string, number>): void {
  shape.forEach((d, i) => {
    if (typeof d === "string" && sizes[i] !== undefined && sizeOfDim(d, bound) === undefined)
      bound.set(d, sizes[i]);
  });
}
