/** From a recipe to flags and back: every value of a recipe is a flag, by one table. Knows no recipe. */

import type { Command } from "commander";
import { type NumberRule, numberFlag } from "./flags.ts";

/** A number of a recipe as a flag; the flag's name is the key's, `weightDecay` being `--weight-decay`. */
export interface RecipeFlag extends NumberRule {
  readonly sentence: string;
}

/** Flags by the recipe's key. */
export type RecipeFlags<K extends string> = Readonly<Record<K, RecipeFlag>>;

const kebab = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Adds one number flag per key, with the default that `defaults` has. */
export function addRecipeFlags<K extends string>(
  command: Command,
  flags: RecipeFlags<K>,
  defaults: Readonly<Partial<Record<K, number>>>,
): void {
  for (const [key, flag] of Object.entries<RecipeFlag>(flags)) {
    const fallback = defaults[key as K] ?? flag.fallback;
    numberFlag(command, `--${kebab(key)} <n>`, { ...flag, fallback });
  }
}

/**
 * The values of a group of flags: what was typed, else what the run that is resumed was started with, else the
 * default. Keys without any are left out.
 */
export function readRecipe<K extends string>(
  command: Command,
  keys: readonly K[],
  before: Readonly<Record<string, unknown>> | undefined,
): Partial<Record<K, number>> {
  const values: Partial<Record<K, number>> = {};
  for (const key of keys) {
    const typed = command.getOptionValueSource(key) === "cli";
    const earlier = before?.[key];
    const value = typed || typeof earlier !== "number" ? command.getOptionValue(key) : earlier;
    if (value !== undefined) values[key] = value as number;
  }
  return values;
}

/** What every recipe says of its updates. */
export const UPDATE_FLAGS: RecipeFlags<"steps" | "batch" | "seed" | "lr" | "warmup" | "clip"> = {
  steps: { sentence: "Length of the whole run", unit: "updates", min: 1, max: 1e9 },
  batch: { sentence: "Size of a batch", unit: "pictures", min: 1, max: 65_536 },
  seed: { sentence: "Where all chance comes from", min: 0, max: 2 ** 32 - 1 },
  lr: { sentence: "Highest learning rate", real: true, min: 0, max: 10 },
  warmup: { sentence: "Linear rise of the learning rate", unit: "updates", min: 0, max: 1e9 },
  clip: { sentence: "Largest joint norm of the gradients, 0 for no limit", real: true, min: 0 },
};

/** What the three groups share: how strongly pictures are changed at random. */
export const AUGMENT_FLAGS: RecipeFlags<
  "flip" | "shift" | "scale" | "hue" | "saturation" | "brightness"
> = {
  flip: { sentence: "Probability of a mirrored picture", real: true, min: 0, max: 1 },
  shift: { sentence: "Largest displacement", unit: "pixels", min: 0, max: 256 },
  scale: { sentence: "Zoom by up to 1 plus or minus this", real: true, min: 0, max: 0.9 },
  hue: { sentence: "Largest rotation of the hue", unit: "turns", real: true, min: 0, max: 0.5 },
  saturation: {
    sentence: "Colourfulness by up to 1 plus or minus this",
    real: true,
    min: 0,
    max: 1,
  },
  brightness: { sentence: "Intensity by up to 1 plus or minus this", real: true, min: 0, max: 1 },
};

/** How often the loop does what; not a part of the recipe, so it may change when a run is resumed. */
export const LOOP_FLAGS: RecipeFlags<"saveEvery" | "evaluateEvery" | "drawEvery"> = {
  saveEvery: { sentence: "Between checkpoints", unit: "updates", min: 1, max: 1e9, fallback: 200 },
  evaluateEvery: {
    sentence: "Between measurements on the test split",
    unit: "updates",
    min: 1,
    max: 1e9,
    fallback: 500,
  },
  drawEvery: {
    sentence: "Between sample sheets",
    unit: "updates",
    min: 1,
    max: 1e9,
    fallback: 500,
  },
};
