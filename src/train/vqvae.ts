/** Trains the multi-scale tokenizer: reconstruction, codebook and commitment losses, codebook revival. */

import { type Augment, batches, checkCursor, type ImageDataset, inOrder } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { imageSide, type VqvaeConfig } from "../image/config.ts";
import { quantizeForTraining } from "../image/quantizer.ts";
import { sheet, toPictures } from "../image/sheet.ts";
import { decode, encode } from "../image/vqvae.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { type Bind, bindInputs } from "../nn/bind.ts";
import { adamw } from "../nn/optim.ts";
import { learningRate } from "../nn/schedule.ts";
import { initWeights } from "../nn/spec.ts";
import { compileStep } from "../nn/step.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input, output, type Value } from "../tensor/graph.ts";
import { abs, add, clip, concat, mean, mse, mul, sub } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";
import {
  codebookHealth,
  countHits,
  newCodebookUse,
  restoreCodebookUse,
  reviveDeadCodes,
} from "./codebook.ts";
import type { Task } from "./loop.ts";
import { prefixed, stepperTensors, unprefixed } from "./names.ts";
import type { Checkpoint } from "./run.node.ts";

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
  /** Weights of the mean absolute and the mean squared error of pixels in [-1, 1]. */
  readonly l1: number;
  readonly l2: number;
  /** Weight of the quantizer's loss. */
  readonly vq: number;
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
  l1: 1,
  l2: 1,
  vq: 1,
  reviveEvery: 50,
  augment: {},
};

const CODEBOOK = "quantize.embedding.weight";
const HITS = "quantize.ema_vocab_hit_SV";
const SHEET_PICTURES = 8;

/** The loss graph. images B 3 H W in [-1, 1]. */
function lossGraph(images: Value, p: Bind, { model, l1, l2, vq }: VqvaeRecipe) {
  const f = encode(images, p, model);
  const quantized = quantizeForTraining(f, p, model);
  const rebuilt = decode(quantized.fHat, p, model);
  const absolute = mean(abs(sub(rebuilt, images)));
  const squared = mse(rebuilt, images);
  const loss = add(add(mul(absolute, l1), mul(squared, l2)), mul(quantized.loss, vq));
  return { ...quantized, loss, rebuilt, absolute, squared, vqLoss: quantized.loss };
}

/** Peak signal-to-noise ratio in dB of pixels in [-1, 1]. */
const psnr = (meanSquare: number): number => 10 * Math.log10(4 / meanSquare);
const first = (t: Tensor | undefined): number => Number(t!.data[0]);

/**
 * A tokenizer in training on `train`, measured on `test`; give it to `trainLoop`.
 * Throws InputError when the pictures do not have the model's size.
 */
