/** A witness: signs heads of logs it watches, if each continues the last. C2SP tlog-witness without its HTTP. */

import { checkedUtf8 } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";
import { type Json, parseJson } from "../../formats/json.ts";
import { canonicalBytes, type JsonValue, member } from "../sign/canonical.ts";
import { fromBase64, sameBytes, toBase64, utf8 } from "../sign/encoding.ts";
import type { Signer } from "../sign/keys.ts";
import { openCheckpoint, parseCheckpoint } from "./checkpoint.ts";
import { consistencyProof, emptyRoot, verifyConsistency } from "./merkle.ts";
import {
  formatNote,
  formatSignature,
  formatVkey,
  type NoteVerifier,
  parseVkey,
  signNote,
} from "./note.ts";
import type { LedgerReader } from "./reader.ts";

/** What a witness remembers of a log. This is all its power: it must not be where the log's writer can change it. */
export interface Watched {
  readonly log: NoteVerifier;
  readonly size: number;
  readonly root: Uint8Array;
}

/** Logs by origin. A log that is not here is not known. */
export type WitnessState = ReadonlyMap<string, Watched>;

/** A witness's state as text. */
export const formatState = (state: WitnessState): Uint8Array =>
  canonicalBytes(
    new Map<string, JsonValue>(
      [...state].map(([origin, { log, size, root }]) => [
        origin,
        { log: formatVkey(log), root: toBase64(root), size },
      ]),
    ),
  );

/** Reads a witness's state. @throws InputError: a damaged state is no reason to begin anew */
export function parseState(bytes: Uint8Array): WitnessState {
  const what = "witness state";
  const json = parseJson(checkedUtf8(what, bytes), what);
  if (!(json instanceof Map))
    throw new InputError(`${what}: it is damaged; restore it from a copy`);
  return new Map(
    [...(json as ReadonlyMap<string, Json>)].map(([origin, watched]) => {
      const log = parseVkey(member(watched, "log", { type: "string", what }));
      const root = fromBase64(member(watched, "root", { type: "string", what }), what);
      const size = member(watched, "size", { type: "number", what });
      if (log.name !== origin || root.length !== 32 || !Number.isSafeInteger(size) || size < 0)
        throw new InputError(
          `${what}: what it says of ${origin} is damaged; restore it from a copy`,
        );
      return [origin, { log, size, root }];
    }),
  );
}

/** The state with a log to be watched from its beginning. */
export function watch(state: WitnessState, log: NoteVerifier): WitnessState {
  const known = state.get(log.name);
  if (known && known.log.keyId !== log.keyId)
    throw new InputError(
      `the witness knows ${log.name} with the key ${known.log.keyId}, not ${log.keyId}`,
    );
  return known ? state : new Map(state).set(log.name, { log, size: 0, root: emptyRoot() });
}

/** A request to sign a head: "add-checkpoint" of c2sp.org/tlog-witness. */
export interface AddCheckpoint {
  /** Size of the head that the witness signed last, by the log's belief. */
  readonly old: number;
  /** Consistency proof from there. */
  readonly proof: readonly Uint8Array[];
  readonly checkpoint: Uint8Array;
}

/** The request as text. */
export const formatRequest = ({ old, proof, checkpoint }: AddCheckpoint): string =>
  `old ${old}\n${proof.map((hash) => `${toBase64(hash)}\n`).join("")}\n${checkedUtf8("checkpoint", checkpoint)}`;

/** Reads a request. @throws InputError */
export function parseRequest(bytes: Uint8Array): AddCheckpoint {
  const what = "request to a witness";
  const text = checkedUtf8(what, bytes);
  const cut = text.indexOf("\n\n");
  const lines = text.slice(0, Math.max(0, cut)).split("\n");
  const old = /^old (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? "")?.[1];
  if (old === undefined || lines.length > 63)
    throw new InputError(`${what}: wanted a line "old N", at most 63 hashes and a checkpoint`);
  const proof = lines.map((line) => {
    const hash = fromBase64(line, what);
    if (hash.length !== 32) throw new InputError(`${what}: a hash of ${hash.length} bytes`);
    return hash;
  });
  return { old: Number(old), proof, checkpoint: utf8(text.slice(cut + 2)) };
}

/** The request that a reader of the ledger makes of a witness who last signed `old` entries. */
export async function requestFor(reader: LedgerReader, old: number): Promise<AddCheckpoint> {
  const { head, subtrees } = reader;
  const proof = old > head.size ? [] : await consistencyProof(subtrees, old, head.size);
  return { old, proof, checkpoint: utf8(formatNote(head.note)) };
}

/** The answer, as HTTP would say it. The state must be on the disk before the body leaves the house. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  /** A signature line at 200, the known size at 409, else one sentence. */
  readonly body: string;
  /** Set at 200. */
  readonly state?: WitnessState;
}

/**
 * Judges a head and signs it if it continues the last one. Refuses forks and rollbacks, whoever signed them.
 * @param time seconds since 1970
 */
export async function addCheckpoint(
  state: WitnessState,
  request: AddCheckpoint,
  { signer, name, time }: { signer: Signer; name: string; time: number },
): Promise<WitnessAnswer> {
  const { origin, note } = parseCheckpoint(request.checkpoint);
  const known = state.get(origin);
  if (!known) return { status: 404, body: `the log ${origin} is not watched here\n` };
  let head: { size: number; root: Uint8Array };
  try {
    head = await openCheckpoint(request.checkpoint, known.log);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { status: 403, body: `${error.message}\n` };
  }
  if (request.old > head.size)
    return {
      status: 400,
      body: `the old size ${request.old} is beyond the new one ${head.size}\n`,
    };
  if (request.old !== known.size) return { status: 409, body: `${known.size}\n` };
  if (known.size === head.size && !sameBytes(known.root, head.root))
    return { status: 409, body: `${known.size}\n` };
  if (!verifyConsistency(known, head, request.proof))
    return {
      status: 422,
      body: `the tree of ${head.size} entries does not continue that of ${known.size}: history was rewritten\n`,
    };
  const signature = await signNote(note.text, signer, { name, time });
  return {
    status: 200,
    body: formatSignature(signature),
    state: new Map(state).set(origin, { log: known.log, size: head.size, root: head.root }),
  };
}
