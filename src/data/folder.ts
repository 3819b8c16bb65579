/** Your own pictures: a folder with one subfolder per class. Prepares them as VAR does; follows no links out. */

import type { Dirent } from "node:fs";
import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { rng } from "../tensor/rng.ts";
import { centreCrop, type Picture, resizeShorterEdge, roomySize } from "./resize.ts";
import { decodeRgb } from "./sharp.ts";
import type { Attribution, ImageDataset, Split } from "./types.ts";

const EXTENSIONS = new Set([".png", ".jpg", ".jpeg", ".webp"]);
const TEST_FOLDERS = ["val", "test"];
const MAX_FILE_BYTES = 256e6;

export interface FolderOptions {
  /** Side of the pictures a model sees, pixels. */
  readonly size: number;
  /** Default "train". */
  readonly split?: Split;
  /** Keep round(1.125 size) pixels instead of `size`, so that the loader can crop at random. Default false. */
  readonly room?: boolean;
  /** Part of the files that is "test" where there is no val/ folder, by a hash of their names. Default 0.1. */
  readonly testFraction?: number;
  /** What a file that does not decode does: "throw" (default) or "skip", which lists it in `broken`. */
  readonly broken?: "throw" | "skip";
  readonly attribution?: readonly Attribution[];
  readonly signal?: AbortSignal;
}

/** A folder data set, with the files that were skipped. */
export interface FolderDataset extends ImageDataset {
  readonly broken: readonly { readonly file: string; readonly reason: string }[];
}

/**
 * Loads `path/CLASS/*.png|jpg|jpeg|webp`, or `path/train/CLASS/...` and `path/val/CLASS/...` where these exist.
 * Classes and files are in code-unit order. Shorter edge to round(1.125 size) with Lanczos, then the middle
 * (VAR's data.py; Pillow's arithmetic). Throws InputError when nothing usable is there.
 */
export async function imageFolder(path: string, options: FolderOptions): Promise<FolderDataset> {
  const { size, split = "train", room = false, testFraction = 0.1, broken = "throw" } = options;
  checkOptions(size, testFraction);
  const files = await listSplit(path, split, testFraction);
  const stored = room ? roomySize(size) : size;
  const bytes = stored * stored * 3;
  const pixels = new Uint8Array(files.items.length * bytes);
  const kept: Item[] = [];
  const skipped: { file: string; reason: string }[] = [];
  for (const item of files.items) {
    options.signal?.throwIfAborted();
    try {
      const picture = await prepare(item.file, size, stored);
      pixels.set(picture.data, kept.length * bytes);
      kept.push(item);
    } catch (cause) {
      const reason = (cause as Error).message.split("\n")[0]!;
      if (broken === "throw") {
        throw new InputError(
          `${item.file} is not a readable picture (${reason}); repair or remove it, or skip broken files`,
          { file: item.file },
        );
      }
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
    size: stored,
    channels: 3,
    count: kept.length,
    classes: files.classes,
    pixels: pixels.subarray(0, kept.length * bytes),
    label: (i) => kept[i]!.label,
    id: (i) => kept[i]!.id,
    concept: (i) => kept[i]!.id,
    attribution: options.attribution ?? [{ name: path, licence: "unknown", url: "" }],
    broken: skipped,
  };
}

interface Item {
  readonly file: string;
  readonly label: number;
  /** class/file name */
  readonly id: string;
}

async function prepare(file: string, size: number, stored: number): Promise<Picture> {
  const { size: bytes } = await node.fs.stat(file);
  if (bytes > MAX_FILE_BYTES) throw new Error(`${bytes} bytes are more than ${MAX_FILE_BYTES}`);
  const picture = await decodeRgb(await node.fs.readFile(file));
  return centreCrop(resizeShorterEdge(picture, roomySize(size)), stored);
}

async function listSplit(
  path: string,
  split: Split,
  testFraction: number,
): Promise<{ classes: readonly string[]; items: Item[] }> {
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
    return { classes, items: await listFiles(root, classes) };
  }
  const classes = await classNames(path);
  const inTest = (id: string): boolean => rng("split").child(id).uniform() < testFraction;
  const items = await listFiles(path, classes);
  return { classes, items: items.filter(({ id }) => inTest(id) === (split === "test")) };
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

async function listFiles(root: string, classes: readonly string[]): Promise<Item[]> {
  const home = await node.fs.realpath(root);
  const items: Item[] = [];
  for (const [label, name] of classes.entries()) {
    const entries = await list(node.path.join(root, name)).catch(() => [] as Dirent[]); // a class may lack test files
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (!EXTENSIONS.has(node.path.extname(entry.name).toLowerCase())) continue;
      const file = node.path.join(root, name, entry.name);
      if (entry.isSymbolicLink() && !(await staysInside(file, home))) continue;
      if (entry.isFile() || entry.isSymbolicLink())
        items.push({ file, label, id: `${name}/${entry.name}` });
    }
  }
  return items;
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

function checkOptions(size: number, testFraction: number): void {
  if (!Number.isInteger(size) || size < 1 || size > 4096) {
    throw new InputError(`image folder: got size ${size}, want 1 to 4096 pixels`, { size });
  }
  if (!(testFraction >= 0 && testFraction < 1)) {
    throw new InputError(`image folder: got a test part of ${testFraction}, want 0 to below 1`);
  }
}
