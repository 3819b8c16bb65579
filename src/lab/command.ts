/** From a run's recipe back to the command that starts it, and to a table for people. Runs nothing. */

import { labVqvaeConfig, varConfig } from "../image/config.ts";
import { type PatchNum, scalesText } from "../image/scales.ts";
import { VAR_RECIPE } from "../train/var.ts";
import { VQVAE_RECIPE } from "../train/vqvae-recipe.ts";
import { shellWord } from "./shell-word.ts";
import type { Recipe } from "./trained.node.ts";

export type RunKind = "vqvae" | "var";

export interface CommandPlace {
  readonly kind: RunKind;
  /** The data set's word. */
  readonly data: string;
  /** Folder for the run. */
  readonly run: string;
  /** The tokenizer's run; for transformers. */
  readonly tokenizer?: string;
}

/** Settings that no flag sets, or that follow from others. */
const NO_FLAG: Readonly<Record<RunKind, readonly string[]>> = {
  vqvae: ["phiSharing", "phis", "codebookInit"],
  var: ["classes", "patchNums", "codes", "latent", "labels", "normEps", "depth"],
};
/** What the command line starts from where no flag is given. */
const NO_AUGMENT = { flip: 0, shift: 0, scale: 0, hue: 0, saturation: 0, brightness: 0 };
/** Keys of run.json that are told otherwise than by a flag of their name. */
const APART = ["model", "augment", "data", "tokenizer"];

interface Settings {
  readonly own: Recipe;
  readonly augment: Recipe;
  readonly model: Recipe;
}

/** What a run with this recipe would have had without any flag but the depth. */
function defaultsOf(kind: RunKind, { model }: Settings): Settings {
  if (kind === "vqvae")
    return { own: { ...VQVAE_RECIPE }, augment: NO_AUGMENT, model: { ...labVqvaeConfig() } };
  const { depth, width } = model as { depth: number; width: number };
  const usual = 64 * depth;
  return {
    own: { ...VAR_RECIPE },
    augment: { ...NO_AUGMENT, ...VAR_RECIPE.augment },
    // The number of heads follows from a width that was typed.
    model: { ...varConfig(depth, width === usual ? {} : { width }), width: usual },
  };
}

function settingsOf(recipe: Recipe): Settings {
  return {
    own: Object.fromEntries(Object.entries(recipe).filter(([key]) => !APART.includes(key))),
    augment: { ...NO_AUGMENT, ...(recipe.augment as Recipe | undefined) }, // absent means none
    model: (recipe.model ?? {}) as Recipe,
  };
}

/** The command that starts this run anew, one flag for each setting that is not the default. */
export function trainCommand(recipe: Recipe, place: CommandPlace): string {
  const { kind, data, run, tokenizer } = place;
  const words = ["npx", "underpaint", "train", kind, shellWord(data)];
  if (tokenizer !== undefined) words.push("--tokenizer", shellWord(tokenizer));
  words.push("--run", shellWord(run));
  const [now, before] = [settingsOf(recipe), defaultsOf(kind, settingsOf(recipe))];
  if (kind === "var") words.push("--depth", String(now.model.depth));
  for (const group of ["model", "own", "augment"] as const)
    for (const [key, value] of differences(now[group], before[group]))
      if (group !== "model" || !NO_FLAG[kind].includes(key)) words.push(...flagsOf(key, value));
  return words.join(" ");
}

/** Settings of the model that differ from the defaults and that no flag sets: the command does not tell them. */
export function untold(recipe: Recipe, kind: RunKind): string[] {
  const now = settingsOf(recipe);
  const follows = kind === "var" ? ["classes", "patchNums", "codes", "latent", "depth"] : ["phis"];
  return differences(now.model, defaultsOf(kind, now).model)
    .filter(([key]) => NO_FLAG[kind].includes(key) && !follows.includes(key))
    .map(([key, value]) => `${key} ${JSON.stringify(value)}`);
}

const differences = (now: Recipe, before: Recipe): [string, unknown][] =>
  Object.entries(now).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key]),
  );

const kebab = (key: string): string =>
  key.replace("daLN", "daLn").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

function flagsOf(key: string, value: unknown): string[] {
  if (key === "weightDecay" && Array.isArray(value))
    return ["--weight-decay", String(value[0]), "--weight-decay-end", String(value[1])];
  if (key === "from") return ["--from", shellWord((value as { file: string }).file)];
  if (key === "network") return networkFlags(value as { name: string; hash: string });
  if (key === "patchNums")
    return ["--patch-nums", scalesText(value as PatchNum[]).replaceAll(" ", "")];
  if (key === "usingZnorm") return ["--cosine"];
  if (value === false) return [`--no-${kebab(key)}`];
  if (value === true) return [`--${kebab(key)}`];
  return [`--${kebab(key)}`, shellWord(Array.isArray(value) ? value.join(",") : String(value))];
}

/** A network of which only some layers are compared has them behind its hash. */
function networkFlags({ name, hash }: { name: string; hash: string }): string[] {
  const [, layers] = hash.split(" ");
  return ["--perceptual", shellWord(name), ...(layers ? ["--perceptual-layers", layers] : [])];
}

/** All settings of a recipe, in order, those of the model and of the augmentation under their group's name. */
export function recipeRows(recipe: Recipe): [name: string, value: string][] {
  const { own, augment, model } = settingsOf(recipe);
  const rows = (group: Recipe, prefix: string) =>
    Object.entries(group).map(([key, value]): [string, string] => [
      prefix + key,
      key === "patchNums" ? scalesText(value as PatchNum[]) : shown(value),
    ]);
  return [...rows(model, "model."), ...rows(own, ""), ...rows(augment, "augment.")];
}

const shown = (value: unknown): string =>
  Array.isArray(value)
    ? value.map(shown).join(", ")
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
