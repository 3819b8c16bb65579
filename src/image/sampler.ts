/** Sampling: orders -> token maps scale by scale -> pictures. What an order says is orders.ts; narrowing one distribution is sampling.ts. */

import type { Tensor } from "../formats/dtype.ts";
import { type Batch, scaleLogits, startBatch } from "./batch.ts";
import { decodedTogether, fastestBatch } from "./memory.ts";
import type { Var } from "./model.ts";
import {
  chanceOf,
  checkCount,
  checkOrder,
  checkWhole,
  type Given,
  type Order,
  ordersOf,
  type SampleOptions,
} from "./orders.ts";
import { float, rowsOf, stack } from "./rows.ts";
import { drawTokens, scaleRatio, smoothVectors } from "./sampling.ts";
import { latentShape, mapShape, mapTokens } from "./scales.ts";
import { type Picture, toPictures } from "./sheet.ts";

/** All pictures after one scale. */
export interface ScaleStep {
  /** k, from 0. */
  readonly scale: number;
  /** K: how many scales there are. */
  readonly of: number;
  /** Of this scale's token map. */
  readonly shape: readonly [height: number, width: number];
  /** Class number of each picture; the number of classes means "no class". */
  readonly classes: readonly number[];
  /** Drawn tokens: count T (int64). */
  readonly ids: Tensor;
  /** The latent map so far: count C h w. */
  readonly fHat: Tensor;
  /** The pictures so far, in [0, 1]: count 3 H W. Decoded when asked. */
  images(): Promise<Tensor>;
  /** The same as 8-bit RGB. */
  pictures(): Promise<Picture[]>;
}

/** How `drawOrders` goes about its work; none of it changes a picture. */
export interface DrawOptions {
  /** Pictures that go through the transformer together. Default: as many as are fastest, 1 to 16. */
  batch?: number;
  /** Stops between scales and between batches. */
  signal?: AbortSignal;
}

/**
 * Draws pictures, coarse to fine (VAR, arXiv 2404.02905, algorithm of section 3): yields after every scale.
 *
 * The chance of token t of scale k of picture i depends on (seed, i, k, t) alone, so neither `batch` nor the other
 * pictures change a picture, but for float rounding. The same call gives the same bytes.
 * @throws InputError for an unknown label (with near matches) or an option out of range; the signal's reason when
 *   aborted
 */
export async function* sample(model: Var, options: SampleOptions = {}): AsyncGenerator<ScaleStep> {
  const { batch, signal } = options;
  yield* drawOrders(model, ordersOf(model, options), { batch, signal });
}

/**
 * The same for pictures that have each their own class, seed and settings: the batch of a server. An order gives
 * the same picture in whatever company, but for float rounding.
 */
export async function* drawOrders(
  model: Var,
  orders: readonly Order[],
  { batch = fastestBatch(model), signal }: DrawOptions = {},
): AsyncGenerator<ScaleStep> {
  checkWhole({ batch }, 1);
  checkCount(orders.length);
  for (const order of orders) checkOrder(order, model.patchNums.length);
  const K = model.patchNums.length;
  signal?.throwIfAborted();
  const batches: Progress[] = [];
  for (let at = 0; at < orders.length; at += batch)
    batches.push(await started(model, orders.slice(at, at + batch)));
  const classes = orders.map(({ label }) => label);
  try {
    for (const [scale, pn] of model.patchNums.entries()) {
      for (const each of batches) {
        signal?.throwIfAborted();
        await runScale(model, each, scale);
      }
      signal?.throwIfAborted();
      const fHat = stack(batches.map((each) => each.fHat));
      const decode = once(() => decodeMaps(model, fHat, { batch, signal }));
      yield {
        scale,
        of: K,
        shape: mapShape(pn),
        classes,
        ids: stack(batches.map((each) => each.ids)),
        fHat,
        images: async () => toUnit(await decode()),
        pictures: async () => toPictures(await decode()),
      };
    }
  } finally {
    for (const { batch: left } of batches) left.loan.end(); // where the caller stopped early
  }
}

