/** The two trainers' own steps for the engine benchmark: their graphs, as the library builds them. Peers: peers/*_training.py. */

import { classifierConfig, classifierSpecs, classify } from "../src/eval/classifier.ts";
import type { Tensor } from "../src/formats/dtype.ts";
import {
  labVqvaeConfig,
  type VarConfig,
  type VqvaeConfig,
  varConfig,
} from "../src/image/config.ts";
import { patchGanSpecs } from "../src/image/patch-gan.ts";
import type { FeatureNet } from "../src/image/perceptual.ts";
import { imageSize, tokenCount } from "../src/image/scales.ts";
import { varSpecs } from "../src/image/var-layout.ts";
import { dropLabels, dropPathMasks, varBatch, varLoss } from "../src/image/var-loss.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import { bindConstants, bindInputs } from "../src/nn/bind.ts";
import { adamw } from "../src/nn/optim.ts";
import { initWeights, type ParamSpec } from "../src/nn/spec.ts";
import type { StepPlan } from "../src/nn/step.ts";
import { createGraph, input } from "../src/tensor/graph.ts";
import { concat } from "../src/tensor/ops.ts";
import { rng } from "../src/tensor/rng.ts";
import { VQVAE_ADAMW } from "../src/train/vqvae-declared.ts";
import { lossGraph } from "../src/train/vqvae-loss.ts";
import { VQVAE_RECIPE, type VqvaeRecipe } from "../src/train/vqvae-recipe.ts";

/** VAR on the tokens of a tokenizer. */
export interface VarCase {
  readonly kind: "var";
  readonly var: VarConfig;
  readonly tokenizer: VqvaeConfig;
  readonly batch: number;
}

/** The tokenizer with every loss; the discriminator plays from the start. */
export interface VqvaeCase {
  readonly kind: "vqvae";
  readonly recipe: VqvaeRecipe;
  readonly batch: number;
}

export const varCase = (depth: number, batch: number): VarCase => {
  const tokenizer = labVqvaeConfig();
  const { patchNums, codes, latent } = tokenizer;
  return {
    ...{ kind: "var", tokenizer, batch },
    var: varConfig(depth, { patchNums, codes, latent, classes: 20 }),
  };
};

export const vqvaeCase = (batch: number): VqvaeCase => ({
  ...{ kind: "vqvae", batch },
  recipe: {
    ...{ ...VQVAE_RECIPE, model: labVqvaeConfig(), batch },
    // What changes pictures before they are judged is chance and fed matrices: left out on both sides.
    ...{ gan: 0.5, ganStart: 0, ganWarmup: 0, ganAugment: 0 },
  },
});

/** What stands in for running means of judgements; the peer has the same. */
export const MEANS = { real: 0.25, fake: -0.5 } as const;

const trained = (specs: readonly ParamSpec[]) => specs.filter(({ kind }) => kind === "param");
const seen = ({ recipe }: VqvaeCase) => classifierConfig(imageSize(recipe.model).width, ["a", "b"]);
const judgeOf = ({ recipe }: VqvaeCase) =>
  patchGanSpecs({ channels: recipe.ganChannels, layers: recipe.ganLayers });

/** What is trained, and under "frozen." what is only looked up. */
export function trainerWeights(model: VarCase | VqvaeCase): Map<string, Tensor> {
  const chance = rng("bench");
  const own =
    model.kind === "var"
      ? trained(varSpecs(model.var))
      : [...trained(vqvaeSpecs(model.recipe.model)), ...judgeOf(model)];
  const frozen =
    model.kind === "var"
      ? vqvaeSpecs(model.tokenizer).filter(({ name }) => name.startsWith("quantize."))
      : classifierSpecs(seen(model));
  const fixed = initWeights(trained(frozen), chance.child("frozen"));
  return new Map([
    ...initWeights(own, chance),
    ...[...fixed].map(([name, t]) => [`frozen.${name}`, t] as const),
  ]);
}

const frozenOf = (model: VarCase | VqvaeCase) =>
  new Map(
    [...trainerWeights(model)].flatMap(([name, t]) =>
      name.startsWith("frozen.") ? [[name.slice("frozen.".length), t] as const] : [],
    ),
  );

/** The batch that every step sees. */
export function trainerBatch(model: VarCase | VqvaeCase): Record<string, Tensor> {
  const chance = rng("bench");
  if (model.kind === "vqvae") {
    const side = imageSize(model.recipe.model).width;
    const shape = [model.batch, 3, side, side];
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    chance.child("images").fillUniform(data, { low: -1, high: 1 });
    const number = (x: number): Tensor => ({
      dtype: "float32",
      shape: [],
      data: Float32Array.of(x),
    });
    return {
      images: { dtype: "float32", shape, data },
      "gan.weight": number(model.recipe.gan),
      "lecam.real": number(MEANS.real),
      "lecam.fake": number(MEANS.fake),
    };
  }
  const shape = [model.batch, tokenCount(model.var)];
  const codes = chance.child("ids");
  const data = BigInt64Array.from({ length: shape[0]! * shape[1]! }, () =>
    BigInt(codes.int(model.var.codes)),
  );
  const labels = Array.from({ length: model.batch }, (_, i) => i % model.var.classes);
  return {
    ids: { dtype: "int64", shape, data },
    labels: dropLabels(labels, model.var, chance.child("labels")),
    dropMasks: dropPathMasks(model.var, model.batch, chance.child("paths")),
  };
}

type Plan = Omit<StepPlan, "optimizer" | "clip"> & Partial<StepPlan>;

/** The graph of a step, with what a trainer reports. */
export function trainerPlan(model: VarCase | VqvaeCase): Plan {
  const g = createGraph(model.kind);
  const specs = model.kind === "var" ? varSpecs(model.var) : vqvaeSpecs(model.recipe.model);
  const p = bindInputs(g, specs);
  const common = {
    params: p.bound,
    decayed: new Set(specs.filter((s) => s.decay).map((s) => s.name)),
  };
  if (model.kind === "var") {
    const { loss, lastLoss, accuracy } = varLoss(varBatch(g, model.var, model), p, {
      ...{ config: model.var, tokenizer: model.tokenizer },
      weights: bindConstants(g, frozenOf(model)),
    });
    return { ...common, loss, report: { lastLoss, accuracy } };
  }
  const { recipe } = model;
  const config = seen(model);
  const frozen = bindConstants(g, frozenOf(model));
  const network: FeatureNet = {
    ...{ name: "bench", hash: "bench" },
    maps: (images) => classify(images, frozen, config).maps,
  };
  const side = imageSize(recipe.model).width;
  const images = input(g, "images", [recipe.batch, 3, side, side]);
  const parts = lossGraph({ images }, p, { recipe, network, hostile: true });
  return {
    ...{ ...common, loss: parts.objective, opponent: parts.opponent },
    ...{ optimizer: adamw(VQVAE_ADAMW), clip: recipe.clip },
    report: { loss: parts.loss, ...parts.report, ids: concat(parts.ids, 1) },
  };
}
