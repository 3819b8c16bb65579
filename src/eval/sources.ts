/**
 * Where pictures come from, by one word: a data set, a folder, an .npz of pictures or of statistics. Models that draw
 * are sources as well; they are opened by `modelSource`. Looks at nothing.
 */

import { openDataset } from "../data/open.ts";
import { decodeRgb } from "../data/sharp.ts";
import { classCounts, type ImageDataset, type Split } from "../data/types.ts";
import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { type FileByPath, fileByPath } from "../formats/node.ts";
import { checkNpz, type NpzArray, readNpz } from "../formats/npz.ts";
import {
  pictureSize,
  pixelCount,
  type SizeOption,
  sameSize,
  sizeText,
} from "../formats/picture-size.ts";
import type { Var } from "../image/model.ts";
import type { SampleOptions } from "../image/orders.ts";
import { generate } from "../image/sampler.ts";
import { inParts, type Summary } from "./evaluate.ts";
import type { PictureSet } from "./network.ts";
import type { Statistics } from "./statistics.ts";

/** Pictures to look at, once or several times. */
export interface PictureSource {
  readonly kind: "data set" | "folder" | "npz" | "model";
  /** What it is, for people and for recipes. */
  readonly what: string;
  readonly count: number;
  /** Names the content: equal keys, equal pictures. For caches of statistics. */
  readonly key: string;
  /** What a reader of the figures must know. */
  readonly notes: readonly string[];
  pictures(options?: { signal?: AbortSignal | undefined }): AsyncGenerator<PictureSet>;
}

/** Statistics that somebody made of their pictures. */
export interface StatisticsSource {
  readonly kind: "statistics";
  readonly what: string;
  readonly notes: readonly string[];
  /** Without features of single pictures: for FID and sFID. */
  readonly summary: Summary;
}

export type Source = PictureSource | StatisticsSource;

export interface SourceOptions {
  /** Of the pictures of a data set, in pixels; a number is the side of a square. Default 64. */
  readonly size?: SizeOption;
  /** Split of a data set whose word names none. Default "test". */
  readonly split?: Split;
  /** At most so many pictures, from the first; default all. */
  readonly count?: number | undefined;
  /** A file that is no readable picture: "throw", or "skip" (default), which notes it. */
  readonly broken?: "throw" | "skip";
  readonly signal?: AbortSignal | undefined;
}

/** What `openSource` takes, one line each. */
export const SOURCE_SYNTAX: readonly string[] = Object.freeze([
  "a data set with its split, such as fashion-mnist:test or emoji:train",
  "a folder of pictures, with or without subfolders per class (./pets:train for a split)",
  "an .npz of pictures (arr_0, uint8 N H W 3) or of statistics (mu, sigma)",
]);

const SPLIT = /:(train|test)$/;
const PICTURE = /\.(png|jpe?g|webp)$/i;
const LOSSY = /\.jpe?g$/i;
const BATCH = 64;

/** Opens a source by its word. @throws InputError when it is none, or holds no usable picture */
export async function openSource(spec: string, options: SourceOptions = {}): Promise<Source> {
  const split = SPLIT.exec(spec)?.[1] as Split | undefined;
  const word = spec.replace(SPLIT, "");
  const stat = await node.fs.stat(word).catch(() => undefined);
  if (stat?.isFile() && word.endsWith(".npz")) return openNpz(word, options);
  if (stat?.isDirectory() && !split) {
    const files = await pictureFiles(word);
    if (files.length > 0) return folderSource(word, files, options);
  }
  if (stat?.isFile())
    throw new InputError(
      `${word} is no source of pictures; give ${SOURCE_SYNTAX.join("; or ")}; or a model`,
      { word },
    );
  const { size = 64, signal } = options;
  const data = await openDataset(word, { size, split: split ?? options.split ?? "test", signal });
  return datasetSource(data, options.count);
}

/** Pictures of an opened data set, the first `count` of them. */
export function datasetSource(data: ImageDataset, most?: number): PictureSource {
  const count = Math.min(most ?? data.count, data.count);
  const bytes = data.pixels.subarray(0, count * pixelCount(data) * 3);
  const hash = node.crypto.createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  const counts = [...classCounts(data)].filter((n) => n > 0).sort((a, b) => a - b);
  return {
    kind: "data set",
    what: `${data.name}:${data.split}${count < data.count ? ` (the first ${count})` : ""}, ${sizeText(data)} pixels`,
    count,
    key: `pixels ${hash}`,
    notes: [`${counts.length} classes of ${counts[0]} to ${counts.at(-1)} pictures`],
    pictures: () => inParts({ count, ...pictureSize(data), pixels: bytes }, BATCH),
  };
}

// ---- folders

