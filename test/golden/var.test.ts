/** The transformer against the reference: teacher-forced logits, layer by layer, for both kinds of AdaLN. */

import { describe, expect, test } from "vitest";
import { inputFromIds } from "../../src/image/quantizer.ts";
import { mapTokens } from "../../src/image/scales.ts";
import { trainingLogits } from "../../src/image/var.ts";
import { blockCausalMask, scaleOfToken } from "../../src/image/var-layout.ts";
import { varLoss } from "../../src/image/var-loss.ts";
import { bindConstants } from "../../src/nn/bind.ts";
import { input } from "../../src/tensor/graph.ts";
import { readGolden } from "../read-safetensors.ts";
import {
  evaluate,
  fixture,
  largestDifference,
  layerOutput,
  score,
  TOLERANCE,
  tinyVar,
  tinyVarWeights,
  tinyVqvae,
  tinyVqvaeWeights,
  toInt64,
} from "./golden.ts";

const { check, input: given } = score("var");

test("buffers: the block-causal mask and the scale of each token", () => {
  check("attn_bias_for_masking", blockCausalMask(tinyVar().patchNums));
  check("lvl_1L", scaleOfToken(tinyVar().patchNums));
});

describe.each(["l2", "saln"] as const)("%s", (which) => {
  const config = tinyVar({ sharedAdaLN: which === "saln" });
  const weights = tinyVarWeights(which);

  test("teacher-forced logits, and each block where the reference tells it", async () => {
    const labels = toInt64(given(`${which}.label`));
    const read = given(`${which}.x_BLCv_wo_first_l`);
    const got = await evaluate(
      (g) => {
        const p = bindConstants(g, weights);
        const from = {
          input: input(g, "read", read.shape),
          labels: input(g, "labels", [2], "int64"),
        };
        const logits = trainingLogits(from, p, { config });
        if (which === "saln") return { logits };
        return {
          logits,
          "block0.attn.out": layerOutput(g, "blocks.0.attn.proj"),
          "block0.ffn.out": layerOutput(g, "blocks.0.ffn.fc2"),
          "block0.out": layerOutput(g, "blocks.0"),
          "block1.out": layerOutput(g, "blocks.1"),
        };
      },
      { read, labels },
    );
    for (const [name, tensor] of Object.entries(got)) check(`${which}.${name}`, tensor);
  });

  test("mean cross-entropy from token ids", async () => {
    const ids = toInt64(given(`${which}.gt_idx`));
    const labels = toInt64(given(`${which}.label`));
    const got = await evaluate(
      (g) => {
        const tokenizer = bindConstants(g, tinyVqvaeWeights());
        const batch = {
          ids: input(g, "ids", ids.shape, "int64"),
          labels: input(g, "labels", [2], "int64"),
        };
        const out = varLoss(batch, bindConstants(g, weights), {
          config,
          tokenizer: tinyVqvae,
          weights: tokenizer,
        });
        return { ...out, read: inputFromIds(batch.ids, tokenizer, tinyVqvae) };
      },
      { ids, labels },
    );
    check(`${which}.ce_mean`, got.loss!);
    check(`${which}.logits`, got.logits!);
    check(`${which}.x_BLCv_wo_first_l`, got.read!);
    expect(got.meanLoss!.data[0]).toBe(got.loss!.data[0]);
    const sizes = config.patchNums.map(mapTokens);
    const mean = (x: ArrayLike<number>) => sizes.reduce((sum, n, k) => sum + (n * x[k]!) / 30, 0);
    expect(mean(got.scaleLosses!.data as Float32Array)).toBeCloseTo(Number(got.loss!.data[0]), 5);
    expect(mean(got.scaleAccuracies!.data as Float32Array)).toBeCloseTo(
      Number(got.accuracy!.data[0]),
      6,
    );
    expect(got.lastLoss!.data[0]).toBe(got.scaleLosses!.data[3]);
    expect(got.lastAccuracy!.data[0]).toBe(got.scaleAccuracies!.data[3]);
  });
});

test("l2: logits without a class", async () => {
  const read = given("l2.x_BLCv_wo_first_l");
  const labels = toInt64({ dtype: "int32", shape: [2], data: Int32Array.of(10, 10) });
  const { logits } = await evaluate(
    (g) => ({
      logits: trainingLogits(
        { input: input(g, "read", read.shape), labels: input(g, "labels", [2], "int64") },
        bindConstants(g, tinyVarWeights("l2")),
        { config: tinyVar() },
      ),
    }),
    { read, labels },
  );
  check("l2.logits_uncond", logits!);
});

test("plain attention equals an independent port in float64", async () => {
  // The reference's arrays for this variant were not handed out; numpy computed these from the same inputs.
  const want = readGolden(fixture("var_nol2_numpy.safetensors")).tensors.get("nol2.logits")!;
  const read = given("l2.x_BLCv_wo_first_l");
  const labels = toInt64(given("l2.label"));
  const weights = tinyVarWeights("l2"); // its temperatures are never asked for
  const { logits } = await evaluate(
    (g) => ({
      logits: trainingLogits(
        { input: input(g, "read", read.shape), labels: input(g, "labels", [2], "int64") },
        bindConstants(g, weights),
        { config: tinyVar({ attnL2Norm: false }) },
      ),
    }),
    { read, labels },
  );
  expect(largestDifference(logits!, want)).toBeLessThan(TOLERANCE);
});
