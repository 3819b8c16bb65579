/** What a training run will cost, for --dry-run: parameters, floating-point operations, memory. Times nothing. */

import type { ClassifierConfig } from "../eval/classifier.ts";
import type { VarConfig, VqvaeConfig } from "../image/config.ts";
import { trainingFlops } from "../image/cost.ts";
import { latentShape, mapTokens, tokenCount } from "../image/scales.ts";
import { varSpecs } from "../image/var-layout.ts";
import { vaeLevels, vqvaeFlops, vqvaeSpecs } from "../image/vqvae-layout.ts";
import { countParams } from "../nn/spec.ts";
import { bytes, count, si } from "./format.ts";

export interface TrainCost {
  readonly parameters: number;
  /** Floating-point operations of one update. */
  readonly flopsPerUpdate: number;
  readonly flops: number;
  /** Bytes of weights and moments (two buffers of each, swapped) and of the gradients. */
  readonly stateBytes: number;
  /** Bytes of what the forward pass keeps for the backward pass: an estimate, good to a factor of two. */
  readonly activationBytes: number;
}

const FLOAT = 4;
/** Weights and two moments, twice, and the gradient. */
const COPIES = 7;

const cost = (
  parameters: number,
  steps: number,
  { flopsPerUpdate, activations }: { flopsPerUpdate: number; activations: number },
): TrainCost => ({
  parameters,
  flopsPerUpdate,
  flops: flopsPerUpdate * steps,
  stateBytes: COPIES * FLOAT * parameters,
  activationBytes: FLOAT * activations,
});

/** A residual block keeps two each of norm, activation and convolution, the sum, and the gradient in passing. */
const KEPT_PER_BLOCK = 8;

export function vqvaeCost(
  model: VqvaeConfig,
  { batch, steps }: { batch: number; steps: number },
): TrainCost {
  const { encoder, decoder } = vaeLevels(model);
  const deepest = model.chMult.length - 1;
  const kept = [...encoder, ...decoder].map(({ level, blocks, channels }) => {
    const cells = mapTokens(latentShape(model)) * 4 ** (deepest - level);
    return KEPT_PER_BLOCK * blocks.length * channels * cells;
  });
  return cost(countParams(vqvaeSpecs(model)), steps, {
    flopsPerUpdate: vqvaeFlops(model).train * batch,
    activations: batch * kept.reduce((a, b) => a + b, 0),
  });
}

export function varCost(
  model: VarConfig,
  { batch, steps }: { batch: number; steps: number },
): TrainCost {
  const { width, depth, heads, mlpRatio, codes } = model;
  const L = tokenCount(model);
  const perToken = (16 + 3 * mlpRatio) * width + 3 * heads * L; // norms, q k v, two branches; scores thrice
  return cost(countParams(varSpecs(model)), steps, {
    flopsPerUpdate: trainingFlops(model).total * batch,
    activations: batch * L * (depth * perToken + 3 * codes),
  });
}

/** Two convolutions a level; each keeps norm, activation and result. */
export function classifierCost(
  { size, widths }: ClassifierConfig,
  parameters: number,
  { batch, steps }: { batch: number; steps: number },
): TrainCost {
  const levels = widths.map((to, i) => {
    const cells = (size / 2 ** i) ** 2;
    const from = widths[i - 1];
    return { cells, to, weights: 9 * (from === undefined ? 3 * to : from * to + to * to) };
  });
  const forward = levels.reduce((sum, { cells, weights }) => sum + 2 * cells * weights, 0);
  return cost(parameters, steps, {
    flopsPerUpdate: 3 * forward * batch, // backward is two products for each one
    activations: batch * levels.reduce((sum, { cells, to }) => sum + 6 * cells * to, 0),
  });
}

/** The cost as rows of a table. */
export const costRows = (c: TrainCost): [string, string][] => [
  ["parameters", count(c.parameters)],
  ["one update", si(c.flopsPerUpdate, "FLOP")],
  ["whole run", si(c.flops, "FLOP")],
  ["memory, weights and moments", bytes(c.stateBytes)],
  ["memory, activations (about)", bytes(c.activationBytes)],
];
