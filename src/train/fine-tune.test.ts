/** Beginning with another model's weights: what is taken, what is carried over, what is refused. */

import { expect, test } from "vitest";
import type { TensorMap } from "../formats/dtype.ts";
import { type VarConfig, varConfig } from "../image/config.ts";
import { scaleStarts } from "../image/scales.ts";
import { varSpecs } from "../image/var-layout.ts";
import { initWeights } from "../nn/spec.ts";
import { rng } from "../tensor/rng.ts";
import { descend } from "./fine-tune.ts";

const config = (more: Partial<VarConfig> = {}): VarConfig =>
  varConfig(2, {
    ...{ width: 32, heads: 2, classes: 3, patchNums: [1, 2, 4], codes: 16, latent: 4 },
    ...more,
  });
const weightsOf = (of: VarConfig, seed: string): TensorMap => initWeights(varSpecs(of), rng(seed));
const ancestor = (labels?: readonly string[]) => ({
  config: config(),
  weights: weightsOf(config(), "old"),
  labels,
});
const rows = (weights: TensorMap, name: string, from: number, to: number) =>
  Array.from((weights.get(name)!.data as Float32Array).subarray(from * 32, to * 32));
const NAMES = ["cat", "dog", "fox"];

test("a model of the same shape is taken whole, and nothing is remarked", () => {
  const from = ancestor(NAMES);
  const { weights, remarks } = descend(config(), weightsOf(config(), "new"), {
    from,
    labels: NAMES,
  });
  for (const { name, kind } of varSpecs(config()))
    if (kind === "param")
      expect(weights.get(name)!.data, name).toEqual(from.weights.get(name)!.data);
  expect(remarks).toEqual([]);
});

test("classes go by name, the last row stays 'no class', others start anew", () => {
  const to = config({ classes: 4 });
  const [from, fresh] = [ancestor(NAMES), weightsOf(to, "new")];
  const { weights, remarks } = descend(to, fresh, { from, labels: ["fox", "owl", "cat", "bee"] });
  const name = "class_emb.weight";
  expect(rows(weights, name, 0, 1)).toEqual(rows(from.weights, name, 2, 3));
  expect(rows(weights, name, 1, 2)).toEqual(rows(fresh, name, 1, 2));
  expect(rows(weights, name, 2, 3)).toEqual(rows(from.weights, name, 0, 1));
  expect(rows(weights, name, 4, 5)).toEqual(rows(from.weights, name, 3, 4));
  expect(remarks).toEqual([`${name}: 2 of 4 classes kept by name, the others start anew`]);
});

test("the same number of classes in another order is put in order", () => {
  const from = ancestor(NAMES);
  const labels = ["dog", "cat", "fox"];
  const { weights } = descend(config(), weightsOf(config(), "new"), { from, labels });
  const name = "class_emb.weight";
  expect(rows(weights, name, 0, 1)).toEqual(rows(from.weights, name, 1, 2));
  expect(rows(weights, name, 1, 2)).toEqual(rows(from.weights, name, 0, 1));
});

test("other scales: positions of equal sides stay, new ones are interpolated within their corners", () => {
  const to = config({ patchNums: [1, 2, 3, 4] });
  const from = ancestor(NAMES);
  const { weights, remarks } = descend(to, weightsOf(to, "new"), { from, labels: NAMES });
  const [old, own] = [scaleStarts([1, 2, 4]), scaleStarts([1, 2, 3, 4])];
  const name = "pos_1LC";
  expect(rows(weights, name, own[3]!, own[4]!)).toEqual(rows(from.weights, name, old[2]!, old[3]!));
  // 3x3 comes from 4x4: corners are equal, the middle is the mean of the four in the middle.
  expect(rows(weights, name, own[2]!, own[2]! + 1)).toEqual(
    rows(from.weights, name, old[2]!, old[2]! + 1),
  );
  const middle = [5, 6, 9, 10].map((i) => rows(from.weights, name, old[2]! + i, old[2]! + i + 1));
  const mean = middle[0]!.map((_, c) => middle.reduce((sum, row) => sum + row[c]! / 4, 0));
  for (const [c, x] of rows(weights, name, own[2]! + 4, own[2]! + 5).entries())
    expect(x).toBeCloseTo(mean[c]!, 6);
  const level = "lvl_embed.weight";
  expect(rows(weights, level, 2, 3)).toEqual(rows(from.weights, level, 2, 3));
  expect(rows(weights, level, 3, 4)).toEqual(rows(from.weights, level, 2, 3));
  expect(remarks.join("\n")).toContain("3x3 from 4x4");
});

test("positions of a square spread over an oblong map, corners on corners", () => {
  const to = config({ patchNums: [1, [2, 3], [4, 6]] });
  const from = ancestor(NAMES);
  const { weights, remarks } = descend(to, weightsOf(to, "new"), { from, labels: NAMES });
  const [old, own] = [scaleStarts([1, 2, 4]), scaleStarts(to.patchNums)];
  const at = (start: number, i: number, of: TensorMap) =>
    rows(of, "pos_1LC", start + i, start + i + 1);
  for (const [mine, theirs] of [
    [0, 0],
    [5, 3],
    [18, 12],
    [23, 15],
  ] as const)
    expect(at(own[2]!, mine, weights)).toEqual(at(old[2]!, theirs, from.weights));
  // The second of six columns lies at 3/5 of the way from the first to the second of four.
  const [first, second] = [0, 1].map((i) => at(old[2]!, i, from.weights));
  for (const [c, x] of at(own[2]!, 1, weights).entries())
    expect(x).toBeCloseTo(0.4 * first![c]! + 0.6 * second![c]!, 6);
  expect(remarks.join("\n")).toContain("3x2 from 2x2, 6x4 from 4x4");
});

test("a deeper model starts its further blocks anew and says so; another width is refused", () => {
  const to = config();
  const deeper = { ...to, depth: 3 };
  const { weights, remarks } = descend(deeper, weightsOf(deeper, "new"), {
    from: ancestor(NAMES),
    labels: NAMES,
  });
  expect(weights.get("blocks.2.ffn.fc1.weight")).toBeDefined();
  expect(remarks.join()).toMatch(/\d+ tensors start anew: blocks\.2/);
  const wide = config({ width: 64 });
  expect(() => descend(wide, weightsOf(wide, "new"), { from: ancestor(), labels: NAMES })).toThrow(
    /is 32 channels wide, wanted 64/,
  );
});
