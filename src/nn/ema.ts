/** Running means of weights (EMA), kept beside a training step and outside of its graph. Trains nothing. */

import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";

/** The mean of each parameter so far; float32, changed in place. */
export type Ema = ReadonlyMap<string, Tensor>;

/**
 * Starts at `weights`, or at what a checkpoint holds. Outside of the graph: one pass over three arrays where the
 * graph would hold, feed and fetch two more copies of every parameter.
 * @throws InputError when the checkpoint lacks a mean or holds another shape
 */
export function startEma(weights: TensorMap, saved?: TensorMap): Ema {
  return new Map(
    [...weights].map(([name, weight]) => {
      const from = saved ? saved.get(name) : weight;
      const wanted = `float32[${weight.shape.join(", ")}]`;
      const found = from ? `${from.dtype}[${from.shape.join(", ")}]` : "nothing";
      if (!from || found !== wanted)
        throw new InputError(
          `the running mean of "${name}" should be ${wanted}, found ${found}; use the checkpoint of this very run`,
          { name, wanted, found },
        );
      return [name, { ...from, data: Float32Array.from(from.data as Float32Array) }];
    }),
  );
}

/**
 * mean += (1 - decay)(weight - mean), after update number `step` (from 1). The decay rises to its value as
 * (1 + step) / (10 + step), so that a short run is not ruled by its random start (as TensorFlow's
 * ExponentialMovingAverage with num_updates). decay = 0.999 remembers about the last 1000 updates.
 */
export function trackEma(
  ema: Ema,
  weights: TensorMap,
  { decay, step }: { decay: number; step: number },
): void {
  const share = 1 - Math.min(decay, (1 + step) / (10 + step));
  for (const [name, { data }] of ema) {
    const mean = data as Float32Array;
    const now = weights.get(name)!.data as Float32Array;
    for (let i = 0; i < mean.length; i++) mean[i]! += share * (now[i]! - mean[i]!);
  }
}
