/** `underpaint scan PATH...`: what files would do to whoever loads them. Loads none of them. */

import { statSync } from "node:fs";
import { type Command, Option } from "commander";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import {
  type FileReport,
  scanSource,
  toHtml,
  toSarif,
  VERDICTS,
  type Verdict,
  worst,
} from "../guard/scan/index.ts";
import { filesUnder, scanFile } from "../guard/scan/node.ts";
import { interruptible } from "./errors.ts";
import { bytes, count, plural, table } from "./format.ts";
import { VERSION } from "./package.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

interface ScanFlags {
  readonly json: boolean;
  readonly sarif: boolean;
  readonly html?: string;
  readonly failOn: Verdict | "never";
  readonly stdinName: string;
}

/** Exit code when a file is as bad as --fail-on says; 1 and 2 mean that the scan itself failed. */
const FOUND = 3;
/** Standard input has no ranges: it is held. */
const MAX_STDIN = 2 ** 30;

const HELP = `
verdicts: malicious (runs code, or reads, writes, opens what the file's author wants), suspicious (does what no writer of
models does), unreadable (cannot be judged), clean (nothing but data)
folders: every file at any depth, but for .git, node_modules, __pycache__, .venv and links to folders; name those to scan them
exit code: 0 nothing as bad as --fail-on, ${FOUND} something is, 2 a path cannot be read`;

export function addScan(program: Command, terminal: Terminal): void {
  program
    .command("scan")
    .description("Tells whether model files would run code when they are loaded")
    .argument("<path...>", "Files and folders; - is standard input. Nothing in them is run")
    .option("--json", "Print one JSON object per file on stdout", false)
    .option("--sarif", "Print one SARIF 2.1.0 log on stdout, for code hosts", false)
    .option("--html <file>", "Write a page with the tree of files and their verdicts")
    .addOption(
      new Option("--fail-on <verdict>", "The mildest verdict that makes the exit code 3")
        .choices([...VERDICTS.slice(1), "never"])
        .default("unreadable"),
    )
    .option("--stdin-name <name>", "How standard input is called in reports", "stdin")
    .addHelpText("after", HELP)
    .action((paths: string[], flags: ScanFlags) =>
      interruptible((signal) => scan(terminal, { paths, flags, signal })),
    );
}

interface Job {
  readonly paths: readonly string[];
  readonly flags: ScanFlags;
  readonly signal: AbortSignal;
}

async function scan(terminal: Terminal, { paths, flags, signal }: Job): Promise<void> {
  if (flags.json && flags.sarif)
    throw new InputError("scan: --json and --sarif both print on stdout; choose one");
  const files: string[] = [];
  for (const path of paths)
    if (path === "-") files.push(path);
    else for await (const file of filesUnder(path)) files.push(file);
  const total = files.reduce((sum, file) => sum + sizeOf(file), 0);
  const bar = progress(terminal, { of: Math.max(1, total), what: "scanning" });
  // SARIF and HTML need all of them; the lines of --json go out at once.
  const reports: FileReport[] = [];
  let done = 0;
  for (const file of files) {
    signal.throwIfAborted();
    bar.update(done, file);
    const report = file === "-" ? await scanStdin(flags, signal) : await scanFile(file, { signal });
    reports.push(flags.sarif || flags.html || !flags.json ? report : { ...report, findings: [] });
    done += sizeOf(file);
    if (flags.json) {
      bar.clear();
      terminal.print(JSON.stringify(report));
    }
  }
  bar.clear();
  if (flags.sarif) terminal.print(JSON.stringify(toSarif(reports, { version: VERSION }), null, 2));
  if (flags.html)
    await writeFileAtomic(
      flags.html,
      new TextEncoder().encode(toHtml(reports, { title: `Scan of ${paths.join(", ")}` })),
    );
  if (!flags.json && !flags.sarif) tell(terminal, reports);
  summary(terminal, reports, { flags, paths });
}

const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

async function scanStdin(flags: ScanFlags, signal: AbortSignal): Promise<FileReport> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    signal.throwIfAborted();
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_STDIN)
      throw new InputError(
        `scan: standard input has more than the ${bytes(MAX_STDIN)} that are held; name a file instead`,
      );
  }
  return scanSource(Buffer.concat(chunks), { name: flags.stdinName, signal });
}

/** Findings of one file that are shown before the rest is counted. */
const SHOWN = 8;

function tell(terminal: Terminal, reports: readonly FileReport[]): void {
  for (const { file, verdict, format, findings, omitted } of reports) {
    if (verdict === "clean" && reports.length > 20) continue;
    terminal.print(`${verdict.padEnd(10)}  ${file}  (${format})`);
    for (const { part, at, effect, why } of findings.slice(0, SHOWN)) {
      terminal.print(`    ${part ? `${part}, ` : ""}byte ${count(at)}: ${effect}`);
      terminal.print(`        ${why}`);
    }
    const more = findings.length - SHOWN + omitted;
    if (more > 0) terminal.print(`    and ${plural(more, "finding")} more: --json lists them`);
  }
}

function summary(
  terminal: Terminal,
  reports: readonly FileReport[],
  { flags, paths }: Pick<Job, "flags" | "paths">,
): void {
  const rows = [...VERDICTS]
    .reverse()
    .map((verdict) => [verdict, count(reports.filter((r) => r.verdict === verdict).length)]);
  if (reports.length > 1) terminal.say(table(rows, { right: [1] }));
  const verdict = worst(reports.map((r) => r.verdict));
  const rank = (v: Verdict) => VERDICTS.indexOf(v);
  const failed = flags.failOn !== "never" && rank(verdict) >= rank(flags.failOn);
  if (failed) process.exitCode = FOUND;
  const first = paths.find((path) => path !== "-") ?? "FILE";
  terminal.say(
    terminal.dim(
      verdict === "clean"
        ? `${plural(reports.length, "file")} clean   next: underpaint info ${first}`
        : `do not load these files   next: underpaint scan ${first} --html scan.html`,
    ),
  );
}