/** Tokens of picture i at one scale, row by row. */
export function idsOf({ ids: { shape, data } }: Pick<ScaleStep, "ids">, i: number): number[] {
  const T = shape[1]!;
  return Array.from(data.subarray(i * T, (i + 1) * T) as BigInt64Array, Number);
}

export interface Generated {
  /** Number of the picture within its seed. */
  readonly index: number;
  /** Class number; the number of classes means "no class". */
  readonly label: number;
  /** Tokens of all scales, coarse to fine: L. */
  readonly ids: Int32Array;
  readonly picture: Picture;
}

/** Finished pictures one after the other, any number of them: `batch` at a time are in memory. */
export async function* generate(
  model: Var,
  options: SampleOptions = {},
): AsyncGenerator<Generated> {
  const { batch = fastestBatch(model), first = 0, labels, count = labels?.length ?? 1 } = options;
  checkWhole({ batch, count }, 1);
  for (let at = 0; at < count; at += batch) {
    const n = Math.min(batch, count - at);
    const part = { labels: labels?.slice(at, at + n), count: n, first: first + at };
    const steps: ScaleStep[] = [];
    for await (const step of sample(model, { ...options, ...part })) steps.push(step);
    const last = steps.at(-1)!;
    const pictures = await last.pictures();
    for (const [i, picture] of pictures.entries()) {
      const ids = steps.flatMap((step) => idsOf(step, i));
      yield { index: first + at + i, label: last.classes[i]!, ids: Int32Array.from(ids), picture };
    }
  }
}

/** fHat to pictures in [-1, 1], a batch at a time, or less where pictures are large. n C h w -> n 3 H W. */
export async function decodeMaps(
  model: Var,
  fHat: Tensor,
  { batch = 16, signal }: { batch?: number; signal?: AbortSignal } = {},
): Promise<Tensor> {
  const session = await model.session("decode");
  const parts: Tensor[] = [];
  const together = Math.min(batch, decodedTogether(model.tokenizer));
  for (let at = 0; at < fHat.shape[0]!; at += together) {
    signal?.throwIfAborted();
    parts.push((await session.run({ fHat: rowsOf(fHat, at, at + together) })).image!);
  }
  return stack(parts);
}

// ---- one batch

/** A batch and how far it has been drawn. */
interface Progress {
  readonly batch: Batch;
  /** What each order is given at each scale. */
  readonly given: readonly (readonly (Given | undefined)[])[];
  /** The last scale at which anything is drawn, -1 if none: no transformer is needed after it. */
  readonly lastDrawn: number;
  /** Tokens of the next scale: B T C; none before the first. */
  x: Tensor | undefined;
  ids: Tensor;
  fHat: Tensor;
}

async function started(model: Var, orders: readonly Order[]): Promise<Progress> {
  const given = orders.map((order) => model.patchNums.map((_, k) => order.given?.(k)));
  const drawn = (k: number) => given.some((scales) => scales[k]?.keep.includes(0) ?? true);
  return {
    batch: await startBatch(model, orders),
    given,
    lastDrawn: model.patchNums.findLastIndex((_, k) => drawn(k)),
    x: undefined,
    ids: { dtype: "int64", shape: [orders.length, 0], data: new BigInt64Array(0) },
    fHat: float([orders.length, model.tokenizer.latent, ...latentShape(model.tokenizer)]),
  };
}

/** Transformer, guidance, draw, and what the next scale reads. */
async function runScale(model: Var, at: Progress, k: number): Promise<void> {
  const { batch, x } = at;
  const isLast = k === at.lastDrawn;
  const logits = k <= at.lastDrawn ? await scaleLogits(model, batch, { k, x, isLast }) : undefined;
  const { ids, rows } = drawRows(model, at, { k, logits });
  const advance = await model.session(`advance ${k}`);
  const next = await advance.run({ rows, before: at.fHat });
  at.ids = ids;
  at.fHat = next.fHat!;
  at.x = next.x;
}

