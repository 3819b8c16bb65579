/** Trains the classifier that evaluation looks through: cross-entropy on augmented pictures. Its graph is eval's. */

import {
  type Augment,
  batches,
  checkCursor,
  epochOrder,
  type ImageDataset,
  inOrder,
  pixelsOf,
} from "../data/index.ts";
import {
  type Classifier,
  type ClassifierConfig,
  classGroup,
  classifierMetadata,
  classifierSpecs,
  classify,
} from "../eval/classifier.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { pictureSize, sameSize, sizeText } from "../formats/picture-size.ts";
import { dequantizeWeights, quantizeWeights } from "../formats/quantize.ts";
import { type Picture, sheet } from "../image/sheet.ts";
import { bindInputs } from "../nn/bind.ts";
import { adamw, type Pace } from "../nn/optim.ts";
import { learningRate } from "../nn/schedule.ts";
import { initWeights } from "../nn/spec.ts";
import { compileStep } from "../nn/step.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { add, crossEntropy, logSoftmax, mean, mul, neg } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";
import { type Declared, pictureRow, placeOf } from "./declared.ts";
import type { Task } from "./loop.ts";
import { prefixed, stepperTensors, unprefixed } from "./names.ts";
import type { Checkpoint } from "./run.node.ts";

/** The recipe; plain JSON, fixed for a run. */
export interface ClassifierRecipe {
  readonly model: ClassifierConfig;
  /** Word that opens the data set; it is written into the finished file. */
  readonly data?: string;
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
  /** Share of the probability that the target gives to all classes alike (Szegedy et al. 2016). */
  readonly smoothing: number;
  readonly augment: Augment;
}

export const CLASSIFIER_RECIPE: Omit<ClassifierRecipe, "model"> = {
  seed: 0,
  batch: 64,
  steps: 4000,
  lr: 3e-3,
  warmup: 100,
  weightDecay: 0.05,
  clip: 1,
  smoothing: 0,
  augment: {},
};

/** Pictures of one mistake sheet. */
const SHEET = 64;
/** Pictures of one pass through the finished network. */
const TEST_BATCH = 64;

/** The classes a classifier tells apart: what stands before the slash of each, once. */
export const classifierClasses = (classes: readonly string[]): string[] => [
  ...new Set(classes.map(classGroup)),
];

const ADAMW = { betas: [0.9, 0.99], eps: 1e-8 } as const;
const first = (t: Tensor | undefined): number => Number(t!.data[0]);
const asLabels = (labels: Int32Array): Tensor => ({
  dtype: "int64",
  shape: [labels.length],
  data: BigInt64Array.from(labels, BigInt),
});

/**
 * A classifier in training on `train`, measured on `test`; give it to `trainLoop`.
 * @throws InputError when the pictures have another size or a class that the model lacks
 */
export async function classifierTask(
  recipe: ClassifierRecipe,
  data: { train: ImageDataset; test: ImageDataset },
  life: { backend: Backend; checkpoint?: Checkpoint },
): Promise<Task> {
  const { model, batch, seed } = recipe;
  if (!sameSize(data.train, pictureSize(model.size)))
    throw new InputError(
      `${data.train.name}: pictures have ${sizeText(data.train)} pixels, the classifier wants ${sizeText(pictureSize(model.size))}; load them at that size`,
    );
  const target = targets(data.train.classes, model);
  const specs = classifierSpecs(model);
  const { checkpoint } = life;
  const weights = checkpoint
    ? unprefixed(checkpoint.tensors, "param.")
    : initWeights(specs, rng(seed).child("weights"));
  let cursor = checkpoint && checkCursor(checkpoint.position, data.train);

  const g = createGraph("classifier step");
  const p = bindInputs(g, specs);
  const images = input(g, "images", [batch, 3, model.size, model.size]);
  const { logits } = classify(images, p, model);
  const plain = mean(crossEntropy(logits, input(g, "labels", [batch], "int64")));
  const even = neg(mean(logSoftmax(logits)));
  const { smoothing } = recipe;
  const decayed = new Set(specs.filter((s) => s.decay).map((s) => s.name));
  const stepper = await compileStep(
    {
      loss: smoothing ? add(mul(plain, 1 - smoothing), mul(even, smoothing)) : plain,
      params: p.bound,
      decayed,
      optimizer: adamw(ADAMW),
      clip: recipe.clip,
      report: { logits },
    },
    life.backend,
    { weights, state: checkpoint && unprefixed(checkpoint.tensors, "state.") },
  );
  const tester = await compileTester(model, life.backend);
  const source = batches(data.train, { batch, seed, cursor, augment: recipe.augment });
  const test = (now: TensorMap) => tester.guesses(data.test, now);

  return {
    pace: (step) => classifierPace(recipe, step),
    async step(pace) {
      const begin = performance.now();
      const next = (await source.next()).value!;
      cursor = next.cursor;
      const labels = next.labels.map((l) => target[l]!);
      const feeds = { images: next.images, labels: asLabels(labels) };
      const ready = performance.now();
      const r = await stepper.step(feeds, pace);
      const phases = { data: ready - begin, run: performance.now() - ready };
      return {
        metrics: {
          loss: first(r.loss),
          accuracy: share(likeliest(r.logits!), labels),
          gradNorm: first(r.gradNorm),
        },
        batch: { epoch: next.cursor.epoch, indices: next.indices, feeds: [feeds] },
        phases,
        applied: stepper.applied(),
      };
    },
    async evaluate() {
      const { guesses, labels } = await test(stepper.weights());
      return {
        testAccuracy: share(
          guesses,
          labels.map((l) => target[l]!),
        ),
        testPictures: labels.length,
      };
    },
    async draw() {
      const { guesses, labels } = await test(stepper.weights());
      return mistakes(
        data.test,
        guesses,
        labels.map((l) => target[l]!),
      );
    },
    tensors: () =>
      new Map([...prefixed(stepper.weights(), "param."), ...prefixed(stepper.state(), "state.")]),
    before: () => stepperTensors(stepper.before()),
    position: () => cursor,
    declared: {
      ...declareClassifier(recipe, data.train, target),
      decayed,
      lossAt: (feeds, weights) => stepper.lossAt(feeds, weights),
    },
    async finish(run) {
      const stored = quantizeWeights(stepper.weights(), { to: "float16" });
      const { guesses, labels } = await test(dequantizeWeights(stored));
      const accuracy = share(
        guesses,
        labels.map((l) => target[l]!),
      );
      const facts = { data: recipe.data, accuracy, pictures: labels.length };
      return run.write("classifier.safetensors", stored, classifierMetadata(model, facts));
    },
    async release() {
      await source.return?.();
      await stepper.release();
      await tester.release();
    },
  };
}

