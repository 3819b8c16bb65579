/** What `underpaint train` does with a folder's odd files, as a process. Each kind of oddity: src/data/folder.test.ts. */

import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { encodePng } from "../../src/formats/png.ts";
import { newFolder, TINY_TRAINING, tinyModel, tinyPictures, underpaint } from "./cli.ts";

const model = await tinyModel();

describe("odd files in a folder of pictures", () => {
  /** Three that cannot be taken as they are; --strict meets the first by class and name. */
  const odd = tinyPictures().then(async (folder) => {
    const whole = await readFile(join(folder, "red/000.png"));
    await writeFile(join(folder, "red/cut.png"), whole.subarray(0, whole.length / 2));
    await writeFile(join(folder, "red/really-a-png.jpg"), whole);
    const data = new Uint8Array(2 * 2 * 3);
    const dot = await encodePng({ width: 2, height: 2, channels: 3, data });
    await writeFile(join(folder, "green/dot.png"), dot);
    return folder;
  });

  test("are counted and named, and training goes on with the good ones", async () => {
    const args = ["train", "vqvae", await odd, ...TINY_TRAINING, "--steps", "2"];
    const { code, stderr } = await underpaint([...args, "--run", await newFolder()]);
    expect(stderr).toMatch(/1 file is broken \(left out\): \S*cut\.png/);
    expect(stderr).toMatch(/1 file is mislabelled \(read by their content\): \S*really-a-png\.jpg/);
    expect(stderr).toMatch(/1 file is tiny \(left out\): \S*dot\.png/);
    const [, learn, kept] = /: (\d+) pictures to learn, (\d+) pictures? to test/.exec(stderr)!;
    expect(Number(learn) + Number(kept)).toBe(2 * 24 + 1);
    expect(code).toBe(0);
  });

  test.each([
    ["vqvae", TINY_TRAINING],
    ["var", ["--tokenizer", model]],
    ["classifier", ["--size", "8"]],
  ])("stop train %s --strict before anything is written", async (kind, more) => {
    const run = join(await newFolder(), "run");
    const args = ["train", kind, await odd, ...more, "--strict", "--run", run];
    const { code, stderr } = await underpaint(args);
    expect(stderr).toMatch(/dot\.png is not a readable picture \(2x2 pixels are too few/);
    expect(code).toBe(2);
    expect(existsSync(run)).toBe(false);
  });
});
