/** The batch that fits: from sizes alone, never less than one picture, never more than is useful. */

import { expect, test } from "vitest";
import { type VarConfig, varConfig, vqvaeConfig } from "./config.ts";
import {
  type DrawnModel,
  decodedTogether,
  fastestBatch,
  fittingBatch,
  pictureBytes,
} from "./memory.ts";

const GIB = 2 ** 30;
const official = (depth: number, transformer: number): DrawnModel => ({
  config: varConfig(depth),
  tokenizer: vqvaeConfig(),
  info: { parameters: { transformer, tokenizer: 108_948_355 } },
});
const d16 = official(16, 310_283_520);

test("a picture of d16 takes some 0.4 GB beside weights and decoder, half without guidance", () => {
  const guided = pictureBytes(d16.config);
  expect(guided / 1e9).toBeGreaterThan(0.3);
  expect(guided / 1e9).toBeLessThan(0.5);
  expect(pictureBytes(d16.config, { guided: false })).toBe(guided / 2);
});

test("large pictures are decoded one by one, small ones together", () => {
  expect(decodedTogether(d16.tokenizer)).toBe(1);
  expect(decodedTogether(vqvaeConfig({ channels: 32, patchNums: [1, 2, 3, 4] }))).toBeGreaterThan(
    16,
  );
});

test("more memory allows a larger batch, as far as it is useful", () => {
  const narrow = { ...d16, config: varConfig(4) };
  const batches = [1, 2.35, 2.4, 64].map((gib) => fittingBatch(narrow, { memory: gib * GIB }));
  expect(batches[0]).toBe(1); // even where the weights alone do not fit: then it is slow, not refused
  expect(batches.at(-1)).toBe(fastestBatch(narrow));
  expect(batches).toEqual(batches.toSorted((a, b) => a - b));
  expect(new Set(batches).size).toBeGreaterThan(2);
});

test("wide models draw one picture at a time, two without guidance, narrow ones up to sixteen", () => {
  expect([fastestBatch(d16), fastestBatch(d16, { guided: false })]).toEqual([1, 2]);
  expect(fastestBatch({ config: varConfig(30) })).toBe(1);
  const patchNums = [1, 2, 3, 4, 5, 6, 8];
  expect(fastestBatch({ config: varConfig(5, { width: 256, patchNums }) })).toBe(16);
  expect(fastestBatch({ config: varConfig(1, { patchNums: [1, 2] }) })).toBe(16);
});

test("a deeper model fits fewer pictures, a small one as many as are useful", () => {
  const memory = 6 * GIB;
  const guided = false;
  const d24 = official(24, 1_033_399_360);
  expect(fittingBatch(d24, { memory, guided })).toBeLessThan(fittingBatch(d16, { memory, guided }));
  const patchNums = [1, 2, 3, 4];
  const config: VarConfig = varConfig(5, { width: 256, patchNums });
  const small = { transformer: 6e6, tokenizer: 3e6 };
  const tokenizer = vqvaeConfig({ channels: 32, patchNums });
  expect(fittingBatch({ config, tokenizer, info: { parameters: small } }, { memory })).toBe(16);
});
