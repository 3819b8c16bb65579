/** `underpaint train` as a process: it trains, stops, is killed, goes on, and survives a full disk. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodePng } from "../../src/formats/png.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import {
  type Ended,
  execute,
  jsonLines,
  MAIN,
  newFolder,
  TINY_TRAINING,
  tinyModel,
  tinyPictures,
  underpaint,
} from "./cli.ts";

const pictures = await tinyPictures();
const model = await tinyModel();
const STEPS = 40;

/** Trains the tiny tokenizer in `run`. */
const vqvae = (run: string, more: readonly string[] = [], options = {}): Promise<Ended> =>
  underpaint(
    [
      "train",
      "vqvae",
      pictures,
      "--run",
      run,
      ...TINY_TRAINING,
      "--save-every",
      "3",
      "--json",
      ...more,
    ],
    options,
  );
/** Trains a tiny transformer in `run` on the untrained tokenizer's tokens. */
const transformer = (run: string, more: readonly string[] = [], options = {}): Promise<Ended> =>
  underpaint(
    [
      ...[
        "train",
        "var",
        pictures,
        "--tokenizer",
        model,
        "--run",
        run,
        "--depth",
        "2",
        "--width",
        "32",
      ],
      ...[
        "--heads",
        "2",
        "--batch",
        "8",
        "--variants",
        "2",
        "--threads",
        "1",
        "--save-every",
        "3",
        "--json",
      ],
      ...more,
    ],
    options,
  );
const KINDS = { vqvae, var: transformer } as const;

test("pictures twice as wide as high are learnt, measured, drawn and edited", async () => {
  const [first, second] = [await newFolder(), await newFolder()];
  const out = join(second, "red.png");
  const run = async (...args: string[]): Promise<Ended> => {
    const ended = await underpaint(args);
    expect(ended.code, ended.stderr).toBe(0);
    return ended;
  };
  const wide = ["--size", "8x4", "--patch-nums", "1,2x1,4x2", "--steps", "6"];
  const trained = await vqvae(first, wide);
  expect(trained.code, trained.stderr).toBe(0);
  const metrics = jsonLines(trained.stdout).flatMap((line) => Object.keys(line.metrics ?? {}));
  expect(metrics).toContain("usage/4x2");
  const drawer = await transformer(second, ["--tokenizer", first, "--steps", "4"]);
  expect(drawer.code, drawer.stderr).toBe(0);
  const tokenizer = join(first, "vqvae.safetensors");
  const judged = await run(
    ...["eval", `${pictures}:train`, "--tokenizer", tokenizer, "--network", "lab:fashion-mnist"],
    ...["--metrics", "kid", "--json"],
  );
  expect(jsonLines(judged.stdout)[0]).toMatchObject({ figures: [{ metric: "kid" }] });
  await run("sample", "red", "--model", second, "--out", out);
  const edited = join(second, "edited.png");
  await run("edit", out, "--model", second, "--box", "0.5,0,1,1", "--out", edited);
  for (const file of [out, edited])
    expect(await decodePng(readFileSync(file))).toMatchObject({ width: 8, height: 4 });
  const odd = await vqvae(await newFolder(), ["--size", "9x4", "--steps", "2"]);
  expect(odd.code).toBe(2);
  expect(odd.stderr).toMatch(/image size 9x4 is not a multiple .*; use 8 or 10, and 4/);
});

/** What every kill must leave: a whole checkpoint, or none yet. */
function checkpointStep(run: string): number {
  const file = join(run, "checkpoint.safetensors");
  if (!existsSync(file)) return 0;
  const { metadata } = readSafetensors(readFileSync(file));
  return JSON.parse(metadata["underpaint.checkpoint"]!).step;
}

