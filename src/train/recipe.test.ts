/** What a VAR's recipe may ask for besides the paper's: parts of a batch, running means, early ends, other beginnings. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolders } from "../../test/folders.ts";
import { tinyRecipe, tinyTask } from "../../test/tiny-var.ts";
import type { Tensor } from "../formats/dtype.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { type Task, type TrainEvent, trainLoop } from "./loop.ts";
import { openRun } from "./run.node.ts";
import type { VarRecipe } from "./var.ts";

const newFolder = temporaryFolders();

/** Trains in a folder, stopping after update `until`. */
async function train(
  folder: string,
  recipe: VarRecipe,
  { until = recipe.steps, change = (task: Task) => task } = {},
): Promise<TrainEvent[]> {
  const { run, checkpoint } = await openRun(folder, recipe);
  const stop = new AbortController();
  const task = change(await tinyTask(recipe.steps, checkpoint, recipe));
  const events: TrainEvent[] = [];
  const options = { steps: recipe.steps, done: checkpoint?.step, signal: stop.signal };
  const every = { saveEvery: 3, evaluateEvery: 2, drawEvery: 99 };
  for await (const event of trainLoop(task, run, { ...options, ...every })) {
    events.push(event);
    if (event.kind === "step" && event.step >= until) stop.abort();
  }
  return events;
}
const tensorsIn = async (folder: string, name: string) =>
  readSafetensors(await readFile(join(folder, name))).tensors;
const distance = (a: Tensor, b: Tensor): number =>
  Math.max(...Array.from(a.data as Float32Array, (x, i) => Math.abs(x - Number(b.data[i]))));

test("a batch in parts gives the weights of the whole batch, but for rounding", async () => {
  const [whole, parts] = [await newFolder(), await newFolder()];
  await train(whole, tinyRecipe(6));
  await train(parts, { ...tinyRecipe(6), accumulate: 4 });
  const [a, b] = [
    await tensorsIn(whole, "var.safetensors"),
    await tensorsIn(parts, "var.safetensors"),
  ];
  for (const [name, tensor] of a)
    if (tensor.dtype === "float32" && !name.includes("mask"))
      expect(distance(tensor, b.get(name)!), name).toBeLessThan(2e-4);
});

test("a batch that cannot be cut into so many parts is refused", async () => {
  await expect(tinyTask(6, undefined, { ...tinyRecipe(6), accumulate: 3 })).rejects.toThrow(
    /a batch of 4 pictures cannot be cut into 3 parts/,
  );
});

test("a batch larger than the whole set is refused", async () => {
  await expect(tinyTask(6, undefined, { ...tinyRecipe(6), batch: 32 })).rejects.toThrow(
    /24 pictures to learn are fewer than a batch of 32/,
  );
});

test.each([
  ["parts and a running mean", { accumulate: 2, ema: 0.9 }],
  ["a running mean and patience", { ema: 0.9, patience: 6 }],
])("with %s, a run cut anywhere ends in the same bytes", async (_, more) => {
  const recipe = { ...tinyRecipe(12), ...more };
  const [whole, cut] = [await newFolder(), await newFolder()];
  await train(whole, recipe);
  for (const until of [1, 4, 5, 12]) await train(cut, recipe, { until });
  for (const file of ["var.safetensors", "checkpoint.safetensors"])
    expect(await readFile(join(cut, file))).toEqual(await readFile(join(whole, file)));
});

test("the running mean becomes the model: the mean of the weights, by the decay's own rule", async () => {
  const folder = await newFolder();
  const recipe = { ...tinyRecipe(3), ema: 0.5 };
  const seen: Float32Array[] = [];
  const name = "head.weight";
  await train(folder, recipe, {
    change: (task) => {
      const note = () =>
        seen.push(Float32Array.from(task.tensors().get(`param.${name}`)!.data as Float32Array));
      note();
      return {
        ...task,
        async step(pace) {
          const stepped = await task.step(pace);
          note();
          return stepped;
        },
      };
    },
  });
  const mean = Float64Array.from(seen[0]!);
  for (const [i, weights] of seen.slice(1).entries()) {
    const share = 1 - Math.min(0.5, (2 + i) / (11 + i));
    for (let j = 0; j < mean.length; j++) mean[j]! += share * (weights[j]! - mean[j]!);
  }
  const model = (await tensorsIn(folder, "var.safetensors")).get(name)!;
  for (const [j, x] of mean.entries()) expect(Number(model.data[j])).toBeCloseTo(x, 6);
});

test("without a lower test loss the run ends early, says why, and the best model is the one kept", async () => {
  const folder = await newFolder();
  const recipe = { ...tinyRecipe(40), patience: 4 };
  const losses = [3, 2, 2.5, 2.4, 9];
  const at = new Map<number, Float32Array>();
  const events = await train(folder, recipe, {
    change: (task) => ({
      ...task,
      evaluate: async () => ({ testLoss: losses.shift()! }),
      async step(pace) {
        const stepped = await task.step(pace);
        const weights = task.tensors().get("param.head.weight")!.data as Float32Array;
        at.set(pace.step, Float32Array.from(weights));
        return stepped;
      },
    }),
  });
  const last = events.at(-1)!;
  expect(last).toMatchObject({ kind: "finished", step: 8 });
  expect(last.kind === "finished" && last.why).toMatch(/below 2\.0000 since update 4/);
  const model = (await tensorsIn(folder, "var.safetensors")).get("head.weight")!;
  expect(model.data).toEqual(at.get(4));
  expect(at.get(8)).not.toEqual(at.get(4));
  // It is over: the same command ends at once, with the same model.
  const again = await train(folder, recipe);
  expect(again.map(({ kind }) => kind)).toEqual(["finished"]);
  expect((await tensorsIn(folder, "var.safetensors")).get("head.weight")!.data).toEqual(at.get(4));
});
