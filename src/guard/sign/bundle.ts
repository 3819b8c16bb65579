/** Sigstore bundles (v0.3) that hold a DSSE envelope and the name of a public key. No certificates, no Rekor. */

import { InputError } from "../../formats/errors.ts";
import { parseJson } from "../../formats/json.ts";
import { member } from "./canonical.ts";
import { type Envelope, openEnvelope, readEnvelope, signEnvelope } from "./dsse.ts";
import { joinBytes, utf8 } from "./encoding.ts";
import { type PublicKey, type Signer, verify } from "./keys.ts";

const MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const what = "signature file";

/** Bytes of a signature file that are read at most: a million files of 100 bytes. */
export const MAX_BUNDLE = 256 * 2 ** 20;

/**
 * Signs a payload into a bundle, member for member as model-signing 1.1 writes one.
 * @returns one line of JSON
 */
export async function signBundle(signer: Signer, payload: Uint8Array): Promise<string> {
  return JSON.stringify({
    mediaType: MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint: signer.publicKey.hint }, tlogEntries: [] },
    dsseEnvelope: await signEnvelope(signer, payload),
  });
}

/** A bundle as read: nothing in it is verified yet. */
export interface Bundle {
  /** SHA-256 of the key's PEM; model-signing 1.0 put the key itself there, which we don't look at. */
  readonly hint?: string;
  readonly envelope: Envelope;
}

function readBundle(text: string): Bundle {
  const json = parseJson(text, what);
  const type = member(json, "mediaType", { type: "string", what });
  if (type !== MEDIA_TYPE)
    throw new InputError(`${what}: it is ${JSON.stringify(type)}, wanted ${MEDIA_TYPE}`);
  const material = member(json, "verificationMaterial", { type: "object", what });
  if (!material.has("publicKey"))
    throw new InputError(
      `${what}: it was signed with ${[...material.keys()].join(", ")}, not with a key; only keys are verified here`,
    );
  const publicKey = member(material, "publicKey", { type: "object", what });
  return {
    ...(publicKey.has("hint") && { hint: member(publicKey, "hint", { type: "string", what }) }),
    envelope: readEnvelope(member(json, "dsseEnvelope", { type: "object", what }), what),
  };
}

/** Reads a signature file: one bundle, or several, one a line (model-signing 1.2). @throws InputError */
export function readBundles(text: string): Bundle[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  // A single bundle may be printed over many lines.
  const isList =
    lines.length > 1 && lines.every((line) => line.startsWith("{") && line.trimEnd().endsWith("}"));
  return (isList ? lines : [text]).map(readBundle);
}

/**
 * The payload that a key signed in one of the bundles.
 * @throws InputError when none is of this key, or the one that is was altered
 */
export async function openBundles(bundles: readonly Bundle[], key: PublicKey): Promise<Uint8Array> {
  const own = bundles.filter(({ hint }) => !hint || hint === key.hint);
  if (own.length === 0)
    throw new InputError(
      `${what}: it was signed with the key ${bundles[0]?.hint}, you gave ${key.hint}; ask the signer which key is right`,
    );
  let refusal: unknown;
  for (const { envelope, hint } of own) {
    try {
      return await openEnvelope(envelope, key, { what });
    } catch (error) {
      if (!hint && (await signedByOldTool(envelope, key))) return envelope.payload;
      refusal = error;
    }
  }
  throw refusal;
}

/**
 * model-signing before 1.0 signed something else by mistake: "DSSEV1" and the payload as Python prints bytes. Its
 * signatures are verified by every later version, hence here.
 */
async function signedByOldTool({ payloadType, payload, signatures }: Envelope, key: PublicKey) {
  const escapes: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };
  const quote = payload.includes(39) && !payload.includes(34) ? '"' : "'";
  let printed = "";
  for (const byte of payload)
    printed +=
      escapes[byte] ??
      (byte === 39 && quote === "'"
        ? "\\'"
        : byte >= 32 && byte < 127
          ? String.fromCharCode(byte)
          : `\\x${byte.toString(16).padStart(2, "0")}`);
  const signed = joinBytes(
    utf8(
      `DSSEV1 ${payloadType.length} ${payloadType} ${payload.length} b${quote}${printed}${quote}`,
    ),
  );
  for (const { sig } of signatures) if (await verify(key, signed, sig)) return true;
  return false;
}
