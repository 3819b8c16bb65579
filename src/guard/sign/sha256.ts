/** SHA-256 in plain JavaScript, synchronous, the same in every runtime. For big files on disk Node's own is faster. */

/** FIPS 180-4, 4.2.2: first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const K = new Int32Array(64);
/** FIPS 180-4, 5.3.3: the same of the square roots of the first 8 primes. */
const START = new Int32Array(8);

// Roots of primes below 312 as doubles keep 52 bits, 32 of them behind a point that stands after at most 5.
for (let n = 2, found = 0; found < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
  if (!prime) continue;
  const fraction = (x: number) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  if (found < 8) START[found] = fraction(Math.sqrt(n));
  K[found++] = fraction(Math.cbrt(n));
}

const rotr = (x: number, n: number): number => (x >>> n) | (x << (32 - n));

function compress(state: Int32Array, w: Int32Array): void {
  for (let t = 16; t < 64; t++) {
    const [a, b] = [w[t - 15]!, w[t - 2]!];
    const s0 = rotr(a, 7) ^ rotr(a, 18) ^ (a >>> 3);
    const s1 = rotr(b, 17) ^ rotr(b, 19) ^ (b >>> 10);
    w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0;
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let t = 0; t < 64; t++) {
    const s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[t]! + w[t]!) | 0;
    const s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i] = (state[i]! + value) | 0;
}

/** A hash that is fed piece by piece. */
export interface Hasher {
  /** Takes more bytes. */
  update(bytes: Uint8Array): Hasher;
  /** 32 bytes. The hasher is used up. */
  digest(): Uint8Array;
}

/** A running SHA-256 (FIPS 180-4). */
export function createSha256(): Hasher {
  const state = Int32Array.from(START);
  const w = new Int32Array(64);
  const block = new Uint8Array(64);
  const view = new DataView(block.buffer);
  let filled = 0;
  let total = 0;
  const turn = () => {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(i * 4);
    compress(state, w);
    filled = 0;
  };
  const hasher: Hasher = {
    update(bytes) {
      total += bytes.length;
      for (let at = 0; at < bytes.length; ) {
        const take = Math.min(64 - filled, bytes.length - at);
        block.set(bytes.subarray(at, at + take), filled);
        filled += take;
        at += take;
        if (filled === 64) turn();
      }
      return hasher;
    },
    digest() {
      const bits = BigInt(total) * 8n;
      block[filled++] = 0x80;
      if (filled > 56) {
        block.fill(0, filled);
        turn();
      }
      block.fill(0, filled, 56);
      view.setBigUint64(56, bits);
      turn();
      const out = new Uint8Array(32);
      for (const [i, word] of state.entries()) new DataView(out.buffer).setInt32(i * 4, word);
      return out;
    },
  };
  return hasher;
}

/** SHA-256 of some bytes, 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hasher = createSha256();
  for (const part of parts) hasher.update(part);
  return hasher.digest();
}
