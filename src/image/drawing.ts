/** How pictures are drawn where the caller does not say: guidance and filters, which a model file may recommend. */

import { InputError } from "../formats/errors.ts";
import { checkFilter } from "./row-filter.ts";
import { scaleRatio } from "./sampling.ts";

/** Settings of sampling that suit one model better than another; see `SampleOptions` for their meaning. */
export interface Drawing {
  readonly guidance: number;
  readonly topK: number;
  readonly topP: number;
  readonly temperature: number;
  /** How many of the last scales are drawn without guidance, at half the work of each. */
  readonly unguidedLast: number;
}

/** For models that recommend nothing. */
export const USUAL_DRAWING: Drawing = {
  guidance: 2,
  topK: 900,
  topP: 0.96,
  temperature: 1,
  unguidedLast: 0,
};

export const DRAWING_KEYS = Object.keys(USUAL_DRAWING) as readonly (keyof Drawing)[];

/** Those settings of `options` that are given, over `base`. @throws InputError where one is out of range */
export function withDrawing(base: Drawing, options: Partial<Drawing>): Drawing {
  const given = DRAWING_KEYS.filter((key) => options[key] !== undefined);
  return checkDrawing({ ...base, ...Object.fromEntries(given.map((key) => [key, options[key]])) });
}

/** @throws InputError where a setting is out of range */
export function checkDrawing(drawing: Drawing): Drawing {
  const { guidance, unguidedLast } = drawing;
  if (!(Number.isInteger(unguidedLast) && unguidedLast >= 0))
    throw new InputError(`unguidedLast must be a whole number of scales, got ${unguidedLast}`, {
      unguidedLast,
    });
  if (!(guidance >= 0 && guidance < Number.POSITIVE_INFINITY))
    throw new InputError(`guidance must be 0 (off) or more, got ${guidance}; 1.5 to 4 is usual`, {
      guidance,
    });
  checkFilter(drawing);
  return drawing;
}

/** What a model's file recommends, from outside. @throws InputError unless it is such an object of numbers */
export function readDrawing(json: unknown, what: string): Partial<Drawing> {
  const entries = Object.entries((json ?? {}) as object);
  for (const [key, value] of entries)
    if (!(DRAWING_KEYS as readonly string[]).includes(key) || typeof value !== "number")
      throw new InputError(
        `${what}: its settings of sampling have ${key} ${JSON.stringify(value)}, wanted numbers for some of ${DRAWING_KEYS.join(", ")}`,
        { key, value },
      );
  return Object.fromEntries(entries);
}

/** Strength of guidance at scale k of K: it rises from 0 at the first, and ends before the unguided last ones. */
export const strengthAt = ({ guidance, unguidedLast }: Drawing, k: number, K: number): number =>
  k < K - unguidedLast ? guidance * scaleRatio(k, K) : 0;
