/** `underpaint report` as a user calls it: where the page goes, how long it follows, what is refused. */

import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "./program.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "underpaint-report-"));
  await mkdir(join(folder, "sheets"));
  await writeFile(join(folder, "run.json"), JSON.stringify({ steps: 2, model: { depth: 1 } }));
  await writeFile(join(folder, "metrics.jsonl"), '{"step":1,"loss":2,"ms":5}\n');
});
afterEach(() => rm(folder, { recursive: true }));

async function underpaint(...args: string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const code = await run(args, {
    say: (line: string) => void err.push(line),
    print: (line: string) => void out.push(line),
    draw: () => {},
    live: false,
    columns: 80,
    dim: (text: string) => text,
  });
  return { out: out.join("\n"), err: err.join("\n"), code };
}

test("writes report.html into the run, or prints it", async () => {
  const file = join(folder, "report.html");
  expect(await underpaint("report", folder)).toMatchObject({ code: 0, out: "" });
  const page = await readFile(file, "utf8");
  expect(page).toMatch(/^<!doctype html>.*<\/html>\n$/s);
  expect((await underpaint("report", folder, "--out", "-")).out).toBe(page.trimEnd());
});

test("follows a run until its last update", async () => {
  const following = underpaint("report", folder, "--follow", "1");
  await appendFile(join(folder, "metrics.jsonl"), '{"step":2,"loss":1,"ms":5}\n');
  expect((await following).err).toContain("wrote");
  expect(await readFile(join(folder, "report.html"), "utf8")).toContain("2 of 2");
});

test("a folder that is no run is refused", async () => {
  const { code, err } = await underpaint("report", join(folder, "sheets"));
  expect(code).toBe(2);
  expect(err).toContain("run.json is not there");
});
