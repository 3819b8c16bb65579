/** Files that the visitor drops, chooses or takes away. */

import { shell } from "../i18n/shell.ts";
import { number, say } from "../i18n/words.svelte.ts";

const MOST_PIXELS = 25e6;

/** Decodes a picture. @throws Error with a sentence where the browser cannot, or it is too large */
export async function readPicture(file: Blob & { readonly name?: string }): Promise<ImageBitmap> {
  const t = say(shell);
  const name = file.name ?? "PNG";
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(t.notPicture(name));
  });
  const pixels = bitmap.width * bitmap.height;
  if (pixels <= MOST_PIXELS) return bitmap;
  bitmap.close();
  throw new Error(t.tooLarge(name, number(pixels / 1e6, 1)));
}

/** Hands a file to the browser's downloads. */
export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A name that sorts and says what it is. */
export const pictureName = (label: string, seed: number, index: number): string =>
  `underpaint-${label.replace(/[^\w-]+/g, "-") || "none"}-${seed}-${index}.png`;

export const canvasBlob = (canvas: HTMLCanvasElement): Promise<Blob> =>
  new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error(say(shell).unknown)))),
  );

export const bytesOf = async (blob: Blob): Promise<Uint8Array> =>
  new Uint8Array(await blob.arrayBuffer());
