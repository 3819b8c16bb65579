/** Pictures through a tokenizer: features, tokens and reconstructions, and what they tell of it. Trains nothing. */

import { normalise } from "../data/index.ts";
import { InputError } from "../formats/errors.ts";
import type { WeightMap } from "../formats/lazy.ts";
import { pixelCount, sameSize, sizeText } from "../formats/picture-size.ts";
import type { VqvaeConfig } from "../image/config.ts";
import { quantize } from "../image/quantizer.ts";
import {
  imageSize,
  latentShape,
  mapTokens,
  type PatchNum,
  scaleStarts,
  tokenCount,
} from "../image/scales.ts";
import { toPictures } from "../image/sheet.ts";
import { decode, encode } from "../image/vqvae.ts";
import { type Bind, bindConstants } from "../nn/bind.ts";
import type { Backend, Tensors } from "../tensor/backend.ts";
import { createGraph, input, output, type Value } from "../tensor/graph.ts";
import { clip, concat } from "../tensor/ops.ts";
import type { Pictures, Points } from "./nearest.ts";

export interface Tokenizer {
  readonly config: VqvaeConfig;
  readonly weights: WeightMap;
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

interface Life {
  readonly backend: Backend;
  /** Pictures together; changes speed and memory, not results. Default 32. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
}

/** Encodes, quantizes and decodes all pictures. @throws InputError when they do not have the tokenizer's size */
export async function throughTokenizer(
  pictures: Pictures,
  tokenizer: Tokenizer,
  life: Life,
): Promise<Through> {
  const { config } = tokenizer;
  const [L, { count, width, height }] = [tokenCount(config), pictures];
  const features = emptyFeatures(count, config);
  const ids = new Int32Array(count * L);
  const floats = 3 * width * height;
  const pixels = new Uint8Array(count * floats);
  const squared = new Float64Array(count);
  const whole = (images: Value, p: Bind) => {
    const f = encode(images, p, config);
    const { ids, fHats } = quantize(f, p, config);
    const rebuilt = clip(decode(fHats.at(-1)!, p, config), -1, 1);
    return { features: f, ids: concat(ids, 1), rebuilt }; // ids B L
  };
  for await (const { from, images, results: r } of passes(pictures, tokenizer, {
    whole,
    ...life,
  })) {
    features.data.set(r.features!.data as Float32Array, from * features.size);
    ids.set(Int32Array.from(r.ids!.data as BigInt64Array, Number), from * L);
    const rebuilt = r.rebuilt!;
    toPictures(rebuilt).forEach(({ data }, b) => {
      pixels.set(data, (from + b) * floats);
      let sum = 0;
      for (let j = b * floats; j < (b + 1) * floats; j++)
        sum += (images[j]! - (rebuilt.data[j] as number)) ** 2;
      squared[from + b] = sum / floats;
    });
  }
  return { features, ids, rebuilt: { count, width, height, pixels }, squared };
}

/** Only the feature maps f before quantization: half the work. */
export async function featuresOf(
  pictures: Pictures,
  tokenizer: Tokenizer,
  life: Life,
): Promise<Points> {
  const features = emptyFeatures(pictures.count, tokenizer.config);
  const whole = (images: Value, p: Bind) => ({ features: encode(images, p, tokenizer.config) });
  for await (const { from, results } of passes(pictures, tokenizer, { whole, ...life }))
    features.data.set(results.features!.data as Float32Array, from * features.size);
  return features;
}

function emptyFeatures(count: number, config: VqvaeConfig): Points {
  const size = config.latent * mapTokens(latentShape(config));
  return { count, size, data: new Float32Array(count * size) };
}

/** Runs a graph over all pictures, a batch at a time; `from` is the number of a batch's first picture. */
async function* passes(
  pictures: Pictures,
  { config, weights }: Tokenizer,
  options: Life & { whole: (images: Value, p: Bind) => Readonly<Record<string, Value>> },
): AsyncGenerator<{ from: number; images: Float32Array; results: Tensors }> {
  const { backend, batch: most = 32, signal, whole } = options;
  const [size, { count }] = [imageSize(config), pictures];
  if (!sameSize(pictures, size) || count === 0)
    throw new InputError(
      `got ${count} pictures of ${sizeText(pictures)} pixels, the tokenizer wants ${sizeText(size)}; open them at that size`,
    );
  const batch = Math.min(most, count);
  const g = createGraph("through the tokenizer");
  const shape = [batch, 3, size.height, size.width];
  const outputs = whole(input(g, "images", shape), bindConstants(g, weights));
  for (const [name, value] of Object.entries(outputs)) output(g, name, value);
  const session = await backend.compile(g);
  const floats = 3 * pixelCount(size);
  const images = new Float32Array(batch * floats);
  try {
    for (let done = 0; done < count; done += batch) {
      signal?.throwIfAborted();
      // The last batch starts earlier and does some pictures again: the graph has one batch size.
      const from = Math.min(done, count - batch);
      for (let b = 0; b < batch; b++)
        normalise(pictures.pixels.subarray((from + b) * floats, (from + b + 1) * floats), {
          ...{ from: size, to: size, out: images, at: b * floats },
        });
      const results = await session.run({ images: { dtype: "float32", shape, data: images } });
      yield { from, images, results };
    }
  } finally {
    await session.release();
  }
}

/** PSNR in dB of the mean over all pictures' mean squared errors, pixels in [-1, 1]; what training logs. */
export const psnrOf = ({ squared }: Pick<Through, "squared">): number =>
  10 * Math.log10(4 / (squared.reduce((sum, s) => sum + s, 0) / squared.length));

/** Which codes are used at a scale, or at all scales. */
export interface CodeUse {
  /** The token map; undefined for all scales together. */
  readonly pn?: PatchNum;
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
  const scales = patchNums.map((pn, k) => {
    const hits = new Float64Array(codes);
    for (let at = 0; at < ids.length; at += L)
      for (let t = starts[k]!; t < starts[k + 1]!; t++) hits[ids[at + t]!]! += 1;
    for (let v = 0; v < codes; v++) all[v]! += hits[v]!;
    return { pn, ...spreadOf(hits) };
  });
  return [...scales, spreadOf(all)];
}

function spreadOf(hits: Float64Array): Omit<CodeUse, "pn"> {
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
