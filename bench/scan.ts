/**
 * Speed and memory of the scanner: `npx tsx bench/scan.ts [speed|split]`, on a quiet machine; without a word, both. Every
 * figure is of a process of its own. Results go to results/scan.md and scan.json, where what was not measured stays as it
 * was. Other scanners are not run: see the note in the results.
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { host } from "./machine.ts";
import { manyOpcodes, npy, safetensors, torchLegacy, torchZip } from "./scan-cases.ts";

const only = process.argv[2];
const ROUNDS = 5;
const MB = 1e6;
const WORKER = fileURLToPath(new URL("scan-worker.ts", import.meta.url));
const MANIFEST = fileURLToPath(
  new URL("../../shared/fixtures/guard/manifest.json", import.meta.url),
);

interface Run {
  readonly verdict: string;
  readonly ms: number;
  /** Largest resident memory of the process, MiB, and what the scan added to it. */
  readonly peak: number;
  readonly grown: number;
  /** Bytes read by the process, its own program included. */
  readonly read: number;
}

const scanOnce = (path: string): Run =>
  JSON.parse(
    execFileSync(process.execPath, ["--import", "tsx", WORKER, path], { encoding: "utf8" }),
  );

interface Case {
  readonly what: string;
  readonly bytes: number;
  readonly wanted: string;
  readonly make: (path: string) => Promise<unknown>;
}

const opcodes = manyOpcodes();
const CASES: readonly Case[] = [
  {
    what: "pickle, 3 M opcodes",
    bytes: opcodes.length,
    wanted: "20 MB/s",
    make: (path) => writeFile(path, opcodes),
  },
  {
    what: "torch zip",
    bytes: 250 * MB,
    wanted: "1 GB/s",
    make: (path) => torchZip(path, 250 * MB),
  },
  {
    what: "torch legacy",
    bytes: 250 * MB,
    wanted: "1 GB/s",
    make: (path) => torchLegacy(path, 250 * MB),
  },
  { what: "npy", bytes: 250 * MB, wanted: "1 GB/s", make: (path) => npy(path, 250 * MB) },
  {
    what: "torch zip, sparse",
    bytes: 10_000 * MB,
    wanted: "1 GB/s",
    make: (path) => torchZip(path, 10_000 * MB),
  },
  {
    what: "safetensors, sparse",
    bytes: 10_000 * MB,
    wanted: "1 GB/s",
    make: (path) => safetensors(path, 10_000 * MB),
  },
];

async function speeds(folder: string) {
  const rows = [];
  for (const { what, bytes, wanted, make } of CASES) {
    const path = join(
      folder,
      what.includes("pickle")
        ? "a.pkl"
        : what.includes("npy")
          ? "a.npy"
          : what.includes("safetensors")
            ? "a.safetensors"
            : "a.pt",
    );
    await make(path);
    const runs = Array.from({ length: ROUNDS }, () => scanOnce(path)).sort((a, b) => a.ms - b.ms);
    await rm(path);
    const median = runs[Math.floor(ROUNDS / 2)]!;
    rows.push({
      what,
      bytes,
      wanted,
      verdict: median.verdict,
      ms: [runs[0]!.ms, median.ms, runs.at(-1)!.ms].map((ms) => Math.round(ms)),
      mbPerSecond: Math.round(bytes / MB / (median.ms / 1000)),
      readMB: Number((median.read / MB).toFixed(1)),
      peakMiB: Math.round(Math.max(...runs.map((r) => r.peak))),
    });
    console.log(rows.at(-1));
  }
  return rows;
}

