/** Codebook health: what counts as dead, at which scale, and where revived codes come from. */

import { expect, test } from "vitest";
import { tensor } from "../../test/conformance/tensors.ts";
import type { Tensor } from "../formats/dtype.ts";
import { rng } from "../tensor/rng.ts";
import {
  codebookHealth,
  codebookTroubles,
  countHits,
  newCodebookUse,
  reviveDeadCodes,
} from "./codebook.ts";
import { drawnCodebook, kMeans } from "./codebook-start.ts";

const ids = (...values: number[]): Tensor => tensor([values.length], values, "int64");
const tokens = [1, 16];
const names = ["1x1", "4x4"];

test("health is told over all and per scale: a scale that says one thing has collapsed", () => {
  const use = newCodebookUse(2, 4);
  countHits(use, [ids(2, 2, 2, 2), ids(0, 1, 0, 1)]);
  const health = codebookHealth(use);
  expect(health.usage).toBe(3 / 4);
  expect(health.scales.map((s) => s.usage)).toEqual([1 / 4, 2 / 4]);
  expect(health.scales[0]!.perplexity).toBeCloseTo(1, 12);
  expect(health.scales[1]!.perplexity).toBeCloseTo(2, 12);
  expect(codebookTroubles(health, { tokens, names })).toEqual([
    "25 % of the codes are dead; revive more often or take a smaller codebook",
    "1x1 says the same of every picture: it has collapsed",
  ]);
});

test("a scale of 16 tokens below half of the codebook is named; one of a single token is not", () => {
  const use = newCodebookUse(2, 8);
  countHits(use, [ids(0, 1, 2, 3, 4, 5, 6, 7), ids(0, 1, 2, 0, 1, 2)]);
  const [only, ...rest] = codebookTroubles(codebookHealth(use), { tokens, names });
  expect(only).toMatch(/^of the codes, 4x4 uses 38 %/);
  expect(rest).toEqual([]);
});

/** Rows of the batch of one picture: 1 row of scale 0, then 16 of scale 1, each row [scale, row]. */
const z = tensor([17, 2], Array.from({ length: 17 }, (_, i) => [i === 0 ? 100 : 200, i]).flat());
const table = (V: number) => tensor([V, 2], Array(V * 2).fill(-1));

test("dead codes move onto vectors of the scale that is short, in every copy, with moments cleared", () => {
  const use = newCodebookUse(2, 8);
  countHits(use, [ids(0, 1, 2, 3), ids(4, 4, 4, 4)]); // 4x4 uses 1 of 8: short
  const [codebook, mean, moment] = [table(8), table(8), table(8)];
  const to = { codebook, followers: [mean], moments: [moment], z, tokens };
  expect(reviveDeadCodes(use, to, rng(1))).toBe(3); // 5, 6, 7; 1 % of 8 codes is none
  for (const v of [5, 6, 7]) {
    expect(codebook.data[2 * v]).toBe(200);
    expect([moment.data[2 * v], moment.data[2 * v + 1]]).toEqual([0, 0]);
  }
  expect(mean.data).toEqual(codebook.data);
  for (const v of [0, 1, 2, 3, 4]) expect(codebook.data[2 * v]).toBe(-1);
  expect(codebookHealth(use).scales[1]!.usage).toBe(4 / 8);
});

test("while a scale is short the least used codes move too, and never when all scales are well", () => {
  const V = 200;
  const all = Array.from({ length: V }, (_, v) => v);
  const uneven = [...all, ...all, ...all.slice(2)]; // codes 0 and 1 are the least used
  const short = newCodebookUse(2, V);
  countHits(short, [ids(...uneven), ids(...all.slice(100, 110))]);
  const to = () => ({ codebook: table(V), moments: [], z, tokens });
  const own = to();
  expect(reviveDeadCodes(short, own, rng(2))).toBe(2);
  expect([own.codebook.data[0], own.codebook.data[2], own.codebook.data[4]]).toEqual([
    200, 200, -1,
  ]);
  const well = newCodebookUse(2, V);
  countHits(well, [ids(...uneven), ids(...all)]);
  expect(reviveDeadCodes(well, to(), rng(2))).toBe(0);
});

test("k-means finds the clusters, and a drawn codebook hears every scale equally", () => {
  const chance = rng("clusters");
  const centres = [-9, -3, 3, 9];
  const rows = Array.from({ length: 400 }, (_, i) => centres[i % 4]! + 0.1 * chance.uniform());
  const found = kMeans(tensor([400, 1], rows), 16, { rng: rng(0) });
  const near = (row: number) => [...found.data].map((x) => Math.abs(Number(x) - row));
  for (const row of rows) expect(Math.min(...near(row))).toBeLessThan(0.06);
  // 1 row of the coarse scale against 16 of the fine one: half of the codes all the same.
  const two = tensor([17, 1], [100, ...Array.from({ length: 16 }, (_, i) => i * 1e-3)]);
  const drawn = drawnCodebook(two, { codes: 2, tokens: [1, 16], rng: rng(3) });
  expect(Math.max(...[...drawn.data].map(Number))).toBeCloseTo(100, 3);
});
