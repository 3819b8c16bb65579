/**
 * Emoji as a data set: every icon of the chosen sets drawn on white, labelled category/style, split by concept.
 * Drawn once, then read from a cache file. Which icon is what is decided in emoji-icons.ts.
 */

import { node } from "../formats/builtins.node.ts";
import { cacheFolder } from "../formats/cache.node.ts";
import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { pictureSize, pixelCount, type SizeOption, sizeText } from "../formats/picture-size.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { rng } from "../tensor/rng.ts";
import { EMOJI_CATEGORIES, type EmojiCategory, PICTURE_CATEGORIES } from "./emoji-categories.ts";
import { EMOJI_SETS, type EmojiIcon, type EmojiSet, emojiIcons } from "./emoji-icons.ts";
import { type Picture, resizeLanczos } from "./resize.ts";
import { drawSvg } from "./sharp.ts";
import type { ImageDataset, Split } from "./types.ts";

/** Change it when drawing changes, so that old cache files are not used. */
const DRAWING = 1;
const OVERSAMPLE = 4;
const AT_ONCE = 8;

export interface EmojiOptions {
  /** In pixels; a number is the side of a square, otherwise icons are as large as the shorter side. Default 64. */
  readonly size?: SizeOption;
  /** Icon sets; default all five. */
  readonly sets?: readonly EmojiSet[];
  /** Default: those that look like something, PICTURE_CATEGORIES. */
  readonly categories?: readonly EmojiCategory[];
  /** Every skin tone and gender; default only the plainest picture of each concept. */
  readonly tones?: boolean;
  /** Also flags, without naming all categories. Default false. */
  readonly flags?: boolean;
  /** Empty border around the icon, as a part of the shorter side; default 1/16. */
  readonly margin?: number;
  /** Folder for the drawn pictures; default `cacheFolder()`. */
  readonly cache?: string;
  readonly signal?: AbortSignal;
}

/** Which half of the concepts, and how many. */
export interface EmojiSplit {
  /** Default "train". */
  readonly split?: Split;
  /** Part of the concepts that is "test"; default 0.1. */
  readonly testFraction?: number;
}

/** How far the drawing is. */
export interface DrawProgress {
  readonly done: number;
  readonly total: number;
}

/** What is known of each drawn picture. */
interface DrawnIcon {
  readonly style: EmojiSet;
  readonly icon: string;
  readonly concept: string;
  readonly category: EmojiCategory;
}

interface Drawn {
  readonly icons: readonly DrawnIcon[];
  readonly pixels: Uint8Array; // N H W C
}

/**
 * Emoji of one split. Classes are `category/style`; a class without a picture in either split is not listed, so the
 * classes are the same for "train" and "test". Draws first when the cache has nothing (about a minute for all sets).
 * Throws InputError when an icon package is absent or an option is out of range.
 */
export async function emoji(options: EmojiOptions & EmojiSplit = {}): Promise<ImageDataset> {
  const { split = "train", testFraction = 0.1 } = options;
  if (!(testFraction >= 0 && testFraction < 1)) {
    throw new InputError(`emoji: got a test part of ${testFraction}, want 0 to below 1`);
  }
  const drawing = drawEmoji(options);
  let step = await drawing.next();
  while (!step.done) step = await drawing.next();
  const { icons, pixels, settings } = step.value;
  const { categories, sets } = settings;
  const size = pictureSize(settings.size);
  const present = new Set(icons.map(className));
  const classes = categories
    .flatMap((category) => sets.map((style) => className({ category, style })))
    .filter((name) => present.has(name));
  const kept = icons.flatMap(({ concept }, i) =>
    isTestConcept(concept, testFraction) === (split === "test") ? [i] : [],
  );
  const bytes = pixelCount(size) * 3;
  const own = new Uint8Array(kept.length * bytes);
  kept.forEach((from, to) => {
    own.set(pixels.subarray(from * bytes, (from + 1) * bytes), to * bytes);
  });
  const labels = kept.map((i) => classes.indexOf(className(icons[i]!)));
  return {
    name: "emoji",
    split,
    ...size,
    channels: 3,
    count: kept.length,
    classes,
    pixels: own,
    label: (i) => labels[i]!,
    id: (i) => `${icons[kept[i]!]!.style}/${icons[kept[i]!]!.icon}`,
    concept: (i) => icons[kept[i]!]!.concept,
    attribution: sets.map((set) => {
      const { name, licence, url } = EMOJI_SETS[set];
      return { name, licence, url };
    }),
  };
}

/** Concepts are split by a hash of their name: adding a set or an icon moves no other. */
export const isTestConcept = (concept: string, testFraction: number): boolean =>
  rng("emoji split").child(concept).uniform() < testFraction;

const className = ({ category, style }: { category: string; style: string }): string =>
  `${category}/${style}`;

/** Draws what `emoji` will load, with progress; returns at once when it is in the cache already. */
export async function* drawEmoji(
  options: EmojiOptions = {},
): AsyncGenerator<DrawProgress, Drawn & { settings: Settings }, void> {
  const settings = settle(options);
  const { icons: all, versions } = await emojiIcons(settings.sets, settings);
  const icons = all.filter((icon) => settings.categories.includes(icon.category));
  const facts: readonly DrawnIcon[] = icons.map(({ style, icon, concept, category }) => {
    return { style, icon, concept, category };
  });
  // The facts are part of the key: a changed rule of category or identity must not meet an old file.
  const key = JSON.stringify({ ...settings, versions, drawing: DRAWING, facts });
  const hash = rng(key).uint32().toString(16).padStart(8, "0");
  const file = node.path.join(
    options.cache ?? cacheFolder(),
    `emoji-${typeof settings.size === "number" ? settings.size : sizeText(settings.size)}-${hash}.safetensors`,
  );
  const size = pictureSize(settings.size);
  const bytes = pixelCount(size) * 3;
  const old = await readCache(file, key, facts.length * bytes);
  if (old) return { icons: facts, pixels: old, settings };

  const pixels = new Uint8Array(icons.length * bytes);
  for (let done = 0; done < icons.length; done += AT_ONCE) {
    options.signal?.throwIfAborted();
    yield { done, total: icons.length };
    const some = icons.slice(done, done + AT_ONCE);
    const drawn = await Promise.all(some.map((icon) => drawIcon(icon, settings)));
    drawn.forEach((picture, k) => {
      pixels.set(picture, (done + k) * bytes);
    });
  }
  yield { done: icons.length, total: icons.length };
  await writeCache(file, key, {
    dtype: "uint8",
    shape: [icons.length, size.height, size.width, 3],
    data: pixels,
  });
  return { icons: facts, pixels, settings };
}