/** Rate and decay of update `step`, from 1. */
const classifierPace = (
  { lr, warmup, steps, weightDecay }: ClassifierRecipe,
  step: number,
): Pace => ({
  step,
  lr: learningRate(step - 1, { schedule: "cos", peak: lr, warmup, steps, end: 0.01 }),
  weightDecay,
});

/** What the recipe says of every update; a row is a picture. Pictures are not fed as they are: they are augmented. */
function declareClassifier(
  recipe: ClassifierRecipe,
  train: ImageDataset,
  target: Int32Array,
): Omit<Declared, "decayed" | "lossAt"> {
  const { seed, batch, clip } = recipe;
  const { count } = train;
  return {
    pace: (step) => classifierPace(recipe, step),
    adamw: ADAMW,
    clip,
    rows: count,
    row: (i) => pictureRow(train, i),
    batch(step) {
      const { epoch, position } = placeOf(step, { count, batch });
      const indices = epochOrder(count, seed, epoch).subarray(position, position + batch);
      const labels = asLabels(Int32Array.from(indices, (i) => target[train.label(i)]!));
      return { indices, rows: Array.from(indices), feeds: { labels } };
    },
  };
}

/** The classifier's class of each class of a data set. */
function targets(classes: readonly string[], { classes: known }: ClassifierConfig): Int32Array {
  return Int32Array.from(classes, (name) => {
    const found = known.indexOf(classGroup(name));
    if (found >= 0) return found;
    throw new InputError(`the classifier has no class for "${name}"; it knows ${known.join(", ")}`);
  });
}

/** Number of the largest entry of each row. */
function likeliest({ shape: [rows, width], data }: Tensor): Int32Array {
  return Int32Array.from({ length: rows! }, (_, i) => {
    let best = 0;
    for (let c = 1; c < width!; c++)
      if ((data[i * width! + c] as number) > (data[i * width! + best] as number)) best = c;
    return best;
  });
}

const share = (a: Int32Array, b: Int32Array): number =>
  a.reduce((sum, x, i) => sum + (x === b[i] ? 1 : 0), 0) / Math.max(1, a.length);

/** The network without gradients, on weights that are fed. */
async function compileTester(model: ClassifierConfig, backend: Backend) {
  const g = createGraph("classifier test");
  const images = input(g, "images", ["B", 3, model.size, model.size]);
  output(g, "logits", classify(images, bindInputs(g, classifierSpecs(model)), model).logits);
  const session = await backend.compile(g);
  return {
    async guesses(pictures: ImageDataset, weights: Classifier["weights"]) {
      const guesses = new Int32Array(pictures.count);
      const labels = new Int32Array(pictures.count);
      let at = 0;
      for await (const part of inOrder(pictures, { batch: TEST_BATCH })) {
        const feeds = { images: part.images, ...Object.fromEntries(weights) };
        guesses.set(likeliest((await session.run(feeds)).logits!), at);
        labels.set(part.labels, at);
        at += part.labels.length;
      }
      return { guesses, labels };
    },
    release: () => session.release(),
  };
}

/** Test pictures that were told wrongly, evenly spread; all kinds where there is no mistake. */
function mistakes(test: ImageDataset, guesses: Int32Array, labels: Int32Array): Picture {
  const wrong = [...guesses.keys()].filter((i) => guesses[i] !== labels[i]);
  const from = wrong.length ? wrong : [...guesses.keys()];
  const n = Math.min(SHEET, from.length);
  const { width, height } = test;
  return sheet(
    Array.from({ length: n }, (_, i) => ({
      width,
      height,
      channels: 3 as const,
      data: pixelsOf(test, from[Math.floor((i * from.length) / n)]!),
    })),
  );
}
