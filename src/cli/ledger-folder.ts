/** Where a run's ledger lies and whose it is, for the commands about ledgers. Reads no entries. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../formats/errors.ts";
import type { Disk } from "../guard/ledger/disk.ts";
import { FILES, ownVkey } from "../guard/ledger/journal.ts";
import { folderDisk } from "../guard/ledger/node.ts";
import { type NoteVerifier, parseVkey } from "../guard/ledger/note.ts";
import { readVerifier } from "./key-files.ts";

/** A ledger's folder: the one named, or "ledger" in a run's. @throws InputError where there is none */
export function ledgerDisk(run: string): Disk {
  for (const folder of [run, join(run, "ledger")])
    if (existsSync(join(folder, FILES.key))) return folderDisk(folder);
  throw new InputError(
    `${run}: there is no ledger in it; give the folder of a run, or its ledger with ${FILES.key}`,
    { run },
  );
}

/** The key of a ledger: from a file the user has, else undefined: then the ledger's own word is taken. */
export async function logKey(
  disk: Disk,
  file: string | undefined,
): Promise<NoteVerifier | undefined> {
  if (!file) return undefined;
  return readVerifier(file, { name: parseVkey(await ownVkey(disk)).name });
}
