/**
 * Kills a training run with -9 at 20 random moments and resumes it; its final weights must equal, bit by bit, those of
 * a run that was left alone, and its ledger must verify after each kill and tell of no step that went another way when it
 * was done again. Writes bench/results/kill-resume.json. Run: npm run build && npx tsx bench/kill-resume.ts
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodePng } from "../src/formats/png.ts";
import { readSafetensors } from "../src/formats/safetensors.ts";
import { folderDisk } from "../src/guard/ledger/node.ts";
import { readLedgerOn } from "../src/guard/ledger/reader.ts";
import { verifyLedgerOn } from "../src/guard/ledger/verify.ts";
import { rng } from "../src/tensor/rng.ts";

const KILLS = Number(process.env.KILLS ?? 20);
const STEPS = Number(process.env.STEPS ?? 1000);
const ROOT = fileURLToPath(new URL("../", import.meta.url));
const home = await mkdtemp(join(tmpdir(), "underpaint-kill-"));
const pictures = join(home, "pictures");
const chance = rng("kill-resume");

for (const [c, name] of ["green", "red"].entries()) {
  await mkdir(join(pictures, name), { recursive: true });
  for (let i = 0; i < 40; i++) {
    const data = new Uint8Array(16 * 16 * 3).fill(255);
    const [cx, cy, radius] = [4 + chance.int(8), 4 + chance.int(8), 2 + 4 * chance.uniform()];
    for (let p = 0; p < 256; p++)
      if (Math.hypot((p % 16) - cx, Math.floor(p / 16) - cy) < radius) data[p * 3 + c] = 0;
    const png = await encodePng({ width: 16, height: 16, channels: 3, data });
    await writeFile(join(pictures, name, `${i}.png`), png);
  }
}

const flags = {
  vqvae: [
    ...[
      "--size",
      "16",
      "--ch-mult",
      "1,1",
      "--channels",
      "32",
      "--res-blocks",
      "1",
      "--latent",
      "4",
    ],
    ...[
      "--codes",
      "32",
      "--no-attention",
      "--no-mid-attention",
      "--flip",
      "0.5",
      "--revive-every",
      "7",
    ],
  ],
  var: ["--tokenizer", join(home, "vqvae-whole"), "--depth", "2", "--width", "64", "--heads", "2"],
} as const;
type Kind = keyof typeof flags;
const EVERY = ["--save-every", "7", "--evaluate-every", "50", "--draw-every", "100"];

interface Attempt {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly ms: number;
}

/** Trains in `run`; kills after `patience` milliseconds where one is given. */
function train(kind: Kind, run: string, patience?: number): Promise<Attempt> {
  const begin = performance.now();
  const common = ["--run", run, "--steps", String(STEPS), "--batch", "8", "--warmup", "10"];
  const args = ["train", kind, pictures, ...common, ...flags[kind], ...EVERY, "--threads", "1"];
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(process.execPath, [join(ROOT, "dist/cli/main.js"), ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let words = "";
    child.stderr!.on("data", (chunk) => {
      words += chunk;
    });
    const timer =
      patience === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), patience);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code !== 0 && signal === null) reject(new Error(words));
      else resolve({ code, signal, ms: performance.now() - begin });
    });
  });
}

async function stepOf(run: string): Promise<number> {
  const file = join(run, "checkpoint.safetensors");
  if (!existsSync(file)) return 0;
  const { metadata } = readSafetensors(await readFile(file));
  return (JSON.parse(metadata["underpaint.checkpoint"]!) as { step: number }).step;
}

const sha256 = async (file: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(file))
    .digest("hex");

/** What a dead writer may leave at the end of a journal; opening the ledger mends it. */
const TORN = /end is torn|have no signed head/;

/** What is wrong with a run's ledger, besides a torn end where it was killed just now. */
async function ledgerProblems(run: string, { killed }: { killed: boolean }): Promise<string[]> {
  const folder = join(run, "ledger");
  if (!existsSync(join(folder, "journal"))) return killed ? [] : ["there is no ledger"];
  const found: string[] = [];
  for await (const { problems, verdict } of verifyLedgerOn(folderDisk(folder)))
    if (verdict) found.push(...problems.map(({ what }) => what));
  if (killed) return found.filter((what) => !TORN.test(what));
  for await (const { kind, facts } of (await readLedgerOn(folderDisk(folder))).records())
    if (kind === "event" && ["differs", "state-changed"].includes(String(facts.event)))
      found.push(JSON.stringify(facts));
  return found;
}

/** As many killed runs as it takes to see all kills; each must end in the weights of the whole one. */
async function measure(kind: Kind) {
  const whole = join(home, `${kind}-whole`);
  const { ms } = await train(kind, whole);
  const wanted = await sha256(join(whole, `${kind}.safetensors`));
  const kills: { run: number; afterMs: number; checkpoint: number }[] = [];
  const finals: string[] = [];
  const problems: string[] = [];
  while (kills.length < KILLS) {
    const folder = join(home, `${kind}-killed-${finals.length}`);
    let ended = false;
    while (!ended && kills.length < KILLS) {
      // Uniform over starting up and a share of the run that leaves work for other kills.
      const patience = Math.round(chance.uniform() * (1200 + ms / KILLS));
      ended = (await train(kind, folder, patience)).signal !== "SIGKILL";
      if (ended) break; // it got to the end first
      kills.push({ run: finals.length, afterMs: patience, checkpoint: await stepOf(folder) });
      problems.push(...(await ledgerProblems(folder, { killed: true })));
    }
    if (!ended) await train(kind, folder);
    problems.push(...(await ledgerProblems(folder, { killed: false })));
    finals.push(await sha256(join(folder, `${kind}.safetensors`)));
  }
  const identical = finals.every((hash) => hash === wanted);
  return {
    kind,
    steps: STEPS,
    kills,
    identical,
    ledgerProblems: problems,
    sha256: { whole: wanted, killed: finals },
  };
}

try {
  const runs = [await measure("vqvae"), await measure("var")];
  const { dependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const result = {
    what: "kill -9 at random moments, then resume: are the final weights those of an unkilled run, and are the ledgers whole?",
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} x ${cpus()[0]?.model}, ${process.platform} ${process.arch}`,
    versions: { node: process.versions.node, "onnxruntime-node": dependencies["onnxruntime-node"] },
    runs,
  };
  await mkdir(join(ROOT, "bench/results"), { recursive: true });
  await writeFile(
    join(ROOT, "bench/results/kill-resume.json"),
    `${JSON.stringify(result, null, 2)}\n`,
  );
  for (const { kind, kills, identical, ledgerProblems: bad } of runs)
    console.log(
      `${kind}: ${kills.length} kills, final weights ${identical ? "identical" : "DIFFER"}, ${bad.length} problems of ledgers`,
    );
  const good = (run: (typeof runs)[number]) =>
    run.identical && run.kills.length >= KILLS && run.ledgerProblems.length === 0;
  if (!runs.every(good)) process.exitCode = 1;
} finally {
  await rm(home, { recursive: true, force: true });
}
