/** The sentinel beside real trainers: quiet on honest runs, also where the trainer edits its own codebook; it stops a run. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { discs } from "../../../test/discs.ts";
import type { Alarm } from "../../guard/sentinel/index.ts";
import { utf8 } from "../../guard/sign/encoding.ts";
import { vqvaeConfig } from "../../image/config.ts";
import { ortNode } from "../../tensor/backends/ort-node.ts";
import { type TrainEvent, trainLoop } from "../loop.ts";
import { openRun } from "../run.node.ts";
import { vqvaeTask } from "../vqvae.ts";
import { VQVAE_RECIPE } from "../vqvae-recipe.ts";
import { AlarmError } from "../watch.ts";
import { ALARM_FILE, type SentinelOptions, sentinel } from "./watcher.ts";

const model = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums: [1, 2, 4] },
});
const recipe = {
  ...VQVAE_RECIPE,
  ...{ model, batch: 4, steps: 15, lr: 3e-3, warmup: 2, reviveEvery: 5, codebookAt: 3 },
};
const secret = utf8("a secret of these tests");

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** Trains; before update `at`, `edit` gets the live weights. */
async function train(
  options: Partial<SentinelOptions>,
  at = 0,
  edit?: (data: Float32Array) => void,
) {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-sentinel-"));
  folders.push(folder);
  const { run } = await openRun(folder, recipe);
  const data = { train: discs("train", 24), test: discs("test", 8) };
  const task = await vqvaeTask(recipe, data, { backend: ortNode() });
  const told: Alarm[] = [];
  const watch = sentinel({
    ...{ secret, declared: task.declared, tell: (a) => void told.push(a), ...options },
  });
  const events: TrainEvent[] = [];
  const every = { steps: 15, saveEvery: 4, evaluateEvery: 100, drawEvery: 100 };
  const run_ = async () => {
    for await (const event of trainLoop(task, run, { ...every, watchers: [watch] })) {
      events.push(event);
      if (event.kind === "step" && event.step === at - 1)
        edit?.([...task.tensors().values()][0]!.data as Float32Array);
    }
  };
  return { folder, watch, told, events, end: run_() };
}

test("an honest tokenizer training raises no alarm, though its codebook is renewed", async () => {
  const { watch, end } = await train({});
  await end;
  expect(watch.alarms).toEqual([]);
}, 120_000);

test("an edit between two updates is told once, stands in the run's folder, and the run goes on", async () => {
  const edit = (data: Float32Array) => {
    data[0]! += 0.05;
  };
  const { folder, told, events, end } = await train({}, 7, edit);
  await end;
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({ kind: "state-chain", severity: "high", step: 7, since: 6 });
  const lines = (await readFile(join(folder, ALARM_FILE), "utf8")).trim().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toEqual(told);
  expect(events.at(-1)?.kind).toBe("finished");
}, 120_000);

test("with stop it ends the run before the edited state is saved", async () => {
  const edit = (data: Float32Array) => data.fill(0);
  const { folder, end } = await train({ stop: true }, 7, edit);
  await expect(end).rejects.toThrow(AlarmError);
  await expect(end).rejects.toThrow(/update 7: weights or optimizer state changed/);
  expect((await openRun(folder, recipe)).checkpoint?.step).toBe(4);
}, 120_000);

test("a state that is not the one saved is told when the run goes on", async () => {
  const earlier = { saved: "0".repeat(64), book: { ended: false } };
  const { told, end } = await train(earlier);
  await end;
  expect(told.map(({ kind }) => kind)).toEqual(["gap", "saved-state"]);
}, 120_000);
