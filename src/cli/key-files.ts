/** Keys and state on disk for the commands that sign and verify: read, made, written once. Prints nothing. */

import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { InputError } from "../formats/errors.ts";
import { type NoteType, type NoteVerifier, noteVerifier, parseVkey } from "../guard/ledger/note.ts";
import {
  type PrivateKey,
  type PublicKey,
  readPrivateKey,
  readPublicKey,
} from "../guard/sign/keys.ts";

/** A key is a few lines. Larger files are something else. */
const MOST = 64 * 1024;

/** Text of a small file. @throws InputError saying what to do when it is not there */
export async function readSmall(file: string, what: string): Promise<string> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    throw new InputError(`${file}: there is no such file; wanted ${what}`, { file });
  });
  if (bytes.length > MOST)
    throw new InputError(`${file}: it has ${bytes.length} bytes; wanted ${what}`, { file });
  return bytes.toString("utf8");
}

/** Reads a private key file. */
export const readKeyFile = async (file: string): Promise<PrivateKey> =>
  readPrivateKey(await readSmall(file, "a private key (make one: underpaint keygen NAME)"), file);

/** Reads a public key file. */
export const readPublicFile = async (file: string): Promise<PublicKey> =>
  readPublicKey(await readSmall(file, "a public key"), file);

/**
 * Reads a key that verifies notes: a file with a vkey (name and key), or a PEM file, whose name then comes from `name`.
 */
export async function readVerifier(
  file: string,
  { name, type }: { name?: string; type?: NoteType } = {},
): Promise<NoteVerifier> {
  const text = await readSmall(file, "a public key (PEM) or a verifier key (NAME+ID+KEY)");
  if (!text.includes("-----BEGIN")) return parseVkey(text);
  if (!name)
    throw new InputError(
      `${file}: a PEM file does not say whose key it is; give the verifier key that the witness printed`,
    );
  return noteVerifier(name, readPublicKey(text, file), type);
}

/** Writes a file that must not be there yet. @throws InputError when it is */
export async function writeNew(file: string, text: string, mode: number): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(file, "wx", mode).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
    throw new InputError(
      `${file} is there already; keys are not overwritten, choose another name`,
      {
        file,
      },
    );
  });
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes a file whole or not at all, on the disk when it resolves. */
export async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const part = `${file}.part`;
  const handle = await open(part, "w", 0o644);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(part, file);
}
