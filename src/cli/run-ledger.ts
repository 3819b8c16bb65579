/** The ledger of a run for `underpaint train`: its keys, what its first entry says, its watcher. Trains nothing. */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { sha256Of } from "../formats/sha256.node.ts";
import { certifyLog } from "../guard/ledger/certificate.ts";
import { FILES } from "../guard/ledger/journal.ts";
import { folderDisk, openLedger } from "../guard/ledger/node.ts";
import { readLedgerOn } from "../guard/ledger/reader.ts";
import type { JsonValue } from "../guard/sign/canonical.ts";
import { fromHex, toHex, utf8 } from "../guard/sign/encoding.ts";
import { generateKey, type PrivateKey } from "../guard/sign/keys.ts";
import { createSketcher } from "../guard/state/index.ts";
import { auditCommitment } from "../train/challenge.ts";
import {
  codeManifest,
  environmentFacts,
  fastHash,
  picturesRoot,
  tokensRoot,
} from "../train/evidence.node.ts";
import { readHistory } from "../train/history.ts";
import { type Recorder, recorder } from "../train/recorder.ts";
import type { Run } from "../train/run.node.ts";
import { keepState } from "../train/states.node.ts";
import { numberFlag } from "./flags.ts";
import { readKeyFile, readSmall } from "./key-files.ts";
import type { Terminal } from "./terminal.ts";
import type { Json, RunSource } from "./training.ts";

/** Files of a run's folder that belong to its ledger. */
export const LEDGER_FILES = {
  folder: "ledger",
  /** Signs the ledger. */
  key: "ledger.key",
  /** Key of the sketches: who has it can make two states look alike. */
  sketch: "sketch.key",
  /** What audits are drawn with, where no auditor has given a commitment. */
  secret: "audit.secret",
} as const;

/** Flags of `train` about the ledger. */
export interface LedgerFlags {
  readonly ledger: boolean;
  readonly certify?: string;
  readonly auditCommitment?: string;
  readonly keepStates: number;
}

export function addLedgerFlags(command: Command): void {
  command
    .option("--no-ledger", "Do not write the signed record of the run (underpaint ledger --help)")
    .option("--certify <file>", "Private key that vouches for the run's own key")
    .option("--audit-commitment <hex>", "An auditor's commitment (underpaint keygen --type audit)");
  numberFlag(command, "--keep-states <n>", {
    sentence: "Disk for earlier states, which audits start from",
    unit: "GiB",
    real: true,
    min: 0,
    fallback: 2,
  });
}

/** A secret file, made at the first time. Whole or not there, even when killed; for the owner's eyes only. */
async function secretFile(file: string, make: () => Promise<string>): Promise<string> {
  if (!existsSync(file)) {
    const handle = await open(`${file}.part`, "w", 0o600);
    try {
      await handle.writeFile(await make());
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.part`, file);
  }
  return readSmall(file, "a secret of this run");
}

const hexSecret = async (file: string): Promise<Uint8Array> =>
  fromHex(
    (await secretFile(file, async () => `${randomBytes(32).toString("hex")}\n`)).trim(),
    file,
    32,
  );

async function runKey(folder: string): Promise<PrivateKey> {
  const [file, ledger] = [join(folder, LEDGER_FILES.key), join(folder, LEDGER_FILES.folder)];
  if (!existsSync(file) && existsSync(join(ledger, FILES.key)))
    throw new InputError(
      `${folder}: its ledger is there, ${LEDGER_FILES.key} is not; restore it, move the ledger away to begin another, or go on with --no-ledger`,
      { folder },
    );
  await secretFile(file, async () => (await generateKey()).exportPem());
  return readKeyFile(file);
}

/** The commitment of an auditor, or to a secret that is made here. */
async function commitment(terminal: Terminal, folder: string, given?: string): Promise<string> {
  if (given !== undefined) {
    const text = given.toLowerCase();
    if (/^[0-9a-f]{64}$/.test(text)) return text;
    throw new InputError(`--audit-commitment ${JSON.stringify(given)}: want 64 hex digits`);
  }
  const file = join(folder, LEDGER_FILES.secret);
  const fresh = !existsSync(file);
  const secret = await hexSecret(file);
  if (fresh) terminal.say(terminal.dim(`audits are drawn with ${file}: move it off this machine`));
  return toHex(auditCommitment(secret));
}

/** Opens a run's ledger, or begins it. @returns the watcher that writes it */
export async function openRunLedger(
  terminal: Terminal,
  { run, source, recipe, threads }: { run: Run; source: RunSource; recipe: Json; threads: number },
  flags: LedgerFlags,
): Promise<Recorder> {
  const folder = join(run.folder, LEDGER_FILES.folder);
  const ledger = await openLedger(folder, { key: await runKey(run.folder), clock: Date.now });
  try {
    const history = await readHistory((await readLedgerOn(folderDisk(folder))).records());
    const sketchKey = await hexSecret(join(run.folder, LEDGER_FILES.sketch));
    const fresh = history.size === 0;
    const { certify, keepStates } = flags;
    const facts = {
      code: await ledger.attach(utf8(JSON.stringify(await codeManifest(), null, 1))),
      environment: environmentFacts({ backend: source.backend.name }),
      config: { kind: source.kind, recipe: recipe as JsonValue, threads },
      dataRoot: picturesRoot(source.data.train),
      ...(source.tokens && { tokensRoot: tokensRoot(source.tokens) }),
      seed: String(recipe.seed),
      ...(fresh && {
        sketchCommitment: toHex(fastHash(sketchKey)),
        auditCommitment: await commitment(terminal, run.folder, flags.auditCommitment),
        ...(certify && { certificate: await certifyLog(ledger.log, await readKeyFile(certify)) }),
      }),
    };
    return recorder({
      ...{ ledger, history, facts, hash: fastHash, hashFile: sha256Of, clock: Date.now },
      sketcher: createSketcher(sketchKey, fastHash),
      keep: (file, step) => keepState(run.folder, { file, step, budget: keepStates * 2 ** 30 }),
    });
  } catch (error) {
    await ledger.close();
    throw error;
  }
}
