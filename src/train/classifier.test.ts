/** The classifier's trainer on tiny pictures: it learns, resumes bit by bit, and its file tells what it is. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { classifierClass, classifierConfig, readClassifier } from "../eval/classifier.ts";
import { loadClassifier } from "../eval/classifier-file.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import type { Alarm } from "../guard/sentinel/index.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { CLASSIFIER_RECIPE, type ClassifierRecipe, classifierTask } from "./classifier.ts";
import type { Declared } from "./declared.ts";
import { type TrainEvent, trainLoop } from "./loop.ts";
import { openRun } from "./run.node.ts";
import { sentinel } from "./sentinel/watcher.ts";
import { AlarmError, type Watcher } from "./watch.ts";

const data = { train: discs("train", 48), test: discs("test", 24) };
const STEPS = 40;
const recipe: ClassifierRecipe = {
  ...CLASSIFIER_RECIPE,
  model: classifierConfig(8, data.train.classes, { widths: [8, 16] }),
  ...{ data: "discs", batch: 8, steps: STEPS, lr: 1e-2, warmup: 4, smoothing: 0.05 },
  augment: { flip: 0.5 },
};

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** Trains until `until` updates in `folder`; a second call goes on. */
async function train(
  folder: string,
  until = STEPS,
  watch?: (declared?: Declared) => Watcher,
  { own = data, edit }: { own?: typeof data; edit?: Watcher } = {},
): Promise<TrainEvent[]> {
  const { run, checkpoint } = await openRun(folder, recipe);
  const task = await classifierTask(recipe, own, { backend: ortNode(), checkpoint });
  const watchers = [edit, watch?.(task.declared)].filter((watcher) => !!watcher);
  const stop = new AbortController();
  const events: TrainEvent[] = [];
  const options = {
    steps: STEPS,
    done: checkpoint?.step,
    signal: stop.signal,
    evaluateEvery: STEPS,
    watchers,
  };
  for await (const event of trainLoop(task, run, options)) {
    events.push(event);
    if (event.kind === "step" && event.step >= until && until < STEPS) stop.abort();
  }
  return events;
}
async function newFolder() {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-classifier-"));
  folders.push(folder);
  return folder;
}
const file = (folder: string) => join(folder, "classifier.safetensors");

describe("training a classifier", async () => {
  const whole = await newFolder();
  const events = await train(whole);

  test("tells two kinds of discs apart after some updates", () => {
    const measured = events.find((event) => event.kind === "evaluation");
    expect(measured?.metrics.testAccuracy).toBeGreaterThan(0.95);
  });

  test("every update is as its recipe declares it, by order, labels, arithmetic and loss", async () => {
    const told: Alarm[] = [];
    await train(await newFolder(), STEPS, (declared) =>
      sentinel({
        ...{ secret: new Uint8Array(32).fill(9), declared, checks: 1, directions: "both" },
        tell: (alarm) => void told.push(alarm),
      }),
    );
    expect(told).toEqual([]);
  });

  test("labels that are exchanged while it trains are told", async () => {
    const told: Alarm[] = [];
    const own = { ...data, train: { ...data.train } };
    const edit: Watcher = {
      name: "edit",
      beforeStep({ step }) {
        if (step === 9) own.train.label = (i) => 1 - data.train.label(i);
      },
    };
    const watch = (declared?: Declared) =>
      sentinel({
        ...{ secret: new Uint8Array(32).fill(9), declared, stop: true },
        tell: (alarm) => void told.push(alarm),
      });
    await expect(train(await newFolder(), STEPS, watch, { own, edit })).rejects.toThrow(AlarmError);
    expect(told.map(({ kind, step }) => [kind, step])).toEqual([["batch", 9]]);
  });

  test("a run that was stopped ends in the same bytes", async () => {
    const parts = await newFolder();
    await train(parts, 17);
    await train(parts);
    expect(await readFile(file(parts))).toEqual(await readFile(file(whole)));
  });

  test("the file says its classes, its data and its accuracy", async () => {
    const { config, name, hash, ...facts } = await loadClassifier(whole);
    expect(config.classes).toEqual(["green", "red"]);
    expect(facts).toMatchObject({ data: "discs", pictures: 24 });
    expect(facts.accuracy).toBeGreaterThan(0.95);
    expect(hash).toMatch(/^[0-9a-f]{16}$/);
    expect(name).toBe(whole);
  });

  test("a file with a missing tensor, another configuration or another kind is refused", async () => {
    const { tensors, metadata } = readSafetensors(await readFile(file(whole)));
    const fewer = new Map([...tensors].slice(1));
    expect(() => readClassifier({ tensors: fewer, metadata }, "f")).toThrow("stem.weight");
    const note = JSON.parse(metadata.underpaint!);
    const changed = (config: object) => ({
      tensors,
      metadata: { underpaint: JSON.stringify({ ...note, config: { ...note.config, ...config } }) },
    });
    expect(() => readClassifier(changed({ widths: [8, 24] }), "f")).toThrow("levels.0.down");
    expect(() => readClassifier(changed({ widths: [7, 16] }), "f")).toThrow("groups");
    expect(() => readClassifier(changed({ widths: "wide" }), "f")).toThrow("widths");
    expect(() => readClassifier(changed({ size: 1e9 }), "f")).toThrow("pixels");
    expect(() => readClassifier(changed({ classes: ["one"] }), "f")).toThrow("at least 2");
    expect(() => readClassifier({ tensors, metadata: {} }, "f")).toThrow("holds no classifier");
    const bytes = writeSafetensors(tensors, { metadata: changed({}).metadata });
    expect(readClassifier(readSafetensors(bytes), "f").config).toEqual(recipe.model);
  });
});

test("a name that is no classifier is answered with those there are", async () => {
  await expect(loadClassifier("lab:horses")).rejects.toThrow('no classifier "lab:horses"');
  await expect(loadClassifier("nowhere/file")).rejects.toThrow("is no file");
});

test("classes of a model are found by their group", () => {
  const config = { classes: ["food", "animals"] };
  expect(classifierClass(config, "animals/noto")).toBe(1);
  expect(classifierClass(config, "food")).toBe(0);
  expect(() => classifierClass(config, "cars/noto")).toThrow('no class "cars/noto"');
});

test("levels follow from the size", () => {
  expect(classifierConfig(64, ["a", "b"]).widths).toEqual([16, 24, 40, 64, 112]);
  expect(classifierConfig(32, ["a", "b"]).widths).toEqual([24, 40, 64, 112]);
  expect(classifierConfig(128, ["a", "b"]).widths).toEqual([16, 16, 24, 40, 64, 112]);
});
