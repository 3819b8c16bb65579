/** `underpaint ledger prove RUN ENTRY`: one file that shows offline that an entry is in the ledger. */

import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { type Checkpoint, parseCheckpoint } from "../guard/ledger/checkpoint.ts";
import { FOLDERS } from "../guard/ledger/journal.ts";
import { formatProof, proveEntry } from "../guard/ledger/proof.ts";
import { readLedgerOn } from "../guard/ledger/reader.ts";
import { shellWord } from "../lab/shell-word.ts";
import { readNumber } from "./flags.ts";
import { plural } from "./format.ts";
import { ledgerDisk, logKey } from "./ledger-folder.ts";
import type { Terminal } from "./terminal.ts";

interface ProveFlags {
  readonly out?: string;
  readonly key?: string;
}

export function addLedgerProve(ledger: Command, terminal: Terminal): void {
  ledger
    .command("prove")
    .description(
      "Writes a proof that an entry is in the ledger (C2SP tlog-proof, with the entry inside)",
    )
    .argument("<run>", "Folder of the run, or of its ledger")
    .argument("<entry>", "Entry, counted from 0", (text) => readNumber("<entry>", text, { min: 0 }))
    .option("--out <file>", "File that is written; by default the proof goes to stdout")
    .option(
      "--key <file>",
      "The run's public key (PEM or vkey); by default the ledger's own word is taken",
    )
    .action(async (run: string, index: number, { out, key }: ProveFlags) => {
      const disk = ledgerDisk(run);
      const reader = await readLedgerOn(disk, { log: await logKey(disk, key) });
      // A head that a witness signed says more than the log's own; the largest one that holds the entry.
      let best: Checkpoint = reader.head;
      for (const path of await disk.list(FOLDERS.cosigned)) {
        const bytes = await disk.read(path);
        if (!bytes || path.endsWith(".part")) continue;
        const head = parseCheckpoint(bytes, path);
        const fits = head.size > index && head.size <= reader.head.size;
        if (fits && (best === reader.head || head.size > best.size)) best = head;
      }
      const text = formatProof(await proveEntry(reader, index, best));
      if (out) await writeFile(out, text);
      else terminal.print(text.trimEnd());
      const signers = plural(best.note.signatures.length, "signature");
      terminal.say(`entry ${index} in a tree of ${best.size}, ${signers}`);
      if (out)
        terminal.say(
          terminal.dim(`next: underpaint ledger verify ${shellWord(out)} --key run.pub`),
        );
    });
}
