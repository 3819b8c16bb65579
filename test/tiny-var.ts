/** The smallest transformer that trains like a large one, on tokens made up: for tests. */

import { varConfig, vqvaeConfig } from "../src/image/config.ts";
import { sheet } from "../src/image/sheet.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import { initWeights } from "../src/nn/spec.ts";
import { ortNode } from "../src/tensor/backends/ort-node.ts";
import { rng } from "../src/tensor/rng.ts";
import type { Task } from "../src/train/loop.ts";
import type { Checkpoint } from "../src/train/run.node.ts";
import type { TokenSet } from "../src/train/tokens.ts";
import { VAR_RECIPE, type VarRecipe, varTask } from "../src/train/var.ts";
import { discs } from "./discs.ts";

const patchNums = [1, 2];
const tokenizer = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums },
});
const backend = ortNode();
const weights = initWeights(vqvaeSpecs(tokenizer), rng("tokenizer"));
const data = { train: discs("train", 24), test: discs("test", 4) };

const tokens = (count: number): TokenSet => {
  const chance = rng("tokens");
  const ids = Int32Array.from({ length: 2 * count * 5 }, () => chance.int(16));
  return { variants: 2, count, length: 5, ids, read: ids };
};

export const tinyRecipe = (steps: number): VarRecipe => ({
  ...VAR_RECIPE,
  model: varConfig(2, { width: 32, heads: 2, classes: 2, patchNums, codes: 16, latent: 4 }),
  ...{ batch: 4, steps, lr: 3e-3, warmup: 2, variants: 2, augment: {} },
});

/** A trainer of it; with a checkpoint, from there. */
export const tinyTask = (
  steps: number,
  checkpoint?: Checkpoint,
  recipe: VarRecipe = tinyRecipe(steps),
): Promise<Task> =>
  varTask(
    recipe,
    { ...data, trainTokens: tokens(24), testTokens: tokens(4) },
    {
      backend,
      tokenizer: { config: tokenizer, weights },
      draw: async () => sheet([{ width: 1, height: 1, channels: 3, data: new Uint8Array(3) }]),
      checkpoint,
    },
  );
