/** Trains the multi-scale tokenizer: its losses, its codebook's health, its running mean, step by step. */

import { type Augment, batches, checkCursor, type ImageDataset } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { imageSide, type VqvaeConfig } from "../image/config.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { bindInputs } from "../nn/bind.ts";
import { startEma, trackEma } from "../nn/ema.ts";
import { adamw } from "../nn/optim.ts";
import { learningRate } from "../nn/schedule.ts";
import { initWeights } from "../nn/spec.ts";
import { compileStep } from "../nn/step.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input } from "../tensor/graph.ts";
import { concat } from "../tensor/ops.ts";
import { type Rng, rng } from "../tensor/rng.ts";
import {
  codebookHealth,
  codebookTroubles,
  countHits,
  type Health,
  newCodebookUse,
  restoreCodebookUse,
  reviveDeadCodes,
} from "./codebook.ts";
import { drawnCodebook } from "./codebook-start.ts";
import type { Task } from "./loop.ts";
import { prefixed, stepperTensors, unprefixed } from "./names.ts";
import type { Checkpoint } from "./run.node.ts";
import { lossGraph } from "./vqvae-loss.ts";
import { type Judge, psnr, vqvaeMeasure } from "./vqvae-measure.ts";

/** The recipe; plain JSON, fixed for a run. */
export interface VqvaeRecipe {
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
  /** Weight of the entropy term that spreads the codes over every scale's vectors; 0 for none. */
  readonly entropy: number;
  /** Chance that the finer scales of a picture are left out from a random one on, so that coarse ones carry more. */
  readonly scaleDrop: number;
  /** Updates after which the codebook is drawn from the data by k-means; 0 at the start, -1 for never. */
  readonly codebookAt: number;
  /** Updates between revivals of dead codes; 0 for never. */
  readonly reviveEvery: number;
  readonly augment: Augment;
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
  entropy: 0,
  scaleDrop: 0,
  codebookAt: -1,
  reviveEvery: 50,
  augment: {},
};

const CODEBOOK = "quantize.embedding.weight";
const HITS = "quantize.ema_vocab_hit_SV";

const first = (t: Tensor | undefined): number => Number(t!.data[0]);

/**
 * A tokenizer in training on `train`, measured on `test`; give it to `trainLoop`.
 * Throws InputError when the pictures do not have the model's size.
 */
