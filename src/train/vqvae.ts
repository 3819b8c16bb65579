/** Trains the multi-scale tokenizer: its losses, its codebook's health, its running mean, step by step. */

import { batches, checkCursor, type ImageDataset } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { sameSize, sizeText } from "../formats/picture-size.ts";
import type { VqvaeConfig } from "../image/config.ts";
import type { FeatureNet } from "../image/perceptual.ts";
import { imageSize, mapText, mapTokens } from "../image/scales.ts";
import { isDecoderWeight, vqvaeSpecs } from "../image/vqvae-layout.ts";
import { bindInputs } from "../nn/bind.ts";
import { startEma, trackEma } from "../nn/ema.ts";
import { adamw } from "../nn/optim.ts";
import { initWeights } from "../nn/spec.ts";
import { compileStep } from "../nn/step.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input } from "../tensor/graph.ts";
import { concat } from "../tensor/ops.ts";
import { type Rng, rng } from "../tensor/rng.ts";
import {
  adversaryFeeds,
  adversaryPace,
  freshAdversary,
  isAdversarial,
  type Judgements,
  judged,
} from "./adversary.ts";
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
import { CODEBOOK, declareVqvae, VQVAE_ADAMW, vqvaePace } from "./vqvae-declared.ts";
import { lossGraph } from "./vqvae-loss.ts";
import { type Judge, psnr, vqvaeMeasure } from "./vqvae-measure.ts";
import type { VqvaeRecipe } from "./vqvae-recipe.ts";

const HITS = "quantize.ema_vocab_hit_SV";

const first = (t: Tensor | undefined): number => Number(t!.data[0]);

/** A tokenizer to begin with. */
export interface TokenizerWeights {
  readonly config: VqvaeConfig;
  readonly weights: TensorMap;
}

export interface VqvaeLife {
  readonly backend: Backend;
  readonly checkpoint?: Checkpoint;
  /** The network of the perceptual term; the one that the recipe names. */
  readonly network?: FeatureNet;
  /** The tokenizer that it starts from; the one that the recipe names. */
  readonly ancestor?: TokenizerWeights;
  /** Judges reconstructions of the test split at every evaluation. */
  readonly judge?: () => Judge;
}

/**
 * A tokenizer in training on `train`, measured on `test`; give it to `trainLoop`.
 * Throws InputError when the pictures do not have the model's size.
 */
