/** The baselines' trainer on tiny models: they learn, and a run cut anywhere ends in the same bytes. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { temporaryFolders } from "../../test/folders.ts";
import { BASELINE_KINDS, type BaselineKind, baselineConfig } from "../image/baselines/index.ts";
import { vqvaeConfig } from "../image/config.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { initWeights } from "../nn/spec.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { type BaselineRecipe, baselineTask } from "./baseline.ts";
import { type TrainEvent, trainLoop } from "./loop.ts";
import { openRun } from "./run.node.ts";
import { type TokenSet, tokenize } from "./tokens.ts";
import { VAR_RECIPE } from "./var.ts";

const config = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums: [1, 2, 4] },
});
const sets = { train: discs("train", 24), test: discs("test", 8) };
const backend = ortNode();
const tokenizer = { config, weights: initWeights(vqvaeSpecs(config), rng("tokenizer")) };

async function tokensOf(set: (typeof sets)["train"]): Promise<TokenSet> {
  for await (const { tokens } of tokenize(set, { ...tokenizer, backend }))
    if (tokens) return tokens;
  throw new Error("tokenize ended without tokens");
}
const data = (async () => ({
  ...sets,
  trainTokens: await tokensOf(sets.train),
  testTokens: await tokensOf(sets.test),
}))();

const { mistakes: _, ...usual } = VAR_RECIPE;
const recipeOf = (kind: BaselineKind, steps: number): BaselineRecipe => ({
  ...usual,
  kind,
  model: baselineConfig(kind, 2, {
    ...{ width: 32, heads: 2, classes: 2, patchNums: config.patchNums, codes: 16, latent: 4 },
  }),
  ...{ batch: 4, steps, lr: 3e-3, warmup: 2, variants: 1, augment: {} },
});

const newFolder = temporaryFolders();

/** Trains in a folder until `until` updates; a second call goes on from the checkpoint. */
async function train(recipe: BaselineRecipe, folder: string, until = recipe.steps, saveEvery = 3) {
  const { run, checkpoint } = await openRun(folder, recipe);
  const draw = async () => ({ width: 1, height: 1, channels: 3, data: new Uint8Array(3) }) as const;
  const task = await baselineTask(recipe, await data, { backend, tokenizer, draw, checkpoint });
  const stop = new AbortController();
  const events: TrainEvent[] = [];
  const every = { saveEvery, evaluateEvery: 1000, drawEvery: 1000 };
  const options = { steps: recipe.steps, done: checkpoint?.step, signal: stop.signal, ...every };
  for await (const event of trainLoop(task, run, options)) {
    events.push(event);
    if (event.kind === "step" && event.step >= until && until < recipe.steps) stop.abort();
  }
  return events;
}

describe.each(BASELINE_KINDS)("the %s trainer", (kind) => {
  test("ends in the same bytes however often it is stopped and resumed", async () => {
    const [whole, cut] = [await newFolder(), await newFolder()];
    await train(recipeOf(kind, 8), whole);
    for (const until of [3, 8]) await train(recipeOf(kind, 8), cut, until);
    for (const file of [`${kind}.safetensors`, "checkpoint.safetensors"])
      expect(await readFile(join(cut, file))).toEqual(await readFile(join(whole, file)));
  }, 600_000);

  test("learns: losses fall, on the test split too", async () => {
    const events = await train(recipeOf(kind, 120), await newFolder(), 120, 120);
    const losses = events.flatMap((e) => (e.kind === "step" ? [e.metrics.loss!] : []));
    const mean = (part: number[]) => part.reduce((a, b) => a + b, 0) / part.length;
    expect(mean(losses.slice(-10))).toBeLessThan(0.85 * mean(losses.slice(0, 10)));
    const test = events.find((e) => e.kind === "evaluation");
    expect(test?.metrics.testLoss).toBeLessThan(mean(losses.slice(0, 10)));
  }, 600_000);
});

test("a baseline over other maps than the tokenizer's is refused", async () => {
  const recipe = recipeOf("ar", 4);
  const model = { ...recipe.model, patchNums: [4] };
  const draw = async () => ({ width: 1, height: 1, channels: 3, data: new Uint8Array(3) }) as const;
  await expect(
    baselineTask({ ...recipe, model }, await data, { backend, tokenizer, draw }),
  ).rejects.toThrow(
    /ar and tokenizer do not fit: patchNums is 4 in the model, the tokenizer wants 1, 2, 4/,
  );
});
