/** Models as large as the official ones with made-up weights: a layout -> a recipe of hashed weights. Writes no file. */

import { readFileSync } from "node:fs";
import { type DType, sizeOf, type Tensor } from "../src/formats/dtype.ts";
import type { LazyTensor } from "../src/formats/lazy.ts";
import { inferVarConfig } from "../src/image/infer-config.ts";
import { varSpecs } from "../src/image/var-layout.ts";
import { type HashRecipe, hashedTensor } from "./hash-weights.ts";

/** One line of a layout file: name, sizes joined with x, dtype, param or buffer. */
export interface LayoutRow {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly kind: "param" | "buffer";
}

/** The rows of a layout file in state_dict order. */
export const readLayout = (file: string): LayoutRow[] =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [name, shape, dtype, kind] = line.split("\t") as [string, string, DType, "param"];
      return { name, shape: shape.split("x").map(Number), dtype, kind };
    });

/** Width of a uniform distribution with that standard deviation. */
const uniform = (std: number): number => Math.sqrt(12) * std;
const fanIn = (shape: readonly number[]): number => sizeOf(shape.slice(1));

/** How wide the weights of a tensor are spread. */
export interface Spread {
  readonly kind: "u" | "q" | "t";
  readonly a: number;
  readonly b?: number;
}

/** By name, the first pattern that fits. */
export type Spreads = readonly (readonly [RegExp, (shape: readonly number[]) => Spread])[];

/** Products that keep the size of what goes in, times `gain`: std gain/sqrt(fan-in). */
export const layer =
  (gain: number) =>
  (shape: readonly number[]): Spread => ({ kind: "u", a: uniform(gain / Math.sqrt(fanIn(shape))) });

/**
 * How wide the weights of a name are spread, the first pattern that fits; those of the golden fixtures. Products keep
 * the size of what goes in (std 1/sqrt(fan-in)), so activations stay sane at every depth; what is added to the
 * stream of 16 to 36 blocks is small beside it. scripts/make-official-like.py has the same table.
 */
const SPREADS: Spreads = [
  [/scale_mul_1H11$/, () => ({ kind: "u", a: 0.8, b: Math.log(4) })],
  [/ada_gss$/, () => ({ kind: "u", a: uniform(0.3) })],
  [/^(pos_start|pos_1LC|lvl_embed\.weight)$/, () => ({ kind: "u", a: uniform(0.4) })],
  [/^class_emb\.weight$/, () => ({ kind: "u", a: uniform(0.8) })],
  [/ada_lin\.1\.weight$/, layer(0.5)],
  [/^head\.weight$/, layer(2)],
  [/^(blocks|head|head_nm|word_embed|shared_ada_lin)\b.*bias$/, () => ({ kind: "u", a: 0.2 })],
  [/^quantize\.embedding\.weight$/, () => ({ kind: "u", a: uniform(0.5) })],
  [/norm\w*\.weight$/, () => ({ kind: "u", a: 0.4, b: 1 })],
  [/bias$/, () => ({ kind: "u", a: 0.1 })],
  [
    /^(encoder|decoder)\.(down|up|mid)\..*weight$/,
    (s) => ({ kind: "t", a: Math.sqrt(10 / fanIn(s)) }),
  ],
  [/weight$/, layer(1)],
];

/** The recipe of tensor `t`. @param own spreads that go before the common ones */
export function madeUp(
  { name, shape }: Pick<LayoutRow, "name" | "shape">,
  t: number,
  own: Spreads = [],
): HashRecipe["tensors"][number] {
  const found = [...own, ...SPREADS].find(([pattern]) => pattern.test(name));
  if (!found) throw new Error(`no spread for ${name}; add a line to SPREADS`);
  return { t, name, shape: [...shape], b: 0, ...found[1](shape) };
}

/** The recipe of a layout's parameters, t counting them in order; buffers are not made up. */
export function officialRecipe(layout: readonly LayoutRow[], seed: number): HashRecipe {
  const params = layout.filter(({ kind }) => kind === "param");
  return { seed, tensors: params.map((row, t) => madeUp(row, t)) };
}

/** The tensors of a layout, made up when they are read: hashed parameters, and buffers as upstream has them. */
export function officialWeights(
  layout: readonly LayoutRow[],
  seed: number,
): Map<string, LazyTensor> {
  const specs = new Map(officialRecipe(layout, seed).tensors.map((spec) => [spec.name, spec]));
  const buffers = fixedBuffers(layout);
  return new Map(
    layout.map(({ name, shape, dtype }) => {
      const spec = specs.get(name);
      const read = async () =>
        buffers.get(name)?.().data ??
        (spec ? hashedTensor(spec, seed) : new Float32Array(sizeOf(shape)));
      return [name, { dtype, shape, read }];
    }),
  );
}

/** Makers of the buffers with content; the others are zeros. */
function fixedBuffers(layout: readonly LayoutRow[]): Map<string, () => Tensor> {
  const byName = new Map(layout.map((row) => [row.name, row]));
  if (!byName.has("pos_1LC")) return new Map();
  return new Map(
    varSpecs(inferVarConfig(byName)).flatMap(({ name, value }) => (value ? [[name, value]] : [])),
  );
}
