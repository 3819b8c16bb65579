/** Training a tokenizer further, all of it or its decoder alone: what is taken, what stays, what is refused. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { temporaryFolders } from "../../test/folders.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { vqvaeConfig } from "../image/config.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { initWeights } from "../nn/spec.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { trainLoop } from "./loop.ts";
import { openRun } from "./run.node.ts";
import { vqvaeTask } from "./vqvae.ts";
import { VQVAE_RECIPE, type VqvaeRecipe } from "./vqvae-recipe.ts";

const config = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums: [1, 2, 4] },
});
const data = { train: discs("train", 24), test: discs("test", 8) };
const ancestor = { config, weights: initWeights(vqvaeSpecs(config), rng("before")) };
const STEPS = 8;
const recipe = (more: Partial<VqvaeRecipe> = {}): VqvaeRecipe => ({
  ...VQVAE_RECIPE,
  ...{ model: config, batch: 4, steps: STEPS, lr: 3e-3, warmup: 2, reviveEvery: 2, ema: 0 },
  from: { file: "before.safetensors", hash: "0" },
  ...more,
});
const newFolder = temporaryFolders();

/** Trains in a folder, from its checkpoint where there is one; stops after `until` updates. */
async function train(folder: string, wanted: VqvaeRecipe, until = STEPS) {
  const { run, checkpoint } = await openRun(folder, wanted);
  const task = await vqvaeTask(wanted, data, { backend: ortNode(), checkpoint, ancestor });
  const stop = new AbortController();
  const every = { saveEvery: 100, evaluateEvery: 100, drawEvery: 100 };
  const losses: number[] = [];
  for await (const event of trainLoop(task, run, {
    ...{ steps: STEPS, done: checkpoint?.step, signal: stop.signal, ...every },
  })) {
    if (event.kind !== "step") continue;
    losses.push(event.metrics.l1!);
    if (event.step >= until && until < STEPS) stop.abort();
  }
  return losses;
}
const modelIn = async (folder: string) =>
  readSafetensors(await readFile(join(folder, "vqvae.safetensors"))).tensors;

const HITS = "quantize.ema_vocab_hit_SV";

test("the decoder alone learns, and every other tensor stays bit by bit", async () => {
  const folder = await newFolder();
  const losses = await train(folder, recipe({ only: "decoder" }));
  expect(losses.at(-1)!).toBeLessThan(losses[0]!);
  for (const [name, { data: now }] of await modelIn(folder)) {
    if (name === HITS) continue;
    const was = ancestor.weights.get(name)!.data;
    if (/^(decoder|post_quant_conv)\./.test(name)) expect(now, name).not.toEqual(was);
    else expect(now, name).toEqual(was);
  }
}, 60_000);

test("a discriminator may join, and a stopped run ends in the same bytes", async () => {
  const wanted = recipe({ only: "decoder", gan: 0.5, ganStart: 3, ganWarmup: 2, ema: 0.9 });
  const [whole, cut] = [await newFolder(), await newFolder()];
  await train(whole, wanted);
  for (const until of [2, 5, STEPS]) await train(cut, wanted, until);
  for (const file of ["vqvae.safetensors", "checkpoint.safetensors"])
    expect((await readFile(join(cut, file))).equals(await readFile(join(whole, file)))).toBe(true);
}, 120_000);

test("all of it starts from those weights and moves", async () => {
  const folder = await newFolder();
  await train(folder, recipe({ lr: 1e-7, reviveEvery: 0 }));
  const tensors = await modelIn(folder);
  for (const { name, kind } of vqvaeSpecs(config)) {
    if (kind !== "param") continue;
    const [now, was] = [tensors, ancestor.weights].map((w) => w.get(name)!.data as Float32Array);
    const apart = Math.max(...now!.map((v, i) => Math.abs(v - was![i]!)));
    expect(apart, name).toBeLessThan(1e-5); // fresh weights would differ by a thousand times that
  }
  expect(tensors.get("encoder.conv_in.weight")!.data).not.toEqual(
    ancestor.weights.get("encoder.conv_in.weight")!.data,
  );
}, 60_000);

test("other sizes, and a decoder alone of nothing, are refused with a sentence", async () => {
  const make = (wanted: VqvaeRecipe, from?: typeof ancestor) =>
    vqvaeTask(wanted, data, { backend: ortNode(), ancestor: from });
  await expect(make(recipe({ model: { ...config, codes: 32 } }), ancestor)).rejects.toThrow(
    /before\.safetensors: .*keeps its sizes, but codes is 16 there and 32 here; leave/,
  );
  await expect(make(recipe({ from: null, only: "decoder" }))).rejects.toThrow(
    /decoder alone .* name it with --from/,
  );
});