/** Every file of the development split, each in a process of its own. */
function split() {
  if (!existsSync(MANIFEST)) return undefined;
  const { entries } = JSON.parse(readFileSync(MANIFEST, "utf8")) as {
    entries: { file: string; label: string; expect_scan: string }[];
  };
  const runs = entries.map(({ file, label, expect_scan }) => ({
    file,
    label,
    expect_scan,
    ...scanOnce(join(dirname(MANIFEST), file)),
  }));
  const flagged = (verdict: string) => verdict === "malicious" || verdict === "suspicious";
  const mustFlag = runs.filter((r) => r.expect_scan === "flag");
  const mustClean = runs.filter((r) => r.expect_scan === "clean");
  const times = runs.map((r) => r.ms).sort((a, b) => a - b);
  const slowest = runs.reduce((a, b) => (b.ms > a.ms ? b : a));
  const largest = runs.reduce((a, b) => (b.peak > a.peak ? b : a));
  return {
    files: runs.length,
    flagged: `${mustFlag.filter((r) => flagged(r.verdict)).length} of ${mustFlag.length}`,
    falseAlarms: `${mustClean.filter((r) => r.verdict !== "clean").length} of ${mustClean.length}`,
    medianMs: Math.round(times[Math.floor(times.length / 2)]!),
    slowest: { file: slowest.file, ms: Math.round(slowest.ms) },
    largest: { file: largest.file, peakMiB: Math.round(largest.peak) },
  };
}

const PEERS = `
## Other scanners

picklescan, modelscan and fickling are no packages of Debian 12 and were not run here. These are the figures of the
project's own study of them (picklescan 1.0.5 of July 2026, modelscan 0.8.6+ of August 2025, fickling at 854c99a of August
2026), measured on another machine as whole processes; only orders of magnitude compare.

| scanner | 250 MB torch zip | 250 MB legacy | 19 MB of 3 M opcodes | memory |
|---|---|---|---|---|
| picklescan 1.0.5 | 0.15 s | 0.14 s | 5.6 s | 588 MB |
| modelscan | 0.47 s | 0.44 s | 6.3 s | 612 MB |
| fickling | 0.2 s | 0.4 s | 15.7 s | 927 MB |
`;

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "scan-bench-"));
  try {
    const at = (name: string) => new URL(`results/${name}`, import.meta.url);
    const before = existsSync(at("scan.json"))
      ? JSON.parse(readFileSync(at("scan.json"), "utf8"))
      : {};
    const result: Result = {
      date: new Date().toISOString().slice(0, 10),
      ...host(),
      rounds: ROUNDS,
      speeds: only === "split" ? before.speeds : await speeds(folder),
      split: only === "speed" ? before.split : split(),
    };
    writeFileSync(at("scan.json"), `${JSON.stringify(result, null, 2)}\n`);
    writeFileSync(at("scan.md"), page(result));
    console.log(result.split);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Result = ReturnType<typeof host> & {
  readonly date: string;
  readonly rounds: number;
  readonly speeds: Awaited<ReturnType<typeof speeds>>;
  readonly split: ReturnType<typeof split>;
};

function page({ speeds: rows, split: files, ...facts }: Result): string {
  const lines = rows.map(
    (r) =>
      `| ${r.what} | ${(r.bytes / MB).toFixed(0)} MB | ${r.ms[1]} (${r.ms[0]}-${r.ms[2]}) | **${r.mbPerSecond} MB/s** | ${r.wanted} | ${r.readMB} MB | ${r.peakMiB} MiB | ${r.verdict} |`,
  );
  const of = files
    ? `\nDevelopment split, ${files.files} files, each in a process of its own: ${files.flagged} flagged, ${files.falseAlarms} false alarms;
median ${files.medianMs} ms, slowest ${files.slowest.ms} ms (${files.slowest.file}), largest process ${files.largest.peakMiB} MiB
(${files.largest.file}; a process that scans nothing has about 100).\n`
    : "";
  return `# The scanner

\`npx tsx bench/scan.ts\` on ${facts.cpu}, ${facts.cores} cores, Node ${facts.node}, ${facts.date}. Each scan is a process of its own; the time is
that of the scan, median (least-greatest) of ${facts.rounds} in ms. Tensors are skipped: "read" is all that the process read, its own
program included. Sparse files have holes where the tensors are.

| file | size | ms | speed | wanted | read | peak | verdict |
|---|---|---|---|---|---|---|---|
${lines.join("\n")}
${of}${PEERS}`;
}

await main();
