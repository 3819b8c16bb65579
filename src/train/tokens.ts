/** A data set as tokens: every picture encoded once, in a few augmented variants, so that training reads no pixels. */

import { type Augment, augment, type ImageDataset, pixelsOf } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { pixelCount } from "../formats/picture-size.ts";
import type { VqvaeConfig } from "../image/config.ts";
import { type Misread, quantize } from "../image/quantizer.ts";
import { imageSize, scaleStarts, tokenCount } from "../image/scales.ts";
import { encode } from "../image/vqvae.ts";
import { bindConstants } from "../nn/bind.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, type Graph, input, output, type Value } from "../tensor/graph.ts";
import { concat, equal, slice, where } from "../tensor/ops.ts";
import { type Rng, rng } from "../tensor/rng.ts";

/** Token ids of all pictures in all variants. */
export interface TokenSet {
  readonly count: number;
  readonly variants: number;
  /** L: tokens of a picture over all scales. */
  readonly length: number;
  /** What is to be predicted: variants x count x L. */
  readonly ids: Int32Array;
  /** What is read while predicting it; the same array where nothing is misread. */
  readonly read: Int32Array;
}

export interface TokenizeOptions {
  /** Augmented versions of every picture; the first is the picture itself. */
  variants?: number;
  augment?: Augment;
  /**
   * Largest share of a picture's tokens that are misread, 0 to 1; each picture draws its own up to it. Default 0.
   * A misread token is replaced by the one another picture has in its place, and the finer scales are encoded so
   * that they repair the damage: a transformer that reads the mistakes and predicts the repair is not thrown off by
   * its own mistakes when it samples. Han et al. 2024 (Infinity, arXiv 2412.04431, section 3.3) flip bits so.
   */
  mistakes?: number;
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

/** Encodes a data set; yields progress and, last, the tokens. The first variant is without change or mistake. */
export async function* tokenize(
  dataset: ImageDataset,
  tokenizer: { config: VqvaeConfig; weights: TensorMap; backend: Backend },
  options: TokenizeOptions = {},
): AsyncGenerator<TokenizeProgress> {
  const { variants = 1, augment: strength = {}, mistakes = 0, seed = 0, signal } = options;
  const { config, weights, backend } = tokenizer;
  const [count, length, size] = [dataset.count, tokenCount(config), imageSize(config)];
  const batch = Math.min(options.batch ?? 32, count);
  const session = await backend.compile(tokenGraph(config, { weights, batch, mistakes }));
  const ids = new Int32Array(variants * count * length);
  const read = mistakes > 0 ? new Int32Array(ids.length) : ids;
  const pixels = new Float32Array(batch * 3 * pixelCount(size));
  const [noise, slips] = [rng(seed).child("variants"), rng(seed).child("mistakes")];
  const of = variants * count;
  try {
    for (let variant = 0; variant < variants; variant++) {
      for (let done = 0; done < count; done += batch) {
        signal?.throwIfAborted();
        // The last batch starts earlier and does some pictures again: the graph has one batch size.
        const from = Math.min(done, count - batch);
        const others = new BigInt64Array(mistakes > 0 ? batch * length : 0).fill(RIGHT);
        for (let b = 0; b < batch; b++) {
          const i = from + b;
          const target = {
            from: dataset,
            to: size,
            out: pixels,
            at: (b * pixels.length) / batch,
          };
          const strengths = variant === 0 ? {} : strength;
          augment(pixelsOf(dataset, i), target, {
            ...strengths,
            rng: noise.child(variant).child(i),
          });
          if (variant > 0 && mistakes > 0)
            slip(others.subarray(b * length, (b + 1) * length), ids.subarray(0, count * length), {
              most: mistakes,
              rng: slips.child(variant).child(i),
            });
        }
        const result = await session.run({
          images: { dtype: "float32", shape: [batch, 3, size.height, size.width], data: pixels },
          ...(mistakes > 0
            ? { others: { dtype: "int64", shape: [batch, length], data: others } as const }
            : {}),
        });
        const at = (variant * count + from) * length;
        const keep = (to: Int32Array, { data }: Tensor) => {
          for (let j = 0; j < batch * length; j++) to[at + j] = Number(data[j]);
        };
        keep(ids, result.ids!);
        if (result.read) keep(read, result.read);
        yield { done: variant * count + Math.min(count, done + batch), of };
      }
    }
  } finally {
    await session.release();
  }
  yield { done: of, of, tokens: { count, variants, length, ids, read } };
}

/** In `others`: this token is read as it is. */
const RIGHT = -1n;

/** Pictures to tokens. images B 3 H W, others B L where there are mistakes -> `ids` B L, `read` B L */
function tokenGraph(
  config: VqvaeConfig,
  { weights, batch, mistakes }: { weights: TensorMap; batch: number; mistakes: number },
): Graph {
  const g = createGraph("tokenize");
  const p = bindConstants(g, weights);
  const { width, height } = imageSize(config);
  const images = input(g, "images", [batch, 3, height, width]);
  const starts = scaleStarts(config.patchNums);
  const read: Value[] = [];
  const others =
    mistakes > 0 ? input(g, "others", [batch, tokenCount(config)], "int64") : undefined;
  const misread: Misread | undefined =
    others &&
    ((ids, k) => {
      const other = slice(others, { axis: 1, start: starts[k]!, end: starts[k + 1]! }); // B pn²
      const right = equal(other, Number(RIGHT));
      read.push(where(right, ids, other));
      return read.at(-1)!;
    });
  const { ids } = quantize(encode(images, p, config), p, config, { misread });
  output(g, "ids", concat(ids, 1)); // B L
  if (misread) output(g, "read", concat(read, 1)); // B L
  return g;
}

/** Draws the mistakes of one picture: some places of `others` get the tokens that random pictures have there. L */
function slip(
  others: BigInt64Array,
  clean: Int32Array,
  { most, rng }: { most: number; rng: Rng },
): void {
  const length = others.length;
  const share = most * rng.uniform();
  for (let t = 0; t < length; t++)
    if (rng.uniform() < share)
      others[t] = BigInt(clean[rng.int(clean.length / length) * length + t]!);
}
