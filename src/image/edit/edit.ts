/** Edits without training: a picture's own tokens are laid down where it stays, the others are drawn. Whole pictures of the model's size; larger ones: canvas.ts. */

import { resizeValues } from "../../data/resize.ts";
import { InputError } from "../../formats/errors.ts";
import { type PictureSize, pictureSize, sameSize, sizeText } from "../../formats/picture-size.ts";
import type { Var } from "../model.ts";
import { type Order, ordersOf, type SampleOptions } from "../orders.ts";
import { drawOrders, type ScaleStep } from "../sampler.ts";
import type { Picture } from "../sheet.ts";
import { type Blend, blendInto } from "./blend.ts";
import { cellsKept, checkMask, type Mask, tokensKept } from "./mask.ts";
import { encodePicture, keptTokens, scalesSeen } from "./tokens.ts";

/** What all edits share: who is drawn, by what chance, how many. `label` undefined means no class. */
export type EditOptions = Omit<SampleOptions, "labels" | "given">;

export interface PaintOptions extends EditOptions {
  /** What stays (1) and what is drawn (0); of the model's size. */
  mask: Mask;
  /** How kept and drawn pixels meet. Default "seamless". */
  blend?: Blend;
  /** Standard deviation of the soft edge in pixels, reaching into what is drawn. Default 2, less in thin holes: `softEdge`. */
  feather?: number;
  /** This many coarse scales are the picture's own, also under the mask. Default 0. */
  keepScales?: number;
}

export interface VaryOptions extends EditOptions {
  /** How many coarse scales stay; the finer ones are drawn. From 0 (nothing stays) to K (all stays). */
  keepScales: number;
}

export interface EnlargeOptions extends EditOptions {
  /** How many coarse scales are taken from the small picture. Default: see `scalesSeen`. */
  keepScales?: number;
  /** Rounds of making the result shrink to the small picture again. Default 3; 0 for what the model drew. */
  faithful?: number;
}

/** An edit made ready: orders for `drawOrders`, alone or among others, and what is done to what they draw. */
export interface Painting {
  readonly orders: readonly Order[];
  finish(drawn: Picture): Picture;
}

/**
 * In-painting, out-painting and class-conditional editing (VAR, arXiv 2404.02905, appendix B): tokens of what stays
 * are the picture's own at every scale, the rest is drawn, seeing what was laid down before. The 1x1 scale stays.
 * @param picture of the model's size
 * @throws InputError when the sizes do not fit or the mask draws nothing
 */
export async function paintOrders(
  model: Var,
  picture: Picture,
  { mask, blend = "seamless", feather, keepScales = 0, ...options }: PaintOptions,
): Promise<Painting> {
  checkSize(model, picture);
  checkMask(mask, picture);
  checkScales(model, keepScales);
  checkFeather(feather, picture);
  const { ids } = await encodePicture(model, picture);
  const keep = tokensKept(cellsKept(mask, model.tokenizer), model.tokenizer);
  const given = keptTokens(ids, { keep, scales: keepScales });
  return {
    orders: ordersOf(model, { ...withClass(options), given }),
    finish: (drawn) => blendInto(picture, drawn, { mask, blend, feather }),
  };
}

/** `paintOrders`, drawn. @yields after every scale; its pictures are blended */
export async function* paint(
  model: Var,
  picture: Picture,
  options: PaintOptions,
): AsyncGenerator<ScaleStep> {
  const { orders, finish } = await paintOrders(model, picture, options);
  for await (const step of drawOrders(model, orders, options)) yield afterwards(step, finish);
}

/** Variations: the coarse scales of a picture stay, the finer ones are drawn again. `picture` of any size. */
export async function varyOrders(
  model: Var,
  picture: Picture,
  { keepScales, ...options }: VaryOptions,
): Promise<Painting> {
  checkScales(model, keepScales);
  const { ids } = await encodePicture(model, picture);
  const given = keptTokens(ids, { scales: keepScales });
  return { orders: ordersOf(model, { ...withClass(options), given }), finish: (drawn) => drawn };
}

