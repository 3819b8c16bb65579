/** The size budget: prints a table of what grows, and fails above a limit. Measures source, not speed. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";

interface Row {
  readonly what: string;
  readonly size: number;
  readonly limit: number;
  readonly unit: string;
  readonly note?: string;
}

const tracked = execFileSync("git", [
  "ls-files",
  "-z",
  "--cached",
  "--others",
  "--exclude-standard",
])
  .toString()
  .split("\0")
  .filter((file) => file !== "" && existsSync(file));
const linesOf = (file: string): number => readFileSync(file, "utf8").split("\n").length - 1;
const sum = (files: readonly string[], measure: (file: string) => number): number =>
  files.reduce((total, file) => total + measure(file), 0);
const largest = (files: readonly string[], measure: (file: string) => number) =>
  files.map((file) => ({ file, size: measure(file) })).sort((a, b) => b.size - a.size)[0]!;

const isTest = (file: string): boolean => file.endsWith(".test.ts") || file.startsWith("test/");
const code = tracked.filter((f) => f.endsWith(".ts") && f.startsWith("src/") && !isTest(f));
const tests = tracked.filter((f) => f.endsWith(".ts") && isTest(f));
const bytes = (file: string): number => statSync(file).size;
const longest = largest(code, linesOf);
const heaviest = largest(tracked, bytes);
const models = tracked.filter((f) => f.startsWith("models/"));

const rows: Row[] = [
  { what: "source", size: sum(code, linesOf), limit: 63_000, unit: "lines" },
  { what: "longest source file", ...longest, limit: 400, unit: "lines", note: longest.file },
  { what: "tests", size: sum(tests, linesOf), limit: 28_000, unit: "lines" },
  { what: "embedded models", size: sum(models, bytes), limit: 20_000_000, unit: "bytes" },
  { what: "largest file", ...heaviest, limit: 20_000_000, unit: "bytes", note: heaviest.file },
];

for (const { what, size, limit, unit, note = "" } of rows) {
  const share = `${Math.round((100 * size) / limit)} %`;
  const verdict = size > limit ? "OVER" : "";
  console.log(
    [
      what.padEnd(20),
      String(size).padStart(10),
      `of ${limit} ${unit}`.padEnd(20),
      share.padStart(6),
    ]
      .concat(note, verdict)
      .join("  ")
      .trimEnd(),
  );
}
if (rows.some(({ size, limit }) => size > limit)) process.exitCode = 1;
