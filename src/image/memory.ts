/** The memory that drawing takes, estimated from the sizes of a model, and the batch that fits into it. Measures nothing. */

import type { VarConfig, VqvaeConfig } from "./config.ts";
import { imageSize, mapTokens, scaleStarts } from "./scales.ts";

/** Both halves of a model. */
export interface DrawnModel {
  readonly config: VarConfig;
  readonly tokenizer: VqvaeConfig;
  readonly info: {
    readonly parameters: { readonly transformer: number; readonly tokenizer: number };
  };
}

const FLOAT = 4;
/** Bytes of an image of the full size with all its channels, as the decoder holds several. */
function imageBytes(tokenizer: VqvaeConfig): number {
  const { width, height } = imageSize(tokenizer);
  return FLOAT * tokenizer.channels * width * height;
}

/** Images of more bytes together leave the processor's caches. */
const TOGETHER = 2 ** 25;

/** How many pictures go through the decoder together: large ones one by one, which takes least memory as well. */
export const decodedTogether = (tokenizer: VqvaeConfig): number =>
  Math.max(1, Math.floor(TOGETHER / imageBytes(tokenizer)));

/** Images of the full size that the decoder holds at a time: a block's input and what its halves are made of. */
const IMAGES = 5;
/** The runtime's memory grows by doubling, so it takes up to twice what is used; it came to this for d16. */
const ROOM = 3;

/**
 * Bytes that one picture of a batch takes beside the weights and the decoder: keys and values of the last two scales,
 * and the last scale's attention (scores, their softmax, keys and values joined) or hidden layer.
 */
export function pictureBytes(
  config: VarConfig,
  { guided = true }: { guided?: boolean } = {},
): number {
  const { depth, width, heads, mlpRatio, patchNums } = config;
  const rows = guided ? 2 : 1;
  const starts = scaleStarts(patchNums);
  const all = starts.at(-1)!;
  const T = mapTokens(patchNums.at(-1)!);
  const cached = 2 * depth * rows * width * ((starts.at(-2) ?? 0) + (starts.at(-3) ?? 0));
  const attention = 2 * rows * heads * T * all + 2 * rows * width * all;
  const hidden = 2 * rows * T * mlpRatio * width;
  return FLOAT * (cached + ROOM * Math.max(attention, hidden));
}

/** More pictures together are no faster for small models. */
const MOST = 16;
/**
 * Nor more numbers in a layer's result at the last scale (rows times width): the cores are full by then, and larger
 * results leave the caches (bench/results/batches.md). One picture of d16 with guidance, sixteen of emoji64.
 */
const MOST_NUMBERS = 2 ** 19;

/** The batch that is fastest where memory is no matter. @param options.guided two rows for a picture; default true */
export function fastestBatch(
  { config: { patchNums, width } }: Pick<DrawnModel, "config">,
  { guided = true }: { guided?: boolean } = {},
): number {
  const rows = (guided ? 2 : 1) * mapTokens(patchNums.at(-1)!);
  return Math.max(1, Math.min(MOST, Math.floor(MOST_NUMBERS / (rows * width))));
}

/** Share of the memory there is that drawing may take; the rest is for the system and for estimates that are off. */
const SHARE = 0.8;

/**
 * The fastest batch, or the largest below it that fits.
 * @param memory bytes there are @param options.guided two rows for a picture; default true
 * @returns 1 to 16
 */
export function fittingBatch(
  model: DrawnModel,
  { memory, guided }: { memory: number; guided?: boolean },
): number {
  const { transformer, tokenizer } = model.info.parameters;
  const images = IMAGES * decodedTogether(model.tokenizer) * imageBytes(model.tokenizer);
  const left = SHARE * memory - FLOAT * (transformer + tokenizer) - images;
  const fits = Math.floor(left / pictureBytes(model.config, { guided }));
  return Math.max(1, Math.min(fastestBatch(model, { guided }), fits));
}
