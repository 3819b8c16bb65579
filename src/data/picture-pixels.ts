/** Pixels of a decoded picture from outside: colours on white, and what was transparent. Decodes nothing. */

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

/** @param rgba H W 4, colours not multiplied by alpha */
export function onWhite(rgba: Uint8Array | Uint8ClampedArray) {
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
