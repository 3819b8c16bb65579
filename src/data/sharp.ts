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

/** Decodes PNG, JPEG, WebP ... to RGB, turned upright by its EXIF tag, transparency on white. Throws what sharp throws. */
export async function decodeRgb(bytes: Uint8Array): Promise<Picture> {
  const sharp = await loadSharp();
  const { data, info } = await sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "error" })
    .rotate()
    .toColourspace("srgb")
    .flatten({ background: "#ffffff" })
    .removeAlpha()
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
