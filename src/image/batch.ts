/** Pictures on their way through the transformer together: rows, keys and values, guidance -> logits. Draws no tokens. */

import { sizeOf, type Tensor } from "../formats/dtype.ts";
import type { Tensors } from "../tensor/backend.ts";
import { classRows } from "./conditioning.ts";
import { strengthAt } from "./drawing.ts";
import { type KvLoan, lastOf, lendKvCache, nextOf, pastOf } from "./kv-cache.ts";
import type { Var } from "./model.ts";
import type { Order } from "./orders.ts";
import { rowsOf, stack } from "./rows.ts";
import { guide } from "./sampling.ts";
import { mapTokens } from "./scales.ts";

/** What the transformer needs of some pictures, and what it keeps of them from scale to scale. */
export interface Batch {
  readonly orders: readonly Order[];
  /** Rows per picture: 2 with guidance (all conditional rows, then all unconditional), else 1. */
  readonly copies: 1 | 2;
  readonly modulation: Tensors;
  readonly loan: KvLoan;
  /** Results of the transformer and of the head, the largest scale's size: R T C and B T V flat. */
  readonly y: Float32Array;
  readonly logits: Float32Array;
  /** First tokens: R 1 C. */
  readonly start: Tensor;
}

/** Makes the rows and everything that the classes say. */
export async function startBatch(model: Var, orders: readonly Order[]): Promise<Batch> {
  const { config } = model;
  const none = config.classes;
  const guided = orders.some(({ label, drawing }) => drawing.guidance > 0 && label !== none);
  const copies = guided ? 2 : 1;
  const classes = orders.map(({ label }) => label);
  const labels = copies === 2 ? [...classes, ...classes.map(() => none)] : classes;
  const R = labels.length;
  const { start, ...modulation } = await classRows(model.knownClasses, labels, (missing) =>
    model.runOnce("class", { labels: missing }),
  );
  const T = mapTokens(config.patchNums.at(-1)!);
  return {
    orders,
    copies,
    modulation,
    loan: lendKvCache(model.kvLender, config, R),
    y: new Float32Array(R * T * config.width),
    logits: new Float32Array(orders.length * T * config.codes),
    start: start!,
  };
}

/**
 * Guided logits of scale k: B T V flat, valid until the next scale.
 *
 * Guidance mixes what the head reads: the head is linear, so its logits are those of mixing after it, at half the work.
 * @param options.x the scale's tokens, B T C; none at the first scale
 * @param options.isLast no scale comes after it: keys and values are not kept
 */
export async function scaleLogits(
  model: Var,
  batch: Batch,
  { k, x = batch.start, isLast }: { k: number; x?: Tensor; isLast: boolean },
): Promise<Float32Array> {
  const { orders, loan } = batch;
  const { cache } = loan;
  const { width, codes, patchNums } = model.config;
  const K = patchNums.length;
  const [B, T] = [orders.length, x.shape[1]!];
  // When no later scale is guided, the unconditional rows have done their work.
  const guidedLater = orders.some(({ drawing }) =>
    patchNums.some((_, later) => later >= k && strengthAt(drawing, later, K) > 0),
  );
  const copies = guidedLater ? batch.copies : 1;
  const R = B * copies;
  const rows = x.shape[0]! >= R ? rowsOf(x, 0, R) : stack([x, x]); // R T C
  if (isLast) loan.spare(k);
  const y = part(batch.y, [R, T, width]);
  const into = { ...(isLast ? lastOf(cache, k, R) : nextOf(cache, k, R)), y };
  const transformer = await model.session("scale");
  const modulation = Object.fromEntries(
    Object.entries(batch.modulation).map(([name, tensor]) => [name, rowsOf(tensor, 0, R)]),
  );
  await transformer.run(
    { x: rows, ...modulation, ...pastOf(cache, k, R) },
    { into, outputs: Object.keys(into) },
  );
  if (isLast) loan.end(); // what comes next, the decoder above all, needs memory too
  const strengths = orders.map(({ drawing }) => strengthAt(drawing, k, K));
  const data = y.data as Float32Array;
  if (copies === 2 && strengths.some((t) => t > 0)) guide(data, strengths);
  const logits = part(batch.logits, [B, T, codes]);
  const head = await model.session("head");
  await head.run({ y: rowsOf(y, 0, B) }, { into: { logits } });
  return logits.data as Float32Array;
}

/** The beginning of a buffer as a tensor. */
const part = (buffer: Float32Array, shape: readonly number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: buffer.subarray(0, sizeOf(shape)),
});
