/** Both trainers on tiny models: they learn, and a run cut anywhere ends in the same bytes. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { temporaryFolders } from "../../test/folders.ts";
import { type ImageDataset, pixelsOf } from "../data/index.ts";
import { InputError } from "../formats/errors.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { varConfig, vqvaeConfig } from "../image/config.ts";
import { sheet } from "../image/sheet.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { initWeights } from "../nn/spec.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { type TrainEvent, trainLoop } from "./loop.ts";
import { openRun } from "./run.node.ts";
import { type TokenSet, tokenize } from "./tokens.ts";
import { VAR_RECIPE, type VarRecipe, varTask } from "./var.ts";
import { vqvaeTask } from "./vqvae.ts";
import { VQVAE_RECIPE, type VqvaeRecipe } from "./vqvae-recipe.ts";

const patchNums = [1, 2, 4];
const tokenizer = vqvaeConfig({
  channels: 32,
  chMult: [1, 1],
  resBlocks: 1,
  attention: false,
  midAttention: false,
  latent: 4,
  codes: 16,
  patchNums,
});

const data = { train: discs("train", 24), test: discs("test", 8) };

const newFolder = temporaryFolders();

const every = { saveEvery: 3, evaluateEvery: 6, drawEvery: 12 };

/** Trains in a folder until `until` updates; a second call goes on from the checkpoint. */
async function train(kind: "vqvae" | "var", folder: string, until: number, steps = 12) {
  const recipe = kind === "vqvae" ? vqvaeRecipe(steps) : varRecipe(steps);
  const { run, checkpoint } = await openRun(folder, recipe);
  const events: TrainEvent[] = [];
  const stop = new AbortController();
  const task = await makeTask(kind, recipe, checkpoint);
  const options = { steps, done: checkpoint?.step, signal: stop.signal, ...every };
  for await (const event of trainLoop(task, run, options)) {
    events.push(event);
    if (event.kind === "step" && event.step >= until && until < steps) stop.abort();
  }
  return events;
}

const vqvaeRecipe = (steps: number): VqvaeRecipe => ({
  ...VQVAE_RECIPE,
  ...{ model: tokenizer, batch: 4, steps, lr: 3e-3, warmup: 2, reviveEvery: 5 },
  augment: { flip: 0.5, shift: 1 },
});
const varRecipe = (steps: number): VarRecipe => ({
  ...VAR_RECIPE,
  model: varConfig(2, { width: 32, heads: 2, classes: 2, patchNums, codes: 16, latent: 4 }),
  ...{ batch: 4, steps, lr: 3e-3, warmup: 2, variants: 2, augment: { flip: 0.5 }, mistakes: 0.3 },
});

type Found = Awaited<ReturnType<typeof openRun>>["checkpoint"];
async function makeTask(kind: "vqvae" | "var", recipe: object, checkpoint: Found) {
  const backend = ortNode();
  if (kind === "vqvae") return vqvaeTask(recipe as VqvaeRecipe, data, { backend, checkpoint });
  const weights = initWeights(vqvaeSpecs(tokenizer), rng("tokenizer"));
  const fixed = { config: tokenizer, weights, backend };
  const tokens = async (set: ImageDataset, variants: number): Promise<TokenSet> => {
    for await (const { tokens } of tokenize(set, fixed, {
      variants,
      augment: { flip: 1 },
      mistakes: 0.3,
      batch: 5,
    }))
      if (tokens) return tokens;
    throw new Error("tokenize ended without tokens");
  };
  const sets = { trainTokens: await tokens(data.train, 2), testTokens: await tokens(data.test, 1) };
  const draw = async () =>
    sheet([{ width: 8, height: 8, channels: 3, data: pixelsOf(data.test, 0) }]);
  return varTask(
    recipe as VarRecipe,
    { ...data, ...sets },
    { ...fixed, tokenizer: fixed, draw, checkpoint },
  );
}

const modelFile = { vqvae: "vqvae.safetensors", var: "var.safetensors" } as const;

