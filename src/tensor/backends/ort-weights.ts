/** Where a graph's constants are put for ONNX Runtime: into the model. Onto disk: see ort-weights.node.ts. */

import type { InferenceSession } from "onnxruntime-common";
import { readWeight, type Weight, weightBytes } from "../../formats/lazy.ts";
import type { OnnxInitializer } from "../../formats/onnx.ts";
import { RunError } from "../backend.ts";
import type { Value } from "../graph.ts";

/** Constants in their places. */
export interface PlacedWeights {
  readonly placed: ReadonlyMap<Value, OnnxInitializer>;
  /** What the runtime has to be told to find them. */
  readonly session?: InferenceSession.SessionOptions;
  /** Called when the session has been made or could not be, and again on its release. */
  clear?(): Promise<void>;
}

export type PlaceWeights = (weights: ReadonlyMap<Value, Weight>) => Promise<PlacedWeights>;

/** A model is one protobuf message, which ends at 2 GiB; the rest is for the nodes. */
export const MODEL_BYTES = 2 ** 31 - 2 ** 26;

/** All constants inside the model, read now. @throws RunError when they do not fit there */
export const placeInModel: PlaceWeights = async (weights) => {
  const bytes = [...weights.values()].reduce((sum, weight) => sum + weightBytes(weight), 0);
  if (bytes > MODEL_BYTES)
    throw new RunError(
      `compile: the weights take ${bytes} bytes, a model in memory holds ${MODEL_BYTES}; use ort-node with weights from files`,
      { bytes, most: MODEL_BYTES },
    );
  const placed = new Map<Value, OnnxInitializer>();
  for (const [v, weight] of weights)
    placed.set(v, { name: v.name, tensor: await readWeight(weight) });
  return { placed };
};
