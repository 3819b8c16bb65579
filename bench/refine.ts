/** Pictures whose last scales are drawn by another, shallower model over the same tokenizer. Measures nothing. */

import type { Picture } from "../src/image/index.ts";
import { fastestBatch } from "../src/image/memory.ts";
import type { Var } from "../src/image/model.ts";
import { ordersOf } from "../src/image/orders.ts";
import { drawOrders } from "../src/image/sampler.ts";
import { mapTokens } from "../src/image/scales.ts";

interface Job {
  /** Class numbers, one per picture. */
  readonly labels: readonly number[];
  readonly seed: string;
  /** How many of the last scales are the refiner's. */
  readonly last: number;
}

/** All pictures, drawn in batches of the size that is fastest for the deep model. */
export async function drawRefined(
  { deep, refiner }: { deep: Var; refiner: Var },
  { labels, seed, last }: Job,
): Promise<Picture[]> {
  if (`${deep.labels}` !== `${refiner.labels}` || `${deep.patchNums}` !== `${refiner.patchNums}`)
    throw new Error("the refiner has other classes or scales than the deep model");
  const switchAt = deep.patchNums.length - last;
  const batch = fastestBatch(deep);
  const pictures: Picture[] = [];
  for (let at = 0; at < labels.length; at += batch) {
    const some = { labels: labels.slice(at, at + batch), seed, first: at };
    const orders = ordersOf(deep, some);
    const coarse: Int32Array[] = []; // of each scale: B T
    for await (const { scale, ids } of drawOrders(deep, orders, { batch })) {
      coarse.push(Int32Array.from(ids.data as BigInt64Array, Number));
      if (scale === switchAt - 1) break;
    }
    const finer = orders.map((order, i) => ({
      ...order,
      given(k: number) {
        if (k >= switchAt) return undefined;
        const T = mapTokens(deep.patchNums[k]!);
        return { keep: new Uint8Array(T).fill(1), ids: coarse[k]!.slice(i * T, (i + 1) * T) };
      },
    }));
    for await (const step of drawOrders(refiner, finer, { batch }))
      if (step.scale === step.of - 1) pictures.push(...(await step.pictures()));
  }
  return pictures;
}
