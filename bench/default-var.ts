/** The VAR that the lab trains by default, on tokens made up: for benchmarks of what stands around a training step. */

import { varConfig, vqvaeConfig } from "../src/image/config.ts";
import { sheet } from "../src/image/sheet.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import { initWeights } from "../src/nn/spec.ts";
import { openBackend } from "../src/tensor/backend.ts";
import { rng } from "../src/tensor/rng.ts";
import type { Task } from "../src/train/loop.ts";
import type { Checkpoint } from "../src/train/run.node.ts";
import type { TokenSet } from "../src/train/tokens.ts";
import { VAR_RECIPE, type VarRecipe, varTask } from "../src/train/var.ts";
import { discs } from "../test/discs.ts";

/** Shape of the embedded model: 64 pixels, 40 classes, 5 blocks of 256 channels. */
const patchNums = [1, 2, 3, 4, 5, 6, 8];
const L = patchNums.reduce((sum, pn) => sum + pn * pn, 0);
const COUNT = 256;
const tokenizer = vqvaeConfig({ patchNums, codes: 1024, latent: 16 });
const weights = initWeights(vqvaeSpecs(tokenizer), rng("tokenizer"));

export const recipe = (steps: number): VarRecipe => ({
  ...VAR_RECIPE,
  model: varConfig(5, { width: 256, heads: 4, classes: 40, patchNums, codes: 1024, latent: 16 }),
  steps,
});

function tokens(count: number): TokenSet {
  const chance = rng("tokens");
  const { variants } = VAR_RECIPE;
  const ids = Int32Array.from({ length: variants * count * L }, () => chance.int(1024));
  return { variants, count, length: L, ids, read: ids };
}

/** A trainer of it on that many threads (all by default). */
export async function defaultVar(
  steps: number,
  { threads, checkpoint }: { threads?: number; checkpoint?: Checkpoint } = {},
): Promise<Task> {
  const backend = await openBackend("ort-node");
  return varTask(
    recipe(steps),
    {
      ...{ train: discs("train", COUNT), test: discs("test", 32) },
      ...{ trainTokens: tokens(COUNT), testTokens: tokens(32) },
    },
    {
      backend: { ...backend, compile: (g, o) => backend.compile(g, { threads, ...o }) },
      tokenizer: { config: tokenizer, weights },
      draw: async () => sheet([{ width: 1, height: 1, channels: 3, data: new Uint8Array(3) }]),
      checkpoint,
    },
  );
}

/** Numbers that are trained. */
export const parametersOf = (task: Task): number =>
  [...task.tensors()]
    .filter(([name]) => name.startsWith("param."))
    .reduce((sum, [, { data }]) => sum + data.length, 0);
