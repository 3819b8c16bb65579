/** A run's own key, made for it alone, vouched for by a key that outlives it and is kept elsewhere. Reads no files. */

import { InputError } from "../../formats/errors.ts";
import { canonicalBytes, type JsonValue, member, parseCanonical } from "../sign/canonical.ts";
import { openEnvelope, readEnvelope, signEnvelope } from "../sign/dsse.ts";
import type { PublicKey, Signer } from "../sign/keys.ts";
import { formatVkey, type NoteVerifier } from "./note.ts";

const PREDICATE = "https://underpaint/run-key/v1";

/** An in-toto statement about the log's key, signed with another; for the `certificate` of a run-start entry. */
export async function certifyLog(log: NoteVerifier, signer: Signer): Promise<JsonValue> {
  const statement = {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: log.name, digest: { sha256: log.key.hint } }],
    predicateType: PREDICATE,
    predicate: { key: formatVkey(log) },
  };
  const envelope = await signEnvelope(signer, canonicalBytes(statement), {
    keyid: signer.publicKey.hint,
  });
  return envelope as unknown as JsonValue;
}

/** @throws InputError where the certificate is absent, another key's, or about another log */
export async function checkCertificate(
  certificate: unknown,
  { log, key }: { log: NoteVerifier; key: PublicKey },
): Promise<void> {
  const what = `the certificate of ${log.name}`;
  if (certificate === undefined || certificate === null)
    throw new InputError(`${what} is missing: this run was started without --certify`);
  const json = parseCanonical(canonicalBytes(certificate as JsonValue), what);
  const payload = await openEnvelope(readEnvelope(json, what), key, { what });
  const statement = parseCanonical(payload, what);
  const type = member(statement, "predicateType", { type: "string", what });
  const predicate = member(statement, "predicate", { type: "object", what });
  if (type !== PREDICATE || member(predicate, "key", { type: "string", what }) !== formatVkey(log))
    throw new InputError(`${what} is about another key than the one that writes this ledger`);
}
