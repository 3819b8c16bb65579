/** Float maps to bytes, and many pictures to one sheet. Writes no files and draws no text. */

import type { Tensor } from "../formats/dtype.ts";

/** Pixels as a PNG holds them: row-major, 8 bits a channel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: 3;
  readonly data: Uint8Array; // H W 3
}

/** Images in [-1, 1] to pictures, rounded and clamped. B 3 H W -> B pictures. */
export function toPictures({ shape, data }: Tensor): Picture[] {
  const [B, C, H, W] = shape as [number, number, number, number];
  if (C !== 3) throw new RangeError(`toPictures: got ${C} channels, want 3`);
  const plane = H * W;
  return Array.from({ length: B }, (_, b) => {
    const bytes = new Uint8Array(plane * 3);
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < plane; i++) {
        const x = Number(data[(b * 3 + c) * plane + i]);
        bytes[i * 3 + c] = Math.min(255, Math.max(0, Math.round((x + 1) * 127.5)));
      }
    return { width: W, height: H, channels: 3, data: bytes };
  });
}

export interface SheetOptions {
  /** Pictures per row; default about as many as rows. */
  columns?: number;
  /** White pixels between pictures and around them. */
  gap?: number;
  /** Whole-number magnification. */
  zoom?: number;
}

/** Pictures side by side on white. Cells are as wide and high as any picture; smaller ones are enlarged by pixels. */
export function sheet(
  pictures: readonly Picture[],
  { columns = Math.ceil(Math.sqrt(pictures.length)), gap = 2, zoom = 1 }: SheetOptions = {},
): Picture {
  const rows = Math.ceil(pictures.length / columns);
  const cell = {
    width: zoom * Math.max(1, ...pictures.map((p) => p.width)),
    height: zoom * Math.max(1, ...pictures.map((p) => p.height)),
  };
  const width = columns * (cell.width + gap) + gap;
  const height = rows * (cell.height + gap) + gap;
  const data = new Uint8Array(width * height * 3).fill(255);
  pictures.forEach((picture, i) => {
    const left = gap + (i % columns) * (cell.width + gap);
    const top = gap + Math.floor(i / columns) * (cell.height + gap);
    for (let y = 0; y < cell.height; y++) {
      const sourceY = Math.floor((y * picture.height) / cell.height);
      for (let x = 0; x < cell.width; x++) {
        const from = (sourceY * picture.width + Math.floor((x * picture.width) / cell.width)) * 3;
        const to = ((top + y) * width + left + x) * 3;
        for (let c = 0; c < 3; c++) data[to + c] = picture.data[from + c]!;
      }
    }
  });
  return { width, height, channels: 3, data };
}
