/** C2SP checkpoints: the signed head of a log, its origin, size and root. Files and proofs are elsewhere. */

import { InputError } from "../../formats/errors.ts";
import { fromBase64, toBase64, utf8 } from "../sign/encoding.ts";
import type { Signer } from "../sign/keys.ts";
import type { TreeHead } from "./merkle.ts";
import {
  formatNote,
  type Note,
  type NoteVerifier,
  parseNote,
  signNote,
  type Verification,
  verifyNote,
} from "./note.ts";

/** A head of a log, with the note it was read from. */
export interface Checkpoint extends TreeHead {
  /** Name of the log, the same for ever. */
  readonly origin: string;
  readonly note: Note;
}

/** The three lines of a checkpoint (c2sp.org/tlog-checkpoint). We write no extension lines. */
export const checkpointText = (origin: string, { size, root }: TreeHead): string =>
  `${origin}\n${size}\n${toBase64(root)}\n`;

/** Signs a head. @returns bytes of the note */
export async function signCheckpoint(
  origin: string,
  head: TreeHead,
  signer: Signer,
): Promise<Uint8Array> {
  const text = checkpointText(origin, head);
  return utf8(formatNote({ text, signatures: [await signNote(text, signer, { name: origin })] }));
}

/** Reads a checkpoint; who signed it is not looked at. @throws InputError */
export function parseCheckpoint(bytes: Uint8Array, what = "checkpoint"): Checkpoint {
  const note = parseNote(bytes, what);
  const [origin, size, root, ...more] = note.text.slice(0, -1).split("\n");
  if (!origin || !size || !/^(0|[1-9]\d{0,15})$/.test(size) || !root || more.includes(""))
    throw new InputError(`${what}: wanted lines with an origin, a size and a root`);
  const hash = fromBase64(root, `${what}: root`);
  if (hash.length !== 32 || !Number.isSafeInteger(Number(size)))
    throw new InputError(`${what}: a root of ${hash.length} bytes for ${size} entries`);
  return { origin, size: Number(size), root: hash, note };
}

/** A checkpoint that its log signed, and the witnesses who did too. */
export interface VerifiedCheckpoint extends Checkpoint {
  readonly cosignatures: readonly Verification[];
}

/**
 * Reads a checkpoint and verifies it against the log's key and the witnesses'.
 * @throws InputError unless the log signed it under its own name
 */
export async function openCheckpoint(
  bytes: Uint8Array,
  log: NoteVerifier,
  {
    witnesses = [],
    what = "checkpoint",
  }: { witnesses?: readonly NoteVerifier[]; what?: string } = {},
): Promise<VerifiedCheckpoint> {
  const checkpoint = parseCheckpoint(bytes, what);
  if (checkpoint.origin !== log.name)
    throw new InputError(
      `${what}: it is of the log ${JSON.stringify(checkpoint.origin)}, the key is of ${log.name}`,
    );
  const signed = await verifyNote(checkpoint.note, [log, ...witnesses], what);
  if (!signed.some((s) => s.verifier === log))
    throw new InputError(`${what}: the log ${log.name} did not sign it`);
  return { ...checkpoint, cosignatures: signed.filter((s) => s.verifier !== log) };
}
