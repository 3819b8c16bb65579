/** Edits of pictures larger than the model draws: through windows of its proportions that are shrunk, edited and put back. */

import { InputError } from "../../formats/errors.ts";
import { type PictureSize, sizeText } from "../../formats/picture-size.ts";
import type { Var } from "../model.ts";
import type { Picture } from "../sheet.ts";
import { blendInto, softEdge } from "./blend.ts";
import { checkFeather, type PaintOptions, paint } from "./edit.ts";
import { checkMask, type Mask, plainMask } from "./mask.ts";
import { resized } from "./tokens.ts";

export interface CanvasOptions extends Omit<PaintOptions, "count"> {
  /** Side of the window over that of what is drawn in it: how much of the surroundings the model sees. Default 1.6. */
  context?: number;
}

export interface ExtendOptions extends Omit<CanvasOptions, "mask" | "context"> {
  /** Pixels to add on each side. */
  left?: number;
  top?: number;
  right?: number;
  bottom?: number;
}

/** A picture on its way, after one scale of one window. */
export interface CanvasStep {
  /** From 0 to 1. */
  readonly done: number;
  /** k of K, from 0. */
  readonly scale: number;
  readonly of: number;
  /** Which window of how many, from 0. */
  readonly window: number;
  readonly windows: number;
  /** The whole canvas as it is now. */
  readonly picture: Picture;
}

/** A part of a canvas with the proportions of what the model draws; it may reach over the edge. */
type Window = Rectangle;

const MAX_PIXELS = 50_000_000;
/** Windows of one extension: each is a picture drawn. */
const MAX_WINDOWS = 256;

/**
 * In-painting in a picture of any size: one window around the hole is edited at the model's size and put back; all
 * else stays as it was, byte by byte.
 * @param options.mask of the picture's size
 * @throws InputError when the sizes do not fit, the mask draws nothing or the picture is too large
 */
export async function* paintCanvas(
  model: Var,
  picture: Picture,
  { mask, context = 1.6, ...options }: CanvasOptions,
): AsyncGenerator<CanvasStep> {
  checkMask(mask, picture);
  checkPixels(picture);
  checkFeather(options.feather, picture);
  if (!(context >= 1 && context <= 100))
    throw new InputError(`context must be 1 to 100, got ${context}; 1.6 is usual`, { context });
  const window = around(mask, picture, { context, size: model.size });
  for await (const step of paintWindow(model, { picture, mask, window }, options))
    yield { ...step, done: (step.scale + 1) / step.of, window: 0, windows: 1 };
}

/**
 * Out-painting beyond the edges: the canvas grows, and the largest windows that the picture holds walk into
 * what is new, always seeing what is there already.
 * @yields after every scale of every window
 * @throws InputError for sides that are no whole numbers of pixels, none to add, or too much at once
 */
export async function* extend(
  model: Var,
  picture: Picture,
  { left = 0, top = 0, right = 0, bottom = 0, ...options }: ExtendOptions,
): AsyncGenerator<CanvasStep> {
  const { size } = model;
  const { width, height } = extendedSize(picture, { left, top, right, bottom }, { size });
  checkFeather(options.feather, picture);
  // What is new starts as the nearest pixel of the edge: a colour that does not mislead the coarse scales.
  let canvas = crop(picture, { x: -left, y: -top, width, height });
  const known = plainMask({ width, height }, 0);
  fill(known, { x: left, y: top, width: picture.width, height: picture.height });
  const windows = windowsOf(known, largestWindow(picture, size));
  for (const [i, window] of windows.entries()) {
    const { branches = [] } = options;
    const own = { ...options, branches: [...branches, { from: 0, name: `window ${i}` }] };
    const before = canvas;
    for await (const step of paintWindow(model, { picture: before, mask: known, window }, own)) {
      canvas = step.picture;
      const done = (i * step.of + step.scale + 1) / (windows.length * step.of);
      yield { ...step, done, window: i, windows: windows.length };
    }
    fill(known, window);
  }
}

/** Pixels to add on each side. */
export type Sides = Readonly<Record<"left" | "top" | "right" | "bottom", number>>;