export async function vqvaeTask(
  recipe: VqvaeRecipe,
  data: { train: ImageDataset; test: ImageDataset },
  life: { backend: Backend; checkpoint?: Checkpoint; judge?: () => Judge },
): Promise<Task> {
  const { model, batch, seed } = recipe;
  const side = imageSide(model);
  if (data.train.size !== side)
    throw new InputError(
      `${data.train.name}: pictures have ${data.train.size} pixels, the tokenizer wants ${side}; load them at that size`,
    );
  const specs = vqvaeSpecs(model);
  const start = rng(seed);
  const { checkpoint } = life;
  const weights = checkpoint
    ? unprefixed(checkpoint.tensors, "param.")
    : initWeights(specs, start.child("weights"));
  const [scales, codes] = [model.patchNums.length, model.codes];
  const names = model.patchNums.map((pn) => `${pn}x${pn}`);
  const perPicture = model.patchNums.map((pn) => pn * pn);
  const saved = (checkpoint?.position ?? {}) as { cursor?: unknown; updates?: unknown };
  const use = checkpoint
    ? restoreCodebookUse({ hits: checkpoint.tensors.get(HITS), ...saved }, scales, codes)
    : newCodebookUse(scales, codes);
  let cursor = checkpoint && checkCursor(saved.cursor, data.train);

  const g = createGraph("vqvae step");
  const p = bindInputs(g, specs);
  const images = input(g, "images", [batch, 3, side, side]);
  const keep = recipe.scaleDrop > 0 ? input(g, "keep", [batch, scales]) : undefined;
  const parts = lossGraph({ images, keep }, p, recipe);
  const tokens = Object.fromEntries(parts.ids.map((ids, k) => [`ids.${k}`, ids]));
  const stepper = await compileStep(
    {
      loss: parts.loss,
      params: p.bound,
      decayed: new Set(specs.filter((s) => s.decay).map((s) => s.name)),
      optimizer: adamw({ betas: [0.9, 0.99] }),
      clip: recipe.clip,
      report: { ...parts.report, z: concat(parts.z, 0), ...tokens },
    },
    life.backend,
    { weights, state: checkpoint && unprefixed(checkpoint.tensors, "state.") },
  );
  const ema =
    recipe.ema > 0
      ? startEma(stepper.weights(), checkpoint && unprefixed(checkpoint.tensors, "ema."))
      : undefined;
  const measure = vqvaeMeasure(model, {
    data: data.test,
    batch: Math.min(batch, data.test.count),
    ...life,
  });
  const source = batches(data.train, { batch, seed, cursor, augment: recipe.augment });
  // With few scales some phi convolutions are never chosen: they are in no graph, and stay as they started.
  const unused = initWeights(
    specs.filter((s) => s.name !== HITS && !p.bound.has(s.name)),
    start.child("weights"),
  );
  const modelTensors = (): TensorMap => {
    const now = new Map([...unused, ...(ema ?? stepper.weights()), [HITS, use.hits]]);
    return new Map(specs.map((s) => [s.name, now.get(s.name)!]));
  };
  /** Draws the codebook from the data when it is time, or moves its dead codes; how many codes were moved. */
  const renew = (step: number, z: Tensor): number => {
    const own = stepper.weights().get(CODEBOOK)!;
    const state = stepper.state();
    const moments = ["m", "v"].map((kind) => state.get(`adamw.${kind}.${CODEBOOK}`)!);
    const followers = ema ? [ema.get(CODEBOOK)!] : [];
    if (step === Math.max(1, recipe.codebookAt) && recipe.codebookAt >= 0) {
      const drawn = drawnCodebook(z, { codes, tokens: perPicture, rng: start.child("codebook") });
      for (const table of [own, ...followers]) table.data.set(drawn.data as never);
      for (const moment of moments) moment.data.fill(0 as never);
      return codes;
    }
    if (!recipe.reviveEvery || step % recipe.reviveEvery) return 0;
    return reviveDeadCodes(
      use,
      { codebook: own, moments, followers, z, tokens: perPicture },
      start.child("revival").child(step),
    );
  };

  return {
    pace: (step) => ({
      step,
      lr: learningRate(step - 1, {
        schedule: "cos",
        peak: recipe.lr,
        warmup: recipe.warmup,
        steps: recipe.steps,
        end: 0.05,
      }),
      weightDecay: recipe.weightDecay,
    }),
    async step(pace) {
      const begin = performance.now();
      const next = (await source.next()).value!;
      cursor = next.cursor;
      const feeds = {
        images: next.images,
        ...(keep && { keep: keptScales(recipe, start.child("scales").child(pace.step)) }),
      };
      const ready = performance.now();
      const r = await stepper.step(feeds, pace);
      const ran = performance.now();
      countHits(
        use,
        parts.ids.map((_, k) => r[`ids.${k}`]!),
      );
      if (ema) trackEma(ema, stepper.weights(), { decay: recipe.ema, step: pace.step });
      const revived = renew(pace.step, r.z!);
      const { scales: each, ...health } = codebookHealth(use);
      return {
        metrics: {
          loss: first(r.loss),
          l1: first(r.l1),
          psnr: psnr(first(r.l2)),
          vq: first(r.vq),
          ...(r.entropy && { entropy: first(r.entropy) }),
          gradNorm: first(r.gradNorm),
          ...health,
          ...Object.fromEntries(each.flatMap((h, k) => perScale(h, names[k]!))),
          revived,
        },
        batch: { epoch: next.cursor.epoch, indices: next.indices, feeds: [feeds] },
        phases: { data: ready - begin, run: ran - ready, codes: performance.now() - ran },
        applied: stepper.applied(),
      };
    },
    evaluate: () => measure.evaluate(modelTensors()),
    remarks: () => codebookTroubles(codebookHealth(use), { tokens: perPicture, names }),
    draw: () => measure.draw(modelTensors()),
    tensors: () =>
      new Map([
        ...prefixed(stepper.weights(), "param."),
        ...prefixed(stepper.state(), "state."),
        ...(ema ? prefixed(ema, "ema.") : []),
        [HITS, use.hits],
      ]),
    before: () => stepperTensors(stepper.before()),
    position: () => ({ cursor, updates: use.updates }),
    finish: (run) =>
      run.write("vqvae.safetensors", modelTensors(), {
        underpaint: JSON.stringify({ format: 1, kind: "vqvae", config: model }),
      }),
    async release() {
      await source.return?.();
      await stepper.release();
      await measure.release();
    },
  };
}

/** `usage/4x4`: the health of one scale as metrics. */
const perScale = ({ usage, perplexity }: Health, name: string): [string, number][] => [
  [`usage/${name}`, usage],
  [`perplexity/${name}`, perplexity],
];

/** Which scales of which pictures are laid down: B K of 0 and 1. At least the first always is. */
function keptScales({ batch, model, scaleDrop }: VqvaeRecipe, rng: Rng): Tensor {
  const K = model.patchNums.length;
  const data = new Float32Array(batch * K).fill(1);
  for (let b = 0; b < batch; b++) {
    const [drop, from] = [rng.uniform() < scaleDrop, 1 + rng.int(Math.max(1, K - 1))];
    if (drop) data.fill(0, b * K + from, (b + 1) * K);
  }
  return { dtype: "float32", shape: [batch, K], data };
}
