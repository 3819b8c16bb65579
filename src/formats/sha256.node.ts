/** SHA-256 of files on disk, a piece at a time. Compares with nothing. */

import { node } from "./builtins.node.ts";

const PIECE = 4 * 2 ** 20;

export interface HashStep {
  /** Bytes hashed so far. */
  readonly done: number;
  /** Bytes of the file. */
  readonly of: number;
  /** 64 hex digits, in the last step only. */
  readonly sha256?: string;
}

/** A hash written as 64 lower-case hex digits. */
export const isSha256 = (text: unknown): text is string =>
  typeof text === "string" && /^[0-9a-f]{64}$/.test(text);

/** Hashes a file; the last step has the hash. @throws what opening or reading throws, or the signal's reason */
export async function* hashSteps(
  path: string,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<HashStep> {
  const file = await node.fs.open(path, "r");
  try {
    const of = (await file.stat()).size;
    const hash = node.crypto.createHash("sha256");
    const piece = new Uint8Array(PIECE);
    let done = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(piece, 0, PIECE, done);
      if (bytesRead === 0) break;
      hash.update(piece.subarray(0, bytesRead));
      done += bytesRead;
      yield { done, of };
    }
    yield { done, of, sha256: hash.digest("hex") };
  } finally {
    await file.close();
  }
}

/** SHA-256 of a file as 64 hex digits. */
export async function sha256Of(path: string, options?: { signal?: AbortSignal }): Promise<string> {
  let found = "";
  for await (const { sha256 } of hashSteps(path, options)) found = sha256 ?? found;
  return found;
}
