/** Masks of edits: which pixels stay and which are drawn anew, and what that means for tokens. Edits nothing. */

import { InputError } from "../../formats/errors.ts";
import type { PictureSize } from "../../formats/picture-size.ts";
import type { VqvaeConfig } from "../config.ts";
import { maskAtScale } from "../quantizer-math.ts";
import { latentShape, patchSize } from "../scales.ts";

/** One number per pixel: 1 stays, 0 is drawn anew, between the two are blended. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array; // H W
}

/** A rectangle as shares of the picture's sides, from 0 to 1. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** The same number everywhere. */
export const plainMask = ({ width, height }: PictureSize, value: number): Mask => ({
  width,
  height,
  data: new Float32Array(width * height).fill(value),
});

/**
 * Draws anew what is in the box, or with `outside` what is around it. Edges are rounded to pixels, as the official
 * editing code rounds them to cells.
 * @throws InputError when the box is none, or holds no pixel
 */
export function boxMask(
  box: Box,
  { width, height }: PictureSize,
  { outside = false }: { outside?: boolean } = {},
): Mask {
  const { left, top, right, bottom } = box;
  if (![left, top, right, bottom].every((v) => v >= 0 && v <= 1))
    throw new InputError(
      `a box is four shares of the picture from 0 to 1, got ${left},${top},${right},${bottom}; left,top,right,bottom such as 0.25,0.25,0.75,0.75`,
      { box },
    );
  const [x0, x1] = [Math.round(left * width), Math.round(right * width)];
  const [y0, y1] = [Math.round(top * height), Math.round(bottom * height)];
  if (x1 <= x0 || y1 <= y0)
    throw new InputError(
      `the box ${left},${top},${right},${bottom} holds no pixel of ${width}x${height}; its right and bottom must lie beyond its left and top`,
      { box, width, height },
    );
  const mask = plainMask({ width, height }, outside ? 0 : 1);
  for (let y = y0; y < y1; y++) mask.data.fill(outside ? 1 : 0, y * width + x0, y * width + x1);
  return mask;
}

/**
 * A grey picture as a mask: white is drawn anew, black stays, as painting programs and most editing tools have it.
 * @param grey H W bytes
 */
export const maskFromGrey = ({
  width,
  height,
  grey,
}: PictureSize & { grey: Uint8Array }): Mask => ({
  width,
  height,
  data: Float32Array.from(grey, (v) => 1 - v / 255),
});

/** Transparent pixels are drawn anew: the form of OpenAI's image edits. @param alpha H W bytes */
export const maskFromAlpha = ({
  width,
  height,
  alpha,
}: PictureSize & { alpha: Uint8Array }): Mask => ({
  width,
  height,
  data: Float32Array.from(alpha, (v) => v / 255),
});

/** @throws InputError unless the mask is as large as the picture and draws some of it */
export function checkMask(mask: Mask, picture: PictureSize): void {
  if (mask.width !== picture.width || mask.height !== picture.height)
    throw new InputError(
      `the mask has ${mask.width}x${mask.height} pixels, the picture ${picture.width}x${picture.height}; give a mask of the same size`,
      { mask: [mask.width, mask.height], picture: [picture.width, picture.height] },
    );
  if (!mask.data.some((v) => v < HALF))
    throw new InputError(
      "the mask keeps every pixel; make white (or transparent) what is to be drawn",
    );
}

/** From here on a pixel is rather kept than drawn. */
const HALF = 0.5;

/**
 * Cells of the latent map whose pixels are all kept. A cell that is drawn in part is drawn whole: its kept pixels
 * come back when the result is blended. h w of 1 and 0.
 */
export function cellsKept({ width, data }: Mask, config: VqvaeConfig): Uint8Array {
  const [f, [h, w]] = [patchSize(config), latentShape(config)];
  const cells = new Uint8Array(h * w).fill(1);
  for (let i = 0; i < data.length; i++) {
    if (data[i]! >= HALF) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    cells[Math.floor(y / f) * w + Math.floor(x / f)] = 0;
  }
  return cells;
}

/** Tokens of every scale that stay: the cells' mask at each scale, coarse to fine. K of T. */
export const tokensKept = (cells: ArrayLike<number>, config: VqvaeConfig): Uint8Array[] =>
  config.patchNums.map((pn) => maskAtScale(cells, latentShape(config), pn));
