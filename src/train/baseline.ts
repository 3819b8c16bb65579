/** Trains a baseline (raster AR, MaskGIT, DiT) on the tokens that VAR is trained on. What they minimise is image/baselines. */

import { type Cursor, checkCursor } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import {
  type BaselineKind,
  baselineSpecs,
  type LatentScale,
  lesson,
  lessonChance,
} from "../image/baselines/index.ts";
import { differentDial, type VarConfig, type VqvaeConfig } from "../image/config.ts";
import { fHatsFromIds } from "../image/quantizer.ts";
import { latentShape, mapTokens, tokenCount } from "../image/scales.ts";
import { dropLabels, dropPathMasks } from "../image/var-loss.ts";
import { type Bind, bindConstants, bindInputs } from "../nn/bind.ts";
import { adamw } from "../nn/optim.ts";
import { initWeights } from "../nn/spec.ts";
import { compileStep } from "../nn/step.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, type Graph, input, output } from "../tensor/graph.ts";
import { rng } from "../tensor/rng.ts";
import type { Task } from "./loop.ts";
import { prefixed, stepperTensors, unprefixed } from "./names.ts";
import type { TokenSet } from "./tokens.ts";
import {
  nextIndices,
  tokensOf,
  type VarData,
  type VarRecipe,
  type VarTaskOptions,
  varPace,
} from "./var.ts";

/** VAR's recipe with another model; mistakes are VAR's alone, as only finer scales can repair them. */
export interface BaselineRecipe
  extends Omit<VarRecipe, "mistakes" | "accumulate" | "ema" | "patience"> {
  readonly kind: BaselineKind;
}

const first = (t: Tensor | undefined): number => Number(t!.data[0]);

/** A baseline in training; give it to `trainLoop`. @throws InputError where model and tokenizer do not fit */
export async function baselineTask(
  recipe: BaselineRecipe,
  data: VarData,
  { backend, tokenizer, draw, checkpoint }: VarTaskOptions,
): Promise<Task> {
  const { kind, model, batch, seed, labelSmoothing } = recipe;
  checkFit(kind, model, tokenizer.config);
  const specs = baselineSpecs(kind, model);
  const start = rng(seed);
  const weights = checkpoint
    ? unprefixed(checkpoint.tensors, "param.")
    : initWeights(specs, start.child("weights"));
  const saved = (checkpoint?.position as { cursor?: unknown } | undefined)?.cursor;
  let cursor: Cursor = checkpoint
    ? checkCursor(saved, data.train)
    : { seed, epoch: 0, position: 0 };
  const scale =
    kind === "dit" ? await latentScale(data.trainTokens, { backend, tokenizer }) : undefined;
  const fixed: TensorMap = new Map(Object.entries(scale ?? {}));

  /** The loss in a graph of its own: trained weights as inputs, what is fixed as constants. */
  const build = (g: Graph, config: VarConfig, size: number, smoothing = 0) => {
    const params = bindInputs(g, specs);
    const constants = bindConstants(g, fixed);
    const p: Bind = (name) => (fixed.has(name) ? constants : params)(name);
    const codes = bindConstants(g, tokenizer.weights);
    const common = { config, tokenizer: tokenizer.config, codes, batch: size };
    return { params, ...lesson(kind, g, p, { ...common, labelSmoothing: smoothing }) };
  };
  const { loss, report, params } = build(createGraph("step"), model, batch, labelSmoothing);
  const stepper = await compileStep(
    {
      loss,
      params: params.bound,
      decayed: new Set(specs.filter((s) => s.decay).map((s) => s.name)),
      optimizer: adamw({ betas: [0.9, 0.95] }),
      clip: recipe.clip,
      report,
    },
    backend,
    { weights, state: checkpoint && unprefixed(checkpoint.tensors, "state.") },
  );
  const testBatch = Math.min(batch, data.test.count);
  const g = createGraph("test");
  const tested = build(g, { ...model, dropPath: 0 }, testBatch).report;
  for (const [name, value] of Object.entries(tested)) output(g, name, value);
  const tester = await backend.compile(g);
  const modelTensors = (): TensorMap => {
    const now = stepper.weights();
    return new Map(specs.map((s) => [s.name, now.get(s.name) ?? fixed.get(s.name)!]));
  };

  return {
    pace: (step) => varPace(recipe, step),
    async step(pace) {
      const begin = performance.now();
      const { indices, epoch, next } = nextIndices(data.train, cursor, batch);
      cursor = next;
      const chance = start.child("step").child(pace.step);
      const labels = Array.from(indices, (i) => data.train.label(i));
      const variant = epoch % data.trainTokens.variants;
      const feeds = {
        ids: tokensOf(data.trainTokens, "ids", { indices, variant }),
        labels: dropLabels(labels, model, chance.child("labels")),
        dropMasks: dropPathMasks(model, batch, chance.child("paths")),
        ...lessonChance(kind, model, { batch, rng: chance.child("lesson") }),
      };
      const ready = performance.now();
      const { meanLoss, accuracy, gradNorm } = await stepper.step(feeds, pace);
      return {
        metrics: {
          loss: first(meanLoss),
          ...(accuracy ? { accuracy: first(accuracy) } : {}),
          gradNorm: first(gradNorm),
          epoch,
        },
        batch: { epoch, indices, feeds: [feeds] },
        phases: { data: ready - begin, run: performance.now() - ready },
        applied: stepper.applied(),
      };
    },
    /** Means over the whole batches of the test split; what is hidden, and the noise, are the same at every time. */
    async evaluate() {
      const { test, testTokens } = data;
      const rounds = Math.floor(test.count / testBatch);
      const sums: Record<string, number> = {};
      const now = Object.fromEntries(stepper.weights());
      for (let round = 0; round < rounds; round++) {
        const indices = Array.from({ length: testBatch }, (_, b) => round * testBatch + b);
        const r = await tester.run({
          ...now,
          ids: tokensOf(testTokens, "ids", { indices, variant: 0 }),
          labels: {
            dtype: "int64",
            shape: [testBatch],
            data: BigInt64Array.from(indices, (i) => BigInt(test.label(i))),
          },
          ...lessonChance(kind, model, { batch: testBatch, rng: rng("test").child(round) }),
        });
        for (const [name, t] of Object.entries(r)) {
          const key = TEST_NAMES[name] ?? name;
          sums[key] = (sums[key] ?? 0) + first(t) / rounds;
        }
      }
      return sums;
    },
    draw: () => draw(modelTensors()),
    tensors: () =>
      new Map([...prefixed(stepper.weights(), "param."), ...prefixed(stepper.state(), "state.")]),
    before: () => stepperTensors(stepper.before()),
    position: () => ({ cursor }),
    finish: (run) =>
      run.write(`${kind}.safetensors`, modelTensors(), {
        underpaint: JSON.stringify({
          format: 1,
          kind,
          config: model,
          classes: data.train.classes,
        }),
      }),
    async release() {
      await stepper.release();
      await tester.release();
    },
  };
}

