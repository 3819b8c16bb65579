/** A data set by one word, as the command line has it. The sets themselves are beside this file. */

import { InputError } from "../formats/errors.ts";
import type { SizeOption } from "../formats/picture-size.ts";
import { drawEmoji, type EmojiOptions, emoji } from "./emoji.ts";
import { EMOJI_CATEGORIES, type EmojiCategory } from "./emoji-categories.ts";
import { EMOJI_SETS, type EmojiSet } from "./emoji-icons.ts";
import { fashionMnist } from "./fashion-mnist.ts";
import { imageFolder } from "./folder.ts";
import type { ImageDataset, Split } from "./types.ts";

export interface OpenOptions {
  /** In pixels; a number is the side of a square. Default 64. */
  readonly size?: SizeOption;
  /** Default "train". */
  readonly split?: Split;
  /** Part that is "test" where the set has no split of its own; default 0.1. */
  readonly testFraction?: number;
  /** Files of a folder that cannot be used: "throw" (default), or "skip" them and tell in `findings`. */
  readonly broken?: "throw" | "skip";
  /** Refuse files of a folder that cannot be used just as they are. Default false. */
  readonly strict?: boolean;
  readonly signal?: AbortSignal;
}

/** How far a slow opening is. */
export interface OpenProgress {
  readonly done: number;
  readonly total: number;
}

interface Source {
  /** What may follow the colon, for errors and help. */
  readonly syntax: string;
  open(rest: string, options: OpenOptions): Promise<ImageDataset>;
  /** Does the slow part once, so that `open` is fast. */
  prepare?(rest: string, options: OpenOptions): AsyncGenerator<OpenProgress, unknown, void>;
}

const SOURCES: Readonly<Record<string, Source>> = {
  emoji: {
    syntax: "emoji, or emoji:food,animals,noto to choose categories and icon sets",
    open: (rest, { size, split, testFraction, signal }) =>
      emoji({ ...emojiChoice(rest), size, split, testFraction, signal }),
    prepare: (rest, { size, signal }) => drawEmoji({ ...emojiChoice(rest), size, signal }),
  },
  "fashion-mnist": {
    syntax: "fashion-mnist, or fashion-mnist:FOLDER with the four IDX files",
    open: (rest, { size, split }) => fashionMnist({ size, split, folder: rest || undefined }),
  },
};

/** What `openDataset` takes, one line each. */
export const DATASET_SYNTAX: readonly string[] = Object.freeze([
  ...Object.values(SOURCES).map(({ syntax }) => syntax),
  "a folder with one subfolder of pictures per class, such as ./pets",
]);

/**
 * Opens `emoji[:words]`, `fashion-mnist[:folder]` or an image folder by its path. A folder that bears the name of a
 * set is written with a slash: `./emoji`.
 * @throws InputError when the word means nothing or the data is not usable
 */
export async function openDataset(spec: string, options: OpenOptions = {}): Promise<ImageDataset> {
  const { source, rest } = sourceOf(spec);
  if (source) return source.open(rest, options);
  return imageFolder(spec, { size: 64, ...options });
}

/** The slow part of opening, with progress; nothing to do for most sets. Afterwards `openDataset` is fast. */
export async function* prepareDataset(
  spec: string,
  options: OpenOptions = {},
): AsyncGenerator<OpenProgress, void, void> {
  const { source, rest } = sourceOf(spec);
  if (source?.prepare) yield* source.prepare(rest, options);
}

function sourceOf(spec: string): { source?: Source; rest: string } {
  const colon = spec.indexOf(":");
  const name = colon < 0 ? spec : spec.slice(0, colon);
  const source = Object.hasOwn(SOURCES, name) ? SOURCES[name] : undefined;
  if (spec === "")
    throw new InputError(`no data set is named; give ${DATASET_SYNTAX.join("; or ")}`);
  if (source) return { source, rest: colon < 0 ? "" : spec.slice(colon + 1) };
  if (!/[/\\.]/.test(spec) && colon > 0)
    throw new InputError(`data set "${spec}" is unknown; give ${DATASET_SYNTAX.join("; or ")}`, {
      spec,
    });
  return { rest: "" };
}

/** "food,animals,noto" -> categories and sets; what is not named is not limited. */
function emojiChoice(rest: string): Pick<EmojiOptions, "categories" | "sets"> {
  if (rest === "") return {};
  const words = rest.split(",").map((word) => word.trim());
  const isCategory = (word: string): word is EmojiCategory =>
    (EMOJI_CATEGORIES as readonly string[]).includes(word);
  const isSet = (word: string): word is EmojiSet => Object.hasOwn(EMOJI_SETS, word);
  const strange = words.find((word) => !isCategory(word) && !isSet(word));
  if (strange !== undefined)
    throw new InputError(
      `emoji: "${strange}" is neither a category (${EMOJI_CATEGORIES.join(", ")}) nor an icon set (${Object.keys(EMOJI_SETS).join(", ")})`,
      { word: strange },
    );
  const [categories, sets] = [words.filter(isCategory), words.filter(isSet)];
  return {
    categories: categories.length ? categories : undefined,
    sets: sets.length ? sets : undefined,
  };
}