export async function vqvaeTask(
  recipe: VqvaeRecipe,
  data: { train: ImageDataset; test: ImageDataset },
  life: { backend: Backend; checkpoint?: Checkpoint },
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
  const saved = (checkpoint?.position ?? {}) as { cursor?: unknown; updates?: unknown };
  const use = checkpoint
    ? restoreCodebookUse({ hits: checkpoint.tensors.get(HITS), ...saved }, scales, codes)
    : newCodebookUse(scales, codes);
  let cursor = checkpoint && checkCursor(saved.cursor, data.train);

  const g = createGraph("vqvae step");
  const p = bindInputs(g, specs);
  const parts = lossGraph(input(g, "images", [batch, 3, side, side]), p, recipe);
  const tokens = Object.fromEntries(parts.ids.map((ids, k) => [`ids.${k}`, ids]));
  const stepper = await compileStep(
    {
      loss: parts.loss,
      params: p.bound,
      decayed: new Set(specs.filter((s) => s.decay).map((s) => s.name)),
      optimizer: adamw({ betas: [0.9, 0.99] }),
      clip: recipe.clip,
      report: {
        l1: parts.absolute,
        l2: parts.squared,
        vq: parts.vqLoss,
        z: concat(parts.z, 0),
        ...tokens,
      },
    },
    life.backend,
    { weights, state: checkpoint && unprefixed(checkpoint.tensors, "state.") },
  );
  const tester = await compileTester(recipe, Math.min(batch, data.test.count), life.backend);
  const source = batches(data.train, { batch, seed, cursor, augment: recipe.augment });
  // With few scales some phi convolutions are never chosen: they are in no graph, and stay as they started.
  const unused = initWeights(
    specs.filter((s) => s.name !== HITS && !p.bound.has(s.name)),
    start.child("weights"),
  );
  const modelTensors = (): TensorMap => {
    const now = new Map([...unused, ...stepper.weights(), [HITS, use.hits]]);
    return new Map(specs.map((s) => [s.name, now.get(s.name)!]));
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
      const feeds = { images: next.images };
      const ready = performance.now();
      const r = await stepper.step(feeds, pace);
      const ran = performance.now();
      const ids = parts.ids.map((_, k) => r[`ids.${k}`]!);
      countHits(use, ids);
      const revive = recipe.reviveEvery > 0 && pace.step % recipe.reviveEvery === 0;
      const state = stepper.state();
      const revived = revive
        ? reviveDeadCodes(
            use,
            {
              codebook: stepper.weights().get(CODEBOOK)!,
              moments: [state.get(`adamw.m.${CODEBOOK}`)!, state.get(`adamw.v.${CODEBOOK}`)!],
              z: r.z!,
            },
            start.child("revival").child(pace.step),
          )
        : 0;
      return {
        metrics: {
          loss: first(r.loss),
          l1: first(r.l1),
          psnr: psnr(first(r.l2)),
          vq: first(r.vq),
          gradNorm: first(r.gradNorm),
          ...codebookHealth(use),
          revived,
        },
        batch: { epoch: next.cursor.epoch, indices: next.indices, feeds: [feeds] },
        phases: { data: ready - begin, run: ran - ready, codes: performance.now() - ran },
        applied: stepper.applied(),
      };
    },
    async evaluate() {
      const { squared, count } = await tester.measure(data.test, modelTensors());
      return { testPsnr: psnr(squared / count), testPictures: count };
    },
    draw: () => tester.draw(data.test, modelTensors()),
    tensors: () =>
      new Map([
        ...prefixed(stepper.weights(), "param."),
        ...prefixed(stepper.state(), "state."),
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
      await tester.release();
    },
  };
}

/** Reconstruction without gradients, on the test split. */
async function compileTester(recipe: VqvaeRecipe, batch: number, backend: Backend) {
  const { model } = recipe;
  const side = imageSide(model);
  const g = createGraph("vqvae test");
  const p = bindInputs(g, vqvaeSpecs(model));
  const images = input(g, "images", [batch, 3, side, side]);
  const { rebuilt } = lossGraph(images, p, recipe);
  const clamped = clip(rebuilt, -1, 1);
  output(g, "rebuilt", clamped);
  output(g, "squared", mse(clamped, images));
  const session = await backend.compile(g);
  const run = (pictures: Tensor, weights: TensorMap) =>
    session.run({ images: pictures, ...Object.fromEntries(weights) });
  return {
    /** Sum of each whole batch's mean squared error, and pictures counted; a last partial batch is left out. */
    async measure(data: ImageDataset, weights: TensorMap) {
      let [squared, count] = [0, 0];
      for await (const { images: pictures } of inOrder(data, { batch })) {
        if (pictures.shape[0] !== batch) break;
        squared += batch * first((await run(pictures, weights)).squared);
        count += batch;
      }
      return { squared, count };
    },
    /** Pictures above, their reconstructions below, spread over the test split. */
    async draw(data: ImageDataset, weights: TensorMap) {
      const columns = Math.min(SHEET_PICTURES, batch);
      const pairs: { before: ReturnType<typeof toPictures>; after: ReturnType<typeof toPictures> } =
        { before: [], after: [] };
      const stride = Math.max(1, Math.floor(data.count / (4 * columns)));
      let at = 0;
      for await (const { images: pictures } of inOrder(data, { batch })) {
        if (pictures.shape[0] !== batch || pairs.before.length >= 4 * columns) break;
        const after = toPictures((await run(pictures, weights)).rebuilt!);
        toPictures(pictures).forEach((picture, i) => {
          if (at++ % stride || pairs.before.length >= 4 * columns) return;
          pairs.before.push(picture);
          pairs.after.push(after[i]!);
        });
      }
      const rows = Math.floor(pairs.before.length / columns);
      const order = Array.from({ length: rows }, (_, r) => [
        ...pairs.before.slice(r * columns, (r + 1) * columns),
        ...pairs.after.slice(r * columns, (r + 1) * columns),
      ]);
      return sheet(order.flat(), { columns, zoom: 1 });
    },
    release: () => session.release(),
  };
}
