/** What is watched over many updates: durations, clocks, and the usual ranges of what an update reports. */

import {
  createClocks,
  outlierDetector,
  robustScale,
  type ShiftOptions,
  shiftDetector,
  stallDetector,
} from "../../guard/sentinel/index.ts";
import { type ThreadTimes, threadTimes } from "../../guard/sentinel/scheduler.node.ts";
import type { AfterStepEvent } from "../watch.ts";
import type { Found } from "./update.ts";

/** Updates whose phases are remembered, to name the one that grew. */
const REMEMBERED = 512;

/**
 * What an update's time is made of, and how a rise of each is looked for. Sleeping and waiting are steady: the kernel
 * tells them apart from work, whatever else the machine does. Work itself takes 10 to 40 % longer for seconds when
 * neighbours use the same memory, so it must also rise beside a yardstick that suffers likewise, and by far.
 */
const PARTS = {
  /** Neither running nor ready to run, and not for want of a helping thread that waited for a processor. */
  asleep: { floor: 0.005, stall: 40 },
  /** Ready to run, while others had the processors. */
  waiting: { floor: 0.2 },
  working: { floor: 0.15, k: 1, h: 20 },
} as const satisfies Readonly<Record<string, ShiftOptions>>;
type Part = keyof typeof PARTS;

/** Numbers that the yardstick moves: 2 MB, beyond the caches of one core. */
const YARD = 500_000;

/** Milliseconds that the same copy of memory takes now. */
function yardstick(): () => number {
  const data = new Float32Array(YARD);
  return () => {
    const begin = performance.now();
    data.copyWithin(0, 1);
    return performance.now() - begin;
  };
}

interface Mark {
  readonly wall: number;
  readonly threads?: ThreadTimes;
}

export interface PaceOptions {
  /** Milliseconds since 1970; without it the clocks are not compared. */
  readonly wall?: () => number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  /** What the kernel says of the threads; undefined where it does not. */
  readonly times?: (() => ThreadTimes) | undefined;
  /** Milliseconds that always the same work takes now. */
  readonly yard?: () => number;
}

/** Watches the durations of updates. All that it reads the time from may be given, for tests. */
export function watchPace(options: PaceOptions) {
  const { wall, now = () => performance.now(), yard = yardstick() } = options;
  const times = "times" in options ? options.times : threadTimes();
  const clocks = wall && createClocks({ monotonic: now, wall });
  const mark = (): Mark => ({ wall: now(), threads: times?.() });
  const shifts = Object.entries(PARTS).map(
    ([part, options]) => [part as Part, shiftDetector(options)] as const,
  );
  // Where the kernel does not tell sleep from work, single slow updates are looked for in the whole.
  const stall = stallDetector({ z: times ? PARTS.asleep.stall : 5 });
  const stalling: Part = times ? "asleep" : "working";
  /** The end of what was done for the update before; the time between two counts as well: a sleep may be there. */
  let from: Mark | undefined;
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

  /** Milliseconds of each part since `from`; without the kernel's word all is work. */
  function partsSince(start: Mark): Partial<Record<Part, number>> & { whole: number } {
    const end = mark();
    const whole = end.wall - start.wall;
    if (!end.threads || !start.threads) return { whole, working: whole };
    const since = (name: keyof ThreadTimes) => end.threads![name] - start.threads![name];
    const [working, waiting] = [since("busy"), since("waiting")];
    const asleep = Math.max(0, whole - working - waiting - since("helpers"));
    return { whole, working, waiting, asleep };
  }

  return {
    /** Before an update. */
    begin(step: number): Found[] {
      if (from) between = now() - from.wall;
      else from = mark();
      const { drift, gap } = clocks?.begin() ?? {};
      return [
        ...(drift === undefined ? [] : [["clock", { milliseconds: drift }] as const]),
        ...(gap === undefined ? [] : [["gap", { since: step - 1, milliseconds: gap }] as const]),
      ];
    },
    /** After an update. */
    observe({ step, phases: ms }: Pick<AfterStepEvent, "step" | "phases">): Found[] {
      if (!from) return [];
      const { whole, ...parts } = partsSince(from);
      phases.push({ step, ms: { ...ms, between } });
      if (phases.length > REMEMBERED) phases.shift();
      const pace = yard();
      const found: Found[] = [];
      for (const [part, detector] of shifts) {
        const value = parts[part];
        if (value === undefined) continue;
        const beside = part === "working" ? value / pace : undefined;
        const { z, stalls, shift } = detector.push(step, value, { of: whole, beside });
        if (shift) {
          const { since, usual, now } = shift;
          found.push(["step-time", { since, part, usual, now, phase: grown(since) }]);
        }
        const stalled = part === stalling && stall.push(step, z, stalls);
        if (stalled) found.push(["stalls", { ...stalled }]);
      }
      return found;
    },
    /** When everything about an update is done; the sentinel's own time does not count. */
    end(): void {
      from = mark();
      clocks?.end();
    },
    /** The loop evaluates, draws or saves: the time until the next update says nothing. */
    pause(): void {
      from = undefined;
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
