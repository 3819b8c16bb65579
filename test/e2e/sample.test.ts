/** `underpaint sample`, `info`, `models`, `doctor` as processes: files, numbers, sentences, exit codes. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodePng } from "../../src/formats/png.ts";
import { readSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { packageRoot } from "../../src/image/embedded.node.ts";
import { contents, jsonLines, newFolder, tinyModel, underpaint } from "./cli.ts";

const PACKAGE_ROOT = packageRoot();

const model = await tinyModel();

/** A refusal: exit code 2, one line that matches, no stack, nothing on stdout. */
async function refused(args: readonly string[], sentence: RegExp, cwd?: string): Promise<void> {
  const { code, stdout, stderr } = await underpaint(args, { cwd });
  expect(stderr).toMatch(sentence);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
}

describe("sampling", () => {
  test("the same seed gives the same files, byte for byte; another seed gives others", async () => {
    const cwd = await newFolder();
    const make = async (out: string, seed: string) => {
      const args = ["sample", "--model", model, "--count", "3", "--seed", seed, "--out", out];
      const all = ["--sheet", join(out, "sheet.png"), "--scales", join(out, "scales.png")];
      expect(await underpaint([...args, ...all], { cwd })).toMatchObject({ code: 0 });
      return contents(join(cwd, out));
    };
    const first = await make("a", "7");
    expect(first).toHaveLength(5);
    expect(await make("b", "7")).toEqual(first);
    const other = await make("c", "8");
    expect(other.map(([, bytes]) => bytes)).not.toEqual(first.map(([, bytes]) => bytes));
  });

  test("with little memory the pictures are the same, drawn fewer at a time", async () => {
    const base = ["sample", "--model", model, "--seed", "3", "--count", "4", "--out"];
    const cwd = await newFolder();
    for (const [out, memory] of [
      ["little", "0.1"],
      ["much", "64"],
    ])
      expect(await underpaint([...base, out!, "--memory", memory!], { cwd })).toMatchObject({
        code: 0,
      });
    // Float rounding may differ with the batch, so pictures are compared where bytes would be too much to ask.
    const [little, much] = [await contents(join(cwd, "little")), await contents(join(cwd, "much"))];
    expect(little.map(([name]) => name)).toEqual(much.map(([name]) => name));
    expect(little).toHaveLength(4);
    for (const [i, [, bytes]] of little.entries()) {
      const [a, b] = [
        await decodePng(Buffer.from(bytes, "base64")),
        await decodePng(Buffer.from(much[i]![1], "base64")),
      ];
      const far = a.data.filter((v, at) => Math.abs(v - b.data[at]!) > 1).length;
      expect(far).toBe(0);
    }
    await refused([...base, "no", "--memory", "0"], /memory/);
  });

  test("a branch keeps the scales before it, goes another way after, and is the same each time", async () => {
    const cwd = await newFolder();
    const drawn = async (...branch: string[]) => {
      const args = ["sample", "--model", model, "--seed", "3", "--scales", "scales.png", ...branch];
      expect(await underpaint(args, { cwd })).toMatchObject({
        code: 0,
        stderr: expect.any(String),
      });
      return decodePng(await readFile(join(cwd, "scales.png")));
    };
    const [plain, kept, again, other] = [
      await drawn(),
      await drawn("--branch", "2:red"),
      await drawn("--branch", "2:red"),
      await drawn("--branch", "2"),
    ];
    expect(kept.data).toEqual(again.data);
    expect(kept.data).not.toEqual(plain.data);
    expect(kept.data).not.toEqual(other.data);
    expect(JSON.parse(kept.text.underpaint!).branches).toEqual([{ from: 2, name: "red" }]);
    await refused(["sample", "--model", model, "--branch", "two"], /--branch "two": want a scale/);
    await refused(
      ["sample", "--model", model, "--branch", "99"],
      /must start at scale 0 to \d+.* got 99/,
    );
  });

  test("a picture carries how it was made, and nothing of when", async () => {
    const out = join(await newFolder(), "one.png");
    const args = ["sample", "food/noto", "--model", model, "--seed", "5", "--first", "2"];
    const set = ["--guidance", "1.5", "--top-k", "4", "--top-p", "0.9", "--temperature", "0.8"];
    const { code } = await underpaint([...args, ...set, "--smooth", "--out", out]);
    expect(code).toBe(0);
    const { width, height, text } = await decodePng(await readFile(out));
    expect([width, height]).toEqual([8, 8]);
    const facts = JSON.parse(text.underpaint!);
    expect(facts).toMatchObject({ model, label: "food/noto", class: 1, seed: 5, index: 2 });
    expect(facts).toMatchObject({
      guidance: 1.5,
      topK: 4,
      topP: 0.9,
      temperature: 0.8,
      smooth: true,
    });
    expect(facts.modelHash).toMatch(/^[0-9a-f]{16}$/);
    expect(Object.keys(text)).toEqual(["underpaint"]);
    const told = await underpaint(["info", out]);
    const words = /next: underpaint (.+)/.exec(told.stderr)![1]!.split(" ");
    const again = join(await newFolder(), "again.png");
    expect((await underpaint([...words, "--out", again])).code).toBe(0);
    expect(await readFile(again)).toEqual(await readFile(out));
    const info = await underpaint(["info", out, "--json"]);
    expect(jsonLines(info.stdout)[0]).toMatchObject({ kind: "picture", parameters: facts });
  });

  test("a picture is the same alone and among others", async () => {
    const out = await newFolder();
    const base = ["sample", "faces", "--model", model, "--seed", "3", "--out", out, "--json"];
    const many = jsonLines((await underpaint([...base, "--count", "5", "--batch", "2"])).stdout);
    const third = readFileSync(String(many[3]!.file));
    const alone = jsonLines((await underpaint([...base, "--first", "3"])).stdout);
    expect(alone[0]!.file).toBe(many[3]!.file);
    expect(readFileSync(String(alone[0]!.file)).equals(third)).toBe(true);
  });

  test("--json prints one object per picture and keeps people's words off stdout", async () => {
    const cwd = await newFolder();
    const args = ["sample", "food", "2", "none", "--model", model, "--count", "6", "--json"];
    const { code, stdout, stderr } = await underpaint(args, { cwd });
    expect(code).toBe(0);
    const rows = jsonLines(stdout);
    expect(rows.map((row) => row.index)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const [i, row] of rows.entries()) {
      expect([/^food\//, /^faces\/fluent$/, /^none$/][i % 3]!.test(String(row.label))).toBe(true);
      expect(existsSync(join(cwd, String(row.file)))).toBe(true);
    }
    expect(stderr).toMatch(/^6 pictures in /);
    expect(stderr).toMatch(/next: underpaint sample/);
  });

  test("--scales shows a row per picture and a column per scale", async () => {
    const out = join(await newFolder(), "strip.png");
    const { code } = await underpaint(["sample", "--model", model, "-n", "2", "--scales", out]);
    expect(code).toBe(0);
    const { width, height } = await decodePng(await readFile(out));
    expect([width, height]).toEqual([3 * (16 + 2) + 2, 2 * (16 + 2) + 2]);
  });

  test("--profile names load, every compiled graph and every scale", async () => {
    const cwd = await newFolder();
    const args = ["sample", "--model", model, "--profile", "--sheet", "s.png"];
    const { stderr } = await underpaint(args, { cwd });
    for (const part of [
      "load",
      "compile scale",
      "transformer 1x1",
      "transformer 4x4",
      "choose codes",
      "run decode",
      "encode PNG",
    ])
      expect(stderr).toContain(part);
  });

  test("without a terminal and with NO_COLOR there are no escape codes", async () => {
    const { stdout, stderr } = await underpaint(["sample", "--model", model, "--sheet", "s.png"], {
      cwd: await newFolder(),
      env: { NO_COLOR: "1" },
    });
    expect(stdout + stderr).not.toContain("\x1b");
  });
});

describe("what cannot be done is said in one sentence with exit code 2", () => {
  const cases: [string, string[], RegExp][] = [
    [
      "a wrong flag, with the right one",
      ["sample", "--cuont", "3"],
      /unknown option '--cuont' \(Did you mean --count\?\)/,
    ],
    ["a wrong command", ["sampel"], /unknown command 'sampel' \(Did you mean sample\?\)/],
    ["count 0", ["sample", "--count", "0"], /--count "0": want a whole number from 1 to 100,000/],
    ["count 1000001", ["sample", "--count", "1000001"], /--count "1000001": want .* 1 to 100,000/],
    ["a count that is no number", ["sample", "--count", "3x"], /--count "3x": want a whole number/],
    ["temperature 0", ["sample", "--temperature", "0"], /--temperature "0": want a number from/],
    ["top-p above 1", ["sample", "--top-p", "1.5"], /--top-p "1.5": want a number from 0 to 1/],
    ["an unknown model", ["sample", "--model", "nowhere"], /model "nowhere" is neither embedded/],
    [
      "one file for many pictures",
      ["sample", "--count", "4", "--out", "a.png"],
      /--out a.png is one file and there are 4 pictures/,
    ],
    [
      "an unknown label, with near ones",
      ["sample", "fod", "--model", model],
      /no class "fod"; near it: .*food/,
    ],
    [
      "a label number out of range",
      ["sample", "3", "--model", model],
      /label 3 is not a class: there are 3, numbered from 0 to 2/,
    ],
    [
      "info of a file that is not there",
      ["info", "nowhere.pth"],
      /nowhere.pth: there is no such file/,
    ],
  ];
  test.each(cases)("%s", (_, args, sentence) => refused(args, sentence));
});

describe("a damaged model is refused with the tensor's name, and no picture is written", () => {
  /** The tiny model with one of its files changed. */
  async function damaged(file: string, change: (bytes: Buffer) => Uint8Array): Promise<string> {
    const folder = await tinyModel();
    const path = join(folder, file);
    await writeFile(path, change(await readFile(path)));
    return folder;
  }
  const edited = (edit: (tensors: Map<string, never>) => void) => (bytes: Buffer) => {
    const { tensors, metadata } = readSafetensors(bytes);
    const map = new Map(tensors) as Map<string, never>;
    edit(map);
    return writeSafetensors(map, { metadata });
  };
  const cases: [string, string, (bytes: Buffer) => Uint8Array, RegExp][] = [
    [
      "truncated",
      "var.safetensors",
      (b) => b.subarray(0, b.length - 100),
      /var\.safetensors: .*truncated/,
    ],
    [
      "cut in its header",
      "vqvae.safetensors",
      (b) => b.subarray(0, 40),
      /vqvae\.safetensors: .*header says/,
    ],
    [
      "not a model at all",
      "var.safetensors",
      () => Buffer.from("hello, world"),
      /var\.safetensors: /,
    ],
    [
      "missing a tensor",
      "var.safetensors",
      edited((m) => m.delete("head.bias")),
      /lacks tensor "head\.bias" of \[16\] float32/,
    ],
    [
      "with a tensor too many",
      "vqvae.safetensors",
      edited((m) => m.set("extra.weight", m.get("quant_conv.bias")!)),
      /unknown tensor "extra\.weight"/,
    ],
    [
      "with a tensor of another shape",
      "var.safetensors",
      edited((m) =>
        m.set("head.bias", { dtype: "float32", shape: [4], data: new Float32Array(4) } as never),
      ),
      /tensor "head\.bias" as \[4\] float32, expected \[16\] float32/,
    ],
  ];
  test.each(cases)("%s", async (_, file, change, sentence) => {
    const cwd = await newFolder();
    await refused(["sample", "--model", await damaged(file, change)], sentence, cwd);
    expect(readdirSync(cwd)).toEqual([]);
  });
});

describe("what tells", () => {
  test("info shows kind, configuration, classes and every tensor of a checkpoint", async () => {
    const [transformer, tokenizer] = await Promise.all(
      ["var.safetensors", "vqvae.safetensors"].map((f) =>
        underpaint(["info", join(model, f), "--json"]),
      ),
    );
    const [a] = jsonLines(transformer!.stdout);
    expect(a).toMatchObject({
      kind: "var",
      config: { depth: 2, width: 32 },
      classes: ["food/fluent", "food/noto", "faces/fluent"],
    });
    expect(a!.tensors).toContainEqual({
      name: "head.bias",
      dtype: "float32",
      shape: [16],
      bytes: 64,
    });
    expect(jsonLines(tokenizer!.stdout)[0]).toMatchObject({
      kind: "vqvae",
      pictureSize: { width: 8, height: 8 },
    });
    const words = await underpaint(["info", join(model, "vqvae.safetensors"), "--tensors"]);
    expect(words.stdout).toMatch(/multi-scale VQVAE/);
    expect(words.stdout).toMatch(/quantize\.embedding\.weight\s+float32\s+\[16, 4\]/);
  });

  test("doctor finds a backend and ends with the next command", async () => {
    const { code, stdout, stderr } = await underpaint(["doctor", "--json"]);
    expect(code).toBe(0);
    const findings = jsonLines(stdout);
    expect(findings).toContainEqual(
      expect.objectContaining({ what: "backend ort-node", state: "ok" }),
    );
    expect(findings).toContainEqual(expect.objectContaining({ what: "Node.js", state: "ok" }));
    expect(stderr).toMatch(/next: underpaint sample/);
  });

  test("every command explains itself", async () => {
    for (const command of [
      ["sample"],
      ["train", "vqvae"],
      ["train", "var"],
      ["info"],
      ["models", "list"],
      ["doctor"],
    ]) {
      const { code, stdout } = await underpaint([...command, "--help"]);
      expect(code).toBe(0);
      expect(stdout).toContain(`Usage: underpaint ${command.join(" ")}`);
    }
  });
});

describe("the embedded model", () => {
  test("is there, is listed, and draws a sheet with no further word", async () => {
    const folder = join(PACKAGE_ROOT, "models/emoji64");
    expect(existsSync(join(folder, "var.safetensors")), `${folder} is absent`).toBe(true);
    const [row] = jsonLines((await underpaint(["models", "list", "--json"])).stdout);
    expect(row).toMatchObject({
      name: "emoji64",
      size: { width: 64, height: 64 },
      card: join(folder, "README.md"),
    });
    const cwd = await newFolder();
    expect(
      await underpaint(["sample", "--count", "4", "--sheet", "sheet.png"], { cwd }),
    ).toMatchObject({ code: 0 });
    const { width, height } = await decodePng(await readFile(join(cwd, "sheet.png")));
    expect([width, height]).toEqual([2 * 66 + 2, 2 * 66 + 2]);
  });
});
