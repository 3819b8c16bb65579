/** What lies on the page Edit: a picture, its mask, and what was drawn of them; it stays while pages change. */

import { type PictureSize, sameSize } from "../../../src/formats/picture-size.ts";
import type { DrawRequest, EditKind } from "../engine/engine.ts";
import { recall } from "../engine/recall.ts";
import { Drawing } from "./drawing.svelte.ts";
import { bytesOf, canvasBlob, readPicture } from "./files.ts";
import { Mask } from "./mask.ts";
import { sentence } from "./sentence.ts";
import { studio } from "./studio.svelte.ts";

/** A picture as it goes to the engine, and its address to be shown. */
export interface Sheet {
  readonly canvas: HTMLCanvasElement;
  readonly src: string;
}

export interface Lying extends Sheet {
  readonly mask: Mask;
  /** Width of the largest part of the file's own picture with the model's proportions, in pixels. */
  readonly own: number;
  /** Its own class, where it says so. */
  readonly label?: string;
  readonly fitted: boolean;
}

/** What results are shown beside: the way they came, and the picture with what was added around it. */
export interface Before {
  readonly way: EditKind;
  readonly src: string;
  /** CSS padding. */
  readonly pad: string;
  /** Width over height. */
  readonly ratio: number;
}

let lying = $state.raw<Lying>();
let small = $state.raw<Sheet>();
let other = $state.raw<Sheet>();
/** Addresses of what was small: results are shown beside theirs until another picture lies here. */
const smalls: string[] = [];
let drawing = $state.raw<Drawing>();
let error = $state<string>();
let source: Blob | undefined;

export const desk = {
  get lying(): Lying | undefined {
    return lying;
  },
  /** The picture shrunk to what is to be enlarged. */
  get small(): Sheet | undefined {
    return small;
  },
  /** Where the way between two pictures leads. */
  get other(): Sheet | undefined {
    return other;
  },
  get drawing(): Drawing | undefined {
    return drawing;
  },
  get error(): string | undefined {
    return error;
  },
  dismiss(): void {
    error = undefined;
  },
  /** @param size what the model draws; `whole` keeps the picture's own size */
  async lay(file: Blob, { size, whole }: { size: PictureSize; whole: boolean }): Promise<void> {
    error = undefined;
    try {
      const bitmap = await readPicture(file);
      const label = (await recall(file).catch(() => undefined))?.label;
      const { width, height } = bitmap;
      const fits = sameSize(bitmap, size);
      const sheet = await sheetOf(bitmap, whole || fits ? { width, height } : size);
      bitmap.close();
      drawing?.forget();
      drawing = undefined;
      for (const src of [lying?.src, ...smalls.splice(0)]) if (src) URL.revokeObjectURL(src);
      small = undefined;
      source = file;
      lying = {
        ...sheet,
        mask: new Mask(sheet.canvas.width, sheet.canvas.height),
        own: Math.floor(Math.min(width, (height * size.width) / size.height)),
        label: studio.models.some(({ labels }) => label && labels.includes(label))
          ? label
          : undefined,
        fitted: !whole && !fits,
      };
    } catch (reason) {
      error = sentence(reason);
    }
  },
  /** The same picture, fitted or in its own size. */
  async again(how: { size: PictureSize; whole: boolean }): Promise<void> {
    if (source) await desk.lay(source, how);
  },
  /** The middle of the file's picture in that size. */
  async shrink(size: PictureSize): Promise<void> {
    if (!source || small?.canvas.width === size.width) return;
    const from = source;
    const bitmap = await readPicture(from);
    const sheet = await sheetOf(bitmap, size);
    bitmap.close();
    smalls.push(sheet.src);
    if (from === source) small = sheet;
  },
  /** The way's other end, fitted to what the model draws. */
  async layOther(file: Blob, { size }: { size: PictureSize }): Promise<void> {
    error = undefined;
    try {
      const bitmap = await readPicture(file);
      const sheet = await sheetOf(bitmap, size);
      bitmap.close();
      if (other) URL.revokeObjectURL(other.src);
      other = sheet;
    } catch (reason) {
      error = sentence(reason);
    }
  },
  /** Draws what the request's kind says of what lies here. */
  async draw(request: DrawRequest & { kind: EditKind }): Promise<void> {
    if (!lying) return;
    error = undefined;
    try {
      const { kind } = request;
      const from = kind === "enlarge" && small ? small : lying;
      const files = {
        image: from.canvas,
        mask: kind === "paint" ? toCanvas(lying.mask) : undefined,
        other: kind === "interpolate" ? other?.canvas : undefined,
      };
      const bytes = await Promise.all(
        Object.entries(files).map(async ([name, canvas]) => [
          name,
          canvas && (await bytesOf(await canvasBlob(canvas))),
        ]),
      );
      drawing?.forget(); // not before: its pictures are still shown
      drawing = new Drawing({ ...request, ...Object.fromEntries(bytes) });
      await drawing.run(studio.engine);
    } catch (reason) {
      error = sentence(reason);
    }
  },
};

/** A picture on a canvas of its own. */
async function sheetOf(bitmap: ImageBitmap, size: PictureSize): Promise<Sheet> {
  const canvas = document.createElement("canvas");
  place(canvas, bitmap, size);
  return { canvas, src: URL.createObjectURL(await canvasBlob(canvas)) };
}

/** The middle of a picture, filling the size; smooth where that is another. */
function place(
  canvas: HTMLCanvasElement,
  bitmap: ImageBitmap,
  { width: w, height: h }: PictureSize,
): void {
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d")!;
  context.fillStyle = "#fff"; // transparent pictures lie on paper
  context.fillRect(0, 0, w, h);
  context.imageSmoothingQuality = "high";
  const zoom = Math.max(w / bitmap.width, h / bitmap.height);
  const [dw, dh] = [zoom * bitmap.width, zoom * bitmap.height];
  context.drawImage(bitmap, (w - dw) / 2, (h - dh) / 2, dw, dh);
}

function toCanvas(mask: Mask): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = mask.width;
  canvas.height = mask.height;
  canvas.getContext("2d")!.putImageData(mask.toImage(), 0, 0);
  return canvas;
}
