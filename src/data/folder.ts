/** Your own pictures: a folder with one subfolder per class. Prepares them as VAR does; follows no links out. */

import type { Dirent } from "node:fs";
import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import {
  type PictureSize,
  pictureSize,
  pixelCount,
  type SizeOption,
  sizeText,
} from "../formats/picture-size.ts";
import { rng } from "../tensor/rng.ts";
import { centreCrop, type Picture, resizeToCover, roomySize } from "./resize.ts";
import { type DecodedFacts, decodeWithFacts } from "./sharp.ts";
import type { Attribution, Finding, ImageDataset, Split } from "./types.ts";

/** The formats whose files are read, by the names they go under. */
const FORMATS: Readonly<Record<string, readonly string[]>> = {
  png: [".png", ".apng"],
  jpeg: [".jpg", ".jpeg"],
  webp: [".webp"],
  gif: [".gif"],
  tiff: [".tif", ".tiff"],
  heif: [".avif"], // what sharp calls it
};
const EXTENSIONS = new Set(Object.values(FORMATS).flat());
/** Pictures too, but nothing here reads them. */
const UNREAD = new Set([".bmp", ".heic", ".heif", ".jxl", ".jp2", ".psd", ".ico", ".tga"]);
const TEST_FOLDERS = ["val", "test"];
const MAX_FILE_BYTES = 256e6;

export interface FolderOptions {
  /** Of the pictures a model sees, in pixels; a number is the side of a square. */
  readonly size: SizeOption;
  /** Default "train". */
  readonly split?: Split;
  /** Keep round(1.125 size) pixels along each side instead of `size`, so that the loader can crop at random. Default false. */
  readonly room?: boolean;
  /** Part of the files that is "test" where there is no val/ folder, by a hash of their names. Default 0.1. */
  readonly testFraction?: number;
  /** What a file that cannot be used does: "throw" (default) or "skip", which lists it in `broken`. */
  readonly broken?: "throw" | "skip";
  /** Refuse files that are used but not as they are as well: those of `findings`. Default false. */
  readonly strict?: boolean;
  readonly attribution?: readonly Attribution[];
  readonly signal?: AbortSignal;
}

/** A folder data set, with the files that were skipped. */
export interface FolderDataset extends ImageDataset {
  readonly broken: readonly { readonly file: string; readonly reason: string }[];
  readonly findings: readonly Finding[];
}

/** Pictures whose shorter edge is below this share of the model's would be mostly made up by enlarging. */
const TINY_SHARE = 0.5;

/** What is odd about a file that is used all the same, and what is done with it. */
const ODDITIES: readonly {
  readonly what: string;
  readonly done: string;
  readonly is: (facts: DecodedFacts, file: string) => boolean;
}[] = [
  { what: "CMYK", done: "taken as sRGB", is: ({ cmyk }) => cmyk },
  { what: "animated", done: "first picture taken", is: ({ pages }) => pages > 1 },
  { what: "of more than 8 bits", done: "rounded to 8 bits", is: ({ deep }) => deep },
  { what: "transparent", done: "laid on white", is: ({ transparent }) => transparent },
  {
    what: "mislabelled",
    done: "read by their content",
    is: ({ format }, file) =>
      !(FORMATS[format] ?? []).includes(node.path.extname(file).toLowerCase()),
  },
];

/** A picture that is readable and of no use. */
class TinyError extends Error {}

/**
 * Loads `path/CLASS/*.png|jpg|webp|gif|tiff|avif`, or `path/train/CLASS/...` and `path/val/CLASS/...` where these exist.
 * Classes and files are in code-unit order. Resized with Lanczos to cover round(1.125 size), then the middle (VAR's
 * data.py; Pillow's arithmetic). Throws InputError when nothing usable is there.
 */
export async function imageFolder(path: string, options: FolderOptions): Promise<FolderDataset> {
  const { split = "train", room = false, testFraction = 0.1 } = options;
  const { broken = "throw", strict = false } = options;
  const size = pictureSize(options.size);
  checkOptions(size, testFraction);
  const files = await listSplit(path, split, testFraction);
  const stored = room ? roomySize(size) : size;
  const bytes = pixelCount(stored) * 3;
  const pixels = new Uint8Array(files.items.length * bytes);
  const kept: Item[] = [];
  const skipped: { file: string; reason: string }[] = [];
  const found = new Map<string, { what: string; done: string; files: string[] }>();
  const note = (what: string, done: string, file: string) => {
    if (strict)
      throw new InputError(`${file} is ${what} (otherwise ${done}); convert or remove it`, {
        file,
        what,
      });
    if (!found.has(what)) found.set(what, { what, done, files: [] });
    found.get(what)!.files.push(file);
  };
  for (const { file } of files.unread) note("of a format that is not read", "left out", file);
  for (const item of files.items) {
    options.signal?.throwIfAborted();
    try {
      const { picture, facts } = await prepare(item.file, size, stored);
      for (const { what, done, is } of ODDITIES)
        if (is(facts, item.file)) note(what, done, item.file);
      pixels.set(picture.data, kept.length * bytes);
      kept.push(item);
    } catch (cause) {
      if (cause instanceof InputError) throw cause;
      const reason = (cause as Error).message.split("\n")[0]!;
      if (broken === "throw") {
        throw new InputError(
          `${item.file} is not a readable picture (${reason}); repair or remove it, or skip broken files`,
          { file: item.file },
        );
      }
      note(cause instanceof TinyError ? "tiny" : "broken", "left out", item.file);
      skipped.push({ file: item.file, reason });
    }
  }
  if (kept.length === 0) {
    throw new InputError(
      `${path}: no readable picture for ${split} (${skipped.length} broken); add PNG, JPEG or WebP files`,
      { broken: skipped },
    );
  }
  return {
    name: node.path.basename(node.path.resolve(path)),
    split,
    ...stored,
    channels: 3,
    count: kept.length,
    classes: files.classes,
    pixels: pixels.subarray(0, kept.length * bytes),
    label: (i) => kept[i]!.label,
    id: (i) => kept[i]!.id,
    concept: (i) => kept[i]!.id,
    attribution: options.attribution ?? [{ name: path, licence: "unknown", url: "" }],
    broken: skipped,
    findings: [...found.values()],
  };
}

