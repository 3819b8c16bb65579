/** The smallest VAR whose tokens differ, and what its drawings are compared by: for tests of drawing. */

import type { Tensor } from "../src/formats/dtype.ts";
import { type VarConfig, varConfig, vqvaeConfig } from "../src/image/config.ts";
import { loadVar, type Var } from "../src/image/model.ts";
import { modelMetadata } from "../src/image/note.ts";
import type { SampleOptions } from "../src/image/orders.ts";
import { idsOf, type ScaleStep, sample } from "../src/image/sampler.ts";
import { varSpecs } from "../src/image/var-layout.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import { initWeights } from "../src/nn/spec.ts";
import { rng } from "../src/tensor/rng.ts";

const CLASSES = ["food/flat", "food/noto", "faces/flat", "faces/noto", "animals/flat"];

/** A model whose fresh weights are made louder, so that tokens differ. */
function noisy(config: VarConfig, seed: number): Map<string, Tensor> {
  const weights = initWeights(varSpecs(config), rng(seed));
  for (const { name, kind } of varSpecs(config)) {
    if (kind === "buffer" || name.includes("scale_mul")) continue;
    const { data, shape } = weights.get(name)!;
    const std = shape.length > 1 && shape.at(-1)! > 1 ? 1.5 / Math.sqrt(shape.at(-1)!) : 0.2;
    rng(seed)
      .child(name)
      .fillNormal(data as Float32Array, { std });
  }
  return weights;
}

export function louderModel(overrides: Partial<VarConfig> = {}, seed = 1): Promise<Var> {
  const shared = { patchNums: [1, 2, 3], codes: 24, latent: 4, ...overrides };
  const { patchNums, codes, latent } = shared;
  const tokenizer = vqvaeConfig({
    channels: 8,
    chMult: [1, 2],
    resBlocks: 1,
    groups: 4,
    codebookInit: 1,
    patchNums,
    codes,
    latent,
  });
  const config = varConfig(overrides.depth ?? 2, {
    width: 32,
    heads: 2,
    classes: CLASSES.length,
    ...shared,
  });
  const classes = config.classes === CLASSES.length ? CLASSES : undefined;
  return loadVar(
    {
      var: { tensors: noisy(config, seed), metadata: modelMetadata("var", config, { classes }) },
      vqvae: {
        tensors: initWeights(vqvaeSpecs(tokenizer), rng(seed)),
        metadata: modelMetadata("vqvae", tokenizer),
      },
    },
    { threads: 1 },
  );
}

export async function steps(model: Var, options: SampleOptions): Promise<ScaleStep[]> {
  const all: ScaleStep[] = [];
  for await (const step of sample(model, options)) all.push(step);
  return all;
}

/** Tokens of every picture in a row: count lists of L. */
export function rowsOfIds(all: readonly ScaleStep[]): number[][] {
  const count = all[0]!.classes.length;
  return Array.from({ length: count }, (_, i) => all.flatMap((step) => idsOf(step, i)));
}
