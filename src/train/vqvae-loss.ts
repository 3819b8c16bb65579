/** What tokenizer training minimises, as a graph. Trains nothing: see vqvae.ts. */

import { codeEntropy } from "../image/code-entropy.ts";
import { type Quantized, quantizeForTraining } from "../image/quantizer.ts";
import { decode, encode } from "../image/vqvae.ts";
import type { Bind } from "../nn/bind.ts";
import type { Value } from "../tensor/graph.ts";
import { abs, add, mean, mse, mul, sub } from "../tensor/ops.ts";
import type { VqvaeRecipe } from "./vqvae.ts";

export interface VqvaeBatch {
  /** B 3 H W in [-1, 1]. */
  readonly images: Value;
  /** Which scales are laid down, B K of 0 and 1; all by default. */
  readonly keep?: Value;
}

export interface VqvaeLoss extends Quantized {
  /** To be minimised. */
  readonly loss: Value;
  /** B 3 H W, not clamped. */
  readonly rebuilt: Value;
  /** Scalars by name: the parts of the loss before their weights. */
  readonly report: Readonly<Record<string, Value>>;
}

/** VAR eq. 5 in its parts: pixels, quantizer, and what the recipe adds. */
export function lossGraph({ images, keep }: VqvaeBatch, p: Bind, recipe: VqvaeRecipe): VqvaeLoss {
  const { model } = recipe;
  const f = encode(images, p, model);
  const quantized = quantizeForTraining(f, p, model, { keep });
  const rebuilt = decode(quantized.fHat, p, model);
  const [l1, l2] = [mean(abs(sub(rebuilt, images))), mse(rebuilt, images)];
  const entropy = recipe.entropy > 0 ? codeEntropy(quantized.z, p, model) : undefined;
  const report = { l1, l2, vq: quantized.loss, ...(entropy && { entropy }) };
  const weighted = [
    mul(l1, recipe.l1),
    mul(l2, recipe.l2),
    mul(quantized.loss, recipe.vq),
    ...(entropy ? [mul(entropy, recipe.entropy)] : []),
  ];
  return { ...quantized, loss: weighted.reduce(add), rebuilt, report };
}