interface PictureFile {
  readonly path: string;
  readonly stamp: string;
}

/** Picture files of a folder and its subfolders, in code-unit order. */
async function pictureFiles(folder: string): Promise<PictureFile[]> {
  const names = (await node.fs.readdir(folder, { recursive: true })).sort();
  const files: PictureFile[] = [];
  for (const name of names) {
    if (!PICTURE.test(name)) continue;
    const path = node.path.join(folder, name);
    const stat = await node.fs.stat(path);
    if (stat.isFile()) files.push({ path, stamp: `${name} ${stat.size} ${stat.mtimeMs}` });
  }
  return files;
}

/** Every picture as it is, without cropping, each of its own size. */
async function folderSource(
  folder: string,
  all: readonly PictureFile[],
  { count: most, broken = "skip", signal }: SourceOptions,
): Promise<PictureSource> {
  const files = all.slice(0, most);
  const bad = new Map<string, string>();
  const oblong = new Set<string>();
  const read = async ({ path }: PictureFile): Promise<PictureSet | undefined> => {
    try {
      const { width, height, channels, data } = await decodeRgb(await node.fs.readFile(path));
      if (channels !== 3) throw new Error(`it has ${channels} channels, want 3`);
      if (width !== height) oblong.add(path);
      return { count: 1, width, height, pixels: data };
    } catch (error) {
      const reason = (error as Error).message.split("\n")[0]!;
      if (broken === "throw") throw new InputError(`${path}: ${reason}`, { path });
      bad.set(path, reason);
      return undefined;
    }
  };
  // Looked at once beforehand: a number must know how many pictures it is made of.
  const usable: PictureFile[] = [];
  for (const file of files) {
    signal?.throwIfAborted();
    if (await read(file)) usable.push(file);
  }
  if (usable.length === 0)
    throw new InputError(`${folder}: none of its ${files.length} pictures can be used`, {
      broken: [...bad],
    });
  const notes: string[] = [];
  if (oblong.size)
    notes.push(
      `${oblong.size} of ${usable.length} are not square: networks see them squeezed into a square`,
    );
  const lossy = usable.filter(({ path }) => LOSSY.test(path)).length;
  if (lossy)
    notes.push(`${lossy} of ${usable.length} are JPEG: its artefacts move every figure; use PNG`);
  if (bad.size) {
    const [path, reason] = [...bad][0]!;
    notes.push(`${bad.size} left out, such as ${path}: ${reason}`);
  }
  const stamps = usable.map(({ stamp }) => stamp).join("\n");
  return {
    kind: "folder",
    what: folder,
    count: usable.length,
    key: `files ${node.crypto.createHash("sha256").update(stamps).digest("hex").slice(0, 16)}`,
    notes,
    async *pictures({ signal: stop } = {}) {
      for (let at = 0; at < usable.length; at += BATCH) {
        stop?.throwIfAborted();
        const part = await Promise.all(usable.slice(at, at + BATCH).map(read));
        const sets = part.filter((set) => set !== undefined);
        if (sets.length < Math.min(BATCH, usable.length - at))
          throw new InputError(`${folder}: pictures changed while they were read; start again`);
        yield* together(sets);
      }
    },
  };
}

/** Neighbouring pictures of one size as one set. */
function* together(sets: readonly PictureSet[]): Generator<PictureSet> {
  for (let at = 0; at < sets.length; ) {
    const { width, height } = sets[at]!;
    let end = at + 1;
    while (end < sets.length && sameSize(sets[end]!, sets[at]!)) end++;
    const bytes = width * height * 3;
    const pixels = new Uint8Array((end - at) * bytes);
    for (let i = at; i < end; i++) pixels.set(sets[i]!.pixels, (i - at) * bytes);
    yield { count: end - at, width, height, pixels };
    at = end;
  }
}

// ---- npz

async function openNpz(path: string, { count: most }: SourceOptions): Promise<Source> {
  const source = await fileByPath(path);
  try {
    const arrays = await readNpz(source);
    const pictures = arrays.get("arr_0");
    if (pictures) return npzPictures(source, path, { pictures, most });
    const [mu, sigma] = [arrays.get("mu"), arrays.get("sigma")];
    if (mu && sigma) return await npzStatistics(path, arrays);
    throw new InputError(
      `has the arrays ${[...arrays.keys()].join(", ") || "none"}; want arr_0 with pictures, or mu and sigma`,
    );
  } catch (error) {
    if (error instanceof InputError && !error.message.startsWith(path))
      throw new InputError(`${path}: ${error.message}`, error.data);
    throw error;
  }
}

