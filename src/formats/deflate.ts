/** Deflate through the platform's web-standard streams, with a limit on what comes out. */

import { concatBytes } from "./bytes.ts";
import { InputError } from "./errors.ts";

type Format = "deflate" | "deflate-raw" | "gzip";

async function pump(
  stream: CompressionStream | DecompressionStream,
  bytes: Uint8Array,
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  const writer = stream.writable.getWriter();
  const fed = writer.write(bytes as Uint8Array<ArrayBuffer>).then(() => writer.close());
  fed.catch(() => {}); // the reader below reports the same failure
  const reader = stream.readable.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      onChunk(value);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Deflates bytes. The result may differ between platforms; what it inflates to does not. */
export async function deflate(bytes: Uint8Array, format: Format = "deflate"): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  await pump(new CompressionStream(format), bytes, (chunk) => void chunks.push(chunk));
  return concatBytes(chunks);
}

/** Deflate cannot shrink by more than this: 258 bytes from a quarter of a byte. */
const MAX_RATIO = 1032;

/**
 * Inflates to at most `maxBytes`, and stops reading there.
 * @param exact when set, fewer bytes are an error too.
 * @param what opens every error sentence.
 */
export async function inflate(
  what: string,
  bytes: Uint8Array,
  {
    format = "deflate",
    maxBytes,
    exact = false,
  }: { format?: Format; maxBytes: number; exact?: boolean },
): Promise<Uint8Array> {
  if (exact && maxBytes > bytes.length * MAX_RATIO)
    throw new InputError(
      `${what}: ${bytes.length} compressed bytes cannot make the ${maxBytes} that are declared`,
      { compressed: bytes.length, declared: maxBytes },
    );
  let out = new Uint8Array(exact ? maxBytes : Math.min(maxBytes, bytes.length * 4));
  let length = 0;
  try {
    await pump(new DecompressionStream(format), bytes, (chunk) => {
      const end = length + chunk.length;
      if (end > maxBytes)
        throw new InputError(`${what}: inflates to more than the ${maxBytes} bytes allowed`, {
          maxBytes,
        });
      if (end > out.length) {
        const larger = new Uint8Array(Math.min(maxBytes, Math.max(end, out.length * 2)));
        larger.set(out.subarray(0, length));
        out = larger;
      }
      out.set(chunk, length);
      length = end;
    });
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${what}: the compressed data is damaged or truncated`);
  }
  if (exact && length !== maxBytes)
    throw new InputError(`${what}: inflates to ${length} bytes, ${maxBytes} are declared`, {
      length,
    });
  return out.subarray(0, length);
}
