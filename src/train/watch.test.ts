/** What watchers are told, in which order, and what becomes of a run that one of them stops. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { TensorMap } from "../formats/dtype.ts";
import { type LoopOptions, type Task, trainLoop } from "./loop.ts";
import { openRun } from "./run.node.ts";
import { AlarmError, type Watcher } from "./watch.ts";

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** One weight that counts updates, in two buffers that are swapped as a Stepper does. */
function counter(from = 0): Task & { released: boolean } {
  let [now, next] = [Float32Array.of(from), Float32Array.of(from)];
  const map = (data: Float32Array): TensorMap =>
    new Map([["param.w", { dtype: "float32", shape: [1], data }]]);
  const task = {
    released: false,
    pace: (step: number) => ({ step, lr: 0.1 * step, weightDecay: 0 }),
    async step() {
      next[0] = now[0]! + 1;
      [now, next] = [next, now];
      return {
        metrics: { loss: 1 / now[0]! },
        batch: { epoch: 0, indices: [now[0]! - 1], feeds: [{}] },
        phases: { data: 1, run: 2 },
        applied: { rate: 0.1 },
      };
    },
    evaluate: async () => ({ testLoss: 1 }),
    draw: async () => ({ width: 1, height: 1, channels: 3 as const, data: new Uint8Array(3) }),
    tensors: () => map(now),
    before: () => map(next),
    position: () => ({ at: now[0] }),
    finish: async () => "model.safetensors",
    async release() {
      task.released = true;
    },
  };
  return task;
}

const HOOKS = [
  ...["start", "beforeStep", "afterStep", "evaluation", "sheet", "saving", "checkpoint"],
  ...["stop", "finish", "error", "close"],
] as const;

/** Writes down every call with its step. */
function listener(name: string, heard: string[], more: Partial<Watcher> = {}): Watcher {
  const hooks = HOOKS.map((hook) => [
    hook,
    async (event?: { step?: number }) => {
      heard.push(`${name} ${hook}${event?.step === undefined ? "" : ` ${event.step}`}`);
      await (more as Record<string, (e: unknown) => void>)[hook]?.(event);
    },
  ]);
  return { name, ...Object.fromEntries(hooks) };
}

async function watched(watchers: readonly Watcher[], options: Partial<LoopOptions> = {}) {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-watch-"));
  folders.push(folder);
  const { run } = await openRun(folder, {});
  const task = counter(options.done);
  const steps = { steps: 2, saveEvery: 1, evaluateEvery: 2, drawEvery: 2 };
  const go = async () => {
    for await (const _ of trainLoop(task, run, { ...steps, ...options, watchers }));
  };
  return { folder, task, end: go() };
}

test("watchers are told everything, one after the other, in the order they were given", async () => {
  const heard: string[] = [];
  const { end } = await watched([listener("a", heard), listener("b", heard)]);
  await end;
  const [a, b] = ["a", "b"].map((name) =>
    heard.filter((line) => line.startsWith(name)).map((line) => line.slice(2)),
  );
  expect(a).toEqual([
    ...["start", "beforeStep 1", "afterStep 1", "saving 1", "checkpoint 1"],
    ...["beforeStep 2", "afterStep 2", "evaluation 2", "sheet 2", "saving 2", "checkpoint 2"],
    ...["finish 2", "close"],
  ]);
  expect(b).toEqual(a);
  expect(heard.slice(0, 4)).toEqual(["a start", "b start", "a beforeStep 1", "b beforeStep 1"]);
});

test("an update shows its state before and after, its batch, its pace and what was applied", async () => {
  const seen: unknown[] = [];
  const first = (tensors: TensorMap) => tensors.get("param.w")!.data[0];
  const { end } = await watched([
    {
      name: "reader",
      beforeStep: (e) => {
        seen.push(first(e.tensors()));
      },
      afterStep: (e) => {
        seen.push([first(e.before()), first(e.tensors()), e.position(), e.batch.indices]);
        seen.push([e.pace.lr, e.applied.rate, e.metrics.loss, e.phases.run]);
      },
    },
  ]);
  await end;
  expect(seen).toEqual([
    ...[0, [0, 1, { at: 1 }, [0]], [0.1, 0.1, 1, 2]],
    ...[1, [1, 2, { at: 2 }, [1]], [0.2, 0.1, 0.5, 2]],
  ]);
});

test("a watcher that throws stops the run: nothing more is saved, all are told and closed", async () => {
  const heard: string[] = [];
  const alarm = new AlarmError("the weights changed between updates; look at update 2");
  const guard = listener("guard", heard, {
    afterStep: ({ step }) => {
      if (step === 2) throw alarm;
    },
    error: () => {
      throw new Error("a failure in telling hides nothing");
    },
    close: () => {
      throw new Error("nor one in closing");
    },
  });
  const { folder, task, end } = await watched([guard, listener("b", heard)]);
  await expect(end).rejects.toBe(alarm);
  expect(heard.slice(-5)).toEqual([
    ...["guard afterStep 2", "guard error 2", "b error 2", "guard close", "b close"],
  ]);
  expect(task.released).toBe(true);
  expect((await openRun(folder, {})).checkpoint?.step).toBe(1);
});

test("a watcher that cannot close fails a run that went well", async () => {
  const heard: string[] = [];
  const bad = listener("bad", heard, {
    close: () => {
      throw new Error("the disk is full");
    },
  });
  const { task, end } = await watched([bad, listener("b", heard)]);
  await expect(end).rejects.toThrow("the disk is full");
  expect(heard.at(-1)).toBe("b close");
  expect(task.released).toBe(true);
});

test("a run that is stopped saves, then says so", async () => {
  const heard: string[] = [];
  const stop = new AbortController();
  const watcher = listener("a", heard, { afterStep: () => stop.abort() });
  const { folder, end } = await watched([watcher], { signal: stop.signal, saveEvery: 9 });
  await end;
  expect(heard.slice(-4)).toEqual(["a saving 1", "a checkpoint 1", "a stop 1", "a close"]);
  expect((await openRun(folder, {})).checkpoint?.step).toBe(1);
});
