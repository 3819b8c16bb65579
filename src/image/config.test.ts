/** The dials: what follows from depth, what is refused, and what a model costs. */

import { describe, expect, test } from "vitest";
import { InputError } from "../formats/errors.ts";
import { checkPair, dropPathRates, varConfig, vqvaeConfig } from "./config.ts";
import { samplingFlops, trainingFlops } from "./cost.ts";
import { checkImageSize, PATCH_NUMS } from "./scales.ts";
import { vqvaeFlops } from "./vqvae-layout.ts";

test("everything follows from depth", () => {
  const { width, heads, dropPath } = varConfig(16);
  expect({ width, heads }).toEqual({ width: 1024, heads: 16 });
  expect(dropPath).toBeCloseTo(0.0667, 4);
  expect(varConfig(30).dropPath).toBeCloseTo(0.125, 12);
  expect(varConfig(2, { width: 64, heads: 4 })).toMatchObject({ depth: 2, width: 64, heads: 4 });
  expect(varConfig(4, { width: 128 }).heads).toBe(2);
  expect(varConfig(5, { width: 160 }).heads).toBe(2);
  expect(varConfig(1, { width: 32 }).heads).toBe(1);
});

test("an option given as undefined means its default", () => {
  expect(varConfig(4, { heads: undefined })).toEqual(varConfig(4));
  expect(vqvaeConfig({ latent: undefined })).toEqual(vqvaeConfig());
});

test("drop path rises evenly from nothing to its full rate", () => {
  expect(dropPathRates(varConfig(3, { dropPath: 0.2 }))).toEqual([0, 0.1, 0.2]);
  expect(dropPathRates(varConfig(1))).toEqual([0]);
});

test("configurations are frozen, their lists too", () => {
  const config = varConfig(4, { patchNums: [1, 2] });
  expect(() => Object.assign(config, { depth: 5 })).toThrow(TypeError);
  expect(() => (config.patchNums as number[]).push(3)).toThrow(TypeError);
});

describe("refusals", () => {
  const cases: [string, () => unknown, string][] = [
    [
      "a size off the patch",
      () => checkImageSize(100, 16),
      "image size 100 is not a multiple of the tokenizer's patch of 16 pixels; use 96 or 112",
    ],
    [
      "a size below one patch",
      () => checkImageSize(5, 16),
      "image size 5 is not a multiple of the tokenizer's patch of 16 pixels; use 16",
    ],
    [
      "a size of NaN",
      () => checkImageSize(Number.NaN, 8),
      "image size NaN is not a multiple of the tokenizer's patch of 8 pixels; use 8",
    ],
    ["a depth of 0", () => varConfig(0), "depth must be a whole number of at least 1, got 0"],
    [
      "a broken width",
      () => varConfig(2, { width: Number.NaN }),
      "width must be a whole number of at least 1, got NaN",
    ],
    ["a broken depth", () => varConfig(2.5), "depth must be a whole number of at least 1, got 2.5"],
    [
      "heads that do not divide",
      () => varConfig(2, { width: 64, heads: 5 }),
      "width 64 does not split into 5 heads of equal size; use a multiple of 5, or 4 heads",
    ],
    [
      "scales that fall",
      () => varConfig(2, { patchNums: [1, 3, 2] }),
      "patchNums [1, 3, 2] must be whole numbers that start at 1, rise, and end at the side of the latent map, as in [1, 2, 3, 4, 5, 6, 8]",
    ],
    [
      "scales that start late",
      () => vqvaeConfig({ patchNums: [2, 4] }),
      "patchNums [2, 4] must be",
    ],
    ["no scales", () => vqvaeConfig({ patchNums: [] }), "patchNums [] must be"],
    [
      "channels off the groups",
      () => vqvaeConfig({ channels: 48 }),
      "a level of 48 x 1 = 48 channels does not split into the 32 groups of its GroupNorms; make it a multiple of 32",
    ],
    [
      "a drop path above 1",
      () => varConfig(2, { dropPath: 2 }),
      "dropPath must lie from 0 to 1, got 2",
    ],
    [
      "a broken mlpRatio",
      () => varConfig(2, { mlpRatio: Number.NaN }),
      "mlpRatio NaN times width 128 is not a positive whole number of channels; use 4",
    ],
    ["no levels", () => vqvaeConfig({ chMult: [] }), "chMult is empty; give one number per level"],
    [
      "phis against their sharing",
      () => vqvaeConfig({ phiSharing: "shared", phis: 3 }),
      'phiSharing "shared" means 1 phi convolutions, got 3; leave phis out',
    ],
    [
      "a foreign tokenizer",
      () => checkPair(varConfig(2), vqvaeConfig({ codes: 64 })),
      "transformer and tokenizer do not fit: codes is 4096 in the transformer and 64 in the tokenizer; use the tokenizer it was trained with",
    ],
  ];
  test.each(cases)("%s", (_, make, message) => {
    expect(make).toThrow(InputError);
    expect(make).toThrow(message);
  });

  test("matching parts pass", () => {
    expect(() => checkPair(varConfig(2), vqvaeConfig())).not.toThrow();
    expect(() => checkImageSize(256, 16)).not.toThrow();
  });
});

