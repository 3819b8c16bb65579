/** Trains the transformer to predict the next scale, on tokens computed beforehand. The tokenizer stays as it is. */

import {
  type Augment,
  type Cursor,
  checkCursor,
  epochOrder,
  type ImageDataset,
} from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { checkPair, type VarConfig, type VqvaeConfig } from "../image/config.ts";
import type { Drawing } from "../image/drawing.ts";
import type { Picture } from "../image/sheet.ts";
import { varSpecs } from "../image/var-layout.ts";
import { dropLabels, dropPathMasks, varBatch, varLoss } from "../image/var-loss.ts";
import { bindConstants, bindInputs } from "../nn/bind.ts";
import { startEma, trackEma } from "../nn/ema.ts";
import { adamw, type Pace } from "../nn/optim.ts";
import { learningRate, weightDecay } from "../nn/schedule.ts";
import { initWeights } from "../nn/spec.ts";
import { compileStep } from "../nn/step.ts";
import type { Backend, Tensors } from "../tensor/backend.ts";
import { createGraph, output } from "../tensor/graph.ts";
import { rng } from "../tensor/rng.ts";
import { type Declared, placeOf } from "./declared.ts";
import type { Task } from "./loop.ts";
import { prefixed, stepperTensors, unprefixed } from "./names.ts";
import { better, outOfPatience, readBest } from "./patience.ts";
import type { Checkpoint, Run } from "./run.node.ts";
import type { TokenSet } from "./tokens.ts";

/** The recipe; plain JSON, fixed for a run. */
export interface VarRecipe {
  readonly model: VarConfig;
  readonly seed: number;
  /** Pictures per update. */
  readonly batch: number;
  /** Updates of the whole run. */
  readonly steps: number;
  /** Highest learning rate. */
  readonly lr: number;
  /** Name of the learning-rate curve after warm-up. */
  readonly schedule: string;
  /** Updates of linear warm-up. */
  readonly warmup: number;
  /** Learning rate at the end, as a part of the highest. */
  readonly lrEnd: number;
  /** Weight decay at the start and at the end. */
  readonly weightDecay: readonly [number, number];
  /** Largest joint norm of the gradients; 0 for no limit. */
  readonly clip: number;
  readonly labelSmoothing: number;
  /** Augmented versions of every picture, one per epoch in turn. */
  readonly variants: number;
  readonly augment: Augment;
  /** Largest share of a picture's tokens that are misread; see `tokenize`. 0 for none. */
  readonly mistakes: number;
  /** Parts in which a batch is computed, gradients being summed: the memory of one part, the update of all. */
  readonly accumulate: number;
  /** Decay of the running mean of weights that is measured and becomes the model; 0 for the last weights themselves. */
  readonly ema: number;
  /** Ends after so many updates without a lower test loss, and keeps the best model; 0 for never. */
  readonly patience: number;
}

/** The paper's recipe (spec: official trainer), with the batch and length of a small data set. */
export const VAR_RECIPE: Omit<VarRecipe, "model"> = {
  seed: 0,
  batch: 32,
  steps: 5_000,
  lr: 1e-3,
  schedule: "lin0",
  warmup: 100,
  lrEnd: 0.1,
  weightDecay: [0.05, 0.05],
  clip: 2,
  labelSmoothing: 0,
  variants: 8,
  augment: { flip: 0.5, shift: 2, scale: 0.06 },
  mistakes: 0,
  accumulate: 1,
  ema: 0, // the official runs have none
  patience: 0,
};

export interface VarData {
  readonly train: ImageDataset;
  readonly test: ImageDataset;
  readonly trainTokens: TokenSet;
  readonly testTokens: TokenSet;
}

export interface VarTaskOptions {
  backend: Backend;
  /** The tokenizer the tokens were made with. */
  tokenizer: { config: VqvaeConfig; weights: TensorMap };
  /** Samples of the model as it is now; `trainLoop` saves them as sheets. */
  draw: (weights: TensorMap) => Promise<Picture>;
  checkpoint?: Checkpoint;
  /** Weights to start from, as `descend` makes them; fresh ones by default. Not looked at with a checkpoint. */
  initial?: (fresh: TensorMap) => TensorMap;
  /** How the finished model is best drawn where nothing else is said. */
  drawing?: Partial<Drawing>;
}

const MODEL = "var.safetensors";
const ADAMW = { betas: [0.9, 0.95], eps: 1e-8 } as const;
const first = (t: Tensor | undefined): number => Number(t!.data[0]);

