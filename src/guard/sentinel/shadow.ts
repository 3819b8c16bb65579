/** A shadow of AdamW in exact float32 on secret coordinates: what the engine wrote must be what the update says. */

import type { TensorMap, TypedArray } from "../../formats/dtype.ts";
import type { SecretStream } from "./secret.ts";

/** The numbers of one update, as its recipe declares them. */
export interface AdamWNumbers {
  readonly step: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
}

/** The scalars and factors of the update, rounded to float32 as the engine gets them. See nn/optim.ts `adamw`. */
export function adamwFactors({ step, lr, weightDecay, betas: [b1, b2], eps }: AdamWNumbers) {
  const mean = (1 - b1) / (1 - b1 ** step);
  const root = Math.sqrt((1 - b2) / (1 - b2 ** step));
  return {
    beta1: f(b1),
    beta2: f(b2),
    rate: f((lr * mean) / root),
    floor: f(eps / root),
    shrink: f(1 - lr * weightDecay),
  };
}

const f = Math.fround;

/** One coordinate: parameter and both moments, before and after. */
export interface Coordinate {
  readonly p: number;
  readonly m: number;
  readonly v: number;
  readonly nextP: number;
  readonly nextM: number;
  readonly nextV: number;
}

export type Mismatch = "parameter" | "moments";

/**
 * Whether one coordinate was updated as declared. Every operation is rounded to float32 in the engine's order; products,
 * quotients and roots of float32 in float64 round rightly (Figueroa 1995), so equal means equal in every bit.
 *
 * The new parameter follows from the new moments. The gradient is not asked for: the new mean says it up to its last
 * bit, and between these two bounds the new square must lie. So nothing in the engine knows which coordinates are looked
 * at, and they can be others at each update.
 */
export function checkCoordinate(
  { p, m, v, nextP, nextM, nextV }: Coordinate,
  factors: ReturnType<typeof adamwFactors>,
  decay: boolean,
): Mismatch | undefined {
  const { beta1, beta2, rate, floor, shrink } = factors;
  const move = f(f(nextM / f(f(Math.sqrt(nextV)) + floor)) * rate);
  if (!Object.is(f(f(decay ? f(p * shrink) : p) - move), nextP)) return "parameter";
  const gradient = nextM - f(m * beta1);
  const slack = halfUlp(nextM);
  const kept = f(v * beta2);
  const [low, high] = [Math.max(0, Math.abs(gradient) - slack), Math.abs(gradient) + slack];
  const fits = f(kept + f(f(low) ** 2)) <= nextV && nextV <= f(kept + f(f(high) ** 2));
  return fits ? undefined : "moments";
}

/** Half the distance between neighbours of a float32, at the wider side. */
function halfUlp(x: number): number {
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(x) || 2 ** -126)));
  return 2 ** (exponent - 24);
}

export interface ShadowOptions {
  readonly numbers: AdamWNumbers;
  /** Parameters with decay, by name. */
  readonly decayed: ReadonlySet<string>;
  /** How many coordinates. */
  readonly count: number;
  readonly stream: SecretStream;
  /** Parameters that were changed after the update in a way the recipe declares. */
  readonly except?: ReadonlySet<string>;
}

export interface ShadowReport {
  readonly checked: number;
  readonly mismatches: number;
  /** Where the first one is. */
  readonly first?: { readonly name: string; readonly index: number; readonly what: Mismatch };
  /** Root of the mean square of the moves over the learning rate. */
  readonly moved: number;
}

/** Where the trainers keep a parameter and its moments. */
const PLACES = ["param.", "state.adamw.m.", "state.adamw.v."] as const;

/** Checks secret coordinates of an update, spread over the parameters by their size. */
export function checkUpdate(
  before: TensorMap,
  after: TensorMap,
  { numbers, decayed, count, stream, except }: ShadowOptions,
): ShadowReport {
  const factors = adamwFactors(numbers);
  const params = [...after.keys()].flatMap((key) => {
    const name = key.slice(PLACES[0].length);
    if (!key.startsWith(PLACES[0]) || except?.has(name)) return [];
    const six = [before, after].flatMap((tensors) =>
      PLACES.map((place) => tensors.get(place + name)?.data as TypedArray | undefined),
    );
    return six.every(Boolean) ? [{ name, six: six as Float32Array[] }] : [];
  });
  const ends: number[] = [];
  for (const { six } of params) ends.push((ends.at(-1) ?? 0) + six[0]!.length);
  const total = ends.at(-1) ?? 0;
  const report = { checked: total ? count : 0, mismatches: 0, squares: 0 };
  let first: ShadowReport["first"];
  for (let n = 0; n < report.checked; n++) {
    const at = stream.below(total);
    const which = upperBound(ends, at);
    const { name, six } = params[which]!;
    const index = at - (ends[which - 1] ?? 0);
    const [p, m, v, nextP, nextM, nextV] = six.map((data) => data[index]!) as [
      ...[number, number, number],
      ...[number, number, number],
    ];
    report.squares += (nextP - p) ** 2;
    const what = checkCoordinate({ p, m, v, nextP, nextM, nextV }, factors, decayed.has(name));
    if (!what) continue;
    report.mismatches++;
    first ??= { name, index, what };
  }
  const { checked, mismatches, squares } = report;
  const moved = Math.sqrt(squares / Math.max(1, checked)) / numbers.lr;
  return { checked, mismatches, first, moved };
}

/** Index of the first end above `at`. */
function upperBound(ends: readonly number[], at: number): number {
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle]! > at) high = middle;
    else low = middle + 1;
  }
  return low;
}