describe("cost", () => {
  const giga = (n: number, digits = 1) => (n / 1e9).toFixed(digits);

  test("sampling d16 with guidance costs what the published table says, stage by stage", () => {
    const flops = samplingFlops(varConfig(16), { cacheAdaLN: false });
    // The table is printed to three digits and counts the quantizer's small convolutions too.
    const table = [1.24, 3.71, 7.83, 13.6, 21.2, 30.4, 54.3, 86.0, 148.8, 233.7];
    for (const [k, { total }] of flops.scales.entries()) {
      expect(Math.abs(total / 1e9 - table[k]!), `scale ${k}`).toBeLessThan(0.06);
    }
    expect([flops.linear, flops.attention, flops.adaLN, flops.head].map((n) => giga(n))).toEqual([
      "547.6",
      "37.5",
      "4.0",
      "11.5",
    ]);
    expect(giga(flops.total)).toBe("600.8");
  });

  test("the other depths cost what the table says", () => {
    const total = (config: ReturnType<typeof varConfig>) =>
      giga(samplingFlops(config, { cacheAdaLN: false }).total, 0);
    expect(total(varConfig(20))).toBe("1151");
    expect(total(varConfig(24))).toBe("1964");
    expect(total(varConfig(30))).toBe("3790");
    expect(total(varConfig(36, { sharedAdaLN: true, patchNums: PATCH_NUMS[32]! }))).toBe("22804");
  });

  test("modulation computed once saves nine tenths of its cost in ten scales", () => {
    const { adaLN } = samplingFlops(varConfig(16));
    expect(adaLN / samplingFlops(varConfig(16), { cacheAdaLN: false }).adaLN).toBeCloseTo(0.1, 12);
    expect(samplingFlops(varConfig(16), { guided: false }).adaLN).toBe(adaLN / 2);
  });

  test("without AdaLN the modulation's cost is gone and the rest stays", () => {
    const [with_, without] = [varConfig(16), varConfig(16, { adaLN: false })];
    expect(samplingFlops(without).adaLN).toBe(0);
    expect(samplingFlops(without).linear).toBe(samplingFlops(with_).linear);
  });

  test("training costs about six operations per block weight and token", () => {
    const config = varConfig(16);
    const { linear } = trainingFlops(config);
    expect(linear).toBe(6 * 680 * 16 * 12 * 1024 ** 2);
  });

  test("the official tokenizer costs what was measured, at both sizes", () => {
    const at = (size: number) => vqvaeFlops(vqvaeConfig(), { size });
    expect(giga(at(256).decode)).toBe("393.7");
    expect(giga(at(256).encode)).toBe("215.1");
    expect(giga(at(512).decode, 0)).toBe("1583");
    expect(giga(at(512).encode, 0)).toBe("867");
  });
});
