/** The batch that fits: from sizes alone, never less than one picture, never more than is useful. */

import { expect, test } from "vitest";
import { type VarConfig, varConfig, vqvaeConfig } from "./config.ts";
import { type DrawnModel, decodedTogether, fittingBatch, pictureBytes } from "./memory.ts";

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
  const batches = [1, 2, 3, 4, 8, 64].map((gib) => fittingBatch(d16, { memory: gib * GIB }));
  expect(batches[0]).toBe(1); // even where the weights alone do not fit: then it is slow, not refused
  expect(batches.at(-1)).toBe(4); // 2048 rows at the last scale
  expect(batches).toEqual(batches.toSorted((a, b) => a - b));
  expect(new Set(batches).size).toBeGreaterThan(2);
});

test("a deeper model fits fewer pictures, a small one as many as are useful", () => {
  const memory = 6 * GIB;
  const d24 = official(24, 1_033_399_360);
  expect(fittingBatch(d24, { memory })).toBeLessThan(fittingBatch(d16, { memory }));
  const patchNums = [1, 2, 3, 4];
  const config: VarConfig = varConfig(5, { width: 256, patchNums });
  const small = { transformer: 6e6, tokenizer: 3e6 };
  const tokenizer = vqvaeConfig({ channels: 32, patchNums });
  expect(fittingBatch({ config, tokenizer, info: { parameters: small } }, { memory })).toBe(16);
});
