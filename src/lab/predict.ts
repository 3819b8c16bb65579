/** What transformers predict on given tokens: loss, accuracy, and how far two of them agree. Draws and trains nothing. */

import type { VarConfig } from "../image/config.ts";
import { mapTokens, type PatchNum, scaleStarts, tokenCount } from "../image/scales.ts";
import { varBatch, varLoss } from "../image/var-loss.ts";
import type { VarParts } from "../image/var-step.ts";
import { bindConstants } from "../nn/bind.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, type Graph, output } from "../tensor/graph.ts";

/** Pictures as tokens with their classes. */
export interface Examples {
  /** N x L, coarse to fine. */
  readonly ids: Int32Array;
  /** N class numbers. */
  readonly labels: ArrayLike<number>;
}

/** Cross-entropies in nats per token; accuracies are shares of tokens whose likeliest code is the true one. */
export interface Prediction {
  readonly count: number;
  readonly loss: number;
  readonly accuracy: number;
  /** Of each scale, coarse to fine. */
  readonly scaleLosses: readonly number[];
  readonly scaleAccuracies: readonly number[];
  /** The likeliest code of every token: N L. */
  readonly likeliest: Int32Array;
}

/** Teacher-forced predictions with every label and no dropped path; the mean is over all pictures and tokens. */
export async function predict(
  model: VarParts,
  { ids, labels }: Examples,
  { backend, batch: most = 16, signal }: { backend: Backend; batch?: number; signal?: AbortSignal },
): Promise<Prediction> {
  const { patchNums, codes } = model.config;
  const [L, count] = [tokenCount(model.config), labels.length];
  if (ids.length !== count * L || count === 0)
    throw new RangeError(`predict: ${ids.length} tokens for ${count} pictures of ${L} tokens`);
  const batch = Math.min(most, count);
  const session = await backend.compile(logitsGraph(model, batch));
  const likeliest = new Int32Array(count * L);
  const losses = new Float64Array(count * L);
  try {
    for (let done = 0; done < count; done += batch) {
      signal?.throwIfAborted();
      const from = Math.min(done, count - batch); // the last batch does some pictures again
      const part = ids.subarray(from * L, (from + batch) * L);
      const own = BigInt64Array.from({ length: batch }, (_, b) => BigInt(labels[from + b]!));
      const { logits } = await session.run({
        ids: { dtype: "int64", shape: [batch, L], data: BigInt64Array.from(part, BigInt) },
        labels: { dtype: "int64", shape: [batch], data: own },
      });
      for (let t = 0; t < batch * L; t++) {
        const row = (logits!.data as Float32Array).subarray(t * codes, (t + 1) * codes);
        const { likeliest: best, logSum } = summary(row);
        likeliest[from * L + t] = best;
        losses[from * L + t] = logSum - row[part[t]!]!;
      }
    }
  } finally {
    await session.release();
  }
  const hits = Float64Array.from(likeliest, (code, t) => (code === ids[t] ? 1 : 0));
  return {
    count,
    loss: mean(losses),
    accuracy: mean(hits),
    scaleLosses: scaleMeans(losses, patchNums),
    scaleAccuracies: scaleMeans(hits, patchNums),
    likeliest,
  };
}

function logitsGraph({ config, weights, tokenizer, tokenizerWeights }: VarParts, batch: number) {
  const g: Graph = createGraph("predictions");
  const whole: VarConfig = { ...config, dropPath: 0 };
  const { logits } = varLoss(varBatch(g, whole, { batch }), bindConstants(g, weights), {
    config: whole,
    tokenizer,
    weights: bindConstants(g, tokenizerWeights),
  });
  output(g, "logits", logits); // B L V
  return g;
}

function summary(logits: Float32Array): { likeliest: number; logSum: number } {
  let likeliest = 0;
  for (let v = 1; v < logits.length; v++) if (logits[v]! > logits[likeliest]!) likeliest = v;
  const most = logits[likeliest]!;
  let sum = 0;
  for (let v = 0; v < logits.length; v++) sum += Math.exp(logits[v]! - most);
  return { likeliest, logSum: most + Math.log(sum) };
}

const mean = (values: Float64Array): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Means over the tokens of each scale of all pictures. N L -> K */
function scaleMeans(values: Float64Array, patchNums: readonly PatchNum[]): number[] {
  const starts = scaleStarts(patchNums);
  const L = starts.at(-1)!;
  return patchNums.map((pn, k) => {
    let sum = 0;
    for (let at = 0; at < values.length; at += L)
      for (let t = starts[k]!; t < starts[k + 1]!; t++) sum += values[at + t]!;
    return sum / ((values.length / L) * mapTokens(pn));
  });
}