/** Draws the tokens of a scale: B T, and their code vectors: B T C. */
function drawRows(
  model: Var,
  { batch: { orders }, given }: Progress,
  { k, logits }: { k: number; logits: Float32Array | undefined },
): { ids: Tensor; rows: Tensor } {
  const { codes, latent } = model.tokenizer;
  const T = mapTokens(model.patchNums[k]!);
  const ids = new BigInt64Array(orders.length * T);
  const data = new Float32Array(orders.length * T * latent);
  for (const [i, order] of orders.entries()) {
    const own = logits?.subarray(i * T * codes, (i + 1) * T * codes);
    const drawn = drawScale(model, order, { k, logits: own, given: given[i]![k] });
    for (let t = 0; t < T; t++) ids[i * T + t] = BigInt(drawn.ids[t]!);
    data.set(drawn.rows, i * T * latent);
  }
  return {
    ids: { dtype: "int64", shape: [orders.length, T], data: ids },
    rows: { dtype: "float32", shape: [orders.length, T, latent], data },
  };
}

/** One scale of one picture: tokens T and their vectors T C, drawn from logits T V or given. */
function drawScale(model: Var, order: Order, { k, logits, given }: ScaleOf): Drawn {
  const { latent: C } = model.tokenizer;
  const codebook = model.codebook.data as Float32Array;
  const T = mapTokens(model.patchNums[k]!);
  const ids = new Int32Array(T);
  const rows = new Float32Array(T * C);
  const lay = (t: number, vector: Float32Array) => rows.set(vector, t * C);
  if (logits) {
    const drawn = drawAll(model, order, { k, logits });
    for (let t = 0; t < T; t++) {
      ids[t] = drawn.ids[t]!;
      lay(t, drawn.rows?.subarray(t * C, (t + 1) * C) ?? vectorOf(codebook, ids[t]!, C));
    }
  }
  if (given)
    for (let t = 0; t < T; t++) {
      if (!given.keep[t]) continue;
      ids[t] = given.ids[t]!;
      lay(t, given.rows?.subarray(t * C, (t + 1) * C) ?? vectorOf(codebook, ids[t]!, C));
    }
  return { ids, rows };
}

interface ScaleOf {
  readonly k: number;
  /** T V; absent where everything is given. */
  readonly logits: Float32Array | undefined;
  readonly given: Given | undefined;
}

interface Drawn {
  readonly ids: Int32Array;
  readonly rows: Float32Array;
}

const vectorOf = (codebook: Float32Array, id: number, C: number): Float32Array =>
  codebook.subarray(id * C, (id + 1) * C);

/** Every token of a scale by chance; vectors only where they are mixtures. */
function drawAll(
  model: Var,
  order: Order,
  { k, logits }: { k: number; logits: Float32Array },
): { ids: Int32Array; rows?: Float32Array } {
  const { codes } = model.tokenizer;
  order.watch?.(k, logits);
  const chance = chanceOf(order, k);
  const uniforms = chance.fillUniform(new Float32Array(logits.length / codes));
  const ids = drawTokens(logits, { codes, uniforms, ...order.drawing });
  if (!order.moreSmooth) return { ids };
  const rows = smoothVectors(logits, {
    codes,
    codebook: model.codebook.data as Float32Array,
    ratio: scaleRatio(k, model.patchNums.length),
    noise: chance.child("noise").fillExponential(new Float32Array(logits.length)),
    ...order.drawing,
  });
  return { ids, rows };
}

// ---- helpers

/** [-1, 1] to [0, 1]. */
const toUnit = ({ dtype, shape, data }: Tensor): Tensor => ({
  dtype,
  shape,
  data: (data as Float32Array).map((v) => (v + 1) / 2),
});

/** The same promise at every call. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
