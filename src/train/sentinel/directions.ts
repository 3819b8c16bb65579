/** Checks of a gradient against the loss: the loss is computed at parameters moved along it and across it. */

import type { Tensor, TensorMap } from "../../formats/dtype.ts";
import {
  across,
  along,
  appliedNorm,
  clippedNorm,
  gradientAcross,
  moveAcross,
  moveAlong,
  type Place,
  type SecretStream,
} from "../../guard/sentinel/index.ts";
import type { Declared } from "../declared.ts";
import { unprefixed } from "../names.ts";
import type { AfterStepEvent } from "../watch.ts";
import type { Found } from "./update.ts";

/** Change of the loss to either side that check A aims at: far above rounding, far below a step's curvature. */
const ALONG = 5e-3;
/** The same for check B, in units of |g|: its random move is sqrt(N) times as long, so it must be smaller. */
const ACROSS = 4e-4;
/** Largest errors of a true gradient; on clean runs 0.004 and 0.0006 were the most. */
export const LIMITS = { along: 0.033, across: 0.02, norm: 1e-3 } as const;

export type Direction = "along" | "across";

export interface DirectionOptions {
  /** Which checks are made. */
  readonly directions: readonly Direction[];
  /** Makes the stream of the random signs; twice the same one. */
  readonly stream: () => SecretStream;
  /** Memory for moved parameters, kept from check to check. */
  readonly memory: Map<string, Tensor>;
}

/**
 * Compares the slopes of the loss with the gradient that the update applied. With clipping the reported norm says how
 * long the gradient was before, so that norm is checked too: against what was applied, and, along the gradient, against
 * the loss itself.
 */
export async function checkDirections(
  event: AfterStepEvent,
  declared: Declared,
  { directions, stream, memory }: DirectionOptions,
): Promise<Found[]> {
  const { lossAt, clip, adamw } = declared;
  const norm = event.metrics.gradNorm;
  if (!lossAt || !norm || !Number.isFinite(norm)) return [];
  const beta1 = adamw.betas[0];
  const places = placesOf(event.before(), event.tensors(), memory);
  const applied = appliedNorm(places, beta1);
  const wanted = clippedNorm(norm, clip);
  const found: Found[] = [];
  if (!(Math.abs(applied / wanted - 1) < LIMITS.norm))
    found.push(["gradient-norm", { reported: norm, applied, expected: wanted }]);

  /** Central difference per unit of `size`. */
  const slope = async (size: number, move: (size: number) => void): Promise<number> => {
    const losses: number[] = [];
    for (const side of [size, -size]) {
      move(side);
      losses.push(await lossAt(event.batch.feeds, memory));
    }
    return (losses[0]! - losses[1]!) / (2 * size);
  };
  const unclipped = norm / applied;
  const checks: Record<Direction, () => Promise<Found[]>> = {
    async along() {
      const size = ALONG / (norm * applied);
      const measured = await slope(size, (s) => moveAlong(places, beta1, s));
      const { error, ...rest } = along(measured / applied, norm);
      return error < LIMITS.along ? [] : [["gradient-along", { error, ...rest }]];
    },
    async across() {
      const measured = await slope(ACROSS / norm, (s) => moveAcross(places, stream().word, s));
      const expected = gradientAcross(places, stream().word, beta1) * unclipped;
      const { error, ...rest } = across(measured, expected, norm);
      return error < LIMITS.across ? [] : [["gradient-across", { error, ...rest }]];
    },
  };
  for (const direction of directions) found.push(...(await checks[direction]()));
  return found;
}

/** Parameters with their means and memory to move them in. */
function placesOf(before: TensorMap, after: TensorMap, memory: Map<string, Tensor>): Place[] {
  const data = (tensors: TensorMap, name: string) => tensors.get(name)!.data as Float32Array;
  return [...unprefixed(before, "param.")].map(([name, { dtype, shape, data: at }]) => {
    const room = memory.get(name) ?? { dtype, shape, data: new Float32Array(at.length) };
    memory.set(name, room);
    const mean = `state.adamw.m.${name}`;
    return {
      at: at as Float32Array,
      before: data(before, mean),
      after: data(after, mean),
      moved: room.data as Float32Array,
    };
  });
}
