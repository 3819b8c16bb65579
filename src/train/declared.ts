/** What a recipe says about every update before it is made, so that one who does not trust the trainer can compare. */

import { type ImageDataset, pixelsOf } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import type { Pace } from "../nn/optim.ts";
import type { Tensors } from "../tensor/backend.ts";
import type { Metrics } from "./run.node.ts";

/** Computed from the recipe and the data alone, never from the trainer's own state. */
export interface Declared {
  pace(step: number): Pace;
  readonly adamw: { readonly betas: readonly [number, number]; readonly eps: number };
  /** Largest joint norm of the gradients; 0 for no limit. */
  readonly clip: number;
  /** Parameters with weight decay. */
  readonly decayed: ReadonlySet<string>;
  /** Rows of the data: what one picture gives to a batch, with its label. */
  readonly rows: number;
  row(index: number): Tensor;
  /** What update `step` reads: positions in the data, their rows, and, where it can be said cheaply, the very tensors. */
  batch(step: number): DeclaredBatch;
  /**
   * The loss on given batches at given parameters. Absent where the update follows no gradient of a loss, as with a
   * straight-through estimator.
   */
  lossAt?(feeds: readonly Tensors[], weights: TensorMap): Promise<number>;
  /** Parameters that the trainer changes after the update, as its recipe says. */
  touched?(step: number, metrics: Metrics): ReadonlySet<string>;
}

export interface DeclaredBatch {
  readonly indices: ArrayLike<number>;
  readonly rows: readonly number[];
  readonly feeds?: Tensors;
}

/** Where update `step` (from 1) stands: whole batches only, what is left of an epoch is dropped. */
export function placeOf(step: number, { count, batch }: { count: number; batch: number }) {
  const rounds = Math.floor(count / batch);
  const epoch = Math.floor((step - 1) / rounds);
  return { epoch, position: ((step - 1) % rounds) * batch };
}

/** A picture with its label, as a row of the data. */
export function pictureRow(train: ImageDataset, index: number): Tensor {
  const pixels = pixelsOf(train, index);
  const data = new Uint8Array(4 + pixels.length);
  new DataView(data.buffer).setUint32(0, train.label(index));
  data.set(pixels, 4);
  return { dtype: "uint8", shape: [data.length], data };
}
