/** Runs every example and every code block of the README against the built package. Judges no pictures. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/image/embedded.node.ts";
import { type Ended, execute, newFolder, tinyModel } from "./cli.ts";

const PACKAGE_ROOT = packageRoot();

const EXAMPLES = join(PACKAGE_ROOT, "examples");
const model = await tinyModel();

/** A project beside which `underpaint` is installed: the package by a link, its models by their paths. */
async function project(): Promise<string> {
  const home = await newFolder();
  await mkdir(join(home, "node_modules"));
  await symlink(PACKAGE_ROOT, join(home, "node_modules/underpaint"));
  if (existsSync(join(PACKAGE_ROOT, "models")))
    await symlink(join(PACKAGE_ROOT, "models"), join(home, "models"));
  await writeFile(join(home, "package.json"), '{ "private": true, "type": "module" }\n');
  await mkdir(join(home, "bin"));
  await writeFile(
    join(home, "bin/underpaint"),
    `#!/bin/sh\nexec '${process.execPath}' '${join(PACKAGE_ROOT, "dist/cli/main.js")}' "$@"\n`,
    { mode: 0o755 },
  );
  return home;
}

const TSX = join(PACKAGE_ROOT, "node_modules/tsx/dist/cli.mjs");
const runTs = (
  home: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<Ended> => execute(process.execPath, [TSX, ...args], { cwd: home, env });

describe("examples", () => {
  const args: Readonly<Record<string, () => string[]>> = {
    "sample.ts": () => ["out"],
    "train-tokenizer.ts": () => ["run"],
    "read-pth.ts": () => [join(model, "vqvae.safetensors")],
  };
  const files = readdirSync(EXAMPLES).filter((name) => name.endsWith(".ts"));

  test.each(files)("%s runs with STEPS=2", async (name) => {
    const home = await project();
    await cp(join(EXAMPLES, name), join(home, name));
    const more = args[name]?.() ?? [];
    const ended = await runTs(home, [name, ...more], { STEPS: "2", MODEL: model });
    expect(ended.stderr).toBe("");
    expect(ended.code).toBe(0);
    expect(ended.stdout).not.toBe("");
  });

  test.each(files)("%s has at most 40 lines", (name) => {
    expect(readFileSync(join(EXAMPLES, name), "utf8").split("\n").length).toBeLessThanOrEqual(41);
  });
});

/** Fenced blocks of a Markdown file with their language. A comment `<!-- not run: why -->` before one leaves it out. */
function codeBlocks(file: string): { language: string; code: string; at: string }[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(<!-- not run:[^>]*-->\s*)?^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, left]) => left === undefined)
    .map((block) => ({
      language: block[2]!,
      code: block[3]!,
      at: `line ${text.slice(0, block.index).split("\n").length}`,
    }));
}

describe("code blocks of the README", () => {
  const README = join(PACKAGE_ROOT, "README.md");
  const blocks = codeBlocks(README);
  const programs = blocks.filter(({ language }) =>
    /^(ts|typescript|js|javascript)$/.test(language),
  );
  // The set-up and the test run are what is running now; training takes hours.
  const LONG = /scripts\/(setup|test)\.sh|npm (ci|install|test|run)|\btrain\b|git clone/;
  const commands = blocks
    .filter(({ language }) => /^(sh|bash|shell|console)$/.test(language))
    .flatMap(({ code, at }) =>
      code.split("\n").map((line) => ({ line: line.replace(/^\$ /, "").trim(), at })),
    )
    .filter(({ line }) => line !== "" && !line.startsWith("#") && !LONG.test(line));

  test("the README is there and has programs and commands", () => {
    expect(existsSync(README), `${README} is absent`).toBe(true);
    expect(programs.length).toBeGreaterThan(0);
  });

  for (const { code, at } of programs)
    test(`the program at ${at} runs`, async () => {
      const home = await project();
      await writeFile(join(home, "program.ts"), code);
      const ended = await runTs(home, ["program.ts"], { STEPS: "2" });
      expect(ended.stderr).toBe("");
      expect(ended.code).toBe(0);
    });

  test("its commands run, one after the other", async () => {
    const home = await project();
    const env = { PATH: `${join(home, "bin")}:${process.env.PATH}` };
    for (const { line, at } of commands) {
      const words = line.replace(/\bnpx underpaint\b/g, "underpaint");
      const ended = await execute("sh", ["-c", words], { cwd: home, env });
      expect({ at, line, ...ended }).toMatchObject({ code: 0 });
    }
  });
});
