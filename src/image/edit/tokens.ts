/** Pictures to tokens with a loaded model, and tokens to what the sampler is given: the way in of every edit. */

import { resizeLanczos } from "../../data/resize.ts";
import type { Tensor } from "../../formats/dtype.ts";
import type { Var } from "../model.ts";
import type { Given } from "../orders.ts";
import { latentShape, mapShape, scaleStarts } from "../scales.ts";
import type { Picture } from "../sheet.ts";

/** A picture as the tokenizer sees it. */
export interface Encoded {
  /** Feature map before it is quantized: 1 C h w. */
  readonly f: Tensor;
  /** Codes of each scale, coarse to fine: K of T. */
  readonly ids: readonly Int32Array[];
}

/** The picture at the model's size, whatever size it had. */
export function atModelSize(model: Var, picture: Picture): Picture {
  const { width, height } = model.size;
  return resized(picture, width, height);
}

/** Lanczos, as Pillow does it. */
export const resized = (picture: Picture, width: number, height: number): Picture =>
  picture.width === width && picture.height === height
    ? picture
    : (resizeLanczos(picture, width, height) as Picture);

/** Picture of the model's size to [-1, 1]: 1 3 H W. */
function toImage({ width, height, data }: Picture): Tensor {
  const plane = width * height;
  const image = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < plane; i++) image[c * plane + i] = data[i * 3 + c]! / 127.5 - 1;
  return { dtype: "float32", shape: [1, 3, height, width], data: image };
}

/** Feature map and tokens of a picture of any size. */
export async function encodePicture(model: Var, picture: Picture): Promise<Encoded> {
  return encodeImage(model, toImage(atModelSize(model, picture)));
}

/** The same from values in [-1, 1]: 1 3 H W. */
export async function encodeImage(model: Var, image: Tensor): Promise<Encoded> {
  const { f } = await (await model.session("encode")).run({ image });
  return { f: f!, ids: await quantizeFeatures(model, f!) };
}

/** Tokens of a feature map 1 C h w. K of T. */
export async function quantizeFeatures(model: Var, f: Tensor): Promise<Int32Array[]> {
  const { ids } = await (await model.session("quantize")).run({ f });
  const row = Int32Array.from(ids!.data as BigInt64Array, Number);
  const starts = scaleStarts(model.patchNums);
  return model.patchNums.map((_, k) => row.subarray(starts[k]!, starts[k + 1]!));
}

/** What stays of a picture's tokens: those of `keep`, and the whole of the first `scales` scales. */
export function keptTokens(
  ids: readonly Int32Array[],
  { keep, scales = 0 }: { keep?: readonly Uint8Array[]; scales?: number },
): (k: number) => Given | undefined {
  return (k) => {
    if (k < scales) return { keep: new Uint8Array(ids[k]!.length).fill(1), ids: ids[k]! };
    return keep && { keep: keep[k]!, ids: ids[k]! };
  };
}

/**
 * Scales that an enlarged picture of `width` pixels still tells: those with maps at most twice as fine as its own
 * share of the latent map, as blur says something too (one scale less loses the drawing, one more keeps the blur).
 */
export function scalesSeen(model: Pick<Var, "patchNums" | "size">, width: number): number {
  const [, w] = latentShape(model);
  const finest = (2 * w * width) / model.size.width;
  return Math.max(1, model.patchNums.filter((pn) => mapShape(pn)[1] <= finest).length);
}
