/** A run's ledger: whole after stops and kills, silent when all is well, loud when the state is not what it was. */

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import {
  historyOf,
  newRecordedRun,
  type RecordedRun,
  sourceOf,
  trainRecorded,
} from "../../test/recorded-run.ts";
import { tinyTask } from "../../test/tiny-var.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { readLedgerOn } from "../guard/ledger/reader.ts";
import { verifyLedgerOn } from "../guard/ledger/verify.ts";
import type { Alarm } from "../guard/sentinel/index.ts";
import { sentinel } from "./sentinel/watcher.ts";
import type { Watcher } from "./watch.ts";

const runs: RecordedRun[] = [];
afterEach(async () => {
  for (const { folder } of runs.splice(0)) await rm(folder, { recursive: true, force: true });
});
const newRun = async (steps: number) => {
  const run = await newRecordedRun(steps, { open: (from) => tinyTask(steps, from) });
  runs.push(run);
  return run;
};

async function entries({ disk }: RecordedRun) {
  const found = [];
  for await (const { kind, facts } of (await readLedgerOn(disk)).records())
    found.push({ kind, ...(facts as Record<string, unknown>) });
  return found as (Record<string, unknown> & { kind: string })[];
}

async function problems({ disk }: RecordedRun) {
  let found: unknown = "no verdict";
  for await (const step of verifyLedgerOn(disk)) if (step.verdict) found = step.problems;
  return found;
}

test("a run writes its start, every update, every checkpoint and its end, and the ledger verifies", async () => {
  const run = await newRun(6);
  await trainRecorded(run);
  const all = await entries(run);
  expect(all.map(({ kind, event }) => event ?? kind)).toEqual([
    ...["run-start", "step", "step", "step", "step", "step", "checkpoint"],
    ...["step", "evaluation", "checkpoint", "run-end"],
  ]);
  expect(await problems(run)).toEqual([]);
  const steps = all.filter(({ kind }) => kind === "step");
  // Full roots every four updates, where a checkpoint is, and at the end.
  expect(steps.map(({ stateAfter }) => stateAfter !== undefined)).toEqual([
    ...[false, false, false, true, true, true],
  ]);
  for (const [i, step] of steps.entries()) {
    expect(step).toMatchObject({ step: i + 1, learningRate: expect.any(Number) });
    expect(step.applied).toMatchObject({ "adamw.beta1": 0.9, "adamw.beta2": 0.95 });
    if (i > 0) expect(step.sketchBefore).toBe(steps[i - 1]!.sketchAfter);
  }
  const [saved] = all.filter(({ kind }) => kind === "checkpoint");
  expect(saved!.stateRoot).toBe(steps[4]!.stateAfter);
  expect(all.at(-1)).toMatchObject({ reason: "finished", stateRoot: steps[5]!.stateAfter });
});

test("after a kill the ledger goes on: it says so, does updates again, and ends as a run left alone", async () => {
  const [whole, cut] = [await newRun(12), await newRun(12)];
  await trainRecorded(whole);
  await trainRecorded(cut, { until: 3 });
  await trainRecorded(cut, { killAt: 7 });
  await trainRecorded(cut);
  expect(await problems(cut)).toEqual([]);
  const resumes = (await entries(cut)).filter(({ event }) => event === "resume");
  expect(resumes.map(({ step, ended }) => [step, ended])).toEqual([
    [3, "stopped"],
    [5, "killed"],
  ]);
  expect(resumes[1]!.gap).toBeGreaterThan(0);
  const [one, other] = [await historyOf(whole), await historyOf(cut)];
  expect([...other.steps.values()].map((s) => s.sketchAfter)).toEqual(
    [...one.steps.values()].map((s) => s.sketchAfter),
  );
  expect((await entries(cut)).filter(({ event }) => event === "differs")).toEqual([]);
  for (const file of ["var.safetensors", "checkpoint.safetensors"])
    expect(await readFile(join(cut.folder, file))).toEqual(
      await readFile(join(whole.folder, file)),
    );
});

