/** C2SP signed notes: a text and who signed it. Checkpoints are notes; notes know nothing of trees. */

import { checkedUtf8 } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";
import {
  fromBase64,
  fromHex,
  joinBytes,
  sameBytes,
  toBase64,
  toHex,
  utf8,
} from "../sign/encoding.ts";
import { type PublicKey, publicKeyOf, type Signer, verify } from "../sign/keys.ts";
import { sha256 } from "../sign/sha256.ts";

/** Signature types of c2sp.org/signed-note: a log's own Ed25519, and a witness's with a time. */
export const NOTE_TYPE = { ed25519: 1, cosignature: 4 } as const;
export type NoteType = (typeof NOTE_TYPE)[keyof typeof NOTE_TYPE];

const MAX_NOTE = 2 ** 20;
const MAX_SIGNATURES = 64;
const DASH = "\u2014";

/** A key under a name, which may verify notes. */
export interface NoteVerifier {
  readonly name: string;
  readonly type: NoteType;
  /** First four bytes of SHA-256(name, line end, type, key), as 8 hexadecimal figures. */
  readonly keyId: string;
  readonly key: PublicKey;
}

/** One line of a note. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: string;
  readonly signature: Uint8Array;
}

/** A note as read: nothing in it is verified yet. */
export interface Note {
  /** With its last line end. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A key's name may stand in a line: no blanks, no plus. @throws InputError */
export function checkedNoteName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (name === "" || /[\s+\x00-\x1f\x7f]/u.test(name) || utf8(name).length > 255)
    throw new InputError(
      `key name ${JSON.stringify(name)}: wanted 1 to 255 bytes without blanks and plus signs, like example.com/run-7`,
    );
  return name;
}

/** A verifier for a key under a name. @throws InputError for a key that is not Ed25519 */
export function noteVerifier(
  name: string,
  key: PublicKey,
  type: NoteType = NOTE_TYPE.ed25519,
): NoteVerifier {
  if (key.type !== "ed25519")
    throw new InputError(
      `${name}: notes are signed with Ed25519, this key is ${key.type}; make one with: underpaint keygen`,
    );
  const id = sha256(utf8(`${checkedNoteName(name)}\n`), Uint8Array.of(type), key.raw).subarray(
    0,
    4,
  );
  return { name, type, keyId: toHex(id), key };
}

/** A verifier as one line of text: name+id+base64 (C2SP "vkey"). */
export const formatVkey = ({ name, keyId, type, key }: NoteVerifier): string =>
  `${name}+${keyId}+${toBase64(joinBytes(Uint8Array.of(type), key.raw))}`;

/** Reads a vkey. @throws InputError when it is damaged or its id is another key's */
export function parseVkey(text: string): NoteVerifier {
  const what = "verifier key";
  const [name, id, data, more] = splitVkey(text.trim());
  if (more || !name || !id || !data)
    throw new InputError(`${what}: ${JSON.stringify(text)} is not NAME+ID+KEY`);
  const bytes = fromBase64(data, what);
  const type = bytes[0] as NoteType;
  if (!Object.values(NOTE_TYPE).includes(type) || bytes.length !== 33)
    throw new InputError(`${what}: ${name} is of the type ${type}, wanted Ed25519 (1 or 4)`);
  const verifier = noteVerifier(name, publicKeyOf("ed25519", bytes.subarray(1)), type);
  if (toHex(fromHex(id, what, 4)) !== verifier.keyId)
    throw new InputError(`${what}: ${name} says its id is ${id}, it is ${verifier.keyId}`);
  return verifier;
}

/** The key itself is base64 and may hold plus signs; name and id may not. */
function splitVkey(text: string): [string?, string?, string?, string?] {
  const found = /^([^+]+)\+([^+]+)\+(.+)$/.exec(text);
  return found ? [found[1], found[2], found[3]] : [];
}

/** One signature line with its line end. */
export const formatSignature = ({ name, keyId, signature }: NoteSignature): string =>
  `${DASH} ${name} ${toBase64(joinBytes(fromHex(keyId, "key id", 4), signature))}\n`;

/** The note as text. */
export const formatNote = ({ text, signatures }: Note): string =>
  `${text}\n${signatures.map(formatSignature).join("")}`;

