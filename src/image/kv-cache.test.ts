/** Memory for keys and values: what a scale writes is what the next one reads, and freeing gives it back. */

import { expect, test } from "vitest";
import { varConfig } from "./config.ts";
import {
  freeKvCache,
  type KvLender,
  kvCache,
  lastOf,
  lendKvCache,
  nextOf,
  pastOf,
} from "./kv-cache.ts";
import { tokenCount } from "./scales.ts";

const config = varConfig(2, { patchNums: [1, 2, 3, 4], width: 32, heads: 2 });

test("a scale reads where the scale before it wrote, and writes elsewhere", () => {
  const cache = kvCache(config, 2);
  expect(pastOf(cache, 0)["past.k.0"]!.shape).toEqual([2, 2, 0, 16]);
  for (const k of [0, 1, 2]) {
    const [past, next] = [pastOf(cache, k), nextOf(cache, k)];
    expect(Object.keys(next)).toEqual(["next.k.0", "next.v.0", "next.k.1", "next.v.1"]);
    (next["next.v.1"]!.data as Float32Array).fill(k + 1);
    expect(new Set(past["past.v.1"]!.data as Float32Array)).toEqual(new Set(k ? [k] : []));
    const read = pastOf(cache, k + 1)["past.v.1"]!;
    expect(read.shape).toEqual([2, 2, [1, 5, 14][k], 16]);
    expect(new Set(read.data as Float32Array)).toEqual(new Set([k + 1]));
  }
});

test("freeing what the last scale does not read leaves what it reads", () => {
  const cache = kvCache(config, 1);
  const buffers = () => cache.buffers.map((set) => set.get("k.0")!.buffer.byteLength);
  expect(buffers()).toEqual([5, 14].map((tokens) => tokens * 32 * 4)); // scales 2 and 3 read those
  freeKvCache(cache, 3);
  expect(buffers()).toEqual([0, 14 * 32 * 4]);
  freeKvCache(cache);
  freeKvCache(cache);
  expect(buffers()).toEqual([0, 0]);
});

test("the last scale writes all blocks' keys into one place, and all values into another", () => {
  const cache = kvCache(config, 2);
  const k = config.patchNums.length - 1;
  const next = lastOf(cache, k, 2);
  const like = nextOf(cache, 0, 2);
  expect(Object.keys(next).sort()).toEqual(Object.keys(like).sort());
  const all = tokenCount(config);
  for (const { shape } of Object.values(next))
    expect(shape).toEqual([2, config.heads, all, config.width / config.heads]);
  const places = (kind: string) =>
    new Set(
      Object.keys(next)
        .filter((name) => name.startsWith(`next.${kind}.`))
        .map((name) => next[name]!.data),
    );
  expect([places("k").size, places("v").size]).toEqual([1, 1]);
  expect([...places("k")][0]).not.toBe([...places("v")][0]);
  freeKvCache(cache);
  expect([...places("k")][0]!.length).toBe(0);
});

const isFree = (loan: { cache: { spare: readonly Float32Array[] } }) =>
  loan.cache.spare.every((buffer) => buffer.length === 0);

test("a lender that keeps lends a batch's memory to the next of as many rows, and to one at a time", () => {
  const lender: KvLender = { keeps: true };
  const [first, beside] = [lendKvCache(lender, config, 2), lendKvCache(lender, config, 2)];
  expect(beside.cache).not.toBe(first.cache);
  first.spare(3);
  first.end();
  expect(isFree(first)).toBe(false);
  const again = lendKvCache(lender, config, 2);
  expect(again.cache).toBe(first.cache);
  first.end(); // a second end takes nothing from whom it is lent to now
  expect(lendKvCache(lender, config, 2).cache).not.toBe(again.cache);
  again.end();
  beside.end(); // one is kept, the other freed
  expect([isFree(again), isFree(beside)]).toEqual([false, true]);
  const larger = lendKvCache(lender, config, 4);
  expect([larger.cache.rows, isFree(again)]).toEqual([4, true]);
});

test("a lender that keeps nothing frees what is spare, and at the end all", () => {
  const loan = lendKvCache({ keeps: false }, config, 1);
  const buffers = () => loan.cache.buffers.map((set) => set.get("k.0")!.buffer.byteLength);
  loan.spare(3);
  expect(buffers()).toEqual([0, 14 * 32 * 4]);
  loan.end();
  expect(buffers()).toEqual([0, 0]);
});
