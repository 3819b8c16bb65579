/** A data set as tokens: every picture encoded once, in a few augmented variants, so that training reads no pixels. */

import { type Augment, augment, type ImageDataset, pixelsOf } from "../data/index.ts";
import type { TensorMap } from "../formats/dtype.ts";
import { imageSide, tokenCount, type VqvaeConfig } from "../image/config.ts";
import { quantize } from "../image/quantizer.ts";
import { encode } from "../image/vqvae.ts";
import { bindConstants } from "../nn/bind.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { concat } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";

/** Token ids of all pictures in all variants. */
export interface TokenSet {
  readonly count: number;
  readonly variants: number;
  /** L: tokens of a picture over all scales. */
  readonly length: number;
  /** variants x count x L. */
  readonly ids: Int32Array;
}

export interface TokenizeOptions {
  /** Augmented versions of every picture; the first is the picture itself. */
  variants?: number;
  augment?: Augment;
  seed?: number;
  /** Pictures per call of the encoder. */
  batch?: number;
  signal?: AbortSignal;
}

/** Progress of `tokenize`: pictures done of all, and the result at the end. */
export interface TokenizeProgress {
  readonly done: number;
  readonly of: number;
  readonly tokens?: TokenSet;
}

/** Encodes a data set; yields progress and, last, the tokens. Same seed, same tokens. */
export async function* tokenize(
  dataset: ImageDataset,
  tokenizer: { config: VqvaeConfig; weights: TensorMap; backend: Backend },
  options: TokenizeOptions = {},
): AsyncGenerator<TokenizeProgress> {
  const { variants = 1, augment: strength = {}, seed = 0, signal } = options;
  const { config, weights, backend } = tokenizer;
  const [count, length, side] = [dataset.count, tokenCount(config), imageSide(config)];
  const batch = Math.min(options.batch ?? 32, count);
  const g = createGraph("tokenize");
  const p = bindConstants(g, weights);
  const images = input(g, "images", [batch, 3, side, side]);
  output(g, "ids", concat(quantize(encode(images, p, config), p, config).ids, 1)); // B L
  const session = await backend.compile(g);
  const ids = new Int32Array(variants * count * length);
  const floats = 3 * side * side;
  const pixels = new Float32Array(batch * floats);
  const noise = rng(seed).child("variants");
  const of = variants * count;
  try {
    for (let done = 0; done < of; done += batch) {
      signal?.throwIfAborted();
      // The last batch starts earlier and does some pictures again: the graph has one batch size.
      const from = Math.min(done, of - batch);
      for (let b = 0; b < batch; b++) {
        const [variant, i] = [Math.floor((from + b) / count), (from + b) % count];
        const target = { from: dataset.size, to: side, out: pixels, at: b * floats };
        const strengths = variant === 0 ? {} : strength;
        augment(pixelsOf(dataset, i), target, { ...strengths, rng: noise.child(variant).child(i) });
      }
      const feeds = {
        images: { dtype: "float32", shape: [batch, 3, side, side], data: pixels },
      } as const;
      const result = (await session.run(feeds)).ids!;
      for (let j = 0; j < batch * length; j++) ids[from * length + j] = Number(result.data[j]);
      yield { done: Math.min(of, done + batch), of };
    }
  } finally {
    await session.release();
  }
  yield { done: of, of, tokens: { count, variants, length, ids } };
}
