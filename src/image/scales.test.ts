/** Token maps: what pictures they make, how they are chosen for a size, read, written and refused. */

import { describe, expect, test } from "vitest";
import { InputError } from "../formats/errors.ts";
import { labVqvaeConfig, varConfig, vqvaeConfig } from "./config.ts";
import { noteConfig } from "./note.ts";
import {
  checkImageSize,
  checkPatchNums,
  imageSize,
  latentShape,
  mapText,
  PATCH_NUMS,
  type PatchNum,
  patchNumsFor,
  patchSize,
  readPatchNums,
  scaleStarts,
  scalesText,
  tokenCount,
} from "./scales.ts";

const OBLONG: readonly PatchNum[] = [1, [1, 2], [2, 3], [4, 6]]; // height, width

test("sides, tokens and scale boundaries of the models in use", () => {
  expect(Object.values(PATCH_NUMS).map((patchNums) => tokenCount({ patchNums }))).toEqual([
    30, 155, 680, 2240, 9451,
  ]);
  for (const [side, patchNums] of Object.entries(PATCH_NUMS))
    expect(latentShape({ patchNums })).toEqual([+side, +side]);
  expect(imageSize(vqvaeConfig())).toEqual({ width: 256, height: 256 });
  expect([imageSize(labVqvaeConfig()).width, patchSize(labVqvaeConfig())]).toEqual([64, 8]);
  expect(scaleStarts([1, 2, 3])).toEqual([0, 1, 5, 14]);
});

test("maps that are no squares have height first in arrays and width first in words", () => {
  const config = vqvaeConfig({ patchNums: OBLONG, chMult: [1, 1, 2, 2] });
  expect(imageSize(config)).toEqual({ width: 48, height: 32 });
  expect(tokenCount(config)).toBe(1 + 2 + 6 + 24);
  expect(scaleStarts(OBLONG)).toEqual([0, 1, 3, 9, 33]);
  expect(scalesText(OBLONG)).toBe("1, 2x1, 3x2, 6x4");
  expect([mapText(4), mapText([4, 6])]).toEqual(["4x4", "6x4"]);
  expect(readPatchNums("1, 2x1,3x2,6x4")).toEqual(OBLONG);
  expect(readPatchNums("1,2x2,4")).toEqual([1, 2, 4]); // a square is written in one way
  expect(() => readPatchNums("1,2x")).toThrow(/"2x" is no token map/);
});

test("scales for a size are the list in use, or one that rises to it", () => {
  expect(patchNumsFor(64, 8)).toBe(PATCH_NUMS[8]);
  for (let side = 1; side < 80; side++) {
    const list = patchNumsFor(side * 8, 8) as readonly number[];
    expect(list[0]).toBe(1);
    expect(list.at(-1)).toBe(side);
    expect([...list].sort((a, b) => a - b)).toEqual(list);
    expect(new Set(list).size).toBe(list.length);
  }
});

test("scales for any two sides rise in proportion, turned pictures have turned maps", () => {
  expect(scalesText(patchNumsFor({ width: 48, height: 32 }, 8))).toBe("1, 2x1, 3x2, 4x3, 5x3, 6x4");
  for (const [w, h] of [
    [2, 1],
    [1, 9],
    [16, 9],
    [31, 17],
    [40, 3],
  ] as const) {
    const size = { width: 8 * w, height: 8 * h };
    const list = patchNumsFor(size, 8);
    expect(checkPatchNums(list)).toEqual(list);
    expect(imageSize({ patchNums: list, chMult: [1, 1, 1, 1] })).toEqual(size);
    const turned = patchNumsFor({ width: size.height, height: size.width }, 8);
    expect(turned.map((pn) => (typeof pn === "number" ? pn : [pn[1], pn[0]]))).toEqual(list);
  }
});

test("a model's note gives its maps back, and refuses what is none", () => {
  const kind = { kind: "var", what: "here" } as const;
  const config = varConfig(1, { patchNums: OBLONG, codes: 8, latent: 4 });
  const back = (patchNums: unknown) =>
    noteConfig({ kind: "var", config: { ...config, patchNums } } as never, kind);
  expect(back(JSON.parse(JSON.stringify(OBLONG)))).toEqual(config);
  expect(() => (config.patchNums[1] as unknown as number[]).push(3)).toThrow(TypeError);
  for (const wrong of [
    [1, [2]],
    [1, [2, "3"]],
    [1, [2, 3, 4]],
    [1, [[2], 3]],
    [1, null],
  ])
    expect(() => back(wrong), JSON.stringify(wrong)).toThrow(InputError);
});

describe("refusals", () => {
  test.each<[string, readonly PatchNum[]]>([
    ["a map that is lower than the one before", [1, [2, 2], [1, 5]]],
    ["a map that does not grow", [1, [2, 3], [2, 3]]],
    ["a first map of two tokens", [[1, 2], 4]],
    ["half a row", [1, [1.5, 2]]],
    ["no row", [1, [0, 2]]],
  ])("%s", (_, patchNums) => {
    expect(() => checkPatchNums(patchNums)).toThrow(InputError);
  });

  test("sizes off the patch name what is near, along each side", () => {
    expect(() => checkImageSize({ width: 50, height: 32 }, 8)).toThrow(
      "image size 50x32 is not a multiple of the tokenizer's patch of 8 pixels; use 48 or 56, and 32",
    );
    expect(() => checkImageSize({ width: 48, height: 0 }, 8)).toThrow(/use 48, and 8/);
    expect(() => checkImageSize({ width: 48, height: 32 }, 8)).not.toThrow();
  });
});
