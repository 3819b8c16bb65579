/** Certificates of run keys: only the right key, for the right log, unaltered. */

import { expect, test } from "vitest";
import { generateKey } from "../sign/keys.ts";
import { certifyLog, checkCertificate } from "./certificate.ts";
import { noteVerifier } from "./note.ts";

test("a run's key is vouched for by the key that signed it, and by no other", async () => {
  const [run, owner, stranger] = await Promise.all([generateKey(), generateKey(), generateKey()]);
  const log = noteVerifier("underpaint/run", run.publicKey);
  const certificate = await certifyLog(log, owner);
  // As a ledger gives it back.
  const stored: unknown = JSON.parse(JSON.stringify(certificate));
  await expect(checkCertificate(stored, { log, key: owner.publicKey })).resolves.toBeUndefined();
  const { publicKey: key } = owner;
  await expect(checkCertificate(stored, { log, key: stranger.publicKey })).rejects.toThrow();
  const other = noteVerifier("underpaint/run", stranger.publicKey);
  await expect(checkCertificate(stored, { log: other, key })).rejects.toThrow(/another key/);
  const renamed = noteVerifier("underpaint/other", run.publicKey);
  await expect(checkCertificate(stored, { log: renamed, key })).rejects.toThrow(/another key/);
  await expect(checkCertificate(undefined, { log, key })).rejects.toThrow(/without --certify/);
  for (const odd of [null, 1, "x", {}, [], { payload: "", payloadType: "", signatures: [] }])
    await expect(checkCertificate(odd, { log, key })).rejects.toThrow();
});
