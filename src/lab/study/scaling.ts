/** Laws of trained models of several sizes: loss and error against parameters, tokens and compute. Plain numbers; trains nothing. */

import { rng } from "../../tensor/rng.ts";
import {
  fitPowerLaw,
  frontier,
  type Interval,
  type LawIntervals,
  lawIntervals,
  type Point,
  type PowerLaw,
  predictLaw,
} from "../power-law.ts";

export const MEASURES = {
  testLoss: "loss, all scales",
  testLastLoss: "loss, last scale",
  testError: "error, all scales",
  testLastError: "error, last scale",
} as const;
export type Measure = keyof typeof MEASURES;

/** What a run measured on the test split after some updates. */
export type Evaluation = Readonly<Record<Measure, number>> & {
  readonly step: number;
};

export interface TrainedSize {
  readonly depth: number;
  readonly width: number;
  /** N: weights of the blocks, 18·depth·width²; embeddings and head are left out, as the paper counts. */
  readonly parameters: number;
  /** Tokens of one update: batch times L. */
  readonly tokensPerUpdate: number;
  readonly flopsPerUpdate: number;
  /** By rising step; the last is the finished model. */
  readonly evaluations: readonly Evaluation[];
}

/** One line of metrics.jsonl as an evaluation; undefined for lines of updates. */
export function evaluationOf(line: Readonly<Record<string, number>>): Evaluation | undefined {
  const { step, testLoss, testLastLoss, testAccuracy, testLastAccuracy } = line;
  if (testLoss === undefined || testLastAccuracy === undefined) return undefined;
  const [testError, testLastError] = [1 - testAccuracy!, 1 - testLastAccuracy];
  return { step: step!, testLoss, testLastLoss: testLastLoss!, testError, testLastError };
}

/** A fitted law with its intervals, and what it said of a model it had not seen. */
export interface FittedLaw {
  readonly measure: Measure;
  readonly against: "parameters" | "compute";
  readonly floor: boolean;
  readonly points: readonly Point[];
  readonly law: PowerLaw;
  readonly intervals: LawIntervals;
  /** The same fitted without the largest model; absent where too few are left. */
  readonly heldOut?: HeldOut;
}

export interface HeldOut {
  readonly x: number;
  readonly measured: number;
  readonly predicted: number;
  /** 95 %, of a new measurement. */
  readonly interval: Interval;
  readonly inside: boolean;
}

export interface ScalingLaws {
  readonly laws: readonly FittedLaw[];
  /** Every evaluation of every size by compute, and those that nothing cheaper beats. */
  readonly curves: readonly { readonly depth: number; readonly points: readonly Point[] }[];
  readonly frontier: readonly (Point & { readonly depth: number })[];
}

const WITH_FLOOR = 4; // points that a fit with a floor needs

/** Compute so far, in FLOPs. */
const compute = (size: TrainedSize, { step }: Evaluation): number => size.flopsPerUpdate * step;

/** All laws. @param options.seed of the bootstrap @throws RangeError for fewer than three sizes */
export function scalingLaws(
  sizes: readonly TrainedSize[],
  { seed = 0, draws = 1000 }: { seed?: number; draws?: number } = {},
): ScalingLaws {
  if (sizes.length < 3)
    throw new RangeError(`scalingLaws: got ${sizes.length} sizes, want at least 3`);
  const sorted = [...sizes].sort((a, b) => a.parameters - b.parameters);
  const points = sorted.flatMap((size) =>
    size.evaluations.map((e) => ({ x: compute(size, e), y: e.testLoss, depth: size.depth })),
  );
  const axes = {
    parameters: (size: TrainedSize) => size.parameters,
    compute: (size: TrainedSize) => compute(size, size.evaluations.at(-1)!),
  };
  const laws = (Object.keys(MEASURES) as Measure[]).flatMap((measure) =>
    (["parameters", "compute"] as const).flatMap((against) =>
      [false, true].flatMap((floor) => {
        const all = sorted.map((size) => ({
          x: axes[against](size),
          y: size.evaluations.at(-1)![measure],
        }));
        if (all.length < WITH_FLOOR && floor) return [];
        const chance = rng(seed).child(measure).child(against).child(Number(floor));
        const options = { floor, draws, rng: chance };
        return [
          {
            ...{ measure, against, floor, points: all },
            law: fitPowerLaw(all, { floor }),
            intervals: lawIntervals(all, options),
            heldOut: heldOut(all, { ...options, rng: chance.child("held out") }),
          },
        ];
      }),
    ),
  );
  return {
    laws,
    curves: sorted.map((size) => ({
      depth: size.depth,
      points: size.evaluations.map((e) => ({ x: compute(size, e), y: e.testLoss })),
    })),
    frontier: frontier(points),
  };
}

/** The largest model from the smaller ones. */
function heldOut(
  all: readonly Point[],
  options: { floor: boolean; draws: number; rng: ReturnType<typeof rng> },
): HeldOut | undefined {
  const { x, y: measured } = all.at(-1)!;
  const seen = all.slice(0, -1);
  if (seen.length < (options.floor ? WITH_FLOOR : 3)) return undefined;
  const predicted = predictLaw(fitPowerLaw(seen, options), x);
  const interval = lawIntervals(seen, { ...options, at: x }).prediction!;
  const inside = interval[0] <= measured && measured <= interval[1];
  return { x, measured, predicted, interval, inside };
}