/** `varyOrders`, drawn. */
export async function* vary(
  model: Var,
  picture: Picture,
  options: VaryOptions,
): AsyncGenerator<ScaleStep> {
  yield* drawOrders(model, (await varyOrders(model, picture, options)).orders, options);
}

/**
 * Super-resolution: the coarse scales of a small picture stay, the finer ones are drawn; then the result is made to
 * shrink to the small picture again by adding back what is missing (iterative back-projection, Irani & Peleg 1991).
 * @param picture smaller than the model's size @throws InputError for one that is not, or has other proportions
 */
export async function enlargeOrders(
  model: Var,
  picture: Picture,
  { keepScales = scalesSeen(model, picture.width), faithful = 3, ...options }: EnlargeOptions = {},
): Promise<Painting> {
  checkSmall(model, picture);
  const { orders } = await varyOrders(model, picture, { ...options, keepScales });
  return { orders, finish: (drawn) => shrinksTo(drawn, picture, faithful) };
}

/** `enlargeOrders`, drawn. */
export async function* enlarge(
  model: Var,
  picture: Picture,
  options: EnlargeOptions = {},
): AsyncGenerator<ScaleStep> {
  const { orders, finish } = await enlargeOrders(model, picture, options);
  for await (const step of drawOrders(model, orders, options)) yield afterwards(step, finish);
}

/** @throws InputError unless the picture has the proportions of what the model draws, and is smaller */
export function checkSmall({ size }: Pick<Var, "size">, { width, height }: PictureSize): void {
  if (width * size.height !== height * size.width || width >= size.width)
    throw new InputError(
      `enlarging to ${sizeText(size)} takes a smaller ${size.width === size.height ? "square picture" : "picture of the same proportions"}, got ${width}x${height}; crop it, or use another model`,
      { width, height, size },
    );
}

/**
 * Adds to `drawn` what its shrunk self lacks of `small`. Rounded once, at the end: rounding in every round would spread
 * one level of difference in `drawn`, as another runtime gives it, over many pixels.
 */
function shrinksTo(drawn: Picture, small: Picture, rounds: number): Picture {
  let now = Float32Array.from(drawn.data); // H W 3
  for (let round = 0; round < rounds; round++) {
    const shrunk = resizeValues(now, drawn, small);
    const lack = shrunk.map((v, i) => small.data[i]! - v);
    const back = resizeValues(lack, small, drawn);
    now = now.map((v, i) => Math.min(255, Math.max(0, v + back[i]!)));
  }
  return { ...drawn, data: Uint8Array.from(now, Math.round) };
}

/** No label means no class: an edit of an unknown picture must not draw a random one. */
const withClass = <T extends EditOptions>({ label = null, ...rest }: T) => ({ ...rest, label });

/** The same step with its pictures changed. */
function afterwards(step: ScaleStep, change: (drawn: Picture) => Picture): ScaleStep {
  return { ...step, pictures: async () => (await step.pictures()).map(change) };
}

function checkSize({ size }: Var, picture: Picture): void {
  if (!sameSize(picture, size))
    throw new InputError(
      `the picture has ${sizeText(picture)} pixels, the model draws ${sizeText(size)}; resize it, or use paintCanvas`,
      { picture: pictureSize(picture), size },
    );
}

/** @throws InputError unless the soft edge is narrower than the picture */
export function checkFeather(feather: number | undefined, { width }: Pick<Picture, "width">): void {
  if (feather !== undefined && !(feather >= 0 && feather <= width))
    throw new InputError(`feather must be 0 to ${width} pixels, got ${feather}; 2 is a soft edge`, {
      feather,
    });
}

/** @throws InputError unless that many scales can stay */
export function checkScales(model: Var, scales: number): void {
  const K = model.patchNums.length;
  if (!(Number.isInteger(scales) && scales >= 0 && scales <= K))
    throw new InputError(`keepScales must be 0 to ${K} for this model, got ${scales}`, {
      scales,
      K,
    });
}
