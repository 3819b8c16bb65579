/** What each baseline minimises, as a graph, and the chance its training needs. Trains nothing: see train/. */

import type { Tensor } from "../../formats/dtype.ts";
import type { Bind } from "../../nn/bind.ts";
import { type Graph, input, type Value, withScope } from "../../tensor/graph.ts";
import {
  add,
  argMax,
  cast,
  div,
  equal,
  gatherElements,
  greater,
  logSoftmax,
  mean,
  mse,
  mul,
  neg,
  reshape,
  stopGradient,
  sub,
  sum,
  where,
} from "../../tensor/ops.ts";
import type { Rng } from "../../tensor/rng.ts";
import type { VarConfig, VqvaeConfig } from "../config.ts";
import { fHatsFromIds } from "../quantizer.ts";
import { latentShape, mapTokens, tokenCount } from "../scales.ts";
import { dropMaskShape } from "../var-loss.ts";
import { type BaselineKind, TIME_FEATURES } from "./config.ts";
import {
  maskedLogits,
  noiseLevel,
  rasterLogits,
  rowsOfMap,
  timeFeatures,
  velocity,
} from "./nets.ts";

/** The graph inputs of every lesson. */
interface Given {
  /** Tokens of all scales of the tokenizer: B L (int64). */
  readonly ids: Value;
  /** Classes after label drop: B (int64). */
  readonly labels: Value;
  readonly dropMasks?: Value;
}

export interface LessonOptions {
  readonly config: VarConfig;
  readonly tokenizer: VqvaeConfig;
  /** The tokenizer's codebook and phi, as constants. */
  readonly codes: Bind;
  readonly batch: number;
  /** Share of the target spread evenly over all codes. Default 0; diffusion has no targets to smooth. */
  readonly labelSmoothing?: number;
}

/** Scalars. Only `loss` has a gradient. */
export interface Lesson {
  readonly loss: Value;
  /** What a log wants to know; `meanLoss` is the loss without label smoothing. */
  readonly report: Readonly<Record<string, Value>> & { readonly meanLoss: Value };
}

interface Rules {
  /** The loss; makes the inputs that `chance` feeds. */
  build(g: Graph, p: Bind, given: Given, options: LessonOptions): Lesson;
  /** What is random in one update besides labels and dropped paths. */
  chance(config: VarConfig, batch: number, rng: Rng): Record<string, Tensor>;
}

const LESSONS: Readonly<Record<BaselineKind, Rules>> = {
  ar: {
    build: (_g, p, given, options) => tokenLesson(rasterLogits(given, p, options), given, options),
    chance: () => ({}),
  },
  maskgit: {
    build(g, p, { ids, ...rest }, options) {
      const { config, batch } = options;
      const hidden = input(g, "hidden", [batch, tokenCount(config)]); // 1 where hidden
      const read = where(greater(hidden, 0.5), config.codes, ids);
      const logits = maskedLogits({ ids: read, ...rest }, p, options);
      return tokenLesson(logits, { ids, hidden }, options);
    },
    chance: (config, batch, rng) => ({ hidden: hiddenTokens(tokenCount(config), batch, rng) }),
  },
  dit: {
    build(g, p, { ids, ...rest }, options) {
      const { config, batch, codes, tokenizer } = options;
      const n = mapTokens(latentShape(config));
      const fHat = withScope(g, "latent", () => fHatsFromIds(ids, codes, tokenizer).at(-1)!);
      const x0 = div(sub(rowsOfMap(fHat), p("latent_mean")), p("latent_std")); // B n latent
      const [alpha, sigma] = [input(g, "alpha", [batch, 1, 1]), input(g, "sigma", [batch, 1, 1])];
      const noise = input(g, "noise", [batch, n, config.latent]);
      const times = input(g, "times", [batch, TIME_FEATURES]);
      const x = add(mul(x0, alpha), mul(noise, sigma));
      const wanted = sub(mul(noise, alpha), mul(x0, sigma));
      const loss = mse(velocity({ x, times, ...rest }, p, options), stopGradient(wanted));
      return { loss, report: { meanLoss: stopGradient(loss) } };
    },
    chance(config, batch, rng) {
      const shape = [batch, mapTokens(latentShape(config)), config.latent] as const;
      const t = rng.child("time").fillUniform(new Float32Array(batch));
      const levels = Array.from(t, noiseLevel);
      const column = (values: readonly number[]) => float([batch, 1, 1], Float32Array.from(values));
      const noise = new Float32Array(batch * shape[1] * shape[2]);
      return {
        alpha: column(levels.map(({ alpha }) => alpha)),
        sigma: column(levels.map(({ sigma }) => sigma)),
        noise: float(shape, rng.child("noise").fillNormal(noise)),
        times: timeFeatures(t),
      };
    },
  },
};

/** A baseline's loss on its graph inputs `ids`, `labels`, `dropMasks` where paths are dropped, and those of `lessonChance`. */
export function lesson(kind: BaselineKind, g: Graph, p: Bind, options: LessonOptions): Lesson {
  const { config, tokenizer, batch } = options;
  const ids = input(g, "ids", [batch, tokenCount(tokenizer)], "int64");
  const labels = input(g, "labels", [batch], "int64");
  const dropMasks =
    config.dropPath > 0 ? input(g, "dropMasks", dropMaskShape(config, batch)) : undefined;
  return LESSONS[kind].build(g, p, { ids, labels, dropMasks }, options);
}

/** The random inputs of one update. */
export const lessonChance = (
  kind: BaselineKind,
  config: VarConfig,
  { batch, rng }: { batch: number; rng: Rng },
): Record<string, Tensor> => LESSONS[kind].chance(config, batch, rng);

/** Cross-entropy of tokens, of the hidden ones alone where some are hidden. logits B L V, ids B L */
function tokenLesson(
  logits: Value,
  { ids, hidden }: { ids: Value; hidden?: Value },
  { config, batch, labelSmoothing = 0 }: LessonOptions,
): Lesson {
  const [n, V] = [batch * tokenCount(config), config.codes];
  const rows = reshape(logits, [n, V]);
  const targets = reshape(ids, [n]);
  const share = hidden && reshape(hidden, [n]);
  const average = (x: Value) => (share ? div(sum(mul(x, share)), sum(share)) : mean(x));
  const logP = logSoftmax(rows); // n V
  const ce = average(neg(reshape(gatherElements(logP, reshape(targets, [n, 1]), 1), [n])));
  const hits = average(cast(equal(argMax(rows, 1), targets), "float32"));
  const spread = () => average(neg(mean(logP, { axes: [1] })));
  const loss = labelSmoothing
    ? add(mul(ce, 1 - labelSmoothing), mul(spread(), labelSmoothing))
    : ce;
  return { loss, report: { meanLoss: stopGradient(ce), accuracy: hits } };
}

/** MaskGIT, section 3.1: of each picture the share cos(πr/2), r uniform, at least one token. B L */
function hiddenTokens(L: number, batch: number, rng: Rng): Tensor {
  const data = new Float32Array(batch * L);
  for (let b = 0; b < batch; b++) {
    const own = rng.child(b);
    const count = Math.max(1, Math.ceil(L * Math.cos((Math.PI / 2) * own.uniform())));
    for (const t of own.permutation(L).subarray(0, count)) data[b * L + t] = 1;
  }
  return float([batch, L], data);
}

const float = (shape: readonly number[], data: Float32Array): Tensor => ({
  dtype: "float32",
  shape,
  data,
});
