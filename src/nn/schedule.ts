/** Learning rate and weight decay as functions of the step. Touches no optimizer and no weights. */

import { InputError } from "../formats/errors.ts";

/** Progress after warm-up, 0 to 1, and the final fraction -> fraction of the peak rate. */
type Curve = (progress: number, end: number) => number;

/** What `schedule` may be, for people. */
export const SCHEDULES =
  "lin0, lin00, lin, cos, exp, const, lin0.1 to lin0.9, or held and then one of those, as const0.7+cos";

/** Flat until `flat`, then a straight line down to `end`. */
const flatThenLinear =
  (flat: number): Curve =>
  (progress, end) =>
    progress < flat ? 1 : end + ((1 - end) * (1 - progress)) / (1 - flat);

/**
 * The curves of the official VAR trainer by their names there. "lin0.8" and "const0.7+cos" are not in the table: see
 * `learningRate`.
 */
export const curves: Readonly<Record<"lin0" | "lin00" | "lin" | "cos" | "exp" | "const", Curve>> = {
  lin0: flatThenLinear(0.05),
  lin00: flatThenLinear(0),
  lin: flatThenLinear(0.15),
  cos: (progress, end) => end + (1 - end) * (0.5 + 0.5 * Math.cos(Math.PI * progress)),
  exp: (progress, end) =>
    progress < 0.15 ? 1 : Math.exp(((progress - 0.15) / (1 - 0.15)) * Math.log(end)),
  const: () => 1, // ours, as are the mixed ones
};

/** "lin" with a number T: a gentle line to the middle of 1 and the plain line's value at T, then down to `end`. */
const kinked =
  (knee: number): Curve =>
  (progress, end) => {
    const line = end + (1 - end) * (1 - knee);
    const middle = (1 + line) / 2;
    return progress < knee
      ? 1 + ((middle - 1) * progress) / knee
      : end + ((middle - end) * (1 - progress)) / (1 - knee);
  };

/**
 * The highest rate for a share of the run, then a whole curve in what is left: "const0.7+cos". Warm-up, hold and decay
 * in turn (WSD; Hu et al. 2024, arXiv 2404.06395, section 4.2).
 */
const held =
  (share: number, then: Curve): Curve =>
  (progress, end) =>
    progress < share ? 1 : then((progress - share) / (1 - share), end);

/** A curve by name: those of the table, "lin" and a number between 0 and 1 such as "lin0.8", or a mixed one. */
function curveOf(name: string): Curve {
  if (Object.hasOwn(curves, name)) return curves[name as keyof typeof curves];
  const knee = /^lin(0\.\d+)$/.exec(name);
  if (knee !== null && Number(knee[1]) > 0) return kinked(Number(knee[1]));
  const mixed = /^const(0\.\d+)\+(?!const)(.+)$/.exec(name);
  if (mixed !== null) return held(Number(mixed[1]), curveOf(mixed[2]!));
  throw new InputError(
    `schedule: got "${name}", want one of ${SCHEDULES}; use lin0, the one of the paper's code`,
    { schedule: name },
  );
}

/** What the learning rate depends on besides the step. */
export interface LearningRateOptions {
  /** Name of the curve; default "lin0". */
  readonly schedule?: string;
  /** Highest rate. */
  readonly peak: number;
  /** Steps of linear warm-up; rounded. Default 0. */
  readonly warmup?: number;
  /** Steps of the whole run; the last one, `steps - 1`, gets `end * peak`. */
  readonly steps: number;
  /** Fraction of the peak at step 0 of the warm-up; default 0.005. */
  readonly start?: number;
  /** Fraction of the peak at the last step; default 0.1 (the official runs use 0.1 and 0.01). */
  readonly end?: number;
}

/**
 * Learning rate at a step (0-based): linear warm-up, then the curve. Past the end it stays at the last value.
 * Source: the official VAR trainer's schedule table (github.com/FoundationVision/VAR).
 */
export function learningRate(
  step: number,
  { schedule = "lin0", peak, warmup = 0, steps, start = 0.005, end = 0.1 }: LearningRateOptions,
): number {
  const curve = curveOf(schedule);
  const rise = Math.round(warmup);
  if (step < rise) return peak * (start + ((1 - start) * step) / rise);
  return peak * curve(progressOf(step - rise, steps - rise), end);
}

/** What the weight decay depends on besides the step. */
export interface WeightDecayOptions {
  readonly start: number;
  /** Decay at the last step; default the same as `start`, a constant. */
  readonly end?: number;
  readonly steps: number;
}

/** Weight decay at a step (0-based): half a cosine from `start` to `end` over the whole run, warm-up included. */
export function weightDecay(
  step: number,
  { start, end = start, steps }: WeightDecayOptions,
): number {
  return end + (start - end) * (0.5 + 0.5 * Math.cos(Math.PI * progressOf(step, steps)));
}

/** The official scaling rule: `base` per 256 pictures of a batch, in proportion. Default base 1e-4. */
export const peakLearningRate = (batch: number, { base = 1e-4 } = {}): number =>
  (base * batch) / 256;

/** 0 at the first of `steps` steps, 1 at the last and after; a run of one step is at its end. */
const progressOf = (step: number, steps: number): number =>
  steps <= 1 ? 1 : Math.min(1, step / (steps - 1));
