/**
 * `underpaint ledger witness RUN`: signs a ledger's head if it continues the last one seen. To be run by another account
 * or on another machine than the training: its state file is what makes forks and rollbacks visible.
 */

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { FOLDERS, TamperError } from "../guard/ledger/journal.ts";
import {
  formatNote,
  formatVkey,
  NOTE_TYPE,
  noteVerifier,
  parseSignature,
} from "../guard/ledger/note.ts";
import { type LedgerReader, readLedgerOn } from "../guard/ledger/reader.ts";
import {
  addCheckpoint,
  formatState,
  parseState,
  requestFor,
  type WitnessState,
  watch,
} from "../guard/ledger/witness.ts";
import { utf8 } from "../guard/sign/encoding.ts";
import type { PrivateKey } from "../guard/sign/keys.ts";
import { interruptible } from "./errors.ts";
import { numberFlag } from "./flags.ts";
import { plural } from "./format.ts";
import { visible } from "./info.ts";
import { readKeyFile, readVerifier, writeWhole } from "./key-files.ts";
import { ledgerDisk } from "./ledger-folder.ts";
import type { Terminal } from "./terminal.ts";

interface WitnessFlags {
  readonly key: string;
  readonly name: string;
  readonly state: string;
  readonly logKey?: string;
  readonly out?: string;
  readonly deliver: boolean;
  readonly every?: number;
  readonly json: boolean;
}

export function addLedgerWitness(ledger: Command, terminal: Terminal): void {
  const command = ledger
    .command("witness")
    .description("Signs the head of a ledger, unless it rewrites or forgets what was signed before")
    .argument("<run>", "Folder of the run or of its ledger: it only needs to be readable")
    .requiredOption("--key <file>", "The witness's own private key (Ed25519)")
    .requiredOption("--name <name>", "The witness's name, like witness.example.com/w1")
    .requiredOption("--state <file>", "What was seen; nobody who trains may write it")
    .option("--log-key <file>", "The run's public key (PEM or vkey); needed the first time")
    .option("--out <file>", "Also write the cosigned head here")
    .option("--no-deliver", "Do not write the cosigned head into the ledger")
    .option("--json", "Print one JSON object per head on stdout", false)
    .addHelpText("after", "\nends with 1 where the ledger was altered, cut back or forked");
  numberFlag(command, "--every <s>", {
    sentence: "Look again and again, at this interval, until Ctrl-C",
    unit: "seconds",
    min: 1,
    real: true,
  });
  command.action(async (run: string, flags: WitnessFlags) => {
    const key = await readKeyFile(flags.key);
    const own = noteVerifier(flags.name, key.publicKey, NOTE_TYPE.cosignature);
    terminal.say(`witness ${formatVkey(own)}`);
    await interruptible(async (signal) => {
      for (;;) {
        const refused = await look(terminal, run, { ...flags, signer: key });
        if (refused) process.exitCode = 1;
        if (refused || flags.every === undefined) return;
        await sleep(flags.every * 1000, undefined, { signal });
      }
    });
  });
}

type Look = WitnessFlags & { readonly signer: PrivateKey };

async function readState(file: string): Promise<WitnessState> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return undefined;
  });
  return bytes ? parseState(new Uint8Array(bytes)) : new Map();
}

/** The ledger as its key makes it: the one the witness knows, or at first the one that was handed to it. */
async function readKnown(run: string, state: WitnessState, { logKey }: WitnessFlags) {
  const disk = ledgerDisk(run);
  const unsure = await readLedgerOn(disk);
  const known = state.get(unsure.log.name)?.log;
  if (!known && !logKey)
    throw new InputError(
      `${run}: this ledger, ${unsure.log.name}, is new to the witness; give its key once: --log-key FILE`,
    );
  const log = known ?? (await readVerifier(logKey!, { name: unsure.log.name }));
  return { disk, log, reader: await readLedgerOn(disk, { log }) };
}

/** One look. @returns whether the head was refused */
async function look(terminal: Terminal, run: string, flags: Look): Promise<boolean> {
  const { state: file, signer, name, json, out, deliver } = flags;
  const before = await readState(file);
  let found: Awaited<ReturnType<typeof readKnown>>;
  try {
    found = await readKnown(run, before, flags);
  } catch (error) {
    if (!(error instanceof TamperError)) throw error;
    tell(terminal, { run, refused: error.message }, json);
    return true;
  }
  const { disk, log, reader } = found;
  const state = watch(before, log);
  const old = state.get(log.name)!.size;
  const answer = await addCheckpoint(state, await requestFor(reader, old), {
    signer,
    name,
    time: Date.now() / 1000,
  });
  if (!answer.state) {
    tell(terminal, { run, refused: refusal(old, reader, answer.body) }, json);
    return true;
  }
  // First what was seen, then the word about it: a witness that forgets would sign a fork.
  await writeWhole(file, formatState(answer.state));
  const { note, size } = reader.head;
  const signature = parseSignature(answer.body.trimEnd(), "cosignature");
  const cosigned = utf8(formatNote({ ...note, signatures: [...note.signatures, signature] }));
  if (out) await writeWhole(out, cosigned);
  if (deliver)
    await disk.replace(`${FOLDERS.cosigned}/${signature.keyId}`, cosigned).catch((error) => {
      terminal.say(
        `the cosigned head could not be written into the ledger (${error.code}); it is in ${out ?? "no file: give --out"}`,
      );
    });
  tell(terminal, { run, size, cosignature: answer.body.trimEnd() }, json);
  return false;
}

const refusal = (old: number, { head }: LedgerReader, body: string): string =>
  head.size < old
    ? `the ledger was cut back: it has ${head.size} entries, ${old} were signed by this witness`
    : head.size === old
      ? `the ledger was rewritten: other ${plural(old, "entry", "entries")} than those this witness signed`
      : body.trim();

function tell(
  terminal: Terminal,
  result: { run: string; refused?: string; size?: number; cosignature?: string },
  json: boolean,
): void {
  if (json) terminal.print(JSON.stringify(result));
  else if (result.refused) terminal.print(visible(`${result.run}: REFUSED: ${result.refused}`));
  else
    terminal.print(
      `${result.run}: signed the head over ${plural(result.size!, "entry", "entries")}`,
    );
}
