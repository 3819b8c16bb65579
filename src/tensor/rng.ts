/**
 * Splittable random streams: chance with a name. The same seed and names give the same numbers on every machine
 * and engine. Not for secrets.
 *
 * The trick: a stream is a 128-bit identity (a Philox key and half of its counter) and a position. Word number p is
 * lane p % 4 of block p / 4, so nothing is remembered but the position, and a child is a hash of the identity and
 * a name: it does not depend on how much of the parent was used. Every variate costs one word.
 */

import { InputError } from "../formats/errors.ts";
import { hashWords, philox, type Words4 } from "./philox.ts";
import { exponential, gumbel, normal } from "./variates.ts";

/** A stream as plain JSON. */
export interface RngState {
  readonly kind: "philox4x32-10";
  /** Identity: two key words, two high counter words. */
  readonly stream: Words4;
  /** Words drawn so far. */
  readonly position: number;
}

/** An independent stream per name, as a tuple as long as the names. */
type Streams<Names extends readonly (string | number)[]> = { [I in keyof Names]: Rng };

const KIND = "philox4x32-10";
const UNIT24 = 1 / 16777216;
const CHUNK = 1024; // words made at once by the fills; fits the first-level cache
const ROOT: Words4 = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]; // digits of pi: nothing up the sleeve

/** A stream of random numbers with a position; see `rng` and `child`. */
export class Rng {
  readonly #stream: Words4;
  readonly #block = new Uint32Array(4);
  #blockIndex = -1;
  #position: number;

  /** Use `rng(seed)` or `fromState(json)`. */
  constructor(stream: Words4, position = 0) {
    this.#stream = stream;
    this.#position = position;
  }

  /** The next 32 random bits, 0 to 2^32-1. */
  uint32(): number {
    const index = Math.floor(this.#position / 4);
    if (index !== this.#blockIndex) {
      this.#cipher(this.#block, 0, index);
      this.#blockIndex = index;
    }
    return this.#block[this.#position++ % 4]!;
  }

  /** Uniform in [0, 1) with 24 bits: exact as a float32. */
  uniform(): number {
    return (this.uint32() >>> 8) * UNIT24;
  }

  /** Uniform integer in [0, n), unbiased by rejection; n is 1 to 2^32. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`rng.int: got n=${n}, want an integer from 1 to 2^32`);
    }
    const fair = 2 ** 32 - (2 ** 32 % n);
    let word = this.uint32();
    while (word >= fair) word = this.uint32();
    return word % n;
  }

  /** Standard normal. */
  normal(): number {
    return normal(this.uint32());
  }

  /** Uniform in [low, high) before rounding to float32. */
  fillUniform(out: Float32Array, { low = 0, high = 1 } = {}): Float32Array {
    return this.#fill(out, (word) => low + (high - low) * ((word >>> 8) * UNIT24));
  }

  /** Normal with the given mean and standard deviation. */
  fillNormal(out: Float32Array, { mean = 0, std = 1 } = {}): Float32Array {
    return this.#fill(out, (word) => mean + std * normal(word));
  }

  /**
   * Normal, redrawn until inside [low, high]. The bounds are absolute, as in torch's `trunc_normal_` (-2 and 2 there),
   * not multiples of `std`.
   */
  fillTruncNormal(out: Float32Array, { mean = 0, std = 1, low = -2, high = 2 } = {}): Float32Array {
    // Beyond these limits redrawing would take hundreds of tries per value, or for ever.
    if (!(low <= mean && mean <= high && std >= 0 && high - low >= std / 100)) {
      throw new RangeError(
        `fillTruncNormal: mean ${mean}, std ${std} hardly ever falls in [${low}, ${high}]; put the mean inside and widen the bounds`,
      );
    }
    for (let i = 0; i < out.length; i++) {
      let x = mean + std * this.normal();
      while (x < low || x > high) x = mean + std * this.normal();
      out[i] = x;
    }
    return out;
  }

  /** Exponential with rate 1. */
  fillExponential(out: Float32Array): Float32Array {
    return this.#fill(out, exponential);
  }

  /** Standard Gumbel: -ln(-ln u); argmax(logits + gumbel) is a draw from softmax(logits). */
  fillGumbel(out: Float32Array): Float32Array {
    return this.#fill(out, gumbel);
  }

  /** The numbers 0 to n-1 in random order (Fisher-Yates). */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const swap = order[i]!;
      order[i] = order[j]!;
      order[j] = swap;
    }
    return order;
  }

  /** The independent stream of that name. Draws nothing; the number 7 and the string "7" are different names. */
  child(name: string | number): Rng {
    return new Rng(hashWords(this.#stream, nameBytes(name)));
  }

  /** One child per name: `const [weights, noise] = rng.split("weights", "noise")`. */
  split<const Names extends readonly (string | number)[]>(...names: Names): Streams<Names> {
    return names.map((name) => this.child(name)) as Streams<Names>;
  }

  /** Everything needed to go on later, as plain JSON. */
  state(): RngState {
    return { kind: KIND, stream: this.#stream, position: this.#position };
  }

  #cipher(out: Uint32Array, at: number, index: number): void {
    const [k0, k1, high0, high1] = this.#stream;
    const counter = [index >>> 0, Math.floor(index / 2 ** 32), high0, high1];
    philox(out, at, { counter, key: [k0, k1] });
  }

  /** One variate per word, so that n values filled equal n values drawn singly. */
  #fill(out: Float32Array, variate: (word: number) => number): Float32Array {
    const words = new Uint32Array(CHUNK);
    let i = 0;
    while (i < out.length && this.#position % 4 !== 0) out[i++] = variate(this.uint32());
    while (i < out.length) {
      const n = Math.min(CHUNK, out.length - i);
      const first = this.#position / 4;
      for (let b = 0; 4 * b < n; b++) this.#cipher(words, 4 * b, first + b);
      for (let j = 0; j < n; j++) out[i + j] = variate(words[j]!);
      this.#position += n;
      i += n;
    }
    return out;
  }
}

/**
 * The root stream of a seed.
 * @param seed a safe integer, a bigint, or any text; 42 and 42n are one seed, "42" is another
 */
export function rng(seed: number | string | bigint): Rng {
  return new Rng(hashWords(ROOT, nameBytes(seed)));
}

/** The stream saved by `state()`; throws InputError when the JSON is not one. */
export function fromState(json: unknown): Rng {
  const { kind, stream, position } = (json ?? {}) as Partial<RngState>;
  const isWord = (w: unknown) =>
    Number.isInteger(w) && (w as number) >= 0 && (w as number) < 2 ** 32;
  const good =
    kind === KIND &&
    Array.isArray(stream) &&
    stream.length === 4 &&
    stream.every(isWord) &&
    Number.isSafeInteger(position) &&
    position! >= 0;
  if (!good) {
    const got = JSON.stringify(json)?.slice(0, 80);
    throw new InputError(
      `random state: got ${got}, want {kind: "${KIND}", stream: 4 words, position}; restore it from a checkpoint`,
    );
  }
  return new Rng([stream[0]!, stream[1]!, stream[2]!, stream[3]!], position);
}

/** Text and integers never give the same bytes: the first byte tells them apart. */
function nameBytes(name: string | number | bigint): Uint8Array {
  if (typeof name === "number" && !Number.isSafeInteger(name)) {
    throw new RangeError(
      `rng: got ${name}, want a safe integer, a bigint or a text as seed or name`,
    );
  }
  return new TextEncoder().encode(typeof name === "string" ? `s${name}` : `n${name}`);
}
