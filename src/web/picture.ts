/** Bytes of a picture to pixels, in a browser: PNG by our own decoder, as exact as in Node; JPEG and WebP by the browser's. */

import { onWhite, type PictureFile } from "../data/picture-pixels.ts";
import { InputError } from "../formats/errors.ts";
import { decodePng, type PngImage } from "../formats/png.ts";

/** @param what its name in errors @throws InputError for anything but a PNG, JPEG or WebP of at most `maxPixels` */
export async function readPicture(
  bytes: Uint8Array,
  { what = "the picture", maxPixels = 25_000_000 } = {},
): Promise<PictureFile> {
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const { width, height, rgba } = isPng
    ? ofPng(await decodePng(bytes, { maxPixels }))
    : await decodedHere(bytes, { what, maxPixels });
  return { width, height, channels: 3, ...onWhite(rgba) };
}

interface Rgba {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8Array | Uint8ClampedArray; // H W 4
}

function ofPng({ width, height, channels, data }: PngImage): Rgba {
  const rgba = new Uint8Array(width * height * 4);
  const grey = channels < 3;
  const alpha = channels === 2 || channels === 4 ? channels - 1 : undefined;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) rgba[i * 4 + c] = data[i * channels + (grey ? 0 : c)]!;
    rgba[i * 4 + 3] = alpha === undefined ? 255 : data[i * channels + alpha]!;
  }
  return { width, height, rgba };
}

async function decodedHere(
  bytes: Uint8Array,
  { what, maxPixels }: { what: string; maxPixels: number },
): Promise<Rgba> {
  const bitmap = await createImageBitmap(new Blob([bytes as BlobPart])).catch((error: Error) => {
    throw new InputError(
      `${what} is no PNG, JPEG or WebP that can be read (${error.message}); send another`,
      { what },
    );
  });
  const { width, height } = bitmap;
  if (width * height > maxPixels)
    throw new InputError(
      `${what} has ${width}x${height} pixels, at most ${maxPixels / 1e6} million are read; make it smaller`,
      { width, height },
    );
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, rgba: context.getImageData(0, 0, width, height).data };
}
