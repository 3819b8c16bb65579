/** C2SP tlog-proofs: one file that shows, offline, that an entry is in a ledger, and who saw it. */

import { checkedUtf8 } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";
import { fromBase64, toBase64, utf8 } from "../sign/encoding.ts";
import { openCheckpoint, type VerifiedCheckpoint } from "./checkpoint.ts";
import { inclusionProof, leafHash, verifyInclusion } from "./merkle.ts";
import { formatNote, type Note, type NoteVerifier } from "./note.ts";
import type { LedgerReader } from "./reader.ts";

const FIRST = "c2sp.org/tlog-proof@v1";

/** A proof as read. Nothing in it is verified yet. */
export interface TlogProof {
  readonly index: number;
  readonly path: readonly Uint8Array[];
  /** The checkpoint's note. */
  readonly checkpoint: Uint8Array;
  /** The entry itself, as we write it; not authenticated but by the proof. */
  readonly extra?: Uint8Array;
}

/** The proof as text (c2sp.org/tlog-proof). */
export function formatProof({ index, path, checkpoint, extra }: TlogProof): string {
  const hashes = path.map((hash) => `${toBase64(hash)}\n`).join("");
  const more = extra ? `extra ${toBase64(extra)}\n` : "";
  return `${FIRST}\n${more}index ${index}\n${hashes}\n${checkedUtf8("checkpoint", checkpoint)}`;
}

/** Reads a proof. @throws InputError */
export function parseProof(bytes: Uint8Array): TlogProof {
  const what = "proof";
  const text = checkedUtf8(what, bytes);
  const cut = text.indexOf("\n\n");
  const lines = text.slice(0, Math.max(0, cut)).split("\n");
  if (lines.shift() !== FIRST) throw new InputError(`${what}: it does not begin with ${FIRST}`);
  const extra = lines[0]?.startsWith("extra ")
    ? fromBase64(lines.shift()!.slice(6), what)
    : undefined;
  const index = /^index (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? "")?.[1];
  if (index === undefined || lines.length > 63)
    throw new InputError(`${what}: wanted a line "index N" and at most 63 hashes`);
  const path = lines.map((line) => {
    const hash = fromBase64(line, what);
    if (hash.length !== 32) throw new InputError(`${what}: a hash of ${hash.length} bytes`);
    return hash;
  });
  return {
    index: Number(index),
    path,
    checkpoint: utf8(text.slice(cut + 2)),
    ...(extra && { extra }),
  };
}

/** Proves an entry of a ledger, under its last head or a given note over it (a cosigned one, say). */
export async function proveEntry(
  reader: LedgerReader,
  index: number,
  head: { readonly size: number; readonly note: Note } = reader.head,
): Promise<TlogProof> {
  const extra = await reader.entry(index);
  const path = await inclusionProof(reader.subtrees, index, head.size);
  return { index, path, checkpoint: utf8(formatNote(head.note)), extra };
}

/**
 * Verifies a proof against a log's key.
 * @returns the head and the entry's bytes @throws InputError when it does not hold
 */
export async function verifyProof(
  proof: TlogProof,
  log: NoteVerifier,
  {
    entry = proof.extra,
    witnesses = [],
  }: { entry?: Uint8Array; witnesses?: readonly NoteVerifier[] } = {},
): Promise<{ head: VerifiedCheckpoint; entry: Uint8Array }> {
  const head = await openCheckpoint(proof.checkpoint, log, { witnesses, what: "proof" });
  if (!entry) throw new InputError("proof: it holds no entry; give the entry's bytes");
  const { index, path } = proof;
  if (!verifyInclusion(leafHash(entry), path, { index, size: head.size, root: head.root }))
    throw new InputError(
      `proof: entry ${index} is not in the tree of ${head.size} entries; entry or proof was altered`,
    );
  return { head, entry };
}
