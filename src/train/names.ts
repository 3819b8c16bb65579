/** Tensors of several kinds in one checkpoint: told apart by the first part of their names. */

import type { Tensor, TensorMap } from "../formats/dtype.ts";

/** Tensors whose names begin with `prefix`, without it. */
export function unprefixed(tensors: TensorMap, prefix: string): Map<string, Tensor> {
  const own = [...tensors].filter(([name]) => name.startsWith(prefix));
  return new Map(own.map(([name, t]) => [name.slice(prefix.length), t]));
}

/** The same tensors under longer names. */
export const prefixed = (tensors: TensorMap, prefix: string): [string, Tensor][] =>
  [...tensors].map(([name, t]) => [prefix + name, t]);

/** Parameters and moments of a stepper as a checkpoint names them. */
export const stepperTensors = ({
  weights,
  state,
}: {
  weights: TensorMap;
  state: TensorMap;
}): Map<string, Tensor> => new Map([...prefixed(weights, "param."), ...prefixed(state, "state.")]);
