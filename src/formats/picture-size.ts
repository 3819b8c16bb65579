/** Width and height of pictures as one value: how options take them and how people read them. Holds no pixels. */

import { InputError } from "./errors.ts";

/** In pixels. */
export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** A size as options take it: a number is the side of a square. */
export type SizeOption = number | PictureSize;

export const pictureSize = (size: SizeOption): PictureSize =>
  typeof size === "number"
    ? { width: size, height: size }
    : { width: size.width, height: size.height };

/** "48x32": width first, as people and web pages write sizes. Arrays of this house are [height, width] as tensors are. */
export const sizeText = ({ width, height }: PictureSize): string => `${width}x${height}`;

/** Pixels of one picture. */
export const pixelCount = ({ width, height }: PictureSize): number => width * height;

export const sameSize = (a: PictureSize, b: PictureSize): boolean =>
  a.width === b.width && a.height === b.height;

/**
 * Reads "64" or "48x32".
 * @param what names it in errors, such as "--size"
 * @throws InputError unless it is one whole number or two, from 1
 */
export function readSize(text: string, what: string): PictureSize {
  const [, width, height = width] = /^(\d{1,9})(?:x(\d{1,9}))?$/.exec(text.trim()) ?? [];
  if (Number(width) >= 1 && Number(height) >= 1)
    return { width: Number(width), height: Number(height) };
  throw new InputError(
    `${what}: got "${text}", want a side such as 64 or a width and a height such as 48x32`,
    { text },
  );
}
