/** What lies on the page Edit: a picture, its mask, and what was drawn of them; it stays while pages change. */

import type { DrawRequest } from "../engine/engine.ts";
import { recall } from "../engine/recall.ts";
import { Drawing } from "./drawing.svelte.ts";
import { bytesOf, canvasBlob, readPicture } from "./files.ts";
import { Mask } from "./mask.ts";
import { sentence } from "./sentence.ts";
import { studio } from "./studio.svelte.ts";

export type Way = "paint" | "vary" | "extend";

export interface Lying {
  readonly canvas: HTMLCanvasElement;
  readonly mask: Mask;
  readonly src: string;
  /** Its own class, where it says so. */
  readonly label?: string;
  readonly fitted: boolean;
}

let lying = $state.raw<Lying>();
let drawing = $state.raw<Drawing>();
let error = $state<string>();
let source: Blob | undefined;

export const desk = {
  get lying(): Lying | undefined {
    return lying;
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
  /** @param side what the model draws; `whole` keeps the picture's own size */
  async lay(file: Blob, { side, whole }: { side: number; whole: boolean }): Promise<void> {
    error = undefined;
    try {
      const bitmap = await readPicture(file);
      const label = (await recall(file).catch(() => undefined))?.label;
      const own = bitmap.width === side && bitmap.height === side;
      const canvas = document.createElement("canvas");
      if (whole || own) place(canvas, bitmap, [bitmap.width, bitmap.height]);
      else place(canvas, bitmap, [side, side]);
      bitmap.close();
      drawing?.forget();
      drawing = undefined;
      if (lying) URL.revokeObjectURL(lying.src);
      source = file;
      lying = {
        canvas,
        mask: new Mask(canvas.width, canvas.height),
        src: URL.createObjectURL(await canvasBlob(canvas)),
        label: studio.models.some(({ labels }) => label && labels.includes(label))
          ? label
          : undefined,
        fitted: !whole && !own,
      };
    } catch (reason) {
      error = sentence(reason);
    }
  },
  /** The same picture, fitted or in its own size. */
  async again(how: { side: number; whole: boolean }): Promise<void> {
    if (source) await desk.lay(source, how);
  },
  async draw(way: Way, request: DrawRequest, { margin }: { margin: number }): Promise<void> {
    if (!lying) return;
    drawing?.forget();
    error = undefined;
    try {
      const { canvas, mask } = way === "extend" ? extended(lying.canvas, margin) : lying;
      const image = await bytesOf(await canvasBlob(canvas));
      const hole = way === "vary" ? undefined : await bytesOf(await canvasBlob(toCanvas(mask)));
      drawing = new Drawing({ ...request, image, mask: hole });
      await drawing.run(studio.engine);
    } catch (reason) {
      error = sentence(reason);
    }
  },
};

/** The middle of a picture, filling the size; smooth where that is another. */
function place(
  canvas: HTMLCanvasElement,
  bitmap: ImageBitmap,
  [w, h]: readonly [number, number],
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

function extended(from: HTMLCanvasElement, margin: number) {
  const canvas = document.createElement("canvas");
  canvas.width = from.width + 2 * margin;
  canvas.height = from.height + 2 * margin;
  const context = canvas.getContext("2d")!;
  // What is not known yet is the edge's colour going on.
  context.drawImage(from, 0, 0, canvas.width, canvas.height);
  context.drawImage(from, margin, margin);
  const mask = new Mask(canvas.width, canvas.height);
  mask.fill({ x: margin, y: margin, w: from.width, h: from.height }, 255);
  mask.invert();
  return { canvas, mask };
}

function toCanvas(mask: Mask): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = mask.width;
  canvas.height = mask.height;
  canvas.getContext("2d")!.putImageData(mask.toImage(), 0, 0);
  return canvas;
}
