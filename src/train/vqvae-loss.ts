/** What tokenizer training minimises, as a graph. Trains nothing: see vqvae.ts. */

import { codeEntropy } from "../image/code-entropy.ts";
import { type FeatureNet, perceptualDistance } from "../image/perceptual.ts";
import { type Quantized, quantizeForTraining } from "../image/quantizer.ts";
import { decode, encode } from "../image/vqvae.ts";
import type { Bind } from "../nn/bind.ts";
import type { Player } from "../nn/step.ts";
import type { Value } from "../tensor/graph.ts";
import { abs, add, mean, mse, mul, sub } from "../tensor/ops.ts";
import { adversary } from "./adversary.ts";
import type { VqvaeRecipe } from "./vqvae-recipe.ts";

export interface VqvaeBatch {
  /** B 3 H W in [-1, 1]. */
  readonly images: Value;
  /** Which scales are laid down, B K of 0 and 1; all by default. */
  readonly keep?: Value;
}

export interface VqvaeLoss extends Quantized {
  /** What is told: the weighted sum of all parts but the adversarial one, which has no meaning by itself. */
  readonly loss: Value;
  /** What is minimised: its gradient is that of all parts. */
  readonly objective: Value;
  /** The discriminator, where there is one. */
  readonly opponent?: Player;
  /** B 3 H W, not clamped. */
  readonly rebuilt: Value;
  /** Scalars by name: the parts of the loss before their weights. */
  readonly report: Readonly<Record<string, Value>>;
}

export interface VqvaeLossOptions {
  readonly recipe: VqvaeRecipe;
  /** Looked through by the perceptual term. */
  readonly network?: FeatureNet;
  /** Whether the discriminator takes part. */
  readonly hostile?: boolean;
}

/** VAR eq. 5 in its parts: pixels, quantizer, perceptual and adversarial term, and what keeps the codebook in use. */
export function lossGraph(
  { images, keep }: VqvaeBatch,
  p: Bind,
  { recipe, network, hostile = false }: VqvaeLossOptions,
): VqvaeLoss {
  const { model } = recipe;
  const f = encode(images, p, model);
  const quantized = quantizeForTraining(f, p, model, { keep });
  const rebuilt = decode(quantized.fHat, p, model);
  const pixels = {
    l1: mean(abs(sub(rebuilt, images))),
    l2: mse(rebuilt, images),
    ...(network && { perceptual: perceptualDistance(images, rebuilt, network) }),
  };
  const codes = {
    vq: quantized.loss,
    ...(recipe.entropy > 0 && { entropy: codeEntropy(quantized.z, p, model) }),
  };
  const reconstruction = weighted(pixels, recipe);
  const rest = weighted(codes, recipe);
  const loss = add(reconstruction, rest);
  const report = { ...pixels, ...codes };
  if (!hostile) return { ...quantized, loss, objective: loss, rebuilt, report };
  const lastLayer = p("decoder.conv_out.weight");
  const {
    objective,
    opponent,
    report: more,
  } = adversary({ images, rebuilt, reconstruction, lastLayer }, recipe);
  return {
    ...{ ...quantized, loss, rebuilt, opponent },
    objective: add(objective, rest),
    report: { ...report, ...more },
  };
}

/** Each part and the recipe's number that weights it. */
const WEIGHT = {
  l1: "l1",
  l2: "l2",
  perceptual: "perceptualWeight",
  vq: "vq",
  entropy: "entropy",
} as const;
type Part = keyof typeof WEIGHT;

const weighted = (parts: Readonly<Partial<Record<Part, Value>>>, recipe: VqvaeRecipe): Value =>
  (Object.keys(parts) as Part[]).map((name) => mul(parts[name]!, recipe[WEIGHT[name]])).reduce(add);