/** A transformer in training; give it to `trainLoop`. Throws InputError when model and tokenizer do not fit. */
export async function varTask(
  recipe: VarRecipe,
  data: VarData,
  { backend, tokenizer, draw, checkpoint, initial = (fresh) => fresh, drawing }: VarTaskOptions,
): Promise<Task> {
  const { model, batch, seed, accumulate: parts } = recipe;
  checkPair(model, tokenizer.config);
  if (batch % parts !== 0)
    throw new InputError(
      `a batch of ${batch} pictures cannot be cut into ${parts} parts; accumulate over a divisor of it`,
      { batch, parts },
    );
  if (data.train.count < batch)
    throw new InputError(
      `${data.train.name}: ${data.train.count} pictures to learn are fewer than a batch of ${batch}; take a smaller --batch, or more pictures`,
      { count: data.train.count, batch },
    );
  const specs = varSpecs(model);
  const start = rng(seed);
  const weights = checkpoint
    ? unprefixed(checkpoint.tensors, "param.")
    : initial(initWeights(specs, start.child("weights")));
  const saved = (checkpoint?.position ?? {}) as { cursor?: unknown; best?: unknown };
  let cursor: Cursor = checkpoint
    ? checkCursor(saved.cursor, data.train)
    : { seed, epoch: 0, position: 0 };
  let best = readBest(saved.best);

  const g = createGraph("var step");
  const p = bindInputs(g, specs);
  const options = { config: model, tokenizer: tokenizer.config };
  const codes = bindConstants(g, tokenizer.weights);
  const { labelSmoothing } = recipe;
  const misreads = recipe.mistakes > 0;
  const losses = varLoss(varBatch(g, model, { batch: batch / parts, read: misreads }), p, {
    ...options,
    weights: codes,
    labelSmoothing,
  });
  const { meanLoss, lastLoss, accuracy, lastAccuracy } = losses;
  const decayed = new Set(specs.filter((s) => s.decay).map((s) => s.name));
  const stepper = await compileStep(
    {
      loss: losses.loss,
      params: p.bound,
      decayed,
      optimizer: adamw(ADAMW),
      clip: recipe.clip,
      report: { meanLoss, lastLoss, accuracy, lastAccuracy },
      parts,
    },
    backend,
    { weights, state: checkpoint && unprefixed(checkpoint.tensors, "state.") },
  );
  const tester = await compileTester(recipe, tokenizer, { backend, count: data.test.count });
  const fixed = initWeights(
    specs.filter((s) => s.kind === "buffer"),
    start,
  );
  const ema =
    recipe.ema > 0
      ? startEma(stepper.weights(), checkpoint && unprefixed(checkpoint.tensors, "ema."))
      : undefined;
  const learnt = (): TensorMap => ema ?? stepper.weights();
  const modelTensors = (): TensorMap => {
    const now = learnt();
    return new Map(specs.map((s) => [s.name, now.get(s.name) ?? fixed.get(s.name)!]));
  };

  const writeModel = (run: Run): Promise<string> =>
    run.write(MODEL, modelTensors(), {
      underpaint: JSON.stringify({
        ...{ format: 1, kind: "var", config: model },
        ...{ classes: data.train.classes, drawing },
      }),
    });

  return {
    pace: (step) => varPace(recipe, step),
    async step(pace) {
      const begin = performance.now();
      const { indices, epoch, next } = nextIndices(data.train, cursor, batch);
      cursor = next;
      const feeds = varFeeds(recipe, data, { step: pace.step, epoch, indices });
      const ready = performance.now();
      const r = await stepper.step(feeds, pace);
      if (ema) trackEma(ema, stepper.weights(), { decay: recipe.ema, step: pace.step });
      return {
        metrics: {
          loss: first(r.meanLoss),
          lastLoss: first(r.lastLoss),
          accuracy: first(r.accuracy),
          lastAccuracy: first(r.lastAccuracy),
          gradNorm: first(r.gradNorm),
          epoch,
        },
        batch: { epoch, indices, feeds: [feeds] },
        phases: { data: ready - begin, run: performance.now() - ready },
        applied: stepper.applied(),
      };
    },
    evaluate: () => tester.measure(data, learnt()),
    async evaluated(run, { step, metrics }) {
      if (recipe.patience === 0) return;
      const before = best;
      best = better(best, { step, loss: metrics.testLoss! });
      if (best.step !== before.step) await writeModel(run);
    },
    ended: () => outOfPatience(best, recipe.patience),
    draw: () => draw(modelTensors()),
    tensors: () =>
      new Map([
        ...prefixed(stepper.weights(), "param."),
        ...prefixed(stepper.state(), "state."),
        ...(ema ? prefixed(ema, "ema.") : []),
      ]),
    before: () => stepperTensors(stepper.before()),
    position: () => ({ cursor, ...(recipe.patience > 0 && { best }) }),
    declared: {
      ...declareVar(recipe, data),
      decayed,
      lossAt: (feeds, weights) => stepper.lossAt(feeds, weights),
    },
    finish: async (run) => (best.loss === null ? writeModel(run) : run.file(MODEL)),
    async release() {
      await stepper.release();
      await tester.release();
    },
  };
}

/** Rate and decay of update `step`, from 1. */
export const varPace = (
  recipe: Pick<VarRecipe, "schedule" | "lr" | "warmup" | "steps" | "lrEnd" | "weightDecay">,
  step: number,
): Pace => ({
  step,
  lr: learningRate(step - 1, {
    schedule: recipe.schedule,
    peak: recipe.lr,
    warmup: recipe.warmup,
    steps: recipe.steps,
    end: recipe.lrEnd,
  }),
  weightDecay: weightDecay(step - 1, {
    start: recipe.weightDecay[0],
    end: recipe.weightDecay[1],
    steps: recipe.steps,
  }),
});