function npzPictures(
  source: FileByPath,
  path: string,
  { pictures, most }: { pictures: NpzArray; most: number | undefined },
): PictureSource {
  const { dtype, shape } = pictures;
  const [all, height, width, channels] = shape as [number, number, number, number];
  if (dtype !== "uint8" || shape.length !== 4 || channels !== 3 || all === 0)
    throw new InputError(
      `arr_0 is ${dtype} [${shape.join(", ")}]; want uint8 [N, H, W, 3] of RGB pictures`,
    );
  const count = Math.min(most ?? all, all);
  return {
    kind: "npz",
    what: path,
    count,
    key: `npz ${source.key} ${count}`,
    notes: [],
    async *pictures({ signal } = {}) {
      await checkNpz(source, node.zlib.crc32);
      for (let at = 0; at < count; at += BATCH) {
        signal?.throwIfAborted();
        const end = Math.min(count, at + BATCH);
        yield { count: end - at, width, height, pixels: await pictures.rows(at, end) };
      }
    },
  };
}

/** mu and sigma, and mu_s and sigma_s where they are: how many pictures made them is not in such files. */
async function npzStatistics(
  path: string,
  arrays: ReadonlyMap<string, NpzArray>,
): Promise<StatisticsSource> {
  const statistics = async (suffix: string): Promise<Statistics | undefined> => {
    const [mu, sigma] = [arrays.get(`mu${suffix}`), arrays.get(`sigma${suffix}`)];
    if (!mu || !sigma) return undefined;
    const width = mu.shape[0] ?? 0;
    if (mu.shape.length !== 1 || String(sigma.shape) !== String([width, width]))
      throw new InputError(
        `mu${suffix} is [${mu.shape}] and sigma${suffix} [${sigma.shape}]; want [d] and [d, d]`,
      );
    const numbers = async (array: NpzArray) =>
      Float64Array.from((await array.read()).data as ArrayLike<number>);
    const [mean, covariance] = [await numbers(mu), await numbers(sigma)];
    for (let i = 0; i < width; i++)
      for (let j = 0; j < i; j++) {
        const [a, b] = [covariance[i * width + j]!, covariance[j * width + i]!];
        const scale = Math.sqrt(Math.abs(covariance[i * width + i]! * covariance[j * width + j]!));
        if (!(Math.abs(a - b) <= 1e-6 * scale + 1e-12))
          throw new InputError(
            `sigma${suffix} is not symmetric at ${i}, ${j}; it is no covariance`,
          );
        covariance[i * width + j] = covariance[j * width + i] = (a + b) / 2;
      }
    return { count: Number.POSITIVE_INFINITY, width, mean, covariance };
  };
  return {
    kind: "statistics",
    what: path,
    notes: ["statistics from a file: how many pictures made them, and how, is not known"],
    summary: {
      count: 0,
      statistics: await statistics(""),
      spatial: await statistics("_s"),
      kept: { count: 0, width: 0, data: new Float64Array(0) },
    },
  };
}

// ---- models

/** How a model is to draw. */
export interface ModelSourceOptions extends Omit<SampleOptions, "label" | "labels" | "count"> {
  /** As it was named. */
  readonly name: string;
  /** Pictures; classes are taken in turn, so that all are drawn equally often. */
  readonly count: number;
  /** Called with each finished picture's number. */
  readonly precision?: string;
}

/** Pictures that a model draws, classes in turn: 0, 1, ..., 0, 1, ... (50 of each of 1000 are 50,000). */
export function modelSource(
  model: Var,
  { name, count, precision = "fp32", ...options }: ModelSourceOptions,
): PictureSource {
  const classes = model.config.classes;
  const labels = Array.from({ length: count }, (_, i) => i % classes);
  const drawing = { ...model.drawing, ...defined(options) };
  const { guidance, topK, topP, temperature, unguidedLast } = drawing;
  const { seed = 0 } = options;
  const settings = `seed ${seed}, guidance ${guidance}, top-k ${topK}, top-p ${topP}, temperature ${temperature}${unguidedLast ? `, the last ${unguidedLast} scales unguided` : ""}, ${precision}`;
  const uneven =
    count % classes ? [`${count} pictures do not share out over ${classes} classes`] : [];
  return {
    kind: "model",
    what: `${name} (${settings})`,
    count,
    key: `model ${name} ${settings} ${count}`,
    notes: [...uneven, ...(options.moreSmooth ? ["--smooth is not for statistics"] : [])],
    async *pictures({ signal } = {}) {
      const { batch = 16 } = options;
      let waiting: PictureSet[] = [];
      for await (const { picture } of generate(model, { ...options, labels, batch, signal })) {
        waiting.push({ count: 1, ...pictureSize(picture), pixels: picture.data });
        if (waiting.length < batch) continue;
        yield* together(waiting);
        waiting = [];
      }
      yield* together(waiting);
    },
  };
}

const defined = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