export async function vqvaeTask(
  recipe: VqvaeRecipe,
  data: { train: ImageDataset; test: ImageDataset },
  life: VqvaeLife,
): Promise<Task> {
  const { model, batch, seed } = recipe;
  const size = imageSize(model);
  const { width, height } = size;
  if (!sameSize(data.train, size))
    throw new InputError(
      `${data.train.name}: pictures have ${sizeText(data.train)} pixels, the tokenizer wants ${sizeText(size)}; load them at that size`,
    );
  const specs = vqvaeSpecs(model);
  const start = rng(seed);
  const { checkpoint } = life;
  checkAncestor(recipe, life.ancestor);
  const initial = life.ancestor?.weights ?? initWeights(specs, start.child("weights"));
  const weights = checkpoint ? unprefixed(checkpoint.tensors, "param.") : initial;
  const fixed = fixedWeights(recipe, initial);
  const [scales, codes] = [model.patchNums.length, model.codes];
  const names = model.patchNums.map(mapText);
  const perPicture = model.patchNums.map(mapTokens);
  const saved = (checkpoint?.position ?? {}) as Record<string, unknown>;
  const use = checkpoint
    ? restoreCodebookUse({ hits: checkpoint.tensors.get(HITS), ...saved }, scales, codes)
    : newCodebookUse(scales, codes);
  let cursor = checkpoint && checkCursor(saved.cursor, data.train);

  checkNetwork(recipe, life.network);
  let means = judgementsOf(saved.judgements);
  const compile = async (step: number, from: { weights: TensorMap; state?: TensorMap }) => {
    // The discriminator joins when its time comes: until then the graph is that much smaller.
    const hostile = isAdversarial(recipe, step);
    const fresh = hostile ? freshAdversary(recipe, start.child("judge")) : undefined;
    const g = createGraph("vqvae step");
    const p = bindInputs(g, specs, { fixed });
    const images = input(g, "images", [batch, 3, height, width]);
    const keep = recipe.scaleDrop > 0 ? input(g, "keep", [batch, scales]) : undefined;
    const parts = lossGraph({ images, keep }, p, { recipe, network: life.network, hostile });
    const stepper = await compileStep(
      {
        loss: parts.objective,
        params: p.bound,
        decayed: new Set(specs.filter((s) => s.decay).map((s) => s.name)),
        optimizer: adamw(VQVAE_ADAMW),
        clip: recipe.clip,
        report: {
          ...{ loss: parts.loss, ...parts.report, z: concat(parts.z, 0) },
          ...Object.fromEntries(parts.ids.map((ids, k) => [`ids.${k}`, ids])),
        },
        opponent: parts.opponent,
      },
      life.backend,
      {
        // What has been trained already stands over what would be fresh.
        weights: new Map([...(fresh?.weights ?? []), ...from.weights]),
        state: from.state && new Map([...(fresh?.state ?? []), ...from.state]),
      },
    );
    return { stepper, hostile, bound: p.bound, reported: Object.keys(parts.report) };
  };
  let { stepper, hostile, bound, reported } = await compile(checkpoint?.step || 1, {
    weights,
    state: checkpoint && unprefixed(checkpoint.tensors, "state."),
  });
  const learnt = (): TensorMap =>
    new Map([...stepper.weights()].filter(([name]) => bound.has(name)));
  const ema =
    recipe.ema > 0
      ? startEma(learnt(), checkpoint && unprefixed(checkpoint.tensors, "ema."))
      : undefined;
  const measure = vqvaeMeasure(model, {
    data: data.test,
    batch: Math.min(batch, data.test.count),
    ...life,
  });
  const source = batches(data.train, { batch, seed, cursor, augment: recipe.augment });
  // What is not trained stays as it started; so do phi convolutions that few scales never choose.
  const modelTensors = (): TensorMap => {
    const now = new Map([...initial, ...(ema ?? learnt()), [HITS, use.hits]]);
    return new Map(specs.map((s) => [s.name, now.get(s.name)!]));
  };
  /** Draws the codebook from the data when it is time, or moves its dead codes; how many codes were moved. */
  const renew = (step: number, z: Tensor): number => {
    const own = stepper.weights().get(CODEBOOK);
    if (!own) return 0;
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
    pace: (step) => vqvaePace(recipe, step),
    async step(pace) {
      const begin = performance.now();
      const next = (await source.next()).value!;
      cursor = next.cursor;
      if (isAdversarial(recipe, pace.step) !== hostile) {
        const old = stepper;
        const from = { weights: old.weights(), state: old.state() };
        ({ stepper, hostile, bound, reported } = await compile(pace.step, from));
        await old.release();
      }
      const chance = (name: string) => start.child(name).child(pace.step);
      const feeds = {
        images: next.images,
        ...(recipe.scaleDrop > 0 && { keep: keptScales(recipe, chance("scales")) }),
        ...(hostile &&
          adversaryFeeds(recipe, {
            ...{ step: pace.step, means, rng: chance("judged"), shape: [batch, height, width] },
          })),
      };
      const ready = performance.now();
      const r = await stepper.step(feeds, pace, hostile ? adversaryPace(recipe, pace) : pace);
      const ran = performance.now();
      countHits(
        use,
        names.map((_, k) => r[`ids.${k}`]!),
      );
      if (hostile) means = judged(means, first(r.judgedReal), first(r.judgedFake));
      if (ema) trackEma(ema, stepper.weights(), { decay: recipe.ema, step: pace.step });
      const revived = renew(pace.step, r.z!);
      const { scales: each, ...health } = codebookHealth(use);
      return {
        metrics: {
          loss: first(r.loss),
          psnr: psnr(first(r.l2)),
          ...Object.fromEntries(reported.map((name) => [name, first(r[name])])),
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
    declared: declareVqvae(recipe, data.train),
    position: () => ({ cursor, updates: use.updates, ...(hostile && { judgements: means }) }),
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

/** @throws InputError unless the tokenizer that the recipe starts from is built like its own */
export function checkAncestor(
  { from, model }: VqvaeRecipe,
  ancestor: TokenizerWeights | undefined,
): void {
  if ((from === null) !== (ancestor === undefined))
    throw new Error("vqvaeTask: the recipe and what it starts from do not belong together");
  if (!from || !ancestor) return;
  const keys = Object.keys(model) as (keyof VqvaeConfig)[];
  const told = (value: unknown) => JSON.stringify(value);
  const other = keys.filter((key) => told(model[key]) !== told(ancestor.config[key]));
  if (other.length > 0)
    throw new InputError(
      `${from.file}: a tokenizer that is trained further keeps its sizes, but ${other.map((key) => `${key} is ${told(ancestor.config[key])} there and ${told(model[key])} here`).join(", ")}; leave those settings out`,
      { file: from.file, other },
    );
}

/** Weights that do not learn. @throws InputError where nothing has learnt them before */
function fixedWeights({ from, only }: VqvaeRecipe, weights: TensorMap): TensorMap {
  if (only === "all") return new Map();
  if (!from)
    throw new InputError(
      "the decoder alone can only be trained of a tokenizer that is there; name it with --from",
      { only },
    );
  return new Map([...weights].filter(([name]) => !isDecoderWeight(name)));
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

/** @throws InputError unless the network is the one the recipe was written for */
function checkNetwork({ network }: VqvaeRecipe, given: FeatureNet | undefined): void {
  if (network?.hash === given?.hash) return;
  throw new InputError(
    `the perceptual term looks through ${network?.name ?? "no network"} (${network?.hash ?? "-"}), given is ${given?.name ?? "none"} (${given?.hash ?? "-"}); name the network of this run`,
    { wanted: network, found: given?.hash },
  );
}

/** Running means from a checkpoint; none yet before the discriminator joins. */
function judgementsOf(saved: unknown): Judgements {
  const { real, fake } = (saved ?? { real: 0, fake: 0 }) as Judgements;
  if (Number.isFinite(real) && Number.isFinite(fake)) return { real, fake };
  throw new InputError(
    `the checkpoint's judgements are ${JSON.stringify(saved)}, want two numbers; use the checkpoint of this very run`,
  );
}
