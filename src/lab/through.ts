/** Pictures through a tokenizer: features, tokens and reconstructions, and what they tell of it. Trains nothing. */

import { normalise } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import {
  imageSide,
  latentSide,
  scaleStarts,
  tokenCount,
  type VqvaeConfig,
} from "../image/config.ts";
import { quantize } from "../image/quantizer.ts";
import { toPictures } from "../image/sheet.ts";
import { decode, encode } from "../image/vqvae.ts";
import { bindConstants } from "../nn/bind.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { clip, concat } from "../tensor/ops.ts";
import type { Pictures, Points } from "./nearest.ts";

export interface Tokenizer {
  readonly config: VqvaeConfig;
  readonly weights: TensorMap;
}

/** What a tokenizer makes of some pictures. */
export interface Through {
  /** Feature maps f before quantization: N rows of C h w. */
  readonly features: Points;
  /** N x L tokens, coarse to fine. */
  readonly ids: Int32Array;
  readonly rebuilt: Pictures;
  /** Mean squared error of each picture, pixels in [-1, 1]. */
  readonly squared: Float64Array;
}

/** Encodes, quantizes and decodes all pictures. @throws InputError when they do not have the tokenizer's size */
export async function throughTokenizer(
  pictures: Pictures,
  { config, weights }: Tokenizer,
  { backend, batch: most = 32, signal }: { backend: Backend; batch?: number; signal?: AbortSignal },
): Promise<Through> {
  const [side, { count }] = [imageSide(config), pictures];
  if (pictures.size !== side || count === 0)
    throw new InputError(
      `got ${count} pictures of ${pictures.size} pixels, the tokenizer wants ${side}; open them at that size`,
    );
  const [L, batch] = [tokenCount(config), Math.min(most, count)];
  const size = config.latent * latentSide(config) ** 2;
  const session = await backend.compile(throughGraph({ config, weights }, batch));
  const features = new Float32Array(count * size);
  const ids = new Int32Array(count * L);
  const pixels = new Uint8Array(count * side * side * 3);
  const squared = new Float64Array(count);
  const floats = 3 * side * side;
  const images = new Float32Array(batch * floats);
  try {
    for (let done = 0; done < count; done += batch) {
      signal?.throwIfAborted();
      // The last batch starts earlier and does some pictures again: the graph has one batch size.
      const from = Math.min(done, count - batch);
      for (let b = 0; b < batch; b++)
        normalise(pictures.pixels.subarray((from + b) * floats, (from + b + 1) * floats), {
          ...{ from: side, to: side, out: images, at: b * floats },
        });
      const r = await session.run({
        images: { dtype: "float32", shape: [batch, 3, side, side], data: images },
      });
      features.set(r.features!.data as Float32Array, from * size);
      ids.set(Int32Array.from(r.ids!.data as BigInt64Array, Number), from * L);
      const rebuilt = r.rebuilt as Tensor;
      toPictures(rebuilt).forEach(({ data }, b) => {
        pixels.set(data, (from + b) * floats);
      });
      for (let b = 0; b < batch; b++) {
        let sum = 0;
        for (let j = b * floats; j < (b + 1) * floats; j++)
          sum += (images[j]! - (rebuilt.data[j] as number)) ** 2;
        squared[from + b] = sum / floats;
      }
    }
  } finally {
    await session.release();
  }
  return {
    features: { count, size, data: features },
    ids,
    rebuilt: { count, size: side, pixels },
    squared,
  };
}

function throughGraph({ config, weights }: Tokenizer, batch: number) {
  const side = imageSide(config);
  const g = createGraph("through the tokenizer");
  const p = bindConstants(g, weights);
  const f = encode(input(g, "images", [batch, 3, side, side]), p, config);
  const { ids, fHats } = quantize(f, p, config);
  output(g, "features", f);
  output(g, "ids", concat(ids, 1)); // B L
  output(g, "rebuilt", clip(decode(fHats.at(-1)!, p, config), -1, 1));
  return g;
}

/** PSNR in dB of the mean over all pictures' mean squared errors, pixels in [-1, 1]; what training logs. */
export const psnrOf = ({ squared }: Pick<Through, "squared">): number =>
  10 * Math.log10(4 / (squared.reduce((sum, s) => sum + s, 0) / squared.length));

/** Which codes are used at a scale, or at all scales. */
export interface CodeUse {
  /** Side of the token map; undefined for all scales together. */
  readonly side?: number;
  /** Tokens that were counted. */
  readonly tokens: number;
  /** Codes that occur at all. */
  readonly used: number;
  /** exp of the entropy of their distribution: as many equally frequent codes would be as varied. */
  readonly perplexity: number;
}

/** Use of the codebook at each scale, coarse to fine, and at last over all. ids N L. */
export function codeUse(ids: Int32Array, { patchNums, codes }: VqvaeConfig): CodeUse[] {
  const starts = scaleStarts(patchNums);
  const L = starts.at(-1)!;
  const all = new Float64Array(codes);
  const scales = patchNums.map((side, k) => {
    const hits = new Float64Array(codes);
    for (let at = 0; at < ids.length; at += L)
      for (let t = starts[k]!; t < starts[k + 1]!; t++) hits[ids[at + t]!]! += 1;
    for (let v = 0; v < codes; v++) all[v]! += hits[v]!;
    return { side, ...spreadOf(hits) };
  });
  return [...scales, spreadOf(all)];
}

function spreadOf(hits: Float64Array): Omit<CodeUse, "side"> {
  const tokens = hits.reduce((sum, n) => sum + n, 0);
  const entropy = hits.reduce((h, n) => (n > 0 ? h - (n / tokens) * Math.log(n / tokens) : h), 0);
  return { tokens, used: hits.filter((n) => n > 0).length, perplexity: Math.exp(entropy) };
}

/** Share of places where two lists of tokens are the same. */
export function sameShare(a: Int32Array, b: Int32Array): number {
  if (a.length !== b.length) throw new RangeError(`sameShare: ${a.length} tokens and ${b.length}`);
  let same = 0;
  for (let i = 0; i < a.length; i++) same += a[i] === b[i] ? 1 : 0;
  return same / Math.max(1, a.length);
}
