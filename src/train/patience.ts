/** Early stopping: which evaluation was the best so far, and when to give up. Measures and saves nothing. */

import { InputError } from "../formats/errors.ts";

/** What a run remembers of its evaluations; plain JSON, kept in its checkpoints. */
export interface Best {
  /** The lowest loss on the test split; null before the first evaluation. */
  readonly loss: number | null;
  /** The update after which it was measured. */
  readonly step: number;
  /** The last update that was measured. */
  readonly seen: number;
}

export const NO_BEST: Best = { loss: null, step: 0, seen: 0 };

/** After an evaluation. A loss that is not a number is no better than any. */
export const better = (best: Best, { step, loss }: { step: number; loss: number }): Best =>
  best.loss === null || loss < best.loss ? { loss, step, seen: step } : { ...best, seen: step };

/** Why a run ends that has not improved for `patience` updates; undefined while it may go on. 0 is endless patience. */
export function outOfPatience(best: Best, patience: number): string | undefined {
  if (patience === 0 || best.seen - best.step < patience) return undefined;
  return `the test loss has not fallen below ${best.loss?.toFixed(4)} since update ${best.step}; that model is kept`;
}

/** From a checkpoint. @throws InputError when it is damaged */
export function readBest(saved: unknown): Best {
  if (saved === undefined) return NO_BEST;
  const { loss, step, seen } = (saved ?? {}) as Best;
  const whole = [step, seen].every((n) => Number.isSafeInteger(n) && n >= 0);
  if (whole && (loss === null || Number.isFinite(loss))) return { loss, step, seen };
  throw new InputError(
    `the checkpoint's best evaluation is ${JSON.stringify(saved)}, want a loss and two updates; use the checkpoint of this very run`,
  );
}
