/** What is looked at before a ledger is written to: whose it is, and whether it is whole. Appends nothing. */

import { InputError } from "../../formats/errors.ts";
import { utf8 } from "../sign/encoding.ts";
import type { Signer } from "../sign/keys.ts";
import { signCheckpoint } from "./checkpoint.ts";
import type { Disk } from "./disk.ts";
import {
  FILES,
  FOLDERS,
  headFrame,
  openHead,
  ownVkey,
  readTail,
  type Tail,
  TamperError,
} from "./journal.ts";
import { EMPTY, rootOf } from "./merkle.ts";
import { formatVkey, type NoteVerifier, noteVerifier, parseVkey, sameVerifier } from "./note.ts";

/** The log that is written: its name and key must be those of the folder. @throws InputError */
export async function logOf(
  disk: Disk,
  { key, origin }: { readonly key: Signer; readonly origin?: string },
): Promise<NoteVerifier> {
  const known = await disk.read(FILES.key);
  if (!known)
    return noteVerifier(origin ?? `underpaint/${key.publicKey.hint.slice(0, 16)}`, key.publicKey);
  const log = parseVkey(await ownVkey(disk));
  if (!sameVerifier(log, noteVerifier(origin ?? log.name, key.publicKey)))
    throw new InputError(
      `this ledger is ${log.name}, written with another key or under another name; give its own, or begin a new ledger`,
      { log: formatVkey(log) },
    );
  return log;
}

/** Reads the journal, or begins one in an empty folder. @throws TamperError where files lack their journal */
export async function begin(
  disk: Disk,
  { key, log }: { readonly key: Signer; readonly log: NoteVerifier },
): Promise<Tail> {
  const journal = await disk.read(FILES.journal);
  if (!journal) {
    const others = (await disk.list("")).filter(
      (path) => path !== FILES.key && path !== FILES.lock,
    );
    const left = others.filter((path) => !path.endsWith(".part"));
    if (left.length > 0)
      throw new TamperError(
        `there is ${left[0]} but no journal: the ledger was altered, or this folder is something else`,
      );
    await disk.replace(FILES.key, utf8(`${formatVkey(log)}\n`));
    const head = await signCheckpoint(log.name, { size: 0, root: rootOf(EMPTY) }, key);
    await disk.replace(FILES.journal, headFrame(head));
  }
  return readTail(disk, log);
}

/** Heads that were published or witnessed are never taken back. */
export async function checkPublished(disk: Disk, tail: Tail, log: NoteVerifier): Promise<void> {
  const paths = [FILES.checkpoint, ...(await disk.list(FOLDERS.cosigned))];
  for (const path of paths) {
    const bytes = await disk.read(path);
    if (!bytes || path.endsWith(".part")) continue;
    const { size } = await openHead(bytes, log, path);
    if (size > tail.size)
      throw new TamperError(
        `the ledger was cut: ${path} is a signed head over ${size} entries, ${tail.size} are left`,
        { path, size, left: tail.size },
      );
  }
}
