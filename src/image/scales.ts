/** The token maps of a picture: their shapes, their order, and what pictures they make. Holds no other dial of a model. */

import { InputError } from "../formats/errors.ts";
import {
  type PictureSize,
  pictureSize,
  type SizeOption,
  sizeText,
} from "../formats/picture-size.ts";

/** The shape of a token map: the side of a square, or [height, width]. */
export type PatchNum = number | readonly [height: number, width: number];

/** The token maps of a model, coarse to fine; the last has the shape of the latent map. */
export interface Scales {
  readonly patchNums: readonly PatchNum[];
}

/** Sides of the square token maps that are in use, coarse to fine, by the side of the latent map. */
export const PATCH_NUMS: Readonly<Record<number, readonly number[]>> = Object.freeze({
  4: [1, 2, 3, 4],
  8: [1, 2, 3, 4, 5, 6, 8], // our 64-pixel models, f = 8
  16: [1, 2, 3, 4, 5, 6, 8, 10, 13, 16], // official, 256 pixels
  32: [1, 2, 3, 4, 6, 9, 13, 18, 24, 32], // official, 512 pixels
  64: [1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64], // official list for 1024 pixels; no model was released
});

/** [height, width] of a token map. */
export const mapShape = (pn: PatchNum): readonly [height: number, width: number] =>
  typeof pn === "number" ? [pn, pn] : pn;

/** T: tokens of one map. */
export const mapTokens = (pn: PatchNum): number => {
  const [h, w] = mapShape(pn);
  return h * w;
};

/** "4x4", or "6x4" for 4 rows of 6: width first, as sizes of pictures. */
export const mapText = (pn: PatchNum): string => {
  const [height, width] = mapShape(pn);
  return sizeText({ width, height });
};

/** "1, 2, 3x2": squares by their side. Two lists are the same when their texts are. */
export const scalesText = (patchNums: readonly PatchNum[]): string =>
  patchNums.map((pn) => (typeof pn === "number" ? pn : mapText(pn))).join(", ");

/** [height, width] of the latent map. */
export const latentShape = ({ patchNums }: Scales): readonly [height: number, width: number] =>
  mapShape(patchNums.at(-1)!);

/** Pixels per latent cell along one side: f. Each level after the first halves a picture. */
export const patchSize = ({ chMult }: { readonly chMult: readonly number[] }): number =>
  2 ** (chMult.length - 1);

/** Size of the pictures in pixels. */
export const imageSize = (config: Scales & { readonly chMult: readonly number[] }): PictureSize => {
  const [f, [h, w]] = [patchSize(config), latentShape(config)];
  return { width: f * w, height: f * h };
};

/** L: tokens of one picture over all scales. */
export const tokenCount = ({ patchNums }: Scales): number =>
  patchNums.reduce<number>((sum, pn) => sum + mapTokens(pn), 0);

/** First position of each scale in the token sequence, and L at the end: K + 1 numbers. */
export function scaleStarts(patchNums: readonly PatchNum[]): number[] {
  const starts = [0];
  for (const pn of patchNums) starts.push(starts.at(-1)! + mapTokens(pn));
  return starts;
}

/**
 * The token maps for pictures of `size`: along the longer side the list in use for that latent side, or one that
 * grows by about a quarter per scale; along the shorter one in proportion.
 * @throws InputError when `size` is not a multiple of the patch
 */
export function patchNumsFor(size: SizeOption, patch: number): readonly PatchNum[] {
  const { width, height } = pictureSize(size);
  checkImageSize({ width, height }, patch);
  const [h, w] = [height / patch, width / patch];
  const longer = sidesTo(Math.max(h, w));
  if (h === w) return longer;
  const along = (side: number, pn: number) => Math.max(1, Math.round((pn * side) / Math.max(h, w)));
  return longer.map((pn) => plainest([along(h, pn), along(w, pn)]));
}

/** Rising whole numbers from 1 to `side`. */
function sidesTo(side: number): readonly number[] {
  if (PATCH_NUMS[side] !== undefined) return PATCH_NUMS[side];
  const sides = [side]; // backwards, as the fine end has to be met
  while (sides[0]! > 1) sides.unshift(Math.min(sides[0]! - 1, Math.round(sides[0]! / 1.25)));
  return sides;
}

/** A square as one number: each shape is written in one way. */
const plainest = (pn: PatchNum): PatchNum => {
  const [h, w] = mapShape(pn);
  return h === w ? h : Object.freeze([h, w] as const);
};

/** @throws InputError unless `size` is a whole number of patches, at least one, along both sides. */
export function checkImageSize(size: SizeOption, patch: number): void {
  const { width, height } = pictureSize(size);
  const both = [width, height];
  if (both.every((side) => Number.isInteger(side) && side > 0 && side % patch === 0)) return;
  const isSquare = Object.is(width, height);
  const got = isSquare ? `${width}` : sizeText({ width, height });
  const near = (isSquare ? [width] : both).map((side) => nearSides(side, patch)).join(", and ");
  throw new InputError(
    `image size ${got} is not a multiple of the tokenizer's patch of ${patch} pixels; use ${near}`,
    { size, patch },
  );
}

function nearSides(side: number, patch: number): string {
  if (side > 0 && side % patch === 0) return `${side}`;
  const low = Math.max(patch, Math.floor(side / patch) * patch);
  return Number.isFinite(low) && side > low ? `${low} or ${low + patch}` : `${patch}`;
}

/**
 * Token maps from outside. @throws InputError unless they begin with one token (or are one map), and each has no
 * fewer rows and columns than the one before, and more tokens. @returns the same, frozen, squares as one number
 */
export function checkPatchNums(patchNums: readonly PatchNum[]): readonly PatchNum[] {
  const shapes = patchNums.map(mapShape);
  const rising = shapes.every(([h, w], k) => {
    const [above, before] = shapes[k - 1] ?? [0, 0];
    const whole = Number.isInteger(h) && Number.isInteger(w);
    return whole && h >= Math.max(1, above) && w >= Math.max(1, before) && h * w > above * before;
  });
  if ((mapTokens(patchNums[0] ?? 0) === 1 || patchNums.length === 1) && rising)
    return Object.freeze(patchNums.map(plainest));
  throw new InputError(
    `patchNums [${scalesText(patchNums)}] must be whole numbers that start at 1, rise, and end at the side of the latent map, as in [${PATCH_NUMS[8]!.join(", ")}], or that side alone for a tokenizer of one scale; a map that is no square is written as WIDTHxHEIGHT`,
    { patchNums },
  );
}

/** Reads "1,2,3x2,6x4": sides of squares, or width x height. @throws InputError */
export function readPatchNums(text: string): PatchNum[] {
  return text.split(",").map((word) => {
    const [, width, height = width] = /^(\d{1,6})(?:x(\d{1,6}))?$/.exec(word.trim()) ?? [];
    if (width === undefined)
      throw new InputError(
        `"${word.trim()}" is no token map; write sides such as 1,2,3,4 or widths and heights such as 1,2x1,3x2`,
        { text },
      );
    return plainest([Number(height), Number(width)]);
  });
}
