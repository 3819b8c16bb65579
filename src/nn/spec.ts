/** What a model's weights are: names, shapes, starting distributions. Knows no model and builds no graph. */

import { type DType, HOST, sizeOf, type Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { isLazy, type Weight } from "../formats/lazy.ts";
import type { Rng } from "../tensor/rng.ts";

/** Consecutive rows whose freshly drawn values are multiplied by `scale`. */
export interface RowScale {
  readonly rows: number;
  readonly scale: number;
}

/**
 * A starting distribution, as plain data.
 * - `truncNormal` is torch's `trunc_normal_`: redrawn until inside [-2, 2], absolute and before any scale.
 * - `scale` multiplies what was drawn; `rowScales` does so by rows, a row being one index of `rowAxis` (default 0),
 *   and must cover them all.
 */
export type Init =
  | { readonly kind: "zeros" }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform"; readonly bound: number }
  | ({ readonly kind: "normal"; readonly std: number } & Scaled)
  | ({ readonly kind: "truncNormal"; readonly std: number } & Scaled);

interface Scaled {
  readonly scale?: number;
  readonly rowScales?: readonly RowScale[];
  readonly rowAxis?: number;
}

/** One tensor of a model. A list of these, in state_dict order, is a model's layout. */
export interface ParamSpec {
  /** The state_dict name of the official code. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** A buffer is saved with the weights but never trained. */
  readonly kind: "param" | "buffer";
  readonly init: Init;
  /** Whether weight decay applies. */
  readonly decay: boolean;
  /** The content of a buffer that the configuration fixes. Buffers without it start at zero. */
  readonly value?: () => Tensor;
}

type Fill = (out: Float32Array, rng: Rng) => void;

const fills: { [K in Init["kind"]]: (init: Extract<Init, { kind: K }>) => Fill } = {
  zeros: () => () => {},
  constant:
    ({ value }) =>
    (out) =>
      out.fill(value),
  uniform:
    ({ bound }) =>
    (out, rng) =>
      rng.fillUniform(out, { low: -bound, high: bound }),
  normal:
    ({ std }) =>
    (out, rng) =>
      rng.fillNormal(out, { std }),
  truncNormal:
    ({ std }) =>
    (out, rng) =>
      rng.fillTruncNormal(out, { std }),
};

/**
 * Fresh weights, in the order of `specs`. Each tensor draws from `rng.child(name)`, so adding or removing one never
 * changes the others. Buffers get their fixed content, or zeros.
 */
export function initWeights(specs: readonly ParamSpec[], rng: Rng): Map<string, Tensor> {
  return new Map(specs.map((spec) => [spec.name, freshTensor(spec, rng.child(spec.name))]));
}

/** Number of trained values; buffers do not count. */
export const countParams = (specs: readonly ParamSpec[]): number =>
  specs.reduce((sum, { kind, shape }) => (kind === "param" ? sum + sizeOf(shape) : sum), 0);

/** Problem of one tensor: a sentence without its beginning, and the facts. */
interface Problem {
  readonly text: string;
  readonly name: string;
  readonly expected?: string;
  readonly found?: string;
}

/**
 * The tensors of a file as the weights of a model: the same data, in the order of `specs`. All or nothing.
 *
 * Buffers that are absent start afresh; those with fixed content, if present, must say what the configuration says.
 * Files in float16, bfloat16 or quantized are converted by the caller beforehand. Of tensors that are read later only
 * names, types and shapes are checked.
 *
 * @param options.allowMissing leave absent parameters out of the result instead of refusing; default false
 * @param options.what what the file is, for the error, e.g. "var_d16.pth"
 * @throws InputError naming the first bad tensor, what was expected and found; `data.problems` lists them all
 */
export function checkWeights<W extends Weight = Tensor>(
  specs: readonly ParamSpec[],
  tensors: ReadonlyMap<string, W>,
  { allowMissing = false, what = "checkpoint" }: { allowMissing?: boolean; what?: string } = {},
): Map<string, W | Tensor> {
  const known = new Set(specs.map(({ name }) => name));
  const extra = [...tensors.keys()].filter((name) => !known.has(name));
  const problems: Problem[] = [];
  const weights = new Map<string, W | Tensor>();
  for (const spec of specs) {
    const tensor = tensors.get(spec.name);
    if (tensor === undefined) {
      if (spec.kind === "buffer") weights.set(spec.name, freshBuffer(spec));
      else if (!allowMissing) problems.push(missing(spec, extra));
      continue;
    }
    const problem = mismatch(spec, tensor);
    if (problem === undefined) weights.set(spec.name, tensor);
    else problems.push(problem);
  }
  const absent = specs.map(({ name }) => name).filter((name) => !tensors.has(name));
  for (const name of extra) {
    const near = nearest(name, absent);
    const hint = near === undefined ? "" : `, did it mean "${near}"?`;
    problems.push({ name, text: `has an unknown tensor "${name}"${hint}`, found: name });
  }
  if (problems.length > 0) {
    const rest = problems.length === 1 ? "" : ` (and ${problems.length - 1} more in data.problems)`;
    throw new InputError(
      `${what} ${problems[0]!.text}${rest}; use a file made for this model, or the configuration it was made with`,
      { what, problems },
    );
  }
  return weights;
}

/** The name closest to `name` by edit distance, or the one it is a prefixed form of; undefined when none is near. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const suffixed = names.find((other) => name.endsWith(`.${other}`) || other.endsWith(`.${name}`));
  if (suffixed !== undefined) return suffixed;
  let best: string | undefined;
  let bound = Math.max(2, Math.floor(name.length / 4)) + 1; // further than this is another name
  for (const other of names) {
    const distance = editDistance(name, other, bound);
    if (distance < bound) [best, bound] = [other, distance];
  }
  return best;
}

const freshBuffer = ({ shape, dtype, value }: ParamSpec): Tensor =>
  value?.() ?? { dtype, shape, data: new HOST[dtype](sizeOf(shape)) };

function freshTensor(spec: ParamSpec, rng: Rng): Tensor {
  const { shape, dtype, init, kind } = spec;
  if (kind === "buffer") return freshBuffer(spec);
  const data = new HOST[dtype](sizeOf(shape));
  if (!(data instanceof Float32Array)) {
    throw new TypeError(`initWeights: ${init.kind} fills float32 only, got ${dtype}`);
  }
  // The table is indexed by the very kind it is given, which the compiler cannot follow.
  (fills[init.kind] as (init: Init) => Fill)(init)(data, rng);
  if ("std" in init) rescale(data, shape, init);
  return { dtype, shape, data };
}

function rescale(
  data: Float32Array,
  shape: readonly number[],
  { scale = 1, rowScales, rowAxis = 0 }: Scaled,
): void {
  if (scale !== 1) for (let i = 0; i < data.length; i++) data[i]! *= scale;
  if (rowScales === undefined) return;
  if (sizeOf(shape.slice(0, rowAxis)) !== 1) {
    throw new TypeError(`initWeights: axes before rowAxis ${rowAxis} of ${shape} must be 1`);
  }
  const rows = rowScales.reduce((sum, part) => sum + part.rows, 0);
  if (rows !== shape[rowAxis]) {
    throw new TypeError(`initWeights: rowScales cover ${rows} rows, the shape is ${shape}`);
  }
  const stride = sizeOf(shape.slice(rowAxis + 1));
  let at = 0;
  for (const part of rowScales) {
    const end = at + part.rows * stride;
    for (; at < end; at++) data[at]! *= part.scale;
  }
}

const describe = (shape: readonly number[], dtype: DType): string =>
  `[${shape.join(", ")}] ${dtype}`;

function missing({ name, shape, dtype }: ParamSpec, extra: readonly string[]): Problem {
  const near = nearest(name, extra);
  const hint = near === undefined ? "" : `; the nearest name in it is "${near}"`;
  const expected = describe(shape, dtype);
  return { name, expected, text: `lacks tensor "${name}" of ${expected}${hint}` };
}

function mismatch(spec: ParamSpec, tensor: Weight): Problem | undefined {
  const { name } = spec;
  const expected = describe(spec.shape, spec.dtype);
  const found = describe(tensor.shape, tensor.dtype);
  if (expected !== found) {
    const text = `has tensor "${name}" as ${found}, expected ${expected}`;
    return { name, expected, found, text };
  }
  if (isLazy(tensor)) return undefined;
  if (tensor.data.length !== sizeOf(spec.shape)) {
    const text = `has ${tensor.data.length} values in tensor "${name}", expected ${sizeOf(spec.shape)}`;
    return { name, expected, found, text };
  }
  const fixed = spec.value?.().data;
  const at = fixed === undefined ? -1 : fixed.findIndex((v, i) => v !== tensor.data[i]);
  if (at < 0) return undefined;
  const text = `has ${tensor.data[at]} at place ${at} of buffer "${name}", the configuration fixes ${fixed![at]}`;
  return { name, expected: String(fixed![at]), found: String(tensor.data[at]), text };
}

/** Levenshtein distance, or `bound` when it is at least that. */
function editDistance(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) >= bound) return bound;
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, previous[j]! + 1, row[j - 1]! + 1));
    }
    if (Math.min(...row) >= bound) return bound;
    previous = row;
  }
  return Math.min(bound, previous[b.length]!);
}