interface Item {
  readonly file: string;
  readonly label: number;
  /** class/file name */
  readonly id: string;
}

async function prepare(
  file: string,
  size: PictureSize,
  stored: PictureSize,
): Promise<{ picture: Picture; facts: DecodedFacts }> {
  const { size: bytes } = await node.fs.stat(file);
  if (bytes > MAX_FILE_BYTES) throw new Error(`${bytes} bytes are more than ${MAX_FILE_BYTES}`);
  const { picture, facts } = await decodeWithFacts(await node.fs.readFile(file));
  const { width, height } = picture;
  // For a square: the shorter edge.
  if (Math.min(width / size.width, height / size.height) < TINY_SHARE)
    throw new TinyError(`${width}x${height} pixels are too few for pictures of ${sizeText(size)}`);
  return { picture: centreCrop(resizeToCover(picture, roomySize(size)), stored), facts };
}

async function listSplit(
  path: string,
  split: Split,
  testFraction: number,
): Promise<{ classes: readonly string[] } & Listed> {
  const top = (await list(path)).filter((e) => e.isDirectory()).map((e) => e.name);
  const testFolder = TEST_FOLDERS.find((name) => top.includes(name));
  if (top.includes("train") && testFolder) {
    // The classes are those of train/, so that labels agree between the splits.
    const classes = await classNames(node.path.join(path, "train"));
    const root = node.path.join(path, split === "train" ? "train" : testFolder);
    const strange = (await classNames(root)).filter((name) => !classes.includes(name));
    if (strange.length > 0) {
      throw new InputError(
        `${root}: class "${strange[0]}" has no folder in train/; add it there or remove it here`,
        { strange },
      );
    }
    return { classes, ...(await listFiles(root, classes)) };
  }
  const classes = await classNames(path);
  const inTest = (id: string): boolean => rng("split").child(id).uniform() < testFraction;
  const { items, unread } = await listFiles(path, classes);
  const own = ({ id }: Item) => inTest(id) === (split === "test");
  return { classes, items: items.filter(own), unread: unread.filter(own) };
}

async function classNames(root: string): Promise<string[]> {
  const folders = (await list(root)).filter((e) => e.isDirectory() && !e.name.startsWith("."));
  if (folders.length === 0) {
    throw new InputError(
      `${root}: no subfolder, so no class; put the pictures into one folder per class, such as ${node.path.join(root, "cat")}`,
    );
  }
  return folders.map((e) => e.name).sort();
}

interface Listed {
  readonly items: Item[];
  /** Pictures by their names, in formats that are not read. */
  readonly unread: Item[];
}

async function listFiles(root: string, classes: readonly string[]): Promise<Listed> {
  const home = await node.fs.realpath(root);
  const [items, unread]: Item[][] = [[], []];
  for (const [label, name] of classes.entries()) {
    const entries = await list(node.path.join(root, name)).catch(() => [] as Dirent[]); // a class may lack test files
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const extension = node.path.extname(entry.name).toLowerCase();
      if (!EXTENSIONS.has(extension) && !UNREAD.has(extension)) continue;
      const file = node.path.join(root, name, entry.name);
      if (entry.isSymbolicLink() && !(await staysInside(file, home))) continue;
      if (entry.isFile() || entry.isSymbolicLink())
        (EXTENSIONS.has(extension) ? items : unread)!.push({
          file,
          label,
          id: `${name}/${entry.name}`,
        });
    }
  }
  return { items: items!, unread: unread! };
}

/** A link is followed only to a file below the data set's own folder. */
async function staysInside(link: string, home: string): Promise<boolean> {
  const target = await node.fs.realpath(link).catch(() => "");
  return target.startsWith(home + node.path.sep);
}

async function list(path: string): Promise<Dirent[]> {
  const { readdir } = node.fs;
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (cause) {
    throw new InputError(
      `${path}: cannot be listed (${(cause as NodeJS.ErrnoException).code}); want a folder with one subfolder per class`,
    );
  }
}

function checkOptions(size: PictureSize, testFraction: number): void {
  if (!Object.values(size).every((side) => Number.isInteger(side) && side >= 1 && side <= 4096)) {
    throw new InputError(
      `image folder: got size ${sizeText(size)}, want 1 to 4096 pixels along each side`,
      { size },
    );
  }
  if (!(testFraction >= 0 && testFraction < 1)) {
    throw new InputError(`image folder: got a test part of ${testFraction}, want 0 to below 1`);
  }
}