describe.each(["vqvae", "var"] as const)("train %s", (kind) => {
  const train = KINDS[kind];
  const result = `${kind}.safetensors`;
  const whole = newFolder().then(async (run) => ({
    run,
    ended: await train(run, ["--steps", String(STEPS)]),
  }));

  test("trains to the end, says what happens as JSON, and names the next command", async () => {
    const { run, ended } = await whole;
    expect(ended).toMatchObject({ code: 0 });
    const events = jsonLines(ended.stdout);
    expect(events.filter((e) => e.kind === "step")).toHaveLength(STEPS);
    expect(events.at(-1)).toMatchObject({ kind: "finished", step: STEPS, file: join(run, result) });
    expect(ended.stderr).toMatch(/\nnext: underpaint /);
    const metrics = jsonLines(readFileSync(join(run, "metrics.jsonl"), "utf8"));
    expect(metrics.filter((line) => "loss" in line).map((line) => line.step)).toEqual(
      Array.from({ length: STEPS }, (_, i) => i + 1),
    );
  });

  test("killed with -9 again and again, it ends in the same bytes as a run that was left alone", async () => {
    const run = await newFolder();
    for (let kill = 1; kill <= 3; kill++) {
      let seen = 0;
      const { signal } = await train(run, ["--steps", String(STEPS)], {
        started: (child: import("node:child_process").ChildProcess) =>
          child.stdout!.on("data", (chunk: Buffer) => {
            seen += String(chunk).split('"kind":"step"').length - 1;
            if (seen >= 3 + 4 * kill) child.kill("SIGKILL");
          }),
      });
      expect(signal).toBe("SIGKILL");
      expect(checkpointStep(run)).toBeLessThan(STEPS);
    }
    expect(await train(run, ["--steps", String(STEPS)])).toMatchObject({ code: 0 });
    const { run: other } = await whole;
    expect((await readFile(join(run, result))).equals(await readFile(join(other, result)))).toBe(
      true,
    );
  });

  test("Ctrl-C saves, says how to go on, and ends with 130; the shortest command goes on", async () => {
    const run = await newFolder();
    const stopped = await train(run, ["--steps", String(STEPS)], {
      started: (child: import("node:child_process").ChildProcess) =>
        child.stdout!.once("data", () => child.kill("SIGINT")),
    });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/stopped after update \d+ of 40, everything is saved/);
    const step = checkpointStep(run);
    expect(step).toBeGreaterThan(0);
    const again = /next: underpaint (.*)/.exec(stopped.stderr)![1]!.split(" ");
    const ended = await underpaint([...again, "--json", "--threads", "1"]);
    expect(ended).toMatchObject({ code: 0 });
    expect(jsonLines(ended.stdout)[0]).toMatchObject({ kind: "step", step: step + 1 });
    const { run: other } = await whole;
    expect((await readFile(join(run, result))).equals(await readFile(join(other, result)))).toBe(
      true,
    );
  });

  test("a run is not gone on with under another recipe", async () => {
    const { run } = await whole;
    const { code, stderr } = await train(run, ["--steps", String(STEPS), "--lr", "0.5"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /was started with lr 0\.001, now it is 0\.5; use the same, or another folder/,
    );
  });

  test("--dry-run prints parameters, FLOPs and memory, and touches nothing", async () => {
    const run = join(await newFolder(), "run");
    const { code, stdout } = await train(run, ["--dry-run"]);
    expect(code).toBe(0);
    const { cost } = jsonLines(stdout)[0] as { cost: Record<string, number> };
    for (const key of ["parameters", "flopsPerUpdate", "flops", "stateBytes", "activationBytes"])
      expect(cost[key]).toBeGreaterThan(0);
    expect(existsSync(run)).toBe(false);
  });

  // A limit on the size of files stands for a full disk: in both, a write fails in the middle of the checkpoint.
  test("when the disk is full while saving, the old checkpoint stays whole and the run goes on later", async () => {
    const run = await newFolder();
    await train(run, ["--steps", String(STEPS)], {
      started: (child: import("node:child_process").ChildProcess) => {
        let seen = 0;
        child.stdout!.on("data", (chunk: Buffer) => {
          seen += String(chunk).split('"kind":"checkpoint"').length - 1;
          if (seen >= 1) child.kill("SIGKILL");
        });
      },
    });
    const file = join(run, "checkpoint.safetensors");
    const before = readFileSync(file);
    const blocks = Math.floor(statSync(file).size / 1024 / 2); // ulimit counts in 1024 bytes in dash as in bash
    const again = [process.execPath, MAIN, "train", kind, pictures, "--run", run, "--threads", "1"];
    if (kind === "var") again.push("--tokenizer", model);
    const full = await execute("bash", [
      "-c",
      `trap '' XFSZ; ulimit -f ${blocks}; exec "$@"`,
      "bash",
      ...again,
    ]);
    expect(full.code).toBe(2);
    expect(full.stderr).toMatch(/the file would be larger than this process may write/);
    expect(full.stderr).not.toMatch(/\n\s+at /);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(await train(run, ["--steps", String(STEPS)])).toMatchObject({ code: 0 });
    const { run: other } = await whole;
    expect((await readFile(join(run, result))).equals(await readFile(join(other, result)))).toBe(
      true,
    );
  });
});

