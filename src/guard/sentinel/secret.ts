/** What the sentinel looks at is chosen by a secret: HMAC-SHA-256, expanded. Never derived from a training seed. */

import { utf8 } from "../sign/encoding.ts";
import { sha256 } from "../sign/sha256.ts";

const BLOCK = 64;

/** HMAC-SHA-256 (RFC 2104): 32 bytes. */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK);
  block.set(key.length > BLOCK ? sha256(key) : key);
  const inner = sha256(
    block.map((b) => b ^ 0x36),
    message,
  );
  return sha256(
    block.map((b) => b ^ 0x5c),
    inner,
  );
}

/** Uniform 32-bit words and what follows from them. */
export interface SecretStream {
  word(): number;
  /** Uniform in 0 to n-1; the bias is below n / 2^32. */
  below(n: number): number;
}

/**
 * The stream of a secret and a purpose: xoshiro128** (Blackman & Vigna 2018), seeded by HMAC. Its numbers are never
 * published, so who does not have the secret cannot say where the next one falls.
 */
export function secretStream(secret: Uint8Array, ...purpose: (string | number)[]): SecretStream {
  const view = new DataView(hmacSha256(secret, utf8(JSON.stringify(purpose))).buffer);
  let [a, b, c, d] = [0, 4, 8, 12].map((at) => view.getInt32(at)) as [
    number,
    number,
    number,
    number,
  ];
  const word = (): number => {
    const product = Math.imul(b, 5);
    const out = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return out;
  };
  return { word, below: (n) => Math.floor((word() / 2 ** 32) * n) };
}

/** Whether a secret choice with that chance falls on an update. */
export const falls = (stream: SecretStream, chance: number): boolean =>
  stream.word() < chance * 2 ** 32;