const TEST_NAMES: Readonly<Record<string, string>> = {
  meanLoss: "testLoss",
  accuracy: "testAccuracy",
};

/** @throws InputError unless the baseline runs over this tokenizer's maps */
function checkFit(kind: BaselineKind, model: VarConfig, tokenizer: VqvaeConfig): void {
  const { patchNums, codes, latent } = tokenizer;
  const wanted = { codes, latent, patchNums: kind === "dit" ? patchNums.slice(-1) : patchNums };
  const different = differentDial(model, wanted);
  if (!different) return;
  const { key, values } = different;
  throw new InputError(
    `${kind} and tokenizer do not fit: ${key} is ${values[0]} in the model, the tokenizer wants ${values[1]}; use baselineConfig with the tokenizer's dials`,
    { key, model: model[key], tokenizer: wanted[key] },
  );
}

/** Enough for means and deviations of a few dozen channels. */
const SCALE_PICTURES = 1024;

/** Mean and standard deviation of each latent channel over training pictures as their tokens give them. */
async function latentScale(
  tokens: TokenSet,
  { backend, tokenizer }: { backend: Backend; tokenizer: VarTaskOptions["tokenizer"] },
): Promise<LatentScale> {
  const { config, weights } = tokenizer;
  const count = Math.min(tokens.count, SCALE_PICTURES);
  const batch = Math.min(count, 32);
  const g = createGraph("latents");
  const ids = input(g, "ids", [batch, tokenCount(config)], "int64");
  output(g, "fHat", fHatsFromIds(ids, bindConstants(g, weights), config).at(-1)!); // B C N N
  const session = await backend.compile(g);
  const [C, cells] = [config.latent, mapTokens(latentShape(config))];
  const [sums, squares] = [new Float64Array(C), new Float64Array(C)];
  const rounds = Math.floor(count / batch);
  for (let round = 0; round < rounds; round++) {
    const indices = Array.from({ length: batch }, (_, b) => round * batch + b);
    const feeds = { ids: tokensOf(tokens, "ids", { indices, variant: 0 }) };
    const { data } = (await session.run(feeds)).fHat!;
    for (let i = 0; i < data.length; i++) {
      const c = Math.floor(i / cells) % C;
      sums[c]! += Number(data[i]);
      squares[c]! += Number(data[i]) ** 2;
    }
  }
  await session.release();
  const n = rounds * batch * cells;
  const channels = (f: (c: number) => number): Tensor => ({
    dtype: "float32",
    shape: [1, 1, C],
    data: Float32Array.from({ length: C }, (_, c) => f(c)),
  });
  const variance = (c: number) => squares[c]! / n - (sums[c]! / n) ** 2;
  return {
    latent_mean: channels((c) => sums[c]! / n),
    latent_std: channels((c) => Math.sqrt(Math.max(1e-8, variance(c)))),
  };
}