test("a checkpoint that was edited on the disk is refused, and the refusal is in the ledger", async () => {
  const run = await newRun(8);
  await trainRecorded(run, { until: 5 });
  const file = join(run.folder, "checkpoint.safetensors");
  const { tensors, metadata } = readSafetensors(await readFile(file));
  const [name] = [...tensors.keys()];
  tensors.get(name!)!.data[0] = 0.25;
  const before = await readFile(file);
  await writeFile(file, writeSafetensors(tensors, { metadata }));
  await expect(trainRecorded(run)).rejects.toThrow(
    /the state after update 5 is not the one that was saved/,
  );
  expect((await entries(run)).at(-1)).toMatchObject({ kind: "run-end", reason: "error", step: 5 });
  await writeFile(file, before);
  await trainRecorded(run);
  expect((await historyOf(run)).ended).toBe("finished");
});

test("a checkpoint from elsewhere is refused: the ledger does not know it", async () => {
  const [run, other] = [await newRun(8), await newRun(8)];
  await trainRecorded(run, { until: 5 });
  await trainRecorded(other, { until: 2 });
  const file = "checkpoint.safetensors";
  await writeFile(join(run.folder, file), await readFile(join(other.folder, file)));
  await expect(trainRecorded(run)).rejects.toThrow(/knows no state after update 2/);
});

test("a weight that changes between two updates is written down with its name", async () => {
  const run = await newRun(4);
  const hand = { name: "hand", evaluation() {} };
  await trainRecorded(run, {
    watchers: [
      {
        ...hand,
        afterStep: ({ step, tensors }) => {
          const weight = tensors().get("param.word_embed.weight")!.data as Float32Array;
          if (step === 2) weight[3]! += 0.05;
        },
      },
    ],
  });
  const told = (await entries(run)).filter(({ event }) => event === "state-changed");
  expect(told).toEqual([
    expect.objectContaining({ since: 2, tensors: ["param.word_embed.weight"], count: 1 }),
  ]);
  expect((await historyOf(run)).alarms).toEqual([2]);
});

test("the sentinel beside it tells of the change, also where its own share of the state does not show it", async () => {
  const run = await newRun(4);
  const told: Alarm[] = [];
  const edit: Watcher = {
    name: "edit",
    afterStep: ({ step, tensors }) => {
      const weight = tensors().get("param.word_embed.weight")!.data as Float32Array;
      if (step === 2) weight[3]! += 0.05;
    },
  };
  await trainRecorded(run, {
    watchers: (book) => [
      edit,
      sentinel({
        ...{ secret: new Uint8Array(32).fill(5), book, budget: 0 },
        tell: (alarm) => void told.push(alarm),
      }),
    ],
  });
  expect(told).toEqual([
    expect.objectContaining({ kind: "state-chain", step: 3, since: 2, severity: "high" }),
  ]);
  expect(told[0]!.evidence).toEqual({ tensor: "param.word_embed.weight", tensors: 1 });
});

test("after a kill the sentinel of the next process tells of the gap, after a stop it does not", async () => {
  const run = await newRun(12);
  const kinds: string[][] = [];
  for (const part of [{ until: 3 }, { killAt: 7 }, {}]) {
    const told: string[] = [];
    kinds.push(told);
    await trainRecorded(run, {
      ...part,
      watchers: (book) => [
        sentinel({
          ...{ secret: new Uint8Array(32).fill(5), book },
          tell: ({ kind }) => void told.push(kind),
        }),
      ],
    });
  }
  expect(kinds).toEqual([[], [], ["gap"]]);
});

test("states are kept under other names, and thinned out where they take too much", async () => {
  const run = await newRun(12);
  await trainRecorded(run, { saveEvery: 3 });
  const { states } = await sourceOf(run);
  expect(states.steps).toEqual([3, 6, 9, 12]);
  expect((await states.read(6)).step).toBe(6);
});
