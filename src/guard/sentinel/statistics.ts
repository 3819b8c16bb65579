/** Outliers of a drifting series: robust z-scores over a sliding window. Loss curves are no detector; they are a hint. */

import { robustScale } from "./timing.ts";

export interface OutlierOptions {
  /** Values before the last that say what is usual. */
  window?: number;
  /** Standard deviations from the usual; robust ones, so honest outliers of 6 happen. */
  limit?: number;
  /** Least scale, in units of the values: small movements of a very quiet series are no outliers. */
  floor?: number;
  /** Only values above the usual count. */
  upward?: boolean;
}

/**
 * The z-score of each value against the window before it; NaN always counts as infinite. What is an outlier does not
 * enter the window, unless as many as half a window follow each other: then that is how it is now.
 */
export function outlierDetector(options: OutlierOptions = {}) {
  const { window = 64, limit = 12, floor = 0.02, upward = false } = options;
  let values: number[] = [];
  let streak = 0;
  return {
    push(value: number): { z: number; outlier: boolean } {
      if (!Number.isFinite(value)) return { z: Number.POSITIVE_INFINITY, outlier: true };
      const full = values.length >= window;
      const { median, scale } = full ? robustScale(values) : { median: value, scale: 1 };
      const z = (value - median) / Math.max(scale, floor);
      const outlier = (upward ? z : Math.abs(z)) > limit;
      streak = outlier ? streak + 1 : 0;
      if (streak > window / 2) [values, streak] = [[], 0];
      if (!outlier) values.push(value);
      if (values.length > window) values.shift();
      return { z, outlier };
    },
  };
}
