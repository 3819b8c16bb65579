/** Orders: pictures with wishes of their own in one batch, branches, tokens that are given. */

import { afterAll, describe, expect, test } from "vitest";
import { louderModel, rowsOfIds, steps } from "../../test/louder-var.ts";
import type { Var } from "./model.ts";
import { type Given, ordersOf, type SampleOptions } from "./orders.ts";
import { drawOrders, type ScaleStep } from "./sampler.ts";

let opened: Promise<Var> | undefined;
const model = () => {
  opened ??= louderModel();
  return opened;
};
afterAll(async () => (await opened)?.release());

describe("orders", () => {
  const all = async (orders: Parameters<typeof drawOrders>[1], batch?: number) => {
    const found: ScaleStep[] = [];
    for await (const step of drawOrders(await model(), orders, { batch })) found.push(step);
    return rowsOfIds(found);
  };

  test("of different seeds, classes and settings share a batch and draw what each draws alone", async () => {
    const m = await model();
    const wishes: SampleOptions[] = [
      { label: 0, seed: 1, guidance: 0, topK: 3 },
      { label: 2, seed: "two", guidance: 4, topK: 0, topP: 0.8 },
      { label: null, seed: 1, first: 7, temperature: 0.5, moreSmooth: true },
    ];
    const orders = wishes.flatMap((wish) => ordersOf(m, wish));
    const alone = await Promise.all(wishes.map(async (wish) => rowsOfIds(await steps(m, wish))));
    expect(await all(orders)).toEqual(alone.flat());
    expect(await all(orders, 2)).toEqual(alone.flat());
  });

  test("whose last scales are unguided draw those from what the class alone says", async () => {
    const m = await model();
    const common = { label: 1, seed: 4, topK: 0, topP: 0, guidance: 6 };
    const watched = async (wish: SampleOptions) => {
      const logits: Float32Array[] = [];
      const watch = (_: number, own: Float32Array) => void logits.push(own.slice());
      const found: ScaleStep[] = [];
      const orders = ordersOf(m, wish).map((order) => ({ ...order, watch }));
      for await (const step of drawOrders(m, orders)) found.push(step);
      return { logits, ids: rowsOfIds(found)[0]! };
    };
    const [guided, ended] = [await watched(common), await watched({ ...common, unguidedLast: 1 })];
    expect(ended.ids.slice(0, 5)).toEqual(guided.ids.slice(0, 5));
    // The last scale after the very same tokens, never guided.
    const starts = [0, 1, 5];
    const given = (k: number) => {
      const ids = Int32Array.from(guided.ids.slice(starts[k], starts[k + 1]));
      return k < 2 ? { keep: new Uint8Array(ids.length).fill(1), ids } : undefined;
    };
    const plain = await watched({ ...common, guidance: 0, given });
    const worst = (a: Float32Array, b: Float32Array) =>
      a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);
    expect(worst(ended.logits[2]!, plain.logits[2]!)).toBeLessThan(1e-4);
    expect(worst(ended.logits[2]!, guided.logits[2]!)).toBeGreaterThan(0.1);
    // All unguided is no guidance at all.
    expect((await watched({ ...common, unguidedLast: 3 })).ids).toEqual(
      (await watched({ ...common, guidance: 0 })).ids,
    );
  });

  test("with a branch keep the coarse scales, and the branch has one result of its own", async () => {
    const m = await model();
    const common = { label: 1, seed: 4, topK: 0, topP: 0, temperature: 3 };
    const draw = async (branches: SampleOptions["branches"]) =>
      rowsOfIds(await steps(m, { ...common, branches }))[0]!;
    const [plain, a, b] = [
      await draw([]),
      await draw([{ from: 2, name: "a" }]),
      await draw([{ from: 2, name: "b" }]),
    ];
    expect(a.slice(0, 5)).toEqual(plain.slice(0, 5));
    expect(new Set([plain, a, b].map(String)).size).toBe(3);
    expect(await draw([{ from: 2, name: "a" }])).toEqual(a);
    expect(await draw([{ from: 1, name: "a" }])).not.toEqual(a);
  });

  test("lay down the tokens and vectors they are given, and draw the others", async () => {
    const m = await model();
    const common = { label: 1, seed: 4, topK: 0, topP: 0 };
    const plain = rowsOfIds(await steps(m, common))[0]!;
    const ids = Int32Array.of(5, 6, 7, 8);
    const give = async (given: Given) =>
      steps(m, { ...common, given: (k) => (k === 1 ? given : undefined) });
    const half = await give({ keep: Uint8Array.of(1, 0, 0, 1), ids });
    expect(rowsOfIds(half)[0]!.slice(0, 5)).toEqual([plain[0], 5, plain[2], plain[3], 8]);
    // Vectors that are those of other codes draw the picture of those codes.
    const keep = new Uint8Array(4).fill(1);
    const { data } = m.codebook;
    const rows = Float32Array.from(
      [...ids].flatMap((id) => [...data.slice(id * 4, id * 4 + 4)].map(Number)),
    );
    const [byIds, byRows] = [
      await give({ keep, ids }),
      await give({ keep, ids: ids.map(() => 0), rows }),
    ];
    expect(byRows[1]!.fHat).toEqual(byIds[1]!.fHat);
    expect(byRows[2]!.ids).toEqual(byIds[2]!.ids);
  });
});
