/** Between two pictures, scale by scale: their code vectors are mixed, and finer scales can be drawn. Crossfades no pixels. */

import { InputError } from "../../formats/errors.ts";
import type { Var } from "../model.ts";
import { type Given, type Order, ordersOf } from "../orders.ts";
import { drawOrders, type ScaleStep } from "../sampler.ts";
import type { Picture } from "../sheet.ts";
import { checkScales, type EditOptions } from "./edit.ts";
import { type Encoded, encodePicture } from "./tokens.ts";

/** How far scale k of K has gone from the first picture (0) to the second (1) at time t. */
export const COURSES = {
  /** All scales at once. */
  together: (t: number) => t,
  /** Composition first, details last. */
  coarse: (t: number, k: number, K: number) => unit(t * K - k),
  /** Details first, composition last. */
  fine: (t: number, k: number, K: number) => unit(t * K - (K - 1 - k)),
} as const satisfies Record<string, (t: number, k: number, K: number) => number>;
export type Course = keyof typeof COURSES;

const unit = (v: number): number => Math.min(1, Math.max(0, v));

export interface InterpolateOptions extends Omit<EditOptions, "count" | "first"> {
  /** Pictures from the first to the second, both included. Default 8. */
  steps?: number;
  /** Which scales go first. Default "together". */
  course?: Course;
  /** Scales that are mixed; finer ones are drawn. Default all: nothing is drawn. */
  keepScales?: number;
}

/** @yields after every scale, all steps of the way; at the last the way itself. @throws InputError */
export async function* interpolate(
  model: Var,
  [from, to]: readonly [Picture, Picture],
  options: InterpolateOptions = {},
): AsyncGenerator<ScaleStep> {
  const { steps = 8, batch, signal } = options;
  if (!(Number.isInteger(steps) && steps >= 2))
    throw new InputError(`steps must be a whole number of at least 2, got ${steps}`, { steps });
  const ends = [await encodePicture(model, from), await encodePicture(model, to)] as const;
  const orders = Array.from({ length: steps }, (_, i) =>
    betweenOrder(model, ends, { ...options, part: i / (steps - 1) }),
  );
  yield* drawOrders(model, orders, { batch, signal });
}

/** One step of the way, `part` from 0 to 1. All have the same chance, so that only the mixture makes them differ. */
export function betweenOrder(
  model: Var,
  ends: readonly [Encoded, Encoded],
  { part, ...options }: Omit<InterpolateOptions, "steps"> & { part: number },
): Order {
  const K = model.patchNums.length;
  const { course = "together", keepScales = K, label = null } = options;
  checkScales(model, keepScales);
  const [order] = ordersOf(model, { ...options, label, count: 1 });
  const given = (k: number) =>
    k < keepScales ? mixed(model, ends, { k, part: COURSES[course](part, k, K) }) : undefined;
  return { ...order!, given };
}

/** Scale k of both, `part` of the second. */
function mixed(
  model: Var,
  [a, b]: readonly [Encoded, Encoded],
  { k, part }: { k: number; part: number },
): Given {
  const [first, second] = [a.ids[k]!, b.ids[k]!];
  const C = model.tokenizer.latent;
  const codes = model.codebook.data as Float32Array;
  const rows = new Float32Array(first.length * C);
  for (let t = 0; t < first.length; t++)
    for (let c = 0; c < C; c++)
      rows[t * C + c] = (1 - part) * codes[first[t]! * C + c]! + part * codes[second[t]! * C + c]!;
  const keep = new Uint8Array(first.length).fill(1);
  return { keep, ids: part < 0.5 ? first : second, rows };
}
