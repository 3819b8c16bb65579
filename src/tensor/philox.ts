/** The Philox4x32-10 block cipher and a hash made of it, in 32-bit integers. Knows nothing of streams or floats. */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** Four 32-bit words. */
export type Words4 = readonly [number, number, number, number];

/** High 32 bits of the 64-bit product, from four 16-bit partial products (doubles would lose the low bits). */
function mulhi(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const lh = Math.imul(al, bh);
  const hl = Math.imul(ah, bl);
  const carry = (Math.imul(al, bl) >>> 16) + (lh & 0xffff) + (hl & 0xffff);
  return (Math.imul(ah, bh) + (lh >>> 16) + (hl >>> 16) + (carry >>> 16)) | 0;
}

/**
 * Philox4x32-10: encrypts a 128-bit counter with a 64-bit key and writes four words to `out[at..at+3]`.
 * Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3.
 */
export function philox(
  out: Uint32Array,
  at: number,
  { counter, key }: { counter: ArrayLike<number>; key: ArrayLike<number> },
): void {
  let c0 = counter[0]!;
  let c1 = counter[1]!;
  let c2 = counter[2]!;
  let c3 = counter[3]!;
  let k0 = key[0]!;
  let k1 = key[1]!;
  for (let round = 0; round < 10; round++) {
    const hi0 = mulhi(M0, c0);
    const lo0 = Math.imul(M0, c0);
    const hi1 = mulhi(M1, c2);
    const lo1 = Math.imul(M1, c2);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/**
 * Hashes bytes into 128 bits: Davies-Meyer over Philox, eight message bytes a step as the key, length last.
 * Good for telling streams apart; not a cryptographic hash.
 * @param start the chaining value: the parent's identity, or a constant for a root
 */
export function hashWords(start: Words4, bytes: Uint8Array): Words4 {
  const state = Uint32Array.from(start);
  const next = new Uint32Array(4);
  const absorb = (low: number, high: number): void => {
    philox(next, 0, { counter: state, key: [low, high] });
    for (let i = 0; i < 4; i++) state[i]! ^= next[i]!;
  };
  const word = (at: number): number =>
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24);
  for (let at = 0; at < bytes.length; at += 8) absorb(word(at), word(at + 4));
  absorb(bytes.length, 0x80000000); // padding cannot be mistaken for content
  return [state[0]!, state[1]!, state[2]!, state[3]!];
}