describe.each(["vqvae", "var"] as const)("the %s trainer", (kind) => {
  test("ends in the same bytes however often it is stopped and resumed", async () => {
    const [whole, cut] = [await newFolder(), await newFolder()];
    await train(kind, whole, 12);
    for (const until of [1, 4, 5, 11, 12]) await train(kind, cut, until);
    for (const file of [modelFile[kind], "checkpoint.safetensors"])
      expect(await readFile(join(cut, file))).toEqual(await readFile(join(whole, file)));
  }, 180_000);

  test("logs every update once, also those done again after a crash", async () => {
    const folder = await newFolder();
    await train(kind, folder, 4); // saves at 3 and, stopping, at 4
    await train(kind, folder, 12);
    const lines = (await readFile(join(folder, "metrics.jsonl"), "utf8")).trim().split("\n");
    const steps = lines.map((l) => JSON.parse(l) as { step: number; loss?: number });
    expect(steps.filter((l) => l.loss !== undefined).map((l) => l.step)).toEqual(
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
  });

  test("learns: the loss of the last updates is below that of the first", async () => {
    const events = await train(kind, await newFolder(), 120, 120);
    const losses = events.flatMap((e) => (e.kind === "step" ? [e.metrics.loss!] : []));
    const mean = (part: number[]) => part.reduce((a, b) => a + b, 0) / part.length;
    expect(mean(losses.slice(-10))).toBeLessThan(0.8 * mean(losses.slice(0, 10)));
    expect(events.at(-1)).toMatchObject({ kind: "finished", step: 120 });
  });
});

test("a run's folder refuses another recipe and says what differs", async () => {
  const folder = await newFolder();
  await openRun(folder, vqvaeRecipe(12));
  await expect(openRun(folder, { ...vqvaeRecipe(12), lr: 1 })).rejects.toThrow(
    /started with lr 0.003, now it is 1; use the same, or another folder/,
  );
});

test("a checkpoint or recipe that is damaged is refused with the file's name, and nothing is changed", async () => {
  const folder = await newFolder();
  await train("vqvae", folder, 3);
  const [config, checkpoint] = [join(folder, "run.json"), join(folder, "checkpoint.safetensors")];
  const whole = await readFile(checkpoint);
  for (const bad of [
    whole.subarray(0, whole.length - 5),
    Buffer.from("no file of ours"),
    Buffer.of(),
  ]) {
    await writeFile(checkpoint, bad);
    const longer = { ...vqvaeRecipe(12), steps: 50 };
    await expect(openRun(folder, longer, { mayChange: ["steps"] })).rejects.toThrow(InputError);
    expect(JSON.parse(await readFile(config, "utf8"))).toMatchObject({ steps: 12 });
  }
  await writeFile(checkpoint, whole);
  await writeFile(config, "{");
  await expect(openRun(folder, vqvaeRecipe(12))).rejects.toThrow(/run\.json: holds no JSON object/);
});

test("a checkpoint of another run is refused by the trainers", async () => {
  const folder = await newFolder();
  await train("vqvae", folder, 3);
  const { checkpoint } = await openRun(folder, vqvaeRecipe(12));
  const odd = {
    ...checkpoint!,
    position: { cursor: { seed: 0, epoch: -1, position: 0 }, updates: 3 },
  };
  await expect(makeTask("vqvae", vqvaeRecipe(12), odd)).rejects.toThrow(/does not fit 24 pictures/);
  const bare = { ...checkpoint!, tensors: new Map() };
  await expect(makeTask("vqvae", vqvaeRecipe(12), bare)).rejects.toThrow(
    /counts code hits in nothing/,
  );
  await expect(makeTask("var", varRecipe(12), checkpoint)).rejects.toThrow(
    /training starts from "/,
  );
});

test("a run may be made longer when that is asked for", async () => {
  const folder = await newFolder();
  await openRun(folder, vqvaeRecipe(12));
  const longer = await openRun(folder, vqvaeRecipe(20), { mayChange: ["steps"] });
  expect(longer.config.steps).toBe(20);
});

test("with a discriminator that joins on the way, a run cut anywhere ends in the same bytes", async () => {
  const recipe = {
    ...{ ...vqvaeRecipe(7), gan: 0.5, ganStart: 3, ganWarmup: 2, ganLayers: 1, ganChannels: 8 },
    ...{ scaleDrop: 0.5, entropy: 0.1, codebookAt: 2 },
  };
  const until = async (folder: string, last: number) => {
    const { run, checkpoint } = await openRun(folder, recipe);
    const stop = new AbortController();
    const task = await makeTask("vqvae", recipe, checkpoint);
    const options = { steps: 7, done: checkpoint?.step, signal: stop.signal, evaluateEvery: 99 };
    const seen: Record<string, number>[] = [];
    for await (const event of trainLoop(task, run, options)) {
      if (event.kind === "step") seen.push({ ...event.metrics });
      if (event.kind === "step" && event.step >= last) stop.abort();
    }
    return seen;
  };
  const [whole, cut] = [await newFolder(), await newFolder()];
  const metrics = await until(whole, 7);
  expect(metrics.map((m) => "judge" in m)).toEqual([0, 0, 0, 1, 1, 1, 1].map(Boolean));
  for (const m of metrics.slice(3)) expect(m.ganBalance).toBeGreaterThan(0);
  for (const last of [3, 5, 7]) await until(cut, last);
  for (const file of ["vqvae.safetensors", "checkpoint.safetensors"])
    expect(await readFile(join(cut, file))).toEqual(await readFile(join(whole, file)));
}, 180_000);

test("an update that is not finite stops the run: its number, the layer, the checkpoint that is left", async () => {
  const folder = await newFolder();
  const recipe = { ...vqvaeRecipe(12), lr: 1e30, warmup: 0, clip: 0 };
  const { run } = await openRun(folder, recipe);
  const task = await makeTask("vqvae", recipe, undefined);
  const events: TrainEvent[] = [];
  const training = async () => {
    for await (const event of trainLoop(task, run, { steps: 12, saveEvery: 1, evaluateEvery: 99 }))
      events.push(event);
  };
  await expect(training()).rejects.toThrow(
    /^update 2 is not finite \(run: .*encoder.*\); the last good checkpoint is that of update 1 in /,
  );
  expect((await openRun(folder, recipe)).checkpoint!.step).toBe(1);
});

test("a finished model says what it is", async () => {
  const folder = await newFolder();
  await train("vqvae", folder, 2, 2);
  const { metadata } = readSafetensors(await readFile(join(folder, "vqvae.safetensors")));
  expect(JSON.parse(metadata!.underpaint!)).toMatchObject({ kind: "vqvae", config: { codes: 16 } });
});
