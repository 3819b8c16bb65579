/** What VAR training minimises and measures, as a graph, and the chance it needs. Trains nothing: see train/. */

import type { Tensor } from "../formats/dtype.ts";
import type { Bind } from "../nn/bind.ts";
import { type Graph, input, sharedConstant, type Value, withScope } from "../tensor/graph.ts";
import {
  add,
  argMax,
  cast,
  equal,
  gatherElements,
  logSoftmax,
  matmul,
  mean,
  mul,
  neg,
  reshape,
  slice,
  stopGradient,
} from "../tensor/ops.ts";
import type { Rng } from "../tensor/rng.ts";
import { staticShape } from "../tensor/shape.ts";
import { dropPathRates, type VarConfig, type VqvaeConfig } from "./config.ts";
import { inputFromIds } from "./quantizer.ts";
import { mapTokens, type PatchNum, scaleStarts, scalesText, tokenCount } from "./scales.ts";
import { trainingLogits } from "./var.ts";

export interface VarBatch {
  /** Token ids of all scales, coarse to fine: B L (int64). */
  ids: Value;
  /** Tokens that the model reads where these are not those it is to predict: B L (int64). */
  read?: Value;
  /** Classes, after label drop: B (int64). */
  labels: Value;
  /** See `dropPathMasks`: depth 2 B. */
  dropMasks?: Value;
}

/** Scalars, and vectors over the K scales. Only `loss` has a gradient. Accuracies are shares from 0 to 1. */
export interface VarLoss {
  /** To be minimised: mean over batch and tokens, with label smoothing. */
  readonly loss: Value;
  /** Plain cross-entropy over all tokens; the official log calls it Lm. */
  readonly meanLoss: Value;
  /** The same over the last scale: Lt. */
  readonly lastLoss: Value;
  /** Share of tokens whose likeliest code is the true one: Accm / 100. */
  readonly accuracy: Value;
  /** The same over the last scale: Acct / 100. */
  readonly lastAccuracy: Value;
  /** Cross-entropy of each scale: K. */
  readonly scaleLosses: Value;
  /** Accuracy of each scale: K. */
  readonly scaleAccuracies: Value;
  /** B L V. */
  readonly logits: Value;
}

export interface VarLossOptions {
  config: VarConfig;
  tokenizer: VqvaeConfig;
  /** Share of the target spread evenly over all codes. Default 0. */
  labelSmoothing?: number;
}

/**
 * Cross-entropy of every token given the class and the true coarser scales; equal weight per token.
 * @param p the transformer's weights @param options.weights the tokenizer's codebook and phi, as constants
 */
export function varLoss(
  batch: VarBatch,
  p: Bind,
  options: VarLossOptions & { weights: Bind },
): VarLoss {
  const { config, tokenizer, weights, labelSmoothing = 0 } = options;
  const { ids, labels, dropMasks, read: readIds = ids } = batch;
  const [B, L] = staticShape(ids.shape, "varLoss ids") as [number, number];
  const V = config.codes;
  const read = withScope(ids.graph, "input", () => inputFromIds(readIds, weights, tokenizer)); // B L-1 latent
  const logits = trainingLogits({ input: read, labels }, p, { config, dropMasks }); // B L V
  return withScope(ids.graph, "loss", () => {
    const rows = reshape(logits, [B * L, V]);
    const targets = reshape(ids, [B * L]);
    const logP = logSoftmax(rows); // BL V
    const picked = reshape(gatherElements(logP, reshape(targets, [B * L, 1]), 1), [B * L]);
    const ce = mean(neg(picked));
    const loss = labelSmoothing
      ? add(mul(ce, 1 - labelSmoothing), mul(mean(neg(logP)), labelSmoothing))
      : ce;
    const hits = cast(equal(argMax(rows, 1), targets), "float32");
    const scaleLosses = scaleMeans(reshape(stopGradient(neg(picked)), [B, L]), config);
    const scaleAccuracies = scaleMeans(reshape(hits, [B, L]), config);
    return {
      loss,
      meanLoss: stopGradient(ce),
      lastLoss: last(scaleLosses),
      accuracy: mean(hits),
      lastAccuracy: last(scaleAccuracies),
      scaleLosses,
      scaleAccuracies,
      logits,
    };
  });
}

const last = (x: Value): Value => reshape(slice(x, { axis: 0, start: -1 }), []);

/** Mean over the batch and over the tokens of each scale. B L -> K */
function scaleMeans(x: Value, { patchNums }: VarConfig): Value {
  const average = sharedConstant(x.graph, `scale means ${scalesText(patchNums)}`, () =>
    scaleAverages(patchNums),
  );
  return reshape(matmul(mean(x, { axes: [0], keepDims: true }), average), [patchNums.length]);
}

/** Column k averages the tokens of scale k. L K */
function scaleAverages(patchNums: readonly PatchNum[]): Tensor {
  const starts = scaleStarts(patchNums);
  const [L, K] = [starts.at(-1)!, patchNums.length];
  const data = new Float32Array(L * K);
  for (const [k, pn] of patchNums.entries())
    for (let t = starts[k]!; t < starts[k + 1]!; t++) data[t * K + k] = 1 / mapTokens(pn);
  return { dtype: "float32", shape: [L, K], data };
}

/** Shape of the masks that `varLoss` takes as `dropMasks`. */
export const dropMaskShape = ({ depth }: VarConfig, batch: number): number[] => [depth, 2, batch];

/**
 * Stochastic depth (Huang et al. 2016): each branch of each block is dropped for a whole sample, with a rate that
 * rises with depth; what stays is scaled up. depth 2 B, 0 or 1/keep.
 */
export function dropPathMasks(config: VarConfig, batch: number, rng: Rng): Tensor {
  const shape = dropMaskShape(config, batch);
  const rates = dropPathRates(config);
  const data = rng.fillUniform(new Float32Array(config.depth * 2 * batch));
  for (let i = 0; i < data.length; i++) {
    const rate = rates[Math.floor(i / (2 * batch))]!;
    data[i] = data[i]! < rate ? 0 : 1 / (1 - rate);
  }
  return { dtype: "float32", shape, data };
}

/** Replaces each label by "no class" with the configured chance, as classifier-free guidance needs. B (int64) */
export function dropLabels(labels: ArrayLike<number>, config: VarConfig, rng: Rng): Tensor {
  const data = BigInt64Array.from(Array.from(labels), (label) =>
    BigInt(rng.uniform() < config.labelDrop ? config.classes : label),
  );
  return { dtype: "int64", shape: [data.length], data };
}

/** The graph inputs of a batch: `ids`, `labels`, `read` if wanted, and `dropMasks` where the model drops paths. */
export const varBatch = (
  g: Graph,
  config: VarConfig,
  { batch, read = false }: { batch: number; read?: boolean },
): VarBatch => ({
  ids: input(g, "ids", [batch, tokenCount(config)], "int64"),
  read: read ? input(g, "read", [batch, tokenCount(config)], "int64") : undefined,
  labels: input(g, "labels", [batch], "int64"),
  dropMasks: config.dropPath > 0 ? input(g, "dropMasks", dropMaskShape(config, batch)) : undefined,
});
