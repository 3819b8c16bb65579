/** The graphs that sampling and edits run: class -> modulation, one scale of the transformer, codes -> next scale, decoder, encoder. */

import type { WeightMap } from "../formats/lazy.ts";
import { type Bind, bindConstants } from "../nn/bind.ts";
import { linear } from "../nn/layers.ts";
import { createGraph, type Graph, input, output, type Value, withScope } from "../tensor/graph.ts";
import { add, clip, concat, mul, reshape, slice } from "../tensor/ops.ts";
import type { VarConfig, VqvaeConfig } from "./config.ts";
import { cacheNames } from "./kv-cache.ts";
import type { Precision } from "./precision.ts";
import { nextInput, quantize, spread } from "./quantizer.ts";
import { imageSize, latentShape, mapTokens } from "./scales.ts";
import {
  condition,
  embedMaps,
  head,
  type KeyValue,
  linearOnce,
  type Modulation,
  modulation,
  positionsOf,
  startToken,
  transformer,
} from "./var.ts";
import { decode, encode } from "./vqvae.ts";

/** Configurations and weights of both halves. */
export interface VarParts {
  readonly config: VarConfig;
  readonly weights: WeightMap;
  readonly tokenizer: VqvaeConfig;
  readonly tokenizerWeights: WeightMap;
}

/**
 * What depends on the class only, once per picture.
 * labels R -> `start` R 1 C (first token with its place), `blocks` R depth 6 C, `head` R 2 C.
 */
export function classGraph({ config, weights }: VarParts, precision: Precision = "fp32"): Graph {
  const g = createGraph("class");
  const p = bindConstants(g, weights);
  const cond = condition(input(g, "labels", ["R"], "int64"), p); // R C
  // Raster-order models share this graph, and their first map is larger than one token.
  const first = slice(positionsOf(p, config, 0), { axis: 1, end: 1 }); // 1 1 C
  output(g, "start", add(startToken(cond, p), first));
  // The rewrite for 8 bits knows products with the matrix on the right.
  const rows = modulationRows(cond, p, config, precision === "fp32" ? linearOnce : linear);
  output(g, "blocks", rows.blocks);
  output(g, "head", rows.head);
  return g;
}

/** The modulation in two tensors with a row for each of cond's R C: `blocks` R depth 6 C, `head` R 2 C. */
export function modulationRows(
  cond: Value,
  p: Bind,
  config: VarConfig,
  product: typeof linear = linear,
): { blocks: Value; head: Value } {
  const { blocks, head } = modulation(cond, p, config, product);
  const R = cond.shape[0]!;
  const all = concat(
    blocks.map((six) => reshape(six, [six.shape[0]!, 1, 6, config.width])),
    1,
  ); // R depth 6 C, or one row for all classes
  if (head.shape[0] === R) return { blocks: all, head };
  // Adding zeros of the right shape repeats the row; expand takes no named dimension.
  const zeros = mul(slice(cond, { axis: 1, end: 1 }), 0); // R 1
  return {
    blocks: add(all, reshape(zeros, [R, 1, 1, 1])),
    head: add(head, reshape(zeros, [R, 1, 1])),
  };
}

/**
 * One scale for R rows: tokens x R T C after P earlier ones -> `y` R T C, what the head reads, and all keys and values.
 * Sizes are named, so one compiled graph serves every scale and batch.
 */
export function scaleGraph({ config, weights }: VarParts): Graph {
  const { depth, width: C, heads } = config;
  const g = createGraph("scale");
  const p = bindConstants(g, weights);
  const x = input(g, "x", ["R", "T", C]);
  const all = input(g, "blocks", ["R", depth, 6, C]);
  const m: Modulation = {
    blocks: Array.from({ length: depth }, (_, i) =>
      reshape(slice(all, { axis: 1, start: i, end: i + 1 }), ["R", 6, C]),
    ),
    head: input(g, "head", ["R", 2, C]),
  };
  const past = m.blocks.map((_, i): KeyValue => {
    const [k, v] = cacheNames(i).map((name) =>
      input(g, `past.${name}`, ["R", heads, "P", C / heads]),
    ) as [Value, Value];
    return { k, v };
  });
  const { y, cache } = transformer(x, p, { config, modulation: m, past });
  output(g, "y", y);
  for (const [i, { k, v }] of cache.entries()) {
    const [kName, vName] = cacheNames(i);
    output(g, `next.${kName}`, k);
    output(g, `next.${vName}`, v);
  }
  return g;
}

/** y B T C -> `logits` B T V. A graph of its own, as guidance comes between. */
export function headGraph({ config, weights }: VarParts): Graph {
  const g = createGraph("head");
  const y = input(g, "y", ["B", "T", config.width]);
  output(g, "logits", head(y, bindConstants(g, weights)));
  return g;
}

/**
 * From the chosen code vectors of scale k to what the next scale reads.
 * rows B T latent, before (fHat) B latent h w -> `fHat` after this scale and, but for the last, `x` B T C.
 */
export function advanceGraph(parts: VarParts, k: number): Graph {
  const { config, weights, tokenizer, tokenizerWeights } = parts;
  const { patchNums, latent } = tokenizer;
  const g = createGraph(`advance ${k}`);
  const rows = input(g, "rows", ["B", mapTokens(patchNums[k]!), latent]);
  const before = input(g, "before", ["B", latent, ...latentShape(tokenizer)]);
  const vae = bindConstants(g, tokenizerWeights);
  const fHat = add(
    before,
    withScope(g, `scale.${k}`, () => spread(rows, vae, { k, config: tokenizer })),
  );
  output(g, "fHat", fHat);
  const next = patchNums[k + 1];
  if (next === undefined) return g;
  const p = bindConstants(g, weights);
  const place = positionsOf(p, config, k + 1); // 1 T C
  output(g, "x", add(embedMaps(nextInput(fHat, next), p), place));
  return g;
}

/** A picture to its feature map. image 1 3 H W in [-1, 1] -> `f` 1 latent h w. */
export function encodeGraph({ tokenizer, tokenizerWeights }: VarParts): Graph {
  const { width, height } = imageSize(tokenizer);
  const g = createGraph("encode");
  const image = input(g, "image", [1, 3, height, width]);
  output(g, "f", encode(image, bindConstants(g, tokenizerWeights), tokenizer));
  return g;
}

/** A feature map to its tokens, coarse to fine. f 1 latent h w -> `ids` 1 L. */
export function quantizeGraph({ tokenizer, tokenizerWeights }: VarParts): Graph {
  const g = createGraph("quantize");
  const f = input(g, "f", [1, tokenizer.latent, ...latentShape(tokenizer)]);
  const { ids } = quantize(f, bindConstants(g, tokenizerWeights), tokenizer);
  output(g, "ids", concat(ids, 1));
  return g;
}

/** fHat to pictures in [-1, 1]. B latent h w -> `image` B 3 H W. */
export function decodeGraph({ tokenizer, tokenizerWeights }: VarParts): Graph {
  const g = createGraph("decode");
  const fHat = input(g, "fHat", ["B", tokenizer.latent, ...latentShape(tokenizer)]);
  output(g, "image", clip(decode(fHat, bindConstants(g, tokenizerWeights), tokenizer), -1, 1));
  return g;
}
