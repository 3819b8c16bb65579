/** Flags with a unit, a range, a default and one sentence, checked while they are read. Knows no command. */

import { type Command, Option } from "commander";
import { InputError } from "../formats/errors.ts";
import { type PictureSize, readSize, sizeText } from "../formats/picture-size.ts";
import { count } from "./format.ts";

export interface NumberRule {
  /** What the number counts: "images", "pixels"; "" for a plain number. */
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  /** Fractions are allowed. Default: whole numbers only. */
  readonly real?: boolean;
  /** Value of the absent flag. */
  readonly fallback?: number;
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** "a whole number from 1 to 100,000", as the error and the help say it. */
export function rangeOf({ real, min, max }: NumberRule): string {
  const what = real ? "a number" : "a whole number";
  const shown = (n: number) => (Number.isInteger(n) ? count(n) : String(n));
  if (min !== undefined && max !== undefined) return `${what} from ${shown(min)} to ${shown(max)}`;
  if (min !== undefined) return `${what} from ${shown(min)}`;
  return max === undefined ? what : `${what} up to ${shown(max)}`;
}

/** Reads a number. @throws InputError naming the flag, what came and what is wanted */
export function readNumber(flag: string, text: string, rule: NumberRule): number {
  const value = NUMBER.test(text.trim()) ? Number(text) : Number.NaN;
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, real } = rule;
  const fits = real ? Number.isFinite(value) : Number.isSafeInteger(value);
  if (fits && value >= min && value <= max) return value;
  throw new InputError(`${flag} ${JSON.stringify(text)}: want ${rangeOf(rule)}`, { flag, text });
}

/** Adds a number flag: `numberFlag(command, "--count <n>", "How many images to make", { min: 1 })`. */
export function numberFlag(
  command: Command,
  flags: string,
  { sentence, ...rule }: NumberRule & { readonly sentence: string },
): Command {
  const long = /--[a-z0-9-]+/.exec(flags)![0];
  const unit = rule.unit ? `${sentence}, in ${rule.unit}` : sentence;
  const option = new Option(flags, unit).argParser((text) => readNumber(long, text, rule));
  if (rule.fallback !== undefined) option.default(rule.fallback);
  return command.addOption(option);
}

/** Adds a flag whose value is a list of whole numbers: "1,2,3". */
export function listFlag(
  command: Command,
  flags: string,
  { sentence, fallback }: { sentence: string; fallback?: readonly number[] },
): Command {
  const long = /--[a-z0-9-]+/.exec(flags)![0];
  const option = new Option(flags, `${sentence}, as 1,2,3`).argParser((text) =>
    text.split(",").map((part) => readNumber(long, part, { min: 1, max: 1e6 })),
  );
  if (fallback) option.default(fallback, fallback.join(","));
  return command.addOption(option);
}

const MOST_PIXELS = 4096;

/** Adds `--size`: a side, or a width and a height. Its value is a PictureSize. */
export function addSizeFlag(
  command: Command,
  { sentence, fallback }: { sentence: string; fallback?: PictureSize },
): Command {
  const option = new Option("--size <size>", `${sentence}, in pixels, as 64 or 48x32`);
  option.argParser((text) => {
    const size = readSize(text, "--size");
    if (Math.max(size.width, size.height) <= MOST_PIXELS) return size;
    throw new InputError(`--size ${text}: want at most ${MOST_PIXELS} pixels along a side`, {
      text,
    });
  });
  if (fallback) option.default(fallback, sizeText(fallback));
  return command.addOption(option);
}

/** Flags that the user typed, not their defaults. */
export const givenFlags = (command: Command): Set<string> =>
  new Set(Object.keys(command.opts()).filter((key) => command.getOptionValueSource(key) === "cli"));
