/** One picture from outside: its kind and size are checked before it is decoded. Whole folders are folder.ts. */

import { InputError } from "../formats/errors.ts";
import { decodeRgba, headOf } from "./sharp.ts";

/** A decoded picture: colours on white, and how opaque each pixel was. */
export interface PictureFile {
  readonly width: number;
  readonly height: number;
  readonly channels: 3;
  readonly data: Uint8Array; // H W 3
  readonly alpha: Uint8Array; // H W
  /** Some pixel is not opaque. */
  readonly transparent: boolean;
}

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

function onWhite(rgba: Uint8Array) {
  const n = rgba.length / 4;
  const data = new Uint8Array(n * 3);
  const alpha = new Uint8Array(n);
  let transparent = false;
  for (let i = 0; i < n; i++) {
    const a = rgba[i * 4 + 3]!;
    alpha[i] = a;
    transparent ||= a < 255;
    for (let c = 0; c < 3; c++)
      data[i * 3 + c] = Math.round((rgba[i * 4 + c]! * a + 255 * (255 - a)) / 255);
  }
  return { data, alpha, transparent };
}

/** The brightness of each pixel, 0 to 255: for masks. Rec. 601 weights. */
export const greyOf = ({ data }: Pick<PictureFile, "data">): Uint8Array =>
  Uint8Array.from({ length: data.length / 3 }, (_, i) =>
    Math.round(0.299 * data[i * 3]! + 0.587 * data[i * 3 + 1]! + 0.114 * data[i * 3 + 2]!),
  );
