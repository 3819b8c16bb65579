/** Three AdamW steps against the reference trainer: losses, gradients, norms, and the weights that result. */

import { describe, expect, test } from "vitest";
import { varSpecs } from "../../src/image/var-layout.ts";
import { type VarLossOptions, varBatch, varLoss } from "../../src/image/var-loss.ts";
import { bindConstants, bindInputs } from "../../src/nn/bind.ts";
import { adamw, clipByGlobalNorm } from "../../src/nn/optim.ts";
import { learningRate, weightDecay } from "../../src/nn/schedule.ts";
import { compileStep } from "../../src/nn/step.ts";
import { openBackend } from "../../src/tensor/backend.ts";
import { grad } from "../../src/tensor/grad.ts";
import { createGraph, type Graph } from "../../src/tensor/graph.ts";
import {
  evaluate,
  golden,
  score,
  tinyVar,
  tinyVarWeights,
  tinyVqvae,
  tinyVqvaeWeights,
  toInt64,
} from "./golden.ts";

const { arrays, facts, check } = score("train");
const { arrays: given } = golden("var");
const labelSmoothing = { l2: 0, saln: 0.1 };

const norm = (data: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! * data[i]!;
  return Math.sqrt(sum);
};

describe.each(["l2", "saln"] as const)("%s", (which) => {
  const config = tinyVar({ sharedAdaLN: which === "saln" });
  const specs = varSpecs(config);
  const params = specs.filter(({ kind }) => kind === "param");
  const weights = tinyVarWeights(which);
  const batch = {
    ids: toInt64(given.get(`${which}.gt_idx`)!),
    labels: toInt64(given.get(`${which}.label`)!),
  };
  const options: VarLossOptions = {
    config,
    tokenizer: tinyVqvae,
    labelSmoothing: labelSmoothing[which],
  };

  function lossIn(g: Graph) {
    const p = bindInputs(g, specs);
    const tokenizer = bindConstants(g, tinyVqvaeWeights());
    const out = varLoss(varBatch(g, config, { batch: 2 }), p, { ...options, weights: tokenizer });
    return { ...out, bound: p.bound };
  }

  test("every parameter is trained, in the decay group of the reference", () => {
    const { bound } = lossIn(createGraph());
    expect([...bound.keys()].sort()).toEqual(params.map(({ name }) => name).sort());
    const decayed = params.filter(({ decay }) => decay).map(({ name }) => name);
    expect(decayed).toEqual(JSON.parse(facts[`${which}.decay`]!));
  });

  test("gradients, and the norm of every gradient", async () => {
    const got = await evaluate(
      (g) => {
        const { loss, bound } = lossIn(g);
        const gradients = grad(loss, [...bound.values()]);
        const { clipped } = clipByGlobalNorm(gradients, 2);
        return Object.fromEntries(
          [...bound.keys()].flatMap((name, i) => [
            [`grad ${name}`, gradients[i]!],
            [`clipped ${name}`, clipped[i]!],
          ]),
        );
      },
      { ...batch, ...Object.fromEntries(weights) },
    );
    for (const { name } of params) {
      const gradient = got[`grad ${name}`]!;
      // The reference kept its gradients after clipping, their norms before.
      const kept = `${which}.grad.${name}`;
      if (arrays.has(kept)) check(kept, got[`clipped ${name}`]!);
      const wanted = Number(facts[`${which}.gradnorm.${name}`]);
      expect(norm(gradient.data as Float32Array) / wanted, name).toBeCloseTo(1, 4);
    }
  });

  test("losses, global norms and weights of three steps", async () => {
    const g = createGraph();
    const { loss, bound } = lossIn(g);
    const step = await compileStep(
      {
        loss,
        params: bound,
        decayed: new Set(params.filter(({ decay }) => decay).map(({ name }) => name)),
        optimizer: adamw(),
        clip: 2,
      },
      await openBackend(),
      { weights },
    );
    const losses = JSON.parse(facts[`${which}.losses`]!) as number[];
    const norms = JSON.parse(facts[`${which}.grad_norms_before_clip`]!) as number[];
    for (let i = 0; i < 3; i++) {
      const lr = learningRate(i, { peak: 1e-3, warmup: 2, steps: 100, start: 0.005, end: 0.01 });
      const wd = weightDecay(i, { start: 0.05, end: 0.08, steps: 100 });
      const [[, none], [rate, decay]] = JSON.parse(facts[`${which}.lr_wd.${i}`]!);
      expect(none).toBe(0);
      expect([lr, wd]).toEqual([expect.closeTo(rate, 15), expect.closeTo(decay, 15)]);
      const got = await step.step(batch, { step: i + 1, lr, weightDecay: wd });
      expect(Math.abs(Number(got.loss!.data[0]) - losses[i]!)).toBeLessThan(1e-5);
      expect(Number(got.gradNorm!.data[0]) / norms[i]!).toBeCloseTo(1, 4);
    }
    const after = step.weights();
    for (const { name } of params) {
      const tensor = after.get(name)!;
      if (arrays.has(`${which}.after3.${name}`)) check(`${which}.after3.${name}`, tensor);
      const wanted = Number(facts[`${which}.after3norm.${name}`]);
      expect(norm(tensor.data as Float32Array) / wanted, name).toBeCloseTo(1, 5);
    }
    await step.release();
  });
});
