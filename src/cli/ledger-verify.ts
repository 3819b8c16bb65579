/** `underpaint ledger verify RUN`: every entry, tile, head and witness of a ledger, or one proof. Mends nothing. */

import { readFile, stat } from "node:fs/promises";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { checkCertificate } from "../guard/ledger/certificate.ts";
import type { Disk } from "../guard/ledger/disk.ts";
import { NOTE_TYPE, type NoteVerifier, type Verification } from "../guard/ledger/note.ts";
import { parseProof, verifyProof } from "../guard/ledger/proof.ts";
import { readLedgerOn } from "../guard/ledger/reader.ts";
import { type VerifyStep, verifyLedgerOn } from "../guard/ledger/verify.ts";
import { shellWord } from "../lab/shell-word.ts";
import { interruptible } from "./errors.ts";
import { count, plural } from "./format.ts";
import { visible } from "./info.ts";
import { readPublicFile, readVerifier } from "./key-files.ts";
import { ledgerDisk, logKey } from "./ledger-folder.ts";
import { progress } from "./progress.ts";
import { collect } from "./sign.ts";
import type { Terminal } from "./terminal.ts";

interface VerifyFlags {
  readonly key?: string;
  readonly witness: readonly string[];
  readonly certifiedBy?: string;
  readonly json: boolean;
}

export function addLedgerVerify(ledger: Command, terminal: Terminal): void {
  ledger
    .command("verify")
    .description("Verifies a whole ledger, or one .tlog-proof")
    .argument("<run>", "Folder of the run or of its ledger, or a proof by underpaint ledger prove")
    .option("--key <file>", "The run's public key (PEM or vkey), which you have from elsewhere")
    .option("--witness <file>", "Verifier key of a witness; may be repeated", collect, [])
    .option(
      "--certified-by <file>",
      "Public key that must vouch for the run's own (train --certify)",
    )
    .option("--json", "Print one JSON object on stdout", false)
    .addHelpText("after", "\nends with 0 where all is well, 1 where something was altered or torn")
    .action(async (run: string, flags: VerifyFlags) => {
      const witnesses = await Promise.all(
        flags.witness.map((file) => readVerifier(file, { type: NOTE_TYPE.cosignature })),
      );
      const entry = await stat(run).catch(() => undefined);
      if (entry?.isFile()) await verifyProofFile(terminal, run, { ...flags, witnesses });
      else await verifyFolder(terminal, run, { ...flags, witnesses });
    });
}

type Known = VerifyFlags & { readonly witnesses: readonly NoteVerifier[] };

/** Why the run's key is not vouched for; undefined where it is. */
async function certificateProblem(
  disk: Disk,
  { log, file }: { log?: NoteVerifier; file: string },
): Promise<string | undefined> {
  const key = await readPublicFile(file);
  try {
    const reader = await readLedgerOn(disk, { log });
    const first = await reader.records().next();
    const { certificate } = first.value?.facts ?? {};
    await checkCertificate(certificate, { log: reader.log, key });
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

async function verifyFolder(
  terminal: Terminal,
  run: string,
  { key, witnesses, certifiedBy, json }: Known,
) {
  const disk = ledgerDisk(run);
  const log = await logKey(disk, key);
  let last: VerifyStep | undefined;
  await interruptible(async (signal) => {
    let bar: ReturnType<typeof progress> | undefined;
    for await (const step of verifyLedgerOn(disk, { log, witnesses, signal })) {
      last = step;
      bar ??= progress(terminal, { of: step.size, what: "verifying", shown: count });
      bar.update(step.checked);
    }
    bar?.clear();
  });
  const { checked, verdict } = last!;
  const problems = [...last!.problems];
  if (certifiedBy) {
    const what = await certificateProblem(disk, { log, file: certifiedBy });
    if (what) problems.push({ what, index: 0 });
  }
  const witnessed = (verdict?.witnessed ?? []).map((w) => ({ ...told(w), size: w.size }));
  if (json)
    terminal.print(
      JSON.stringify({
        run,
        verified: problems.length === 0,
        keyGiven: log !== undefined,
        entries: checked,
        problems,
        witnessed,
        strange: verdict?.strange,
        open: verdict?.open,
      }),
    );
  else {
    for (const { what, index, path } of problems)
      terminal.print(visible(`${index === undefined ? (path ?? "") : `entry ${index}`}: ${what}`));
    terminal.print(
      problems.length === 0
        ? `${run}: ${plural(checked, "entry", "entries")}, whole and rightly signed`
        : `${run}: ${plural(problems.length, "problem")}; do not trust what came after`,
    );
    for (const { name, size, time } of witnessed)
      terminal.print(`witnessed: the first ${count(size)} by ${visible(name)} at ${time}`);
    if (verdict?.strange.length)
      terminal.say(`no part of a ledger: ${verdict.strange.slice(0, 5).map(visible).join(", ")}`);
    if (verdict?.open) terminal.say("a process has it open: it may have grown meanwhile");
  }
  if (problems.length > 0) process.exitCode = 1;
  else if (!log && !certifiedBy)
    terminal.say(
      "verified against the key in the folder itself, which its writer chose; give --key to know whose ledger it is",
    );
  if (problems.length === 0 && witnesses.length > witnessed.length)
    terminal.say("not every witness you named has signed it");
  terminal.say(terminal.dim(`next: underpaint ledger show ${shellWord(run)}`));
}

async function verifyProofFile(terminal: Terminal, file: string, { key, witnesses, json }: Known) {
  const proof = parseProof(new Uint8Array(await readFile(file)));
  if (!key)
    throw new InputError(`${file}: a proof says nothing without the run's key; give --key FILE`);
  // A PEM file has no name; the checkpoint says under which one it must verify.
  const name = new TextDecoder().decode(proof.checkpoint).split("\n")[0];
  const { head, entry } = await verifyProof(proof, await readVerifier(key, { name }), {
    witnesses,
  });
  const by = head.cosignatures.map(told);
  if (json)
    terminal.print(
      JSON.stringify({
        file,
        verified: true,
        index: proof.index,
        size: head.size,
        bytes: entry.length,
        witnessed: by,
      }),
    );
  else {
    terminal.print(
      `${file}: entry ${count(proof.index)} is in the ledger ${visible(head.origin)} of ${plural(head.size, "entry", "entries")}`,
    );
    for (const w of by) terminal.print(`witnessed by ${visible(w.name)} at ${w.time}`);
  }
}

const told = ({ verifier, time = 0 }: Verification) => ({
  name: verifier.name,
  time: new Date(time * 1000).toISOString(),
});
