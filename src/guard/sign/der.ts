/** The little DER that keys and ECDSA signatures need: lengths, integers, sequences. No general ASN.1. */

import { InputError } from "../../formats/errors.ts";
import { joinBytes } from "./encoding.ts";

/** Tags of X.690 that occur in keys. */
export const TAG = {
  integer: 0x02,
  octets: 0x04,
  oid: 0x06,
  sequence: 0x30,
  curve: 0xa0,
} as const;

/** One element with its tag and length. */
export function writeDer(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = joinBytes(...content);
  const n = body.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return joinBytes(Uint8Array.of(tag, ...length), body);
}

/** Reads elements one after another. @param what opens every error sentence */
export function derReader(bytes: Uint8Array, what: string) {
  let at = 0;
  const fail = (why: string): never => {
    throw new InputError(`${what}: ${why} at byte ${at}; it is no valid DER`, { what, at });
  };
  return {
    get left() {
      return bytes.length - at;
    },
    /** Tag of the next element, undefined at the end. */
    peek: (): number | undefined => bytes[at],
    /** Content of the next element, which must have this tag. */
    next(tag: number): Uint8Array {
      if (bytes[at] !== tag) fail(`wanted tag ${tag}, got ${bytes[at] ?? "the end"}`);
      const first = bytes[at + 1];
      if (first === undefined) return fail("the length is missing");
      const more = first < 128 ? 0 : first & 127;
      if (first === 128 || more > 2) fail("the length is of no use here");
      let length = first < 128 ? first : 0;
      for (let i = 0; i < more; i++) length = length * 256 + (bytes[at + 2 + i] ?? 0);
      // DER has one encoding: the shortest.
      if (more > 0 && length < (more === 1 ? 128 : 256)) fail("the length is not the shortest");
      const start = at + 2 + more;
      if (start + length > bytes.length) fail(`${length} bytes are promised, fewer are left`);
      at = start + length;
      return bytes.subarray(start, at);
    },
    /** Fails when something is left. */
    end(): void {
      if (at !== bytes.length) fail("something follows");
    },
  };
}

/** r and s side by side (as Web Crypto and IEEE P1363 have them) -> DER (as X.509, OpenSSL and Sigstore have them). */
export function ecdsaToDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  const integer = (bytes: Uint8Array) => {
    const start = bytes.findIndex((b) => b !== 0);
    const short = start < 0 ? Uint8Array.of(0) : bytes.subarray(start);
    return writeDer(TAG.integer, short[0]! > 127 ? Uint8Array.of(0) : new Uint8Array(), short);
  };
  return writeDer(TAG.sequence, integer(raw.subarray(0, half)), integer(raw.subarray(half)));
}

/** DER -> r and s side by side, `size` bytes each. Strict: one signature has one DER text. @throws InputError */
export function ecdsaFromDer(der: Uint8Array, size: number): Uint8Array {
  const what = "ECDSA signature";
  const outer = derReader(der, what);
  const inner = derReader(outer.next(TAG.sequence), what);
  outer.end();
  const raw = new Uint8Array(size * 2);
  for (const end of [size, size * 2]) {
    const bytes = inner.next(TAG.integer);
    const [first = 255, second = 0] = bytes;
    const padded = first === 0 && bytes.length > 1;
    if (first > 127 || (padded && second < 128))
      throw new InputError(`${what}: an integer is negative or not the shortest; it is no DER`);
    const short = padded ? bytes.subarray(1) : bytes;
    if (short.length > size)
      throw new InputError(`${what}: an integer has ${short.length} bytes, the curve ${size}`);
    raw.set(short, end - short.length);
  }
  inner.end();
  return raw;
}
