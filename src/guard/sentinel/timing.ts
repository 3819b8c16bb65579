/** Change detection on durations: shifts by a CUSUM of robust z-scores, rare stalls by a CUSUM of exceedances. */

/** Median and 1.4826 times the median absolute deviation: a standard deviation that outliers do not move. */
export function robustScale(values: ArrayLike<number>): { median: number; scale: number } {
  const median = medianOf(Float64Array.from(values));
  const scale = 1.4826 * medianOf(Float64Array.from(values, (x) => Math.abs(x - median)));
  return { median, scale };
}

export function medianOf(values: Float64Array): number {
  values.sort();
  const half = values.length >> 1;
  return values.length % 2 ? values[half]! : (values[half - 1]! + values[half]!) / 2;
}

export interface ShiftOptions {
  /** Updates that show what is usual. */
  calibration?: number;
  /** Updates before that which are not looked at: compilation, caches. */
  warmup?: number;
  /** Allowance in standard deviations: shifts below twice of it are not looked for. */
  k?: number;
  /** z-scores are cut here, so that single outliers do not count. */
  clip?: number;
  /** Threshold of the sum. */
  h?: number;
  /** Least scale as a share of the median of `of`: what is steadier than this still varies by it. */
  floor?: number;
  /** A z-score above this is a stall. */
  stall?: number;
}

export interface Shift {
  /** First update of the rise. */
  readonly since: number;
  readonly usual: number;
  /** Median since then. */
  readonly now: number;
  readonly sum: number;
}

export interface ShiftContext {
  /** What the value is a part of: the floor is a share of its median. Default: the value itself. */
  readonly of?: number;
  /** Another measure that must rise as well: the smaller z-score of the two counts. */
  readonly beside?: number;
}

/** Learns a median and a scale from the first values, then gives z-scores. */
function zScores(calibration: number, floor: number) {
  const [seen, wholes]: [number[], number[]] = [[], []];
  let usual: ReturnType<typeof robustScale> | undefined;
  return {
    /** @returns undefined while it learns */
    of(value: number, whole: number): number | undefined {
      if (usual) return (value - usual.median) / usual.scale;
      seen.push(value);
      wholes.push(whole);
      if (seen.length === calibration) {
        const { median, scale } = robustScale(seen);
        const least = floor * robustScale(wholes).median;
        usual = { median, scale: Math.max(scale, least, Number.MIN_VALUE) };
      }
      return undefined;
    },
    median: () => usual?.median ?? 0,
    /** Share of the values learnt from that lie above so many standard deviations. */
    above: (z: number) =>
      usual ? seen.filter((x) => x - usual!.median > z * usual!.scale).length / seen.length : 0,
  };
}

/**
 * One-sided CUSUM (Page 1954) of clipped robust z-scores, upward. After an alarm it learns anew what is usual, so that
 * one change is told once.
 */
export function shiftDetector(options: ShiftOptions = {}) {
  const { calibration = 100, warmup = 10, k = 0.5, clip = 3, h = 12 } = options;
  const { floor = 0.01, stall = 5 } = options;
  const learner = () => zScores(calibration, floor);
  let [own, other] = [learner(), learner()];
  let [sum, since, skip] = [0, 0, warmup];
  let rise: number[] = [];
  return {
    /** The z-score of a value, the shift where one is found, and the share of stalls that is usual. */
    push(
      step: number,
      value: number,
      { of = value, beside }: ShiftContext = {},
    ): { z: number; shift?: Shift; stalls?: number } {
      if (skip > 0) {
        skip--;
        return { z: 0 };
      }
      const alone = own.of(value, of);
      const also = beside === undefined ? alone : other.of(beside, beside);
      if (alone === undefined || also === undefined) return { z: 0 };
      const z = Math.min(alone, also);
      const stalls = own.above(stall);
      if (sum === 0) [since, rise] = [step, []];
      rise.push(value);
      sum = Math.max(0, sum + Math.max(-clip, Math.min(clip, z)) - k);
      if (sum <= h) return { z, stalls };
      const shift = { since, usual: own.median(), now: robustScale(rise).median, sum };
      [own, other, sum] = [learner(), learner(), 0];
      return { z, stalls, shift };
    },
  };
}

export interface StallOptions {
  /** A value this many standard deviations above the usual is a stall. */
  z?: number;
  /** Share of stalls that is usual, and the one that is looked for. */
  p0?: number;
  p1?: number;
  h?: number;
}

/** CUSUM of the log-likelihood ratio of stalls (Bernoulli): finds rare stalls that the shift detector must ignore. */
export function stallDetector({ z: limit = 5, p0 = 0.006, p1 = 0.02, h = 6 }: StallOptions = {}) {
  let [sum, since, stalls] = [0, 0, 0];
  return {
    /** @param usual share of stalls on this machine; it counts where it is far more than p0 */
    push(
      step: number,
      z: number,
      usual = 0,
    ): { since: number; stalls: number; of: number } | undefined {
      const often = usual > p1 ? usual / p0 : 1;
      const [low, high] = [p0 * often, Math.min(0.5, p1 * often)];
      const [hit, miss] = [Math.log(high / low), Math.log((1 - high) / (1 - low))];
      if (sum === 0) [since, stalls] = [step, 0];
      if (z > limit) stalls++;
      sum = Math.max(0, sum + (z > limit ? hit : miss));
      if (sum <= h) return undefined;
      sum = 0;
      return { since, stalls, of: step - since + 1 };
    },
  };
}
