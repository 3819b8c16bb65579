/**
 * Batches from a data set, shuffled by a seed, resumable between any two batches. Reads no files.
 *
 * The trick: nothing random is carried from batch to batch. The order of an epoch follows from (seed, epoch), the
 * augmentation of a picture from (seed, epoch, index), so three numbers are the whole state.
 */

import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import {
  type PictureSize,
  pictureSize,
  pixelCount,
  type SizeOption,
  sizeText,
} from "../formats/picture-size.ts";
import { rng } from "../tensor/rng.ts";
import { type Augment, type AugmentTarget, augment, normalise } from "./augment.ts";
import { type ImageDataset, pixelsOf } from "./types.ts";

/** Where the next batch starts; plain JSON. */
export interface Cursor {
  readonly seed: number;
  readonly epoch: number;
  /** Pictures of this epoch already handed out. */
  readonly position: number;
}

export interface Batch {
  /** float32 [B, 3, height, width] in [-1, 1]. */
  readonly images: Tensor; // B 3 H W
  readonly labels: Int32Array; // B
  /** Positions in the data set. */
  readonly indices: Int32Array; // B
  /** The state after this batch: give it to `batches` to go on. */
  readonly cursor: Cursor;
}

export interface BatchOptions {
  /** Pictures per batch. */
  readonly batch: number;
  /** Default 0; ignored when a cursor is given, which has its own. */
  readonly seed?: number;
  /** Go on from here instead of from the first epoch. */
  readonly cursor?: Cursor;
  /** Random changes; none by default. */
  readonly augment?: Augment;
  /** Of the pictures handed out; default that of the data set, smaller means a random crop. */
  readonly size?: SizeOption;
  /** Stop after this epoch has ended (counted from 0); default never. */
  readonly epochs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Endless shuffled batches; what is left of an epoch after its last whole batch is dropped.
 * The same seed or cursor gives the same bytes. Throws InputError when the batch or the cursor does not fit.
 */
export async function* batches(
  dataset: ImageDataset,
  options: BatchOptions,
): AsyncGenerator<Batch, void, void> {
  const { batch, seed = 0, epochs = Number.POSITIVE_INFINITY } = options;
  const size = pictureSize(options.size ?? dataset);
  checkBatch(dataset, batch, size);
  if (batch > dataset.count) {
    throw new InputError(
      `${dataset.name}: a batch of ${batch} is more than the ${dataset.count} pictures there are; use a smaller batch`,
      { batch, count: dataset.count },
    );
  }
  let {
    seed: root,
    epoch,
    position,
  } = checkCursor(options.cursor ?? { seed, epoch: 0, position: 0 }, dataset);
  for (; epoch < epochs; epoch++, position = 0) {
    const order = epochOrder(dataset.count, root, epoch);
    const noise = rng(root).child("augment").child(epoch);
    for (; position + batch <= dataset.count; position += batch) {
      options.signal?.throwIfAborted();
      const indices = Int32Array.from(order.subarray(position, position + batch));
      const images = gather(dataset, indices, {
        size,
        write: (i, target) =>
          augment(pixelsOf(dataset, i), target, { ...options.augment, rng: noise.child(i) }),
      });
      yield {
        images,
        labels: indices.map((i) => dataset.label(i)),
        indices,
        cursor: { seed: root, epoch, position: position + batch },
      };
    }
  }
}

/**
 * Every picture once, in order, unchanged (the middle where `size` is smaller), for evaluation.
 * The last batch may be smaller. Its cursor has seed 0 and epoch 0.
 */
export async function* inOrder(
  dataset: ImageDataset,
  options: { readonly batch: number; readonly size?: SizeOption; readonly signal?: AbortSignal },
): AsyncGenerator<Batch, void, void> {
  const { batch, signal } = options;
  const size = pictureSize(options.size ?? dataset);
  checkBatch(dataset, batch, size);
  for (let position = 0; position < dataset.count; position += batch) {
    signal?.throwIfAborted();
    const n = Math.min(batch, dataset.count - position);
    const indices = Int32Array.from({ length: n }, (_, k) => position + k);
    yield {
      images: gather(dataset, indices, {
        size,
        write: (i, target) => normalise(pixelsOf(dataset, i), target),
      }),
      labels: indices.map((i) => dataset.label(i)),
      indices,
      cursor: { seed: 0, epoch: 0, position: position + n },
    };
  }
}

/** The order in which an epoch goes through the data set. */
export function epochOrder(count: number, seed: number, epoch: number): Uint32Array {
  return rng(seed).child("order").child(epoch).permutation(count);
}

interface Gather {
  readonly size: PictureSize;
  readonly write: (index: number, target: AugmentTarget) => void;
}

function gather(dataset: ImageDataset, indices: Int32Array, { size, write }: Gather): Tensor {
  const floats = 3 * pixelCount(size);
  const out = new Float32Array(indices.length * floats);
  indices.forEach((index, b) => {
    write(index, { from: dataset, to: size, out, at: b * floats });
  });
  return { dtype: "float32", shape: [indices.length, 3, size.height, size.width], data: out };
}

function checkBatch(dataset: ImageDataset, batch: number, size: PictureSize): void {
  const { name } = dataset;
  if (!Number.isInteger(batch) || batch < 1) {
    throw new InputError(`${name}: got a batch of ${batch}, want a whole number from 1`, { batch });
  }
  const fits = (side: number, stored: number) =>
    Number.isInteger(side) && side >= 1 && side <= stored;
  if (!fits(size.width, dataset.width) || !fits(size.height, dataset.height)) {
    throw new InputError(
      `${name}: got size ${sizeText(size)}, want at most the stored ${sizeText(dataset)} pixels; load the data set larger`,
      { size, stored: pictureSize(dataset) },
    );
  }
}

/** A cursor comes from a checkpoint file: believed only when it fits. @throws InputError when it does not */
export function checkCursor(cursor: unknown, dataset: ImageDataset): Cursor {
  const { seed, epoch, position } = (cursor ?? {}) as Cursor;
  const whole = (n: unknown): boolean => Number.isSafeInteger(n) && (n as number) >= 0;
  if (
    !(Number.isSafeInteger(seed) && whole(epoch) && whole(position) && position <= dataset.count)
  ) {
    throw new InputError(
      `${dataset.name}: cursor ${JSON.stringify(cursor)} does not fit ${dataset.count} pictures; resume with the data set and options of the first run`,
      { cursor, count: dataset.count },
    );
  }
  return { seed, epoch, position };
}
