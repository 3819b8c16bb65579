/** What a tokenizer's recipe says of every update, for those who compare. Trains nothing. */

import { epochOrder, type ImageDataset } from "../data/index.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import type { Pace } from "../nn/optim.ts";
import { learningRate } from "../nn/schedule.ts";
import { type Declared, pictureRow, placeOf } from "./declared.ts";
import type { VqvaeRecipe } from "./vqvae-recipe.ts";

export const VQVAE_ADAMW = { betas: [0.9, 0.99], eps: 1e-8 } as const;
export const CODEBOOK = "quantize.embedding.weight";

/** Rate and decay of update `step`, from 1. */
export const vqvaePace = ({ lr, warmup, steps, weightDecay }: VqvaeRecipe, step: number): Pace => ({
  step,
  lr: learningRate(step - 1, { schedule: "cos", peak: lr, warmup, steps, end: 0.05 }),
  weightDecay,
});

/**
 * A row is a picture. The loss is not declared: its gradient passes the quantizer straight through, so no finite
 * difference would agree with it.
 */
export function declareVqvae(recipe: VqvaeRecipe, train: ImageDataset): Declared {
  const { model, seed, batch, clip } = recipe;
  const [untouched, renewed] = [new Set<string>(), new Set([CODEBOOK])];
  const decayed = vqvaeSpecs(model).filter((s) => s.decay);
  return {
    pace: (step) => vqvaePace(recipe, step),
    adamw: VQVAE_ADAMW,
    clip,
    decayed: new Set(decayed.map((s) => s.name)),
    rows: train.count,
    row: (i) => pictureRow(train, i),
    batch(step) {
      const { epoch, position } = placeOf(step, { count: train.count, batch });
      const indices = epochOrder(train.count, seed, epoch).subarray(position, position + batch);
      return { indices, rows: Array.from(indices) };
    },
    touched: (_, { revived }) => (revived ? renewed : untouched),
  };
}