/** Reads one signature line without its line end. @throws InputError */
export function parseSignature(line: string, what: string): NoteSignature {
  const found = /^\u2014 (\S+) (\S+)$/u.exec(line);
  if (!found) throw new InputError(`${what}: ${JSON.stringify(line)} is no signature line`);
  const bytes = fromBase64(found[2]!, `${what}: signature`);
  if (bytes.length < 5) throw new InputError(`${what}: a signature of ${bytes.length} bytes`);
  return {
    name: checkedNoteName(found[1]!),
    keyId: toHex(bytes.subarray(0, 4)),
    signature: bytes.subarray(4),
  };
}

/** Reads a note (C2SP signed-note, "Format"). @throws InputError */
export function parseNote(bytes: Uint8Array, what = "signed note"): Note {
  if (bytes.length > MAX_NOTE)
    throw new InputError(`${what}: ${bytes.length} bytes are too many for a note`);
  const whole = checkedUtf8(what, bytes);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a note has none but line ends
  if (/[\x00-\x09\x0b-\x1f]/.test(whole))
    throw new InputError(`${what}: it has control characters`);
  const cut = whole.lastIndexOf("\n\n");
  const lines = whole.slice(cut + 2).split("\n");
  if (cut < 0 || lines.pop() !== "" || lines.length === 0)
    throw new InputError(`${what}: it has no signatures after an empty line`);
  if (lines.length > MAX_SIGNATURES)
    throw new InputError(
      `${what}: it has ${lines.length} signatures, wanted at most ${MAX_SIGNATURES}`,
    );
  return {
    text: whole.slice(0, cut + 1),
    signatures: lines.map((line) => parseSignature(line, what)),
  };
}

const SECONDS = 8;

/** What a witness signs (C2SP tlog-cosignature): a time in seconds and the note's text. */
const cosigned = (text: string, seconds: bigint): Uint8Array =>
  utf8(`cosignature/v1\ntime ${seconds}\n${text}`);

/** Signs a note's text. @param name under which the key is known. @param time seconds since 1970, for cosignatures */
export async function signNote(
  text: string,
  signer: Signer,
  { name, time }: { name: string; time?: number },
): Promise<NoteSignature> {
  if (time === undefined) {
    const { keyId } = noteVerifier(name, signer.publicKey);
    return { name, keyId, signature: await signer.sign(utf8(text)) };
  }
  const { keyId } = noteVerifier(name, signer.publicKey, NOTE_TYPE.cosignature);
  const stamp = new Uint8Array(SECONDS);
  const seconds = BigInt(Math.floor(time));
  new DataView(stamp.buffer).setBigUint64(0, seconds);
  const signature = joinBytes(stamp, await signer.sign(cosigned(text, seconds)));
  return { name, keyId, signature };
}

/** A signature that was verified. */
export interface Verification {
  readonly verifier: NoteVerifier;
  /** Seconds since 1970 at which a witness signed. */
  readonly time?: number;
}

async function holds(text: string, signature: Uint8Array, by: NoteVerifier) {
  if (by.type === NOTE_TYPE.ed25519)
    return (await verify(by.key, utf8(text), signature)) ? { verifier: by } : undefined;
  if (signature.length !== SECONDS + 64) return undefined;
  const seconds = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
  if (seconds > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return (await verify(by.key, cosigned(text, seconds), signature.subarray(SECONDS)))
    ? { verifier: by, time: Number(seconds) }
    : undefined;
}

/**
 * Who of the known signed a note. Signatures of unknown keys are ignored, as the format says.
 * @throws InputError when a known key's signature is wrong
 */
export async function verifyNote(
  { text, signatures }: Note,
  known: readonly NoteVerifier[],
  what = "signed note",
): Promise<Verification[]> {
  const found: Verification[] = [];
  for (const { name, keyId, signature } of signatures) {
    const by = known.find((v) => v.name === name && v.keyId === keyId);
    if (!by) continue;
    const verification = await holds(text, signature, by);
    if (!verification)
      throw new InputError(`${what}: the signature of ${name} is wrong; the note was altered`);
    if (!found.some((f) => f.verifier === by)) found.push(verification);
  }
  return found;
}

/** Whether two verifiers are one key under one name. */
export const sameVerifier = (a: NoteVerifier, b: NoteVerifier): boolean =>
  a.name === b.name && a.type === b.type && sameBytes(a.key.raw, b.key.raw);
