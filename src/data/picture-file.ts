/** One picture from outside: its kind and size are checked before it is decoded. Whole folders are folder.ts. */

import { InputError } from "../formats/errors.ts";
import { onWhite, type PictureFile } from "./picture-pixels.ts";
import { decodeRgba, headOf } from "./sharp.ts";

/** First bytes of what is read. SVG is not: it is a program. */
const KINDS: readonly (readonly [kind: string, at: number, magic: readonly number[]])[] = [
  ["PNG", 0, [0x89, 0x50, 0x4e, 0x47]],
  ["JPEG", 0, [0xff, 0xd8, 0xff]],
  ["WebP", 8, [0x57, 0x45, 0x42, 0x50]],
];

/**
 * Decodes a PNG, JPEG or WebP, turned upright by its EXIF tag.
 * @param what the picture's name in errors @param maxPixels refused above, before anything is decoded
 * @throws InputError when it is none of these, damaged, or too large (`data.tooLarge`)
 */
export async function readPictureFile(
  bytes: Uint8Array,
  { what = "the picture", maxPixels = 25_000_000 }: { what?: string; maxPixels?: number } = {},
): Promise<PictureFile> {
  const known = KINDS.some(([, at, magic]) => magic.every((byte, i) => bytes[at + i] === byte));
  if (!known)
    throw new InputError(`${what} is neither PNG nor JPEG nor WebP; convert it to one of them`, {
      what,
    });
  const { width = 0, height = 0 } = await readable(what, () => headOf(bytes));
  if (width * height > maxPixels)
    throw new InputError(
      `${what} has ${width}x${height} pixels, at most ${maxPixels / 1e6} million are read; make it smaller`,
      { width, height, tooLarge: true },
    );
  const { data, ...size } = await readable(what, () => decodeRgba(bytes));
  return { width: size.width, height: size.height, channels: 3, ...onWhite(data) };
}

async function readable<T>(what: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof InputError) throw error;
    const [reason] = (error as Error).message.split("\n");
    throw new InputError(`${what} is damaged or cut off (${reason}); send it again`, { what });
  }
}
