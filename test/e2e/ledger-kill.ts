/**
 * Kills a process with -9 while it appends to a ledger, again and again, and looks what is left each time. A helper for
 * ledger-kill.test.ts and bench/kill-ledger.ts; run with WRITE=folder it is the process that is killed.
 */

import { spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { leafHash } from "../../src/guard/ledger/merkle.ts";
import { folderDisk, openLedger } from "../../src/guard/ledger/node.ts";
import { readLedgerOn } from "../../src/guard/ledger/reader.ts";
import { type VerifyStep, verifyLedgerOn } from "../../src/guard/ledger/verify.ts";
import { toHex } from "../../src/guard/sign/encoding.ts";
import { generateKey, readPrivateKey } from "../../src/guard/sign/keys.ts";
import type { Rng } from "../../src/tensor/rng.ts";

const HASH = "ab".repeat(32);

/** Appends until killed, and says of every entry when it was acknowledged. */
async function write(folder: string): Promise<never> {
  const key = await readPrivateKey(await readFile(process.env.KEY!, "utf8"));
  const ledger = await openLedger(folder, { key, publishEvery: 20 });
  const say = (line: string) => writeSync(1, `${line}\n`);
  say(`open ${ledger.size} ${ledger.cut}`);
  if (ledger.size === 0)
    await ledger.append({
      kind: "run-start",
      facts: {
        code: HASH,
        environment: {},
        config: {},
        dataRoot: HASH,
        seed: "1",
        stateRoot: HASH,
      },
    });
  // Mostly single steps as a training makes them; now and then megabytes at once, so that kills fall into writes.
  for (let round = 0; ; round++) {
    const burst = round % 4 === 3 ? 60 : 3;
    const note = "x".repeat(burst > 3 ? 40_000 : 10);
    await Promise.all(
      Array.from({ length: burst }, async (_, i) => {
        const { index, leaf } = await ledger.append({
          kind: "step",
          facts: { step: round * 100 + i, loss: 1 / (i + 1), note },
        });
        say(`ack ${index} ${toHex(leaf)}`);
      }),
    );
  }
}

if (process.env.WRITE) await write(process.env.WRITE);

/** The writer as one JavaScript file, if esbuild is here: it starts ten times as fast as through tsx. */
async function compiled(home: string): Promise<readonly string[]> {
  const source = fileURLToPath(import.meta.url);
  const file = join(home, "writer.mjs");
  try {
    const { build } = await import("esbuild");
    await build({
      entryPoints: [source],
      outfile: file,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
    });
    return [file];
  } catch {
    return ["--import", "tsx", source];
  }
}

/** Starts a writer and kills it after some milliseconds. @returns complete lines it said */
function killed(
  folder: string,
  { program, keyFile, after }: { program: readonly string[]; keyFile: string; after: number },
) {
  const child = spawn(process.execPath, [...program], {
    env: { ...process.env, WRITE: folder, KEY: keyFile },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  let timer: NodeJS.Timeout | undefined;
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
    // The clock starts when the ledger is open, or all kills would fall into the start of Node.
    if (text.includes("\n")) timer ??= setTimeout(() => child.kill("SIGKILL"), after);
  });
  return new Promise<string[]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      if (code !== null) reject(new Error(`the writer ended by itself with ${code}`));
      else resolve(text.split("\n").slice(0, -1));
    });
  });
}

/** What many kills left behind. */
export interface KillReport {
  readonly kills: number;
  readonly acknowledged: number;
  readonly entries: number;
  /** Kills after which the journal ended in the midst of a record. */
  readonly torn: number;
  /** Acknowledged entries that were missing or other ones afterwards. */
  readonly lost: number;
  readonly problems: readonly string[];
}

/** Kills a writer at `kills` random moments; each finds the ledger as the one before left it. */
export async function killLedger(
  kills: number,
  {
    rng,
    longest = 400,
    say = () => {},
  }: { rng: Rng; longest?: number; say?: (line: string) => void },
): Promise<KillReport> {
  const home = await mkdtemp(join(tmpdir(), "underpaint-kill-ledger-"));
  const folder = join(home, "ledger");
  const keyFile = join(home, "run.key");
  const key = await generateKey();
  await writeFile(keyFile, await key.exportPem(), { mode: 0o600 });
  const program = await compiled(home);
  const acks = new Map<number, string>();
  let [torn, lost] = [0, 0];
  const problems: string[] = [];
  try {
    for (let kill = 0; kill < kills; kill++) {
      const fresh: number[] = [];
      for (const line of await killed(folder, {
        program,
        keyFile,
        after: rng.uniform() * longest,
      })) {
        const [what, index, leaf] = line.split(" ");
        if (what !== "ack") continue;
        acks.set(Number(index), leaf!);
        fresh.push(Number(index));
      }
      // Before anything mends it: every acknowledged entry stands under the last signed head.
      const reader = await readLedgerOn(folderDisk(folder));
      if (reader.tail.torn.length > 0) torn++;
      for (const index of fresh) {
        const found = index < reader.head.size ? toHex(leafHash(await reader.entry(index))) : "";
        if (found !== acks.get(index)) lost++;
      }
      // Mended, it verifies: the new part each time, everything now and then and at the end.
      const ledger = await openLedger(folder, { key });
      await ledger.close();
      if (kill % 50 === 49 || kill === kills - 1) {
        let last: VerifyStep | undefined;
        for await (const step of verifyLedgerOn(folderDisk(folder))) last = step;
        problems.push(...last!.problems.map((p) => `after kill ${kill}: ${p.what}`));
      }
      say(`kill ${kill + 1}: ${acks.size} acknowledged, ${torn} torn, ${lost} lost`);
    }
    const reader = await readLedgerOn(folderDisk(folder));
    for (const [index, leaf] of acks)
      if (toHex(leafHash(await reader.entry(index))) !== leaf) lost++;
    return { kills, acknowledged: acks.size, entries: reader.head.size, torn, lost, problems };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
