/** A model's files by fetch, with the bytes that are here. Parses nothing. */

import { InputError } from "../formats/errors.ts";
import type { LoadingEvent, WebFiles } from "./protocol.ts";

export interface FetchedFiles {
  readonly var: Uint8Array;
  readonly vqvae: Uint8Array;
}

/** Both files at once. @yields as bytes come, and returns them. @throws InputError naming what cannot be had */
export async function* fetchFiles(
  { var: transformer, vqvae }: WebFiles,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<LoadingEvent, FetchedFiles> {
  const parts = await Promise.all([start(transformer, signal), start(vqvae, signal)]);
  const of = parts.every(({ size }) => size) ? parts[0].size! + parts[1].size! : undefined;
  const bytes = () => parts[0].got + parts[1].got;
  const reading = Promise.all(parts.map((part) => part.read()));
  let done = false;
  reading.then(
    () => (done = true),
    () => (done = true),
  );
  while (!done) {
    yield { kind: "loading", bytes: bytes(), of };
    await Promise.race([reading.catch(() => {}), new Promise((next) => setTimeout(next, EVERY))]);
  }
  const [first, second] = await reading;
  yield { kind: "loading", bytes: bytes(), of: bytes() };
  return { var: first!, vqvae: second! };
}

/** Milliseconds between two words on how far it is. */
const EVERY = 100;

interface Part {
  readonly size: number | undefined;
  got: number;
  read(): Promise<Uint8Array>;
}

async function start(from: string | Uint8Array, signal: AbortSignal): Promise<Part> {
  if (typeof from !== "string")
    return { size: from.length, got: from.length, read: async () => from };
  const response = await fetch(from, { signal }).catch((error: Error) => {
    if (error.name === "AbortError") throw error;
    throw new InputError(`${from}: it cannot be fetched (${error.message}); is the server there?`);
  });
  if (!response.ok || !response.body)
    throw new InputError(`${from}: the server answered ${response.status}`, {
      status: response.status,
    });
  // What comes packed has another length than what is read.
  const length = response.headers.get("Content-Encoding")
    ? Number.NaN
    : Number(response.headers.get("Content-Length") ?? Number.NaN);
  const part: Part = {
    size: Number.isSafeInteger(length) && length > 0 ? length : undefined,
    got: 0,
    async read() {
      const chunks: Uint8Array[] = [];
      const reader = response.body!.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        chunks.push(value);
        part.got += value.length;
      }
      const whole = new Uint8Array(part.got);
      let at = 0;
      for (const chunk of chunks) {
        whole.set(chunk, at);
        at += chunk.length;
      }
      return whole;
    },
  };
  return part;
}
