/** Runs the golden tests and writes docs/parity.md: every array of the reference with our largest difference. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { GOLDEN_FILES, golden, type Row } from "../test/golden/golden.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "underpaint-parity-"));
const file = join(folder, "rows.jsonl");
const run = spawnSync("npx", ["vitest", "run", "test/golden"], {
  cwd: root,
  stdio: ["ignore", "inherit", "inherit"],
  env: { ...process.env, UNDERPAINT_PARITY: file },
});
const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
rmSync(folder, { recursive: true });

/** The worst of several comparisons with one array. */
const worst = new Map<string, Row>();
for (const line of lines) {
  const row = JSON.parse(line) as Row;
  const key = `${row.file} ${row.array}`;
  const known = worst.get(key);
  const better =
    known && known.kind !== "input" && (row.kind === "input" || row.error <= known.error);
  if (!better) worst.set(key, row);
}

const cell = ({ kind, error }: Row): string =>
  kind === "input"
    ? "input"
    : kind === "exact"
      ? error === 0
        ? "equal"
        : `${error} differ`
      : error.toExponential(1);

const missing: string[] = [];
const sections = GOLDEN_FILES.map((name) => {
  const rows = [...golden(name).arrays].map(([array, { shape }]) => {
    const row = worst.get(`${name} ${array}`);
    if (!row) missing.push(`${name} ${array}`);
    return `| ${array} | ${shape.join("x")} | ${row ? cell(row) : "NOT COMPARED"} |`;
  });
  return `## golden_${name}\n\n| array | shape | max abs error |\n|---|---|---|\n${rows.join("\n")}\n`;
});

const floats = [...worst.values()].filter(({ kind }) => kind === "float");
const top = Math.max(...floats.map(({ error }) => error));
const exact = [...worst.values()].filter(({ kind }) => kind === "exact");
writeFileSync(
  join(root, "docs/parity.md"),
  `# Parity with the reference implementation

Written by \`npm run parity\`. Every array of the golden files (PyTorch CPU, float32, hash-made weights) against ours.
Integers must be equal; of floats the largest absolute difference is stated, the worst of all comparisons.
"input" marks arrays that are fed to the model.

${floats.length} float arrays, the worst differs by ${top.toExponential(1)}; ${exact.length} integer arrays, ${exact.filter(({ error }) => error > 0).length} differ.
Measured with ONNX Runtime on ${cpus()[0]?.model ?? "an unknown processor"}, Node ${process.version}; other processors round otherwise.

${sections.join("\n")}`,
);
if (missing.length > 0) console.error(`not compared: ${missing.join(", ")}`);
process.exitCode = run.status === 0 && missing.length === 0 ? 0 : 1;
