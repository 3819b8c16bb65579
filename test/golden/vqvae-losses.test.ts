/** Every loss of the tokenizer's training and its gradients, against PyTorch's autograd in float64. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { classify } from "../../src/eval/classifier.ts";
import type { Tensor } from "../../src/formats/dtype.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { type VqvaeConfig, vqvaeConfig } from "../../src/image/config.ts";
import type { FeatureNet } from "../../src/image/perceptual.ts";
import { vqvaeSpecs } from "../../src/image/vqvae-layout.ts";
import { bindConstants, bindInputs } from "../../src/nn/bind.ts";
import { grad } from "../../src/tensor/grad.ts";
import { input } from "../../src/tensor/graph.ts";
import { concat } from "../../src/tensor/ops.ts";
import { lossGraph } from "../../src/train/vqvae-loss.ts";
import { VQVAE_RECIPE, type VqvaeRecipe } from "../../src/train/vqvae-recipe.ts";
import { evaluate, toInt64 } from "./golden.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/vqvae-losses/${name}`, import.meta.url));
const { tensors } = readSafetensors(readFileSync(fixture("losses.safetensors")));
const facts = JSON.parse(readFileSync(fixture("losses.json"), "utf8")) as {
  recipe: Partial<VqvaeRecipe> & { model: VqvaeConfig };
  widths: number[];
  means: { real: number; fake: number };
  ganWeight: number;
  oblong: VqvaeConfig["patchNums"];
  losses: Record<string, Record<string, number>>;
};
const below = (prefix: string): Map<string, Tensor> =>
  new Map(
    [...tensors].flatMap(([name, t]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), t] as const] : [],
    ),
  );
/** Relative to the largest entry of a tensor: float32 against float64 through some thirty layers. */
const TOLERANCE = 2e-5;

const number = (x: number): Tensor => ({ dtype: "float32", shape: [], data: Float32Array.of(x) });

/** What each case changes of the recipe's model; "oblong" has pictures of its own. */
const CASES: Readonly<Record<string, Partial<VqvaeConfig>>> = {
  distance: {},
  cosine: { usingZnorm: true },
  oblong: { patchNums: facts.oblong },
};

describe.each(Object.keys(CASES))("case %s", (which) => {
  const model = vqvaeConfig({ ...facts.recipe.model, ...CASES[which] });
  const pictures = tensors.get(`${which}.images`) ?? tensors.get("images")!;
  const recipe: VqvaeRecipe = {
    ...{ ...VQVAE_RECIPE, ...facts.recipe, model },
    ...{ batch: 2, ganStart: 0, ganWarmup: 0, ganAugment: 0 },
  };
  const run = evaluate(
    (g) => {
      const p = bindInputs(g, vqvaeSpecs(model));
      const frozen = bindConstants(g, withHead(below("frozen.")));
      const network: FeatureNet = {
        ...{ name: "golden", hash: "golden" },
        maps: (images) =>
          classify(images, frozen, {
            ...{ size: 8, widths: facts.widths, groups: 8, classes: ["a", "b"] },
          }).maps,
      };
      const images = input(g, "images", pictures.shape);
      const parts = lossGraph({ images }, p, { recipe, network, hostile: true });
      const players = [
        [parts.objective, p.bound],
        [parts.opponent!.loss, parts.opponent!.params],
      ] as const;
      const gradients = players.flatMap(([loss, params]) => {
        const found = grad(loss, [...params.values()]);
        return [...params.keys()].map((name, i) => [`grad ${name}`, found[i]!] as const);
      });
      const ids = concat(parts.ids, 1);
      return { ...Object.fromEntries(gradients), ...parts.report, loss: parts.loss, ids };
    },
    {
      images: pictures,
      "gan.weight": number(facts.ganWeight),
      "lecam.real": number(facts.means.real),
      "lecam.fake": number(facts.means.fake),
      ...Object.fromEntries(below("weight.")),
    },
  );

  test("the same codes", async () => {
    expect((await run).ids!.data).toEqual(toInt64(tensors.get(`${which}.ids`)!).data);
  });

  test("every term: pixels, perceptual, codebook and commitment, entropy, hinge, adaptive weight", async () => {
    const got = await run;
    for (const [name, wanted] of Object.entries(facts.losses[which]!))
      expect(Math.abs(Number(got[name]!.data[0]) / wanted - 1), name).toBeLessThan(TOLERANCE);
  });

  test("every gradient of both players", async () => {
    const got = await run;
    const wanted = below(`${which}.grad.`);
    expect(wanted.size).toBeGreaterThan(100);
    const computed = Object.keys(got).filter((name) => name.startsWith("grad "));
    expect(computed.map((name) => name.slice(5)).sort()).toEqual([...wanted.keys()].sort());
    const all = [...wanted.values()].flatMap(({ data }) => Array.from(data as Float32Array));
    const least = 1e-4 * Math.max(...all.map(Math.abs)); // a gradient that is zero but for rounding
    for (const [name, { data }] of wanted) {
      const mine = got[`grad ${name}`]!.data as Float32Array;
      const size = Math.max(least, ...Array.from(data as Float32Array, Math.abs));
      const error = mine.reduce((most, x, i) => Math.max(most, Math.abs(x - Number(data[i]))), 0);
      expect(error / size, name).toBeLessThan(TOLERANCE);
    }
  });
});

/** The classifier's head is in its graph, and in none of the losses. */
const withHead = (weights: Map<string, Tensor>): Map<string, Tensor> =>
  new Map([
    ...weights,
    ["head.weight", { dtype: "float32", shape: [2, 16], data: new Float32Array(32) }],
    ["head.bias", { dtype: "float32", shape: [2], data: new Float32Array(2) }],
  ]);
