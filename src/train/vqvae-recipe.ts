/** The recipe of a tokenizer's training, with its defaults. Trains nothing. */

import type { Augment } from "../data/index.ts";
import type { VqvaeConfig } from "../image/config.ts";
import { ADVERSARY_RECIPE, type AdversaryRecipe } from "./adversary.ts";

/** The recipe; plain JSON, fixed for a run. */
export interface VqvaeRecipe extends AdversaryRecipe {
  readonly model: VqvaeConfig;
  readonly seed: number;
  /** Pictures per update. */
  readonly batch: number;
  /** Updates of the whole run. */
  readonly steps: number;
  /** Highest learning rate. */
  readonly lr: number;
  /** Updates of linear warm-up. */
  readonly warmup: number;
  readonly weightDecay: number;
  /** Largest joint norm of the gradients; 0 for no limit. */
  readonly clip: number;
  /** Decay of the running mean that becomes the finished model; 0 for the last weights themselves. */
  readonly ema: number;
  /** Weights of the mean absolute and the mean squared error of pixels in [-1, 1]. */
  readonly l1: number;
  readonly l2: number;
  /** Weight of the quantizer's loss. */
  readonly vq: number;
  /** Weight of the distance between feature maps of `network`. */
  readonly perceptualWeight: number;
  /** The network that is looked through, told by name and hash of its weights; null for none. */
  readonly network: { readonly name: string; readonly hash: string } | null;
  /** Weight of the entropy term that spreads the codes over every scale's vectors; 0 for none. */
  readonly entropy: number;
  /** Chance that the finer scales of a picture are left out from a random one on, so that coarse ones carry more. */
  readonly scaleDrop: number;
  /** Updates after which the codebook is drawn from the data by k-means; 0 at the start, -1 for never. */
  readonly codebookAt: number;
  /** Updates between revivals of dead codes; 0 for never. */
  readonly reviveEvery: number;
  readonly augment: Augment;
  /** The tokenizer whose weights it starts from, told by its file and the hash of that; null for none. */
  readonly from: { readonly file: string; readonly hash: string } | null;
  /** What learns. The decoder alone: pictures keep their tokens, so transformers trained on those stay right. */
  readonly only: "all" | "decoder";
}

export const VQVAE_RECIPE: Omit<VqvaeRecipe, "model"> = {
  seed: 0,
  batch: 32,
  steps: 10_000,
  lr: 1e-3,
  warmup: 100,
  weightDecay: 0.01,
  clip: 1,
  ema: 0.999,
  l1: 1,
  l2: 1,
  vq: 1,
  perceptualWeight: 1,
  network: null,
  entropy: 0,
  scaleDrop: 0,
  codebookAt: -1,
  reviveEvery: 50,
  augment: {},
  from: null,
  only: "all",
  ...ADVERSARY_RECIPE,
};
