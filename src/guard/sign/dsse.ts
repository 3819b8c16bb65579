/** DSSE envelopes (Dead Simple Signing Envelope 1.0.2): what is signed is the type and the very bytes of the payload. */

import { InputError } from "../../formats/errors.ts";
import type { Json } from "../../formats/json.ts";
import { member } from "./canonical.ts";
import { fromBase64, joinBytes, toBase64, utf8 } from "./encoding.ts";
import { type PublicKey, type Signer, verify } from "./keys.ts";

/** Payload type of in-toto statements. */
export const IN_TOTO = "application/vnd.in-toto+json";

/** An envelope with decoded bytes. */
export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly { readonly keyid: string; readonly sig: Uint8Array }[];
}

/** An envelope as JSON. */
export interface EnvelopeJson {
  readonly [key: string]: string | readonly { readonly keyid: string; readonly sig: string }[];
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

/** PAE, pre-authentication encoding (DSSE protocol, "Signature Definition"): the bytes that are signed. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = utf8(payloadType);
  return joinBytes(utf8(`DSSEv1 ${type.length} `), type, utf8(` ${payload.length} `), payload);
}

/** Signs a payload. @param keyid an unsigned hint which key it was; verifiers must not trust it */
export async function signEnvelope(
  signer: Signer,
  payload: Uint8Array,
  { payloadType = IN_TOTO, keyid = "" } = {},
): Promise<EnvelopeJson> {
  const sig = toBase64(await signer.sign(preAuthEncoding(payloadType, payload)));
  return { payload: toBase64(payload), payloadType, signatures: [{ keyid, sig }] };
}

/** Reads a parsed envelope. Says nothing of its signatures. @throws InputError */
export function readEnvelope(json: Json | undefined, what: string): Envelope {
  const signatures = member(json, "signatures", { type: "list", what });
  if (signatures.length === 0 || signatures.length > 16)
    throw new InputError(`${what}: wanted 1 to 16 signatures, got ${signatures.length}`);
  return {
    payloadType: member(json, "payloadType", { type: "string", what }),
    payload: fromBase64(member(json, "payload", { type: "string", what }), `${what}: payload`),
    signatures: signatures.map((s) => ({
      // Optional; model-signing 1.0 writes null.
      keyid:
        s instanceof Map && typeof s.get("keyid") === "string" ? (s.get("keyid") as string) : "",
      sig: fromBase64(member(s, "sig", { type: "string", what }), `${what}: signature`),
    })),
  };
}

/** The payload, after one of its signatures proved to be this key's. @throws InputError */
export async function openEnvelope(
  envelope: Envelope,
  key: PublicKey,
  { what, payloadType = IN_TOTO }: { what: string; payloadType?: string },
): Promise<Uint8Array> {
  if (envelope.payloadType !== payloadType)
    throw new InputError(
      `${what}: the payload is ${JSON.stringify(envelope.payloadType)}, wanted ${payloadType}`,
    );
  const signed = preAuthEncoding(payloadType, envelope.payload);
  for (const { sig } of envelope.signatures)
    if (await verify(key, signed, sig)) return envelope.payload;
  throw new InputError(
    `${what}: no signature on it is of the given key; it was altered or signed by another`,
  );
}
