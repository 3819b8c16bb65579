/** `underpaint train` with its ledger, then `ledger verify` and `audit`, as processes: what a user and an auditor do. */

import { existsSync } from "node:fs";
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { jsonLines, newFolder, tinyModel, tinyPictures, underpaint } from "./cli.ts";

const pictures = await tinyPictures();
const model = await tinyModel();

/** Trains a tiny transformer with a ledger. */
const train = (run: string, more: readonly string[] = []) =>
  underpaint([
    ...["train", "var", pictures, "--tokenizer", model, "--run", run, "--depth", "2"],
    ...["--width", "32", "--heads", "2", "--batch", "8", "--variants", "2", "--threads", "1"],
    ...["--save-every", "4", "--steps", "10", ...more],
  ]);

describe("a run with its ledger", () => {
  const ready = (async () => {
    const run = await newFolder();
    const keys = await newFolder();
    await underpaint(["keygen", join(keys, "owner")]);
    const made = await underpaint(["keygen", join(keys, "auditor"), "--type", "audit"]);
    const commitment = made.stdout.trim();
    const certify = ["--certify", join(keys, "owner.key"), "--audit-commitment", commitment];
    expect(await train(run, certify)).toMatchObject({ code: 0 });
    return { run, keys };
  })();

  test("verifies, with the key that vouches for it", async () => {
    const { run, keys } = await ready;
    const owner = ["--certified-by", join(keys, "owner.pub")];
    const ended = await underpaint(["ledger", "verify", run, ...owner, "--json"]);
    expect(ended).toMatchObject({ code: 0 });
    expect(jsonLines(ended.stdout)[0]).toMatchObject({ verified: true, problems: [] });
    expect(existsSync(join(run, "audit.secret"))).toBe(false);
  });

  test("is the same when it is done again, as the auditor's secret draws it", async () => {
    const { run, keys } = await ready;
    const drawn = ["--secret", join(keys, "auditor.secret"), "--steps", "3", "--no-targets"];
    const [one, two] = [
      await underpaint(["audit", run, ...drawn, "--json"]),
      await underpaint(["audit", run, ...drawn, "--json", "--threads", "2"]),
    ];
    expect(one).toMatchObject({ code: 0 });
    const steps = jsonLines(one.stdout);
    expect(steps.map(({ verdict, why }) => [verdict, why])).toEqual(
      Array.from({ length: 3 }, () => ["same", "drawn"]),
    );
    expect(jsonLines(two.stdout).map(({ step }) => step)).toEqual(steps.map(({ step }) => step));
    const all = await underpaint(["audit", run, "--all", "--record"]);
    expect(all).toMatchObject({ code: 0 });
    const shown = await underpaint(["ledger", "show", run, "--kind", "audit", "--json"]);
    expect(jsonLines(shown.stdout)[0]).toMatchObject({ facts: { verdict: "same" } });
  });

  test("refuses a secret it is not committed to, and a kept state that was edited", async () => {
    const { run, keys } = await ready;
    const wrong = join(keys, "wrong.secret");
    await writeFile(wrong, "11".repeat(32));
    expect(await underpaint(["audit", run, "--secret", wrong])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/not the secret that the run is committed to/),
    });
    const state = join(run, "states", "000000004.safetensors");
    await copyFile(state, join(keys, "state"));
    const { tensors, metadata } = readSafetensors(await readFile(state));
    tensors.get("param.word_embed.weight")!.data[0] = 0.5;
    // Not in place: the file may be the checkpoint's under another name.
    await rm(state);
    await writeFile(state, writeSafetensors(tensors, { metadata }));
    const ended = await underpaint(["audit", run, "--at", "6", "--steps", "0", "--no-targets"]);
    expect(ended).toMatchObject({ code: 1, stdout: expect.stringMatching(/kept state/) });
    await copyFile(join(keys, "state"), state);
  });

  test("cannot go on with a checkpoint that was edited", async () => {
    const { run } = await ready;
    const file = join(run, "checkpoint.safetensors");
    const { tensors, metadata } = readSafetensors(await readFile(file));
    tensors.get("param.word_embed.weight")!.data[0] = 0.5;
    await rm(file);
    await writeFile(file, writeSafetensors(tensors, { metadata }));
    expect(await train(run, ["--steps", "12"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/is not the one that was saved/),
    });
  });
});