/** The size of a picture with what is added by a model of that size. @throws InputError as `extend` does */
export function extendedSize(
  picture: PictureSize,
  sides: Sides,
  { size }: Pick<Var, "size">,
): PictureSize {
  for (const [side, pixels] of Object.entries(sides))
    if (!(Number.isSafeInteger(pixels) && pixels >= 0))
      throw new InputError(`${side} must be a whole number of pixels, got ${pixels}`, { ...sides });
  const { left, top, right, bottom } = sides;
  if (left + top + right + bottom === 0)
    throw new InputError("no side is to be extended; give left, top, right or bottom", {
      ...sides,
    });
  const width = picture.width + left + right;
  const height = picture.height + top + bottom;
  checkPixels({ width, height });
  const window = largestWindow(picture, size);
  const windows = stopCount(width, window.width) * stopCount(height, window.height);
  if (windows > MAX_WINDOWS)
    throw new InputError(
      `extending ${picture.width}x${picture.height} to ${width}x${height} takes some ${windows} windows of ${sizeText(window)} pixels, at most ${MAX_WINDOWS} are drawn; add less at once`,
      { ...sides, windows },
    );
  return { width, height };
}

/** One window, edited at the model's size; yields the whole canvas with it after every scale. */
async function* paintWindow(
  model: Var,
  { picture, mask, window }: { picture: Picture; mask: Mask; window: Window },
  { blend = "seamless", feather = softEdge(mask), ...options }: Omit<PaintOptions, "mask">,
) {
  const part = crop(picture, window);
  const partMask = cropMask(mask, window);
  const small = resized(part, model.size.width, model.size.height);
  const smallMask = shrunkMask(partMask, model.size);
  for await (const step of paint(model, small, { ...options, mask: smallMask, blend: "none" })) {
    const [drawn] = await step.pictures();
    const back = resized(drawn!, window.width, window.height);
    const blended = blendInto(part, back, { mask: partMask, blend, feather });
    yield { scale: step.scale, of: step.of, picture: paste(picture, blended, window) };
  }
}

/** The smallest window around what is drawn, `context` times as large, inside the picture where it fits. */
function around(
  { data }: Mask,
  { width, height }: Picture,
  { context, size }: { context: number; size: PictureSize },
): Window {
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let i = 0; i < data.length; i++) {
    if (data[i]! >= 1) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [x0, y0] = [Math.min(x0, x), Math.min(y0, y)];
    [x1, y1] = [Math.max(x1, x + 1), Math.max(y1, y + 1)];
  }
  const proportion = size.width / size.height;
  const hole = Math.max(y1 - y0, (x1 - x0) / proportion); // in rows, as what follows
  const most = Math.max(hole, Math.min(height, width / proportion));
  const rows = Math.ceil(Math.min(most, Math.ceil(hole * context)));
  const window = { width: Math.ceil(rows * proportion), height: rows };
  const place = (low: number, high: number, [side, of]: [number, number]) =>
    side >= of
      ? Math.round((of - side) / 2)
      : Math.min(of - side, Math.max(0, Math.round((low + high - side) / 2)));
  const x = place(x0, x1, [window.width, width]);
  return { x, y: place(y0, y1, [window.height, height]), ...window };
}

/** The largest window of the model's proportions within a picture. */
function largestWindow({ width, height }: PictureSize, size: PictureSize): PictureSize {
  const proportion = size.width / size.height;
  const rows = Math.max(1, Math.floor(Math.min(height, width / proportion)));
  return { width: Math.min(width, Math.max(1, Math.round(rows * proportion))), height: rows };
}

/** Windows in the order in which they are drawn, until nothing is unknown. */
function windowsOf(known: Mask, size: PictureSize): Window[] {
  const then: Mask = { ...known, data: known.data.slice() };
  const windows: Window[] = [];
  while (then.data.some((v) => v < 1)) {
    const window = nextWindow(then, size);
    fill(then, window);
    windows.push(window);
  }
  return windows;
}

const halfOf = (side: number): number => Math.max(1, Math.floor(side / 2));

