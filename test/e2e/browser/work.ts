/** What Node and the page both do, to be compared: draw from a tiny model, train it. Knows neither of them. */

import type { TensorMap } from "../../../src/formats/dtype.ts";
import { writeSafetensors } from "../../../src/formats/safetensors.ts";
import { varConfig, vqvaeConfig } from "../../../src/image/config.ts";
import { loadVar, type Var } from "../../../src/image/model.ts";
import { modelMetadata } from "../../../src/image/note.ts";
import { ordersOf, type SampleOptions } from "../../../src/image/orders.ts";
import { drawOrders, sample } from "../../../src/image/sampler.ts";
import { tokenCount } from "../../../src/image/scales.ts";
import { varSpecs } from "../../../src/image/var-layout.ts";
import { varBatch, varLoss } from "../../../src/image/var-loss.ts";
import { vqvaeSpecs } from "../../../src/image/vqvae-layout.ts";
import { bindConstants, bindInputs } from "../../../src/nn/bind.ts";
import { adamw } from "../../../src/nn/optim.ts";
import { initWeights } from "../../../src/nn/spec.ts";
import { compileStep } from "../../../src/nn/step.ts";
import { type BackendName, openBackend } from "../../../src/tensor/backend.ts";
import { createGraph } from "../../../src/tensor/graph.ts";
import { rng } from "../../../src/tensor/rng.ts";

const patchNums = [1, 2, 3, 4];
const [codes, latent] = [64, 8];
const classes = ["food/flat", "food/noto", "faces/flat"];

const tokenizer = vqvaeConfig({
  channels: 16,
  chMult: [1, 2],
  resBlocks: 1,
  groups: 4,
  codebookInit: 1,
  patchNums,
  codes,
  latent,
});
const config = varConfig(2, {
  width: 32,
  heads: 2,
  classes: classes.length,
  dropPath: 0,
  patchNums,
  codes,
  latent,
});

/** Fresh weights give nearly the same logits for all codes; louder ones make tokens differ. */
function loudWeights(): TensorMap {
  const weights = initWeights(varSpecs(config), rng(1));
  for (const { name, kind } of varSpecs(config)) {
    if (kind === "buffer" || name.includes("scale_mul")) continue;
    const { data, shape } = weights.get(name)!;
    const fanIn = shape.length > 1 ? shape.at(-1)! : 1;
    const std = fanIn > 1 ? 1.5 / Math.sqrt(fanIn) : 0.2;
    rng(1)
      .child(name)
      .fillNormal(data as Float32Array, { std });
  }
  return weights;
}

/** Both halves of a model as the bytes of two files. */
export interface ModelBytes {
  readonly var: Uint8Array;
  readonly vqvae: Uint8Array;
}

export const tinyModel = (): ModelBytes => ({
  var: writeSafetensors(loudWeights(), { metadata: modelMetadata("var", config, { classes }) }),
  vqvae: writeSafetensors(initWeights(vqvaeSpecs(tokenizer), rng(2)), {
    metadata: modelMetadata("vqvae", tokenizer),
  }),
});

/** Plain numbers, so that they travel out of the page. */
export interface Drawn {
  /** Token ids, one list per scale. */
  readonly ids: number[][];
  /** The last scale's pixels in [0, 1]. */
  readonly pixels: number[];
}

export interface DrawOptions extends SampleOptions {
  readonly backend: BackendName;
  readonly threads?: number;
}

/** Loads a model from bytes and samples from it. */
export async function draw(
  bytes: ModelBytes,
  { backend, threads = 1, ...options }: DrawOptions,
): Promise<Drawn> {
  const model = await loadVar(bytes, { backend, threads });
  const ids: number[][] = [];
  let pixels: number[] = [];
  for await (const step of sample(model, options)) {
    ids.push(Array.from(step.ids.data as BigInt64Array, Number));
    if (step.scale === step.of - 1) pixels = Array.from((await step.images()).data as Float32Array);
  }
  await model.release();
  return { ids, pixels };
}

/** The tokens of one picture, L, and the guided logits of each, L V flat. */
export async function logitsOf(
  model: Var,
  options: SampleOptions,
): Promise<{ ids: number[]; logits: Float32Array }> {
  const logits = new Float32Array(tokenCount(model.config) * model.config.codes);
  let at = 0;
  const watch = (_: number, own: Float32Array) => {
    logits.set(own, at);
    at += own.length;
  };
  const ids: number[] = [];
  const orders = ordersOf(model, options).map((order) => ({ ...order, watch }));
  for await (const step of drawOrders(model, orders))
    ids.push(...Array.from(step.ids.data as BigInt64Array, Number));
  return { ids, logits };
}

/** Losses and gradient norms of three AdamW steps of the transformer, from the same weights and tokens. */
export async function train(name: BackendName): Promise<{ loss: number; gradNorm: number }[]> {
  const B = 4;
  const g = createGraph();
  const p = bindInputs(g, varSpecs(config));
  const weights = bindConstants(g, initWeights(vqvaeSpecs(tokenizer), rng(2)));
  const { loss } = varLoss(varBatch(g, config, { batch: B }), p, { config, tokenizer, weights });
  const step = await compileStep(
    {
      loss,
      params: p.bound,
      decayed: new Set(
        varSpecs(config)
          .filter(({ decay }) => decay)
          .map(({ name }) => name),
      ),
      optimizer: adamw(),
      clip: 2,
    },
    await openBackend(name),
    { weights: loudWeights() },
  );
  const chance = rng("tokens");
  const L = tokenCount(config);
  const tokens = BigInt64Array.from({ length: B * L }, () => BigInt(chance.int(codes)));
  const labels = BigInt64Array.from({ length: B }, (_, i) => BigInt(i % classes.length));
  const batch = {
    ids: { dtype: "int64", shape: [B, L], data: tokens },
    labels: { dtype: "int64", shape: [B], data: labels },
  } as const;
  const seen = [];
  for (let i = 1; i <= 3; i++) {
    const got = await step.step(batch, { step: i, lr: 1e-3, weightDecay: 0.05 });
    seen.push({ loss: Number(got.loss!.data[0]), gradNorm: Number(got.gradNorm!.data[0]) });
  }
  await step.release();
  return seen;
}