interface Reading {
  readonly step: number;
  readonly epoch: number;
  readonly indices: ArrayLike<number>;
}

/** What the graph is fed at an update. Chance follows from (seed, step). */
function varFeeds(
  { model, seed, batch, mistakes }: VarRecipe,
  { train, trainTokens }: VarData,
  { step, epoch, indices }: Reading,
): Tensors {
  const chance = rng(seed).child("step").child(step);
  const labels = Array.from(indices, (i) => train.label(i));
  const variant = epoch % trainTokens.variants;
  return {
    ids: tokensOf(trainTokens, "ids", { indices, variant }),
    ...(mistakes > 0 ? { read: tokensOf(trainTokens, "read", { indices, variant }) } : {}),
    labels: dropLabels(labels, model, chance.child("labels")),
    dropMasks: dropPathMasks(model, batch, chance.child("paths")),
  };
}

/** What the recipe says of every update; a row is a picture in one variant. */
export function declareVar(recipe: VarRecipe, data: VarData): Omit<Declared, "decayed" | "lossAt"> {
  const { seed, batch, clip } = recipe;
  const { train, trainTokens: tokens } = data;
  const { count } = train;
  return {
    pace: (step) => varPace(recipe, step),
    adamw: ADAMW,
    clip,
    rows: tokens.variants * count,
    row(index) {
      const [from, to] = [index * tokens.length, (index + 1) * tokens.length];
      const data = new Int32Array(1 + 2 * tokens.length);
      data.set(tokens.ids.subarray(from, to), 1);
      data.set(tokens.read.subarray(from, to), 1 + tokens.length);
      data[0] = train.label(index % count);
      return { dtype: "int32", shape: [data.length], data };
    },
    batch(step) {
      const { epoch, position } = placeOf(step, { count, batch });
      const indices = epochOrder(count, seed, epoch).subarray(position, position + batch);
      const rows = Array.from(indices, (i) => (epoch % tokens.variants) * count + i);
      return { indices, rows, feeds: varFeeds(recipe, data, { step, epoch, indices }) };
    },
  };
}

/** The next batch of picture indices in shuffled order, and where the one after it starts. */
export function nextIndices({ count }: ImageDataset, cursor: Cursor, batch: number) {
  let { epoch, position } = cursor;
  if (position + batch > count) [epoch, position] = [epoch + 1, 0];
  const indices = epochOrder(count, cursor.seed, epoch).subarray(position, position + batch);
  return { indices, epoch, next: { seed: cursor.seed, epoch, position: position + batch } };
}

/** Tokens of some pictures in one variant. B L (int64) */
export function tokensOf(
  tokens: TokenSet,
  which: "ids" | "read",
  { indices, variant }: { indices: ArrayLike<number>; variant: number },
): Tensor {
  const { count, length, [which]: ids } = tokens;
  const data = new BigInt64Array(indices.length * length);
  for (let b = 0; b < indices.length; b++) {
    const from = (variant * count + indices[b]!) * length;
    for (let t = 0; t < length; t++) data[b * length + t] = BigInt(ids[from + t]!);
  }
  return { dtype: "int64", shape: [indices.length, length], data };
}

/** The loss on the test split, with every label and no dropped path. */
async function compileTester(
  { model, batch: most }: VarRecipe,
  tokenizer: VarTaskOptions["tokenizer"],
  { backend, count }: { backend: Backend; count: number },
) {
  const batch = Math.min(most, count);
  const g = createGraph("var test");
  const whole = { ...model, dropPath: 0 };
  const parts = varLoss(varBatch(g, whole, { batch }), bindInputs(g, varSpecs(model)), {
    config: whole,
    tokenizer: tokenizer.config,
    weights: bindConstants(g, tokenizer.weights),
  });
  output(g, "loss", parts.meanLoss);
  output(g, "lastLoss", parts.lastLoss);
  output(g, "accuracy", parts.accuracy);
  output(g, "lastAccuracy", parts.lastAccuracy);
  const session = await backend.compile(g);
  return {
    /** Means over the whole batches of the test split. */
    async measure({ test, testTokens }: VarData, weights: TensorMap) {
      const sums = { testLoss: 0, testLastLoss: 0, testAccuracy: 0, testLastAccuracy: 0 };
      const rounds = Math.floor(test.count / batch);
      for (let round = 0; round < rounds; round++) {
        const indices = Array.from({ length: batch }, (_, b) => round * batch + b);
        const labels = BigInt64Array.from(indices, (i) => BigInt(test.label(i)));
        const r = await session.run({
          ...Object.fromEntries(weights),
          ids: tokensOf(testTokens, "ids", { indices, variant: 0 }),
          labels: { dtype: "int64", shape: [batch], data: labels },
        });
        sums.testLoss += first(r.loss) / rounds;
        sums.testLastLoss += first(r.lastLoss) / rounds;
        sums.testAccuracy += first(r.accuracy) / rounds;
        sums.testLastAccuracy += first(r.lastAccuracy) / rounds;
      }
      return sums;
    },
    release: () => session.release(),
  };
}
