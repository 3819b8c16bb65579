/** Zero-shot editing against the reference: masks of every scale, and a picture whose middle is drawn anew. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { boxMask, tokensKept } from "../../src/image/edit/mask.ts";
import { keptTokens } from "../../src/image/edit/tokens.ts";
import { loadVar } from "../../src/image/model.ts";
import { modelMetadata } from "../../src/image/note.ts";
import { ordersOf } from "../../src/image/orders.ts";
import { maskAtScale } from "../../src/image/quantizer-math.ts";
import { drawOrders } from "../../src/image/sampler.ts";
import { mapShape, mapTokens } from "../../src/image/scales.ts";
import {
  fixture,
  golden,
  score,
  tinyVar,
  tinyVarWeights,
  tinyVqvae,
  tinyVqvaeWeights,
} from "./golden.ts";

const { check, input: given } = score("edit");

const tinyModel = () =>
  loadVar({
    var: { tensors: tinyVarWeights("l2"), metadata: modelMetadata("var", tinyVar()) },
    vqvae: { tensors: tinyVqvaeWeights(), metadata: modelMetadata("vqvae", tinyVqvae) },
  });

test("a mask of 16x16 cells at each of the official scales", () => {
  const { mask16, force_gt_per_scale: wanted } = JSON.parse(
    readFileSync(fixture("edit_mask_16.json"), "utf8"),
  ) as { mask16: number[][]; force_gt_per_scale: Record<string, number[][]> };
  for (const [pn, rows] of Object.entries(wanted))
    expect([...maskAtScale(mask16.flat(), [16, 16], Number(pn))], `scale ${pn}`).toEqual(
      rows.flat(),
    );
});

test("in-painting without a class, guidance 3, the likeliest code: masks exactly, the picture within 1e-5", async () => {
  const model = await tinyModel();
  const cells = given("inpaint.mask").data as Float32Array;
  const keep = tokensKept(cells, tinyVqvae);
  keep.forEach((data, k) => {
    const shape = mapShape(tinyVqvae.patchNums[k]!);
    check(`inpaint.force_gt.${k}`, { dtype: "float32", shape, data: Float32Array.from(data) });
  });
  const { arrays } = golden("vae");
  const ids = tinyVqvae.patchNums.map((pn, k) =>
    Int32Array.from(arrays.get(`vae.idx.${k}`)!.data as Int32Array).subarray(0, mapTokens(pn)),
  );
  const orders = ordersOf(model, {
    label: null,
    guidance: 3,
    topK: 1,
    topP: 0,
    given: keptTokens(ids, { keep }),
  });
  let image: Tensor | undefined;
  for await (const step of drawOrders(model, orders)) image = await step.images();
  check("inpaint.img", image!);
  await model.release();
});

test("the official rectangle: edges rounded to cells, inside drawn or, for out-painting, kept", () => {
  const box = { left: 0.25, top: 0.125, right: 0.8, bottom: 0.7 };
  const size = { width: 16, height: 16 };
  const inside = boxMask(box, size);
  const rows = Array.from({ length: 16 }, (_, y) => [...inside.data.slice(y * 16, y * 16 + 16)]);
  expect(rows[1]).toEqual(new Array(16).fill(1));
  expect(rows[2]!.map((v) => 1 - v)).toEqual(
    Array.from({ length: 16 }, (_, x) => (x >= 4 && x < 13 ? 1 : 0)),
  );
  expect(rows[10]).toEqual(rows[2]);
  expect(rows[11]).toEqual(rows[1]);
  const outside = boxMask(box, size, { outside: true });
  expect([...outside.data]).toEqual([...inside.data].map((v) => 1 - v));
});