interface Settings {
  /** A square is one number: caches of square pictures bear it in their keys. */
  readonly size: SizeOption;
  readonly margin: number;
  readonly tones: boolean;
  readonly sets: readonly EmojiSet[];
  readonly categories: readonly EmojiCategory[];
}

/** Options with their defaults, checked, in one fixed order: equal settings give equal cache keys. */
function settle(options: EmojiOptions): Settings {
  const { size = 64, margin = 1 / 16, tones = false, flags = false } = options;
  const { width, height } = pictureSize(size);
  if (![width, height].every((side) => Number.isInteger(side) && side >= 8 && side <= 1024)) {
    throw new InputError(
      `emoji: got size ${sizeText({ width, height })}, want 8 to 1024 pixels along each side`,
      { size },
    );
  }
  if (!(margin >= 0 && margin < 0.4)) {
    throw new InputError(`emoji: got a margin of ${margin}, want 0 to below 0.4 of the size`);
  }
  const known = Object.keys(EMOJI_SETS) as EmojiSet[];
  const wanted: readonly EmojiCategory[] = options.categories ?? PICTURE_CATEGORIES;
  const sets = choose("icon set", options.sets ?? known, known);
  const categories = choose("category", flags ? [...wanted, "flags"] : wanted, EMOJI_CATEGORIES);
  return { size: width === height ? width : { width, height }, margin, tones, sets, categories };
}

function choose<T extends string>(what: string, wanted: readonly T[], known: readonly T[]): T[] {
  const strange = wanted.find((name) => !known.includes(name));
  if (strange !== undefined || wanted.length === 0) {
    throw new InputError(
      `emoji: ${strange === undefined ? `no ${what} chosen` : `unknown ${what} "${strange}"`}; there are ${known.join(", ")}`,
    );
  }
  return known.filter((name) => wanted.includes(name));
}

/** Draws large, cuts to what is visible, fits it inside the margin, centred on white: styles get one framing. */
async function drawIcon(icon: EmojiIcon, { size, margin }: Settings): Promise<Uint8Array> {
  const { width, height } = pictureSize(size);
  const shorter = Math.min(width, height);
  const inner = shorter - 2 * Math.round(margin * shorter);
  const large = await drawSvg(icon.svg(OVERSAMPLE * shorter));
  const box = visibleBox(large);
  const side = Math.max(box.width, box.height);
  const square = new Uint8Array(side * side * 3).fill(255);
  const dx = Math.floor((side - box.width) / 2) - box.left;
  const dy = Math.floor((side - box.height) / 2) - box.top;
  for (let y = box.top; y < box.top + box.height; y++) {
    for (let x = box.left; x < box.left + box.width; x++) {
      const from = (y * large.width + x) * 4;
      const to = ((y + dy) * side + x + dx) * 3;
      const alpha = large.data[from + 3]!;
      for (let c = 0; c < 3; c++) {
        square[to + c] = Math.round((large.data[from + c]! * alpha + 255 * (255 - alpha)) / 255);
      }
    }
  }
  const fitted = resizeLanczos(
    { width: side, height: side, channels: 3, data: square },
    inner,
    inner,
  );
  const out = new Uint8Array(height * width * 3).fill(255);
  const [left, top] = [Math.floor((width - inner) / 2), Math.floor((height - inner) / 2)];
  for (let y = 0; y < inner; y++) {
    const row = fitted.data.subarray(y * inner * 3, (y + 1) * inner * 3);
    out.set(row, ((y + top) * width + left) * 3);
  }
  return out;
}

/** Smallest rectangle with all pixels that can be seen on white. Throws when there are none. */
function visibleBox({ width, height, data }: Picture) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[(y * width + x) * 4 + 3]! < 16) continue; // fainter than a shadow's edge
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return { left: 0, top: 0, width, height }; // nothing visible: a white picture
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}

async function writeCache(file: string, key: string, pixels: Tensor): Promise<void> {
  try {
    await node.fs.mkdir(node.path.dirname(file), { recursive: true });
    await writeFileAtomic(
      file,
      writeSafetensors(new Map([["pixels", pixels]]), { metadata: { key } }),
    );
  } catch (cause) {
    throw new InputError(
      `emoji: cannot write ${file} (${(cause as Error).message}); set UNDERPAINT_CACHE to a folder with room`,
      { file },
    );
  }
}

/** The cache is ours, but a file can be cut short or old: anything odd means drawing again. */
async function readCache(
  file: string,
  key: string,
  bytes: number,
): Promise<Uint8Array | undefined> {
  try {
    const { tensors, metadata } = readSafetensors(await node.fs.readFile(file));
    const pixels = tensors.get("pixels")?.data;
    const good = metadata.key === key && pixels instanceof Uint8Array && pixels.length === bytes;
    return good ? pixels : undefined;
  } catch {
    return undefined;
  }
}
