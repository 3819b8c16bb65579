/** `underpaint eval`, `sample --reject`, and trackers of `train` as processes, on a model of no size. */

import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decodePng } from "../../src/formats/png.ts";
import { jsonLines, newFolder, TINY_TRAINING, tinyModel, tinyPictures, underpaint } from "./cli.ts";

const model = await tinyModel();
const pictures = await tinyPictures(70);
const LEAST = ["--threads", "1"];

interface Found {
  readonly figures: readonly { metric: string; value?: number; refused?: string }[];
  readonly recipe: Record<string, unknown>;
}

test("eval draws from a model, measures with interval and recipe, and gives the same figures twice", async () => {
  const out = join(await newFolder(), "samples.npz");
  const args = ["eval", model, "--reference", pictures, "--count", "60", "--metrics", "kid,recall"];
  const run = (more: string[]) => underpaint([...args, "--json", ...LEAST, ...more]);
  const first = await run(["--save-npz", out, "--no-cache"]);
  expect(first).toMatchObject({ code: 0 });
  const { figures, recipe } = jsonLines(first.stdout)[0] as unknown as Found;
  expect(figures.map(({ metric }) => metric)).toEqual(["kid", "recall"]);
  expect(figures[0]!.value).toBeGreaterThan(0);
  expect(recipe).toMatchObject({
    network: "lab:emoji",
    seed: 0,
    resize: expect.stringMatching(/64/),
  });
  const again = jsonLines((await run(["--no-cache"])).stdout)[0] as unknown as Found;
  expect(again.figures).toEqual(figures);
  const read = await underpaint([
    ...["eval", out, "--reference", pictures, "--metrics", "kid", "--json", ...LEAST],
  ]);
  expect((jsonLines(read.stdout)[0] as unknown as Found).figures[0]!.value).toBe(figures[0]!.value);
});

test("eval says what is missing instead of printing a number of too few pictures", async () => {
  const args = ["eval", pictures, "--reference", pictures, "--metrics", "fid,kid,is", "--json"];
  const few = ["--count", "20", "--reference-count", "20"];
  const { code, stdout } = await underpaint([...args, ...few, ...LEAST]);
  expect(code).toBe(0);
  const { figures } = jsonLines(stdout)[0] as unknown as Found;
  for (const { value, refused } of figures) {
    expect(value).toBeUndefined();
    expect(refused).toMatch(/needs .*at least/);
  }
  const missing = await underpaint(["eval", pictures, ...LEAST]);
  expect(missing).toMatchObject({ code: 2, stdout: "" });
  expect(missing.stderr).toMatch(/--reference is missing/);
});

test("sample --reject draws more than it keeps, and says in the picture who judged", async () => {
  const out = await newFolder();
  const args = ["sample", "food/noto", "--model", model, "--count", "2", "--reject", "0.5"];
  const { code } = await underpaint([...args, "--classifier", "lab:emoji", "--out", out, ...LEAST]);
  expect(code).toBe(0);
  const names = readdirSync(out).filter((name) => name.endsWith(".png"));
  expect(names).toHaveLength(2);
  const { text } = await decodePng(await readFile(join(out, names[0]!)));
  expect(JSON.parse(text.underpaint!)).toMatchObject({
    rejection: { share: 0.5, classifier: "lab:emoji" },
  });
});

test("train vqvae tells rFID where it is asked to, refuses too few pictures, and writes TensorBoard's files", async () => {
  const home = await newFolder();
  const train = (data: string, more: string[]) =>
    underpaint([
      ...["train", "vqvae", data, "--run", join(home, "run"), ...TINY_TRAINING, "--steps", "2"],
      ...["--no-ledger", "--no-sentinel", "--json", ...more],
    ]);
  const few = await train(pictures, ["--judge", "lab:emoji"]);
  expect(few.code).toBe(2);
  expect(few.stderr).toMatch(/rFID needs more test pictures than its 112 features/);
  const board = join(home, "board");
  const { code, stdout } = await train(await tinyPictures(700), [
    ...["--judge", "lab:emoji", "--tensorboard", board],
  ]);
  expect(code).toBe(0);
  const evaluation = jsonLines(stdout).find(({ kind }) => kind === "evaluation");
  expect((evaluation as { metrics: Record<string, number> }).metrics.rFid).toBeGreaterThan(0);
  expect(existsSync(board) && readdirSync(board)[0]).toMatch(/^events\.out\.tfevents\./);
});
