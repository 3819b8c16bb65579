/** What is watched over many updates: durations, clocks, and the usual ranges of what an update reports. */

import {
  createClocks,
  outlierDetector,
  robustScale,
  shiftDetector,
  stallDetector,
} from "../../guard/sentinel/index.ts";
import type { AfterStepEvent } from "../watch.ts";
import type { Found } from "./update.ts";

/** Updates whose phases are remembered, to name the one that grew. */
const REMEMBERED = 512;

/** @param wall milliseconds since 1970; without it the clocks are not compared */
export function watchPace({ wall }: { readonly wall?: () => number }) {
  const now = () => performance.now();
  const clocks = wall && createClocks({ monotonic: now, wall });
  // Short updates are steadier than 5 % for a while, and then are not: less is not worth an alarm.
  const [shift, stall] = [shiftDetector({ floor: 0.05 }), stallDetector()];
  let ended: number | undefined;
  let between = 0;
  const phases: { step: number; ms: Readonly<Record<string, number>> }[] = [];

  /** The phase with the largest growth of its median, in milliseconds. */
  function grown(since: number): string {
    const medianOf = (name: string, part: typeof phases) =>
      robustScale(part.map(({ ms }) => ms[name] ?? 0)).median;
    const [old, recent] = [
      phases.filter((p) => p.step < since),
      phases.filter((p) => p.step >= since),
    ];
    const growth = Object.keys(phases.at(-1)?.ms ?? {}).map(
      (name) => [medianOf(name, recent) - medianOf(name, old), name] as const,
    );
    return growth.sort(([a], [b]) => b - a)[0]?.[1] ?? "unknown";
  }

  return {
    /** Before an update. */
    begin(step: number): Found[] {
      if (ended !== undefined) between = now() - ended;
      const { drift, gap } = clocks?.begin() ?? {};
      return [
        ...(drift === undefined ? [] : [["clock", { milliseconds: drift }] as const]),
        ...(gap === undefined ? [] : [["gap", { since: step - 1, milliseconds: gap }] as const]),
      ];
    },
    /** After an update. The time between two counts as well: a sleep may be there. */
    observe({ step, ms, phases: parts }: Pick<AfterStepEvent, "step" | "ms" | "phases">): Found[] {
      phases.push({ step, ms: { ...parts, between } });
      if (phases.length > REMEMBERED) phases.shift();
      const found: Found[] = [];
      const { z, stalls, shift: shifted } = shift.push(step, ms + between);
      if (shifted) {
        const { since, usual, now } = shifted;
        found.push(["step-time", { since, usual, now, phase: grown(since) }]);
      }
      const stalled = stall.push(step, z, stalls);
      if (stalled) found.push(["stalls", stalled]);
      return found;
    },
    /** When everything about an update is done; the sentinel's own time does not count. */
    end(): void {
      ended = now();
      clocks?.end();
    },
    /** The loop evaluates, draws or saves: the time until the next update says nothing. */
    pause(): void {
      ended = undefined;
      clocks?.pause();
    },
  };
}

/** @returns a function that takes each update's metrics and the size of its moves */
export function watchStatistics(): (metrics: AfterStepEvent["metrics"], moved?: number) => Found[] {
  const detectors = {
    loss: outlierDetector({ upward: true, floor: 0.05 }),
    "log of gradient norm": outlierDetector({ floor: 0.1 }),
    "log of update size": outlierDetector({ floor: 0.1 }),
  };
  return ({ loss, gradNorm }, moved) => {
    const values: Record<keyof typeof detectors, number | undefined> = {
      loss,
      "log of gradient norm": gradNorm && Math.log(gradNorm),
      "log of update size": moved && Math.log(moved),
    };
    const names = Object.keys(detectors) as (keyof typeof detectors)[];
    return names.flatMap((of): Found[] => {
      const value = values[of];
      if (value === undefined) return [];
      const { z, outlier } = detectors[of].push(value);
      return outlier ? [["statistics", { of, value, z }]] : [];
    });
  };
}
