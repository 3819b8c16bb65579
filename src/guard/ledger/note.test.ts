/** C2SP notes, checkpoints and cosignatures: real samples of others, and every way to alter them. */

import { describe, expect, test } from "vitest";
import { InputError } from "../../formats/errors.ts";
import { fromBase64, fromHex, joinBytes, toBase64, utf8 } from "../sign/encoding.ts";
import { generateKey, readPrivateKey } from "../sign/keys.ts";
import { openCheckpoint, parseCheckpoint, signCheckpoint } from "./checkpoint.ts";
import {
  formatNote,
  formatVkey,
  NOTE_TYPE,
  noteVerifier,
  parseNote,
  parseVkey,
  signNote,
  verifyNote,
} from "./note.ts";

/** The example of golang.org/x/mod/sumdb/note, which C2SP's signed-note describes. */
const VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const NOTE = `${TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

/** A checkpoint of a public Certificate Transparency log (2026), cosigned by public witnesses. */
const PUBLIC = `arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
`;
const LOG =
  "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const WITNESSES = [
  "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
  "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
  "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
];

const goKey = () =>
  readPrivateKey(
    `-----BEGIN PRIVATE KEY-----\n${toBase64(
      joinBytes(
        fromHex("302e020100300506032b657004220420", "prefix"),
        fromBase64(SEED).subarray(1),
      ),
    )}\n-----END PRIVATE KEY-----\n`,
  );

describe("signed notes", () => {
  test("the reference note is read, verified, and signed again byte for byte", async () => {
    const verifier = parseVkey(VKEY);
    expect(formatVkey(verifier)).toBe(VKEY);
    const note = parseNote(utf8(NOTE));
    expect(note.text).toBe(TEXT);
    expect(await verifyNote(note, [verifier])).toEqual([{ verifier }]);
    const key = await goKey();
    expect(formatVkey(noteVerifier("PeterNeumann", key.publicKey))).toBe(VKEY);
    const signature = await signNote(TEXT, key, { name: "PeterNeumann" });
    expect(formatNote({ text: TEXT, signatures: [signature] })).toBe(NOTE);
  });

  test("every byte of a note matters", async () => {
    const verifier = parseVkey(VKEY);
    const good = utf8(NOTE);
    for (let at = 0; at < good.length; at++)
      for (const mask of [1, 4, 0x20, 0x80]) {
        const bent = Uint8Array.from(good);
        bent[at]! ^= mask;
        let verified = 0;
        try {
          verified = (await verifyNote(parseNote(bent), [verifier])).length;
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
        expect(verified).toBe(0);
      }
  });

  test("a text with empty lines ends at the last one", () => {
    const text =
      "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n";
    const line =
      "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    expect(parseNote(utf8(`${text}\n${line}`)).text).toBe(text);
  });

  test.each([
    "",
    "text\n",
    "text\n\n",
    "text\n\nno signature\n",
    NOTE.slice(0, -1),
    `${NOTE}\n`,
    NOTE.replace("answer", "ans\u0007er"),
    NOTE.replace("PeterNeumann ", "Peter+Neumann "),
    NOTE.replace("x08go", "x08g"),
  ])("malformed note %#", (text) => expect(() => parseNote(utf8(text))).toThrow(InputError));

  test("manglings of a verifier key are refused", () => {
    for (let from = 0; from <= VKEY.length; from++)
      for (let to = from + 1; to <= VKEY.length; to++)
        if (to - from < VKEY.length)
          expect(() => parseVkey(VKEY.slice(from, to))).toThrow(InputError);
    for (let at = 0; at < VKEY.length; at++) {
      const bent =
        VKEY.slice(0, at) + String.fromCharCode(VKEY.charCodeAt(at) + 1) + VKEY.slice(at + 1);
      expect(() => parseVkey(bent)).toThrow(InputError);
    }
  });
});

describe("checkpoints", () => {
  test("a public log's checkpoint verifies with its key and its witnesses' cosignatures", async () => {
    const witnesses = WITNESSES.map(parseVkey);
    const found = await openCheckpoint(utf8(PUBLIC), parseVkey(LOG), { witnesses });
    expect(found.size).toBe(1432088532);
    expect(found.cosignatures.map((c) => [c.verifier.name, c.time])).toEqual([
      ["witness1.smartit.nu/witness1", 1779573024],
      ["remora.n621.de", 1779573024],
      ["witness.stagemole.eu", 1779573024],
    ]);
    for (const bad of [PUBLIC.replace("1432088532", "1432088533"), PUBLIC.replace("U7WM", "U7WN")])
      await expect(openCheckpoint(utf8(bad), parseVkey(LOG), { witnesses })).rejects.toThrow(
        /wrong/,
      );
    await expect(openCheckpoint(utf8(PUBLIC), parseVkey(VKEY))).rejects.toThrow(/is of the log/);
  });

  test("our own checkpoints and cosignatures verify, and a time cannot be moved", async () => {
    const [log, witness] = [await generateKey(), await generateKey()];
    const root = new Uint8Array(32).fill(7);
    const bytes = await signCheckpoint("example.com/run", { size: 12, root }, log);
    const by = noteVerifier("witness.example", witness.publicKey, NOTE_TYPE.cosignature);
    const { note } = parseCheckpoint(bytes);
    const cosignature = await signNote(note.text, witness, { name: by.name, time: 1700000000.9 });
    const both = formatNote({ ...note, signatures: [...note.signatures, cosignature] });
    const verifier = noteVerifier("example.com/run", log.publicKey);
    const found = await openCheckpoint(utf8(both), verifier, { witnesses: [by] });
    expect(found).toMatchObject({ size: 12, origin: "example.com/run", root });
    expect(found.cosignatures).toEqual([{ verifier: by, time: 1700000000 }]);
    cosignature.signature[7]! ^= 1;
    const moved = formatNote({ ...note, signatures: [...note.signatures, cosignature] });
    await expect(openCheckpoint(utf8(moved), verifier, { witnesses: [by] })).rejects.toThrow(
      /wrong/,
    );
  });

  test("only Ed25519 keys sign notes", async () => {
    const key = await generateKey("p256");
    expect(() => noteVerifier("x", key.publicKey)).toThrow(/Ed25519/);
  });

  test.each(["o\n01\n", "o\n-1\n", "o\n1\n", "o\n1e3\n", "\n1\n", "o\n99999999999999999999\n"])(
    "a checkpoint %j is refused",
    async (start) => {
      const key = await generateKey();
      const text =
        start === "o\n1\n" ? "o\n1\nAAAA\n" : `${start}${toBase64(new Uint8Array(32))}\n`;
      const signature = await signNote(text, key, { name: "o" });
      expect(() => parseCheckpoint(utf8(formatNote({ text, signatures: [signature] })))).toThrow(
        InputError,
      );
    },
  );
});