/** How many `stops` there are, without making them. */
const stopCount = (size: number, side: number): number =>
  1 + Math.ceil(Math.max(0, size - side) / halfOf(side));

/** Where windows may begin along an edge: every half window, and so that the last one ends with it. */
function stops(size: number, side: number): number[] {
  const step = halfOf(side);
  const last = Math.max(0, size - side);
  const inner = Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => i * step);
  return [...new Set([...inner, last])];
}

/** Where the next window goes: where something is to be drawn and most is known. */
function nextWindow({ width, height, data }: Mask, size: PictureSize): Window {
  let best: Window = { x: 0, y: 0, ...size };
  let most = -1;
  for (const y of stops(height, size.height))
    for (const x of stops(width, size.width)) {
      let known = 0;
      for (let row = y; row < y + size.height; row++)
        for (let i = row * width + x; i < row * width + x + size.width; i++) known += data[i]!;
      if (known < size.width * size.height && known > most)
        [best, most] = [{ x, y, ...size }, known];
    }
  return best;
}

interface Rectangle extends PictureSize {
  readonly x: number;
  readonly y: number;
}

/** A rectangle of a picture; beyond its edges the nearest pixel goes on. */
function crop(picture: Picture, { x, y, width, height }: Rectangle): Picture {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const from = nearest(picture, x + column, y + row) * 3;
      const to = (row * width + column) * 3;
      for (let c = 0; c < 3; c++) data[to + c] = picture.data[from + c]!;
    }
  return { width, height, channels: 3, data };
}

const nearest = ({ width, height }: Rectangle | Picture | Mask, x: number, y: number): number =>
  Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x));

/** The same of a mask; beyond its edges nothing is to be drawn. */
function cropMask(mask: Mask, { x, y, width, height }: Rectangle): Mask {
  const part = plainMask({ width, height }, 1);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const [px, py] = [x + column, y + row];
      if (px >= 0 && py >= 0 && px < mask.width && py < mask.height)
        part.data[row * width + column] = mask.data[py * mask.width + px]!;
    }
  return part;
}

/** To another size: a pixel is as much kept as the least kept of those it covers. */
function shrunkMask({ width, height, data }: Mask, size: PictureSize): Mask {
  const small = plainMask(size, 1);
  for (let y = 0; y < size.height; y++)
    for (let x = 0; x < size.width; x++) {
      const [y0, y1] = covered(y, size.height, height);
      const [x0, x1] = covered(x, size.width, width);
      let least = 1;
      for (let row = y0; row < y1; row++)
        for (let i = row * width + x0; i < row * width + x1; i++) least = Math.min(least, data[i]!);
      small.data[y * size.width + x] = least;
    }
  return small;
}

const covered = (i: number, size: number, of: number): [number, number] => {
  const first = Math.floor((i * of) / size);
  return [first, Math.max(first + 1, Math.ceil(((i + 1) * of) / size))];
};

/** A copy of the canvas with a part in its place; what reaches over the edge is dropped. */
function paste(canvas: Picture, part: Picture, { x, y }: Window): Picture {
  const data = canvas.data.slice();
  for (let row = Math.max(0, -y); row < part.height && y + row < canvas.height; row++)
    for (let column = Math.max(0, -x); column < part.width && x + column < canvas.width; column++) {
      const from = (row * part.width + column) * 3;
      const to = ((y + row) * canvas.width + x + column) * 3;
      for (let c = 0; c < 3; c++) data[to + c] = part.data[from + c]!;
    }
  return { ...canvas, data };
}

/** Marks a rectangle as known. */
function fill(mask: Mask, { x, y, width, height }: Rectangle): void {
  for (let row = y; row < y + height; row++)
    mask.data.fill(1, row * mask.width + x, row * mask.width + x + width);
}

function checkPixels({ width, height }: PictureSize): void {
  if (width * height > MAX_PIXELS)
    throw new InputError(
      `a canvas of ${width}x${height} has more than ${MAX_PIXELS / 1e6} million pixels; make it smaller`,
      { width, height },
    );
}
