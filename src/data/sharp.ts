/** The one door to sharp: decoding pictures and drawing SVG. Loaded on first use, so a browser never sees it. */

import { InputError } from "../formats/errors.ts";
import type { Picture } from "./resize.ts";

/** Pictures larger than this are refused before they are decoded: 100 megapixels. */
const MAX_PIXELS = 100e6;

/** In a variable, so that no bundler follows it into a page. */
const SHARP: string = "sharp";

async function loadSharp() {
  try {
    return ((await import(/* @vite-ignore */ SHARP)) as typeof import("sharp")).default;
  } catch (cause) {
    throw new InputError(
      `pictures need the package sharp, which does not load here (${(cause as Error).message.split("\n")[0]}); run: npm install sharp`,
    );
  }
}

/** What a file turned out to be, where that is not a plain picture of 8 bits and three colours. */
export interface DecodedFacts {
  /** The format its bytes are in: "png", "jpeg", "webp" ... */
  readonly format: string;
  /** Pictures in the file; the first is decoded. */
  readonly pages: number;
  readonly cmyk: boolean;
  /** More than 8 bits a channel. */
  readonly deep: boolean;
  readonly transparent: boolean;
}

/** Decodes PNG, JPEG, WebP ... to RGB, turned upright by its EXIF tag, transparency on white. Throws what sharp throws. */
export const decodeRgb = async (bytes: Uint8Array): Promise<Picture> =>
  (await decodeWithFacts(bytes)).picture;

/** The same, and what had to be done to it. */
export async function decodeWithFacts(
  bytes: Uint8Array,
): Promise<{ picture: Picture; facts: DecodedFacts }> {
  const sharp = await loadSharp();
  const options = { limitInputPixels: MAX_PIXELS, failOn: "error" } as const;
  const found = await sharp(bytes, options).metadata();
  const { data, info } = await sharp(bytes, options)
    .rotate()
    .toColourspace("srgb")
    .flatten({ background: "#ffffff" })
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const picture = { width: info.width, height: info.height, channels: info.channels, data };
  const facts = {
    format: found.format ?? "unknown",
    pages: found.pages ?? 1,
    cmyk: found.space === "cmyk",
    deep: found.depth !== undefined && !/^u?char$/.test(found.depth),
    // Many a PNG has an alpha channel that lets nothing through; only those are looked at twice.
    transparent: found.hasAlpha === true && !(await sharp(bytes, options).stats()).isOpaque,
  };
  return { picture, facts };
}

/** Width, height and kind of a picture by its head alone. Throws what sharp throws. */
export async function headOf(bytes: Uint8Array) {
  const sharp = await loadSharp();
  const { width, height, format } = await sharp(bytes, { limitInputPixels: false }).metadata();
  return { width, height, format };
}

/** Decodes to RGBA, upright; sRGB, not premultiplied. Throws what sharp throws. */
export async function decodeRgba(bytes: Uint8Array): Promise<Picture> {
  const sharp = await loadSharp();
  const { data, info } = await sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "error" })
    .rotate()
    .toColourspace("srgb")
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: info.channels, data };
}

/** Draws an SVG as RGBA (not premultiplied) at the size written in its root element. */
export async function drawSvg(svg: string): Promise<Picture> {
  const sharp = await loadSharp();
  const { data, info } = await sharp(Buffer.from(svg))
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: info.channels, data };
}
