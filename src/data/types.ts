/** What every data set looks like to the rest of the house: small pictures of one size with a class, in memory. */

import { type PictureSize, pixelCount } from "../formats/picture-size.ts";

/** Where pictures come from and what their licence asks for. */
export interface Attribution {
  readonly name: string;
  /** SPDX identifier, or "unknown" for the user's own pictures. */
  readonly licence: string;
  readonly url: string;
}

export type Split = "train" | "test";

/** RGB pictures of one size with class labels, decoded and resized, all in memory. */
export interface ImageDataset extends PictureSize {
  readonly name: string;
  readonly split: Split;
  readonly channels: 3;
  readonly count: number;
  readonly classes: readonly string[];
  /** count x height x width x 3 bytes, row-major RGB. */
  readonly pixels: Uint8Array; // N H W C
  /** Index into `classes` of picture i. */
  label(i: number): number;
  /** Name of picture i, unique in the data set. */
  id(i: number): string;
  /** What picture i shows; pictures of one concept are all in the same split. */
  concept(i: number): string;
  readonly attribution: readonly Attribution[];
  /** What is to be said of the files it came from: those left out, those used not quite as they are. */
  readonly findings?: readonly Finding[];
}

/** Files of which there is the same to say. */
export interface Finding {
  /** What they are, for people: "broken", "CMYK", "animated" ... */
  readonly what: string;
  /** What was done: "left out", "first picture taken" ... */
  readonly done: string;
  readonly files: readonly string[];
}

/** The bytes of picture i, H W C; a view, not a copy. */
export function pixelsOf(dataset: ImageDataset, i: number): Uint8Array {
  if (!Number.isInteger(i) || i < 0 || i >= dataset.count) {
    throw new RangeError(`${dataset.name}: no picture ${i}, there are ${dataset.count}`);
  }
  const bytes = pixelCount(dataset) * 3;
  return dataset.pixels.subarray(i * bytes, (i + 1) * bytes);
}

/** The same pictures as one class, for models without classes. */
export const oneClass = (dataset: ImageDataset): ImageDataset => ({
  ...dataset,
  classes: ["any"],
  label: () => 0,
  id: (i) => dataset.id(i),
  concept: (i) => dataset.concept(i),
});

/** Pictures per class, in the order of `classes`. */
export function classCounts(dataset: ImageDataset): Int32Array {
  const counts = new Int32Array(dataset.classes.length);
  for (let i = 0; i < dataset.count; i++) counts[dataset.label(i)]! += 1;
  return counts;
}

/**
 * Indices of the classes that a word names: the whole class (`food/fluent`), its part before the slash (`food`)
 * or after it (`fluent`). Empty when there is none.
 */
export function findClasses(classes: readonly string[], word: string): number[] {
  const exact = classes.indexOf(word);
  if (exact >= 0) return [exact];
  return classes.flatMap((name, i) => (name.split("/").includes(word) ? [i] : []));
}