describe("training refuses what cannot work, in one sentence with exit code 2", () => {
  const cases: [string, string[], RegExp][] = [
    [
      "a size that is no multiple of the patch",
      ["vqvae", pictures, "--size", "63"],
      /image size 63 is not a multiple of the tokenizer's patch of 8 pixels; use 56 or 64/,
    ],
    [
      "a folder that is not there",
      ["vqvae", "./nowhere", "--run", join(pictures, "../never")],
      /nowhere: cannot be listed \(ENOENT\)/,
    ],
    ["an unknown emoji category", ["vqvae", "emoji:fod"], /"fod" is neither a category/],
    ["no tokenizer", ["var", pictures], /required option '--tokenizer <path>' not specified/],
    [
      "a transformer for a tokenizer",
      ["var", pictures, "--tokenizer", join(model, "var.safetensors")],
      /holds a transformer, wanted a tokenizer/,
    ],
    [
      "pictures too small for a tokenizer, one that comes along and is named",
      ["var", pictures, "--tokenizer", "emoji64"],
      /no readable picture for train \(\d+ broken\)/,
    ],
    [
      "a width that does not split",
      ["vqvae", pictures, "--channels", "33"],
      /33 x 1 = 33 channels does not split into the 32 groups/,
    ],
    [
      "a batch larger than the data",
      ["vqvae", pictures, ...TINY_TRAINING, "--batch", "4096"],
      /a batch of 4096 is more than the \d+ pictures there are/,
    ],
    [
      "a flag out of range",
      ["vqvae", pictures, "--lr", "-1"],
      /--lr "-1": want a number from 0 to 10/,
    ],
  ];
  test.each(cases)("%s", async (_, args, sentence) => {
    const cwd = await newFolder();
    const { code, stderr } = await underpaint(["train", ...args], { cwd });
    expect(stderr).toMatch(sentence);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(code).toBe(2);
  });
});

test("a trained pair samples: tokenizer, transformer, picture", async () => {
  const home = await newFolder();
  const [a, b] = [join(home, "tokenizer"), join(home, "model")];
  expect(await vqvae(a, ["--steps", "4"])).toMatchObject({ code: 0 });
  const trained = await transformer(b, ["--steps", "4", "--tokenizer", a]);
  expect(trained).toMatchObject({ code: 0 });
  const next = /next: underpaint (.*)/.exec(trained.stderr)![1]!.split(" ");
  expect(await underpaint(next, { cwd: home })).toMatchObject({ code: 0 });
  expect(
    await underpaint(["sample", "red", "--model", b, "--out", "red.png"], { cwd: home }),
  ).toMatchObject({ code: 0 });
  expect(existsSync(join(home, "red.png")) && existsSync(join(home, "sheet.png"))).toBe(true);
});

test("a tokenizer's decoder alone is trained further, seen by a classifier and a discriminator", async () => {
  const [run, start] = [await newFolder(), join(model, "vqvae.safetensors")];
  const more = ["--from", start, "--only", "decoder", "--perceptual", "lab:emoji"];
  const hostile = ["--gan", "0.5", "--gan-start", "2"];
  // Saved where the discriminator is about to join, and gone on with from there.
  const begun = await vqvae(run, [...more, ...hostile, "--steps", "2"]);
  expect(begun.code, begun.stderr).toBe(0);
  const ended = await vqvae(run, ["--steps", "6"]);
  expect(ended.code, ended.stderr).toBe(0);
  const last = jsonLines(ended.stdout).findLast((e) => e.kind === "step");
  expect(Object.keys(last!.metrics as object)).toEqual(
    expect.arrayContaining(["perceptual", "gan"]),
  );
  const [was, now] = await Promise.all(
    [start, join(run, "vqvae.safetensors")].map(async (file) =>
      readSafetensors(await readFile(file)),
    ),
  );
  for (const name of ["encoder.conv_in.weight", "quantize.embedding.weight", "quant_conv.weight"])
    expect(now!.tensors.get(name)!.data, name).toEqual(was!.tensors.get(name)!.data);
  expect(now!.tensors.get("decoder.conv_out.weight")!.data).not.toEqual(
    was!.tensors.get("decoder.conv_out.weight")!.data,
  );
});

test("a tokenizer that is trained further keeps its sizes", async () => {
  const start = join(model, "vqvae.safetensors");
  const run = join(await newFolder(), "run");
  const { code, stderr } = await vqvae(run, ["--from", start, "--codes", "32"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/keeps its sizes, but codes is 16 there and 32 here; leave those/);
  expect(existsSync(run)).toBe(false);
});
