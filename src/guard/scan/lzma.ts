/** LZMA, LZMA2 and the xz container, decoded. Written from the LZMA specification (Igor Pavlov, 2015) and the xz file format. */

import { viewOf } from "./bytes.ts";
import { Damaged, Full, guarded, type Output, type Unpacked } from "./inflate.ts";

const PROB = 1024;
const probs = (n: number) => new Uint16Array(n).fill(PROB);

/** Lengths of matches: short, middle, long. */
const lengths = () => ({
  choice: probs(2),
  low: probs(16 << 3),
  mid: probs(16 << 3),
  high: probs(256),
});

interface Settings {
  readonly lc: number;
  readonly lp: number;
  readonly pb: number;
}

function settings(byte: number): Settings {
  if (byte >= 225) throw new Damaged("unknown settings");
  return { lc: byte % 9, lp: Math.floor(byte / 9) % 5, pb: Math.floor(byte / 45) };
}

/** The decoder's memory between chunks. */
class Lzma {
  readonly out: Output;
  #start: number;
  #state = 0;
  #reps = [0, 0, 0, 0];
  #settings: Settings = { lc: 3, lp: 0, pb: 2 };
  #literal = probs(0x300 << 3);
  #isMatch = probs(12 << 4);
  #isRep = probs(12);
  #isRep0 = probs(12);
  #isRep1 = probs(12);
  #isRep2 = probs(12);
  #isRep0Long = probs(12 << 4);
  #slots = probs(4 << 6);
  #special = probs(115);
  #align = probs(16);
  #length = lengths();
  #repLength = lengths();

  constructor(out: Output) {
    this.out = out;
    this.#start = out.length;
  }

  dictionary(): void {
    this.#start = this.out.length;
  }

  reset(to: Settings = this.#settings): void {
    this.#settings = to;
    this.#state = 0;
    this.#reps = [0, 0, 0, 0];
    this.#literal = probs(0x300 << (to.lc + to.lp));
    for (const table of [
      this.#isMatch,
      this.#isRep,
      this.#isRep0,
      this.#isRep1,
      this.#isRep2,
      this.#isRep0Long,
      this.#slots,
      this.#special,
      this.#align,
    ])
      table.fill(PROB);
    this.#length = lengths();
    this.#repLength = lengths();
  }

  /** Decodes until `size` bytes came out (or the end mark, when size is unknown). Returns where the input was left. */
  run(bytes: Uint8Array, from: number, to: number, size: number | undefined): number {
    const { out } = this;
    const { lc, lp, pb } = this.#settings;
    const stop = size === undefined ? Number.POSITIVE_INFINITY : out.length + size;
    let at = from + 5;
    if (at > to || bytes[from] !== 0) throw new Damaged("the range coder does not begin with zero");
    let code = viewOf(bytes).getUint32(from + 1, false);
    let range = 0xffffffff;
    const normalize = () => {
      if (range < 0x1000000) {
        if (at >= to) throw new Damaged("the stream ends early");
        range = (range << 8) >>> 0;
        code = ((code << 8) | bytes[at++]!) >>> 0;
      }
    };
    const bit = (table: Uint16Array, i: number): number => {
      const p = table[i]!;
      const bound = (range >>> 11) * p;
      let value: number;
      if (code < bound) {
        table[i] = p + ((2048 - p) >> 5);
        range = bound;
        value = 0;
      } else {
        table[i] = p - (p >> 5);
        range -= bound;
        code -= bound;
        value = 1;
      }
      normalize();
      return value;
    };
    const direct = (n: number): number => {
      let value = 0;
      for (let i = 0; i < n; i++) {
        range >>>= 1;
        const over = code >= range ? 1 : 0;
        if (over) code -= range;
        value = value * 2 + over;
        normalize();
      }
      return value;
    };
    const tree = (table: Uint16Array, n: number, offset = 0): number => {
      let m = 1;
      for (let i = 0; i < n; i++) m = (m << 1) | bit(table, offset + m);
      return m - (1 << n);
    };
    const reverse = (table: Uint16Array, n: number, offset = 0): number => {
      let m = 1;
      let value = 0;
      for (let i = 0; i < n; i++) {
        const b = bit(table, offset + m);
        m = (m << 1) | b;
        value |= b << i;
      }
      return value;
    };
    const matchLength = (table: ReturnType<typeof lengths>, position: number): number => {
      if (bit(table.choice, 0) === 0) return tree(table.low, 3, position << 3);
      if (bit(table.choice, 1) === 0) return 8 + tree(table.mid, 3, position << 3);
      return 16 + tree(table.high, 8);
    };
    const reps = this.#reps;
    while (out.length < stop) {
      const position = (out.length - this.#start) & ((1 << pb) - 1);
      const state = this.#state;
      if (bit(this.#isMatch, (state << 4) + position) === 0) {
        const last = out.length > this.#start ? out.bytes[out.length - 1]! : 0;
        const base =
          0x300 * ((((out.length - this.#start) & ((1 << lp) - 1)) << lc) + (last >> (8 - lc)));
        let symbol = 1;
        if (state >= 7) {
          if (reps[0]! >= out.length - this.#start)
            throw new Damaged("a distance before the start");
          let match = out.bytes[out.length - reps[0]! - 1]!;
          do {
            const matchBit = (match >> 7) & 1;
            match <<= 1;
            const b = bit(this.#literal, base + ((1 + matchBit) << 8) + symbol);
            symbol = (symbol << 1) | b;
            if (matchBit !== b) break;
          } while (symbol < 256);
        }
        while (symbol < 256) symbol = (symbol << 1) | bit(this.#literal, base + symbol);
        if (!out.room(1)) throw new Full();
        out.bytes[out.length++] = symbol & 255;
        this.#state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      let length: number;
      if (bit(this.#isRep, state) !== 0) {
        if (out.length === this.#start) throw new Damaged("a repeat of nothing");
        if (bit(this.#isRep0, state) === 0) {
          if (bit(this.#isRep0Long, (state << 4) + position) === 0) {
            this.#state = state < 7 ? 9 : 11;
            this.#copy(reps[0]!, 1);
            continue;
          }
        } else {
          let distance: number;
          if (bit(this.#isRep1, state) === 0) distance = reps[1]!;
          else {
            if (bit(this.#isRep2, state) === 0) distance = reps[2]!;
            else {
              distance = reps[3]!;
              reps[3] = reps[2]!;
            }
            reps[2] = reps[1]!;
          }
          reps[1] = reps[0]!;
          reps[0] = distance;
        }
        length = matchLength(this.#repLength, position);
        this.#state = state < 7 ? 8 : 11;
      } else {
        reps[3] = reps[2]!;
        reps[2] = reps[1]!;
        reps[1] = reps[0]!;
        length = matchLength(this.#length, position);
        this.#state = state < 7 ? 7 : 10;
        const slot = tree(this.#slots, 6, Math.min(length, 3) << 6);
        if (slot < 4) reps[0] = slot;
        else {
          const n = (slot >> 1) - 1;
          const base = (2 | (slot & 1)) * 2 ** n;
          reps[0] =
            slot < 14
              ? base + reverse(this.#special, n, base - slot)
              : base + direct(n - 4) * 16 + reverse(this.#align, 4);
        }
        if (reps[0] === 0xffffffff) {
          if (size === undefined) return at;
          throw new Damaged("an end mark inside the data");
        }
      }
      this.#copy(reps[0]!, Math.min(length + 2, stop - out.length));
    }
    return at;
  }

  #copy(distance: number, length: number): void {
    const { out } = this;
    if (distance >= out.length - this.#start) throw new Damaged("a distance before the start");
    if (!out.room(length)) throw new Full();
    out.copy(distance + 1, length);
  }
}

/** The old .lzma format: settings, dictionary size, size or -1. */
export const unlzma = (bytes: Uint8Array, max: number): Unpacked =>
  guarded(max, (out) => {
    if (bytes.length < 18) throw new Damaged("the stream ends early");
    const decoder = new Lzma(out);
    decoder.reset(settings(bytes[0]!));
    const size = viewOf(bytes).getBigUint64(5, true);
    return decoder.run(
      bytes,
      13,
      bytes.length,
      size === 0xffffffffffffffffn ? undefined : Number(size),
    );
  });

/** Zip's method 14: a version, the length of the settings, the settings, the stream. */
export const unzipLzma = (bytes: Uint8Array, max: number): Unpacked =>
  guarded(max, (out) => {
    if (bytes.length < 14 || bytes[2] !== 5) throw new Damaged("unknown settings");
    const decoder = new Lzma(out);
    decoder.reset(settings(bytes[4]!));
    return decoder.run(bytes, 9, bytes.length, undefined);
  });

/** LZMA as 7z holds it: settings and dictionary size apart. @param size bytes that come out */
export const unlzmaRaw = (
  bytes: Uint8Array,
  max: number,
  { setup, size }: { setup: Uint8Array; size: number },
): Unpacked =>
  guarded(max, (out) => {
    const decoder = new Lzma(out);
    decoder.reset(settings(setup[0] ?? 255));
    return decoder.run(bytes, 0, bytes.length, size);
  });

/** LZMA2 without a container. */
export const unlzma2 = (bytes: Uint8Array, max: number): Unpacked =>
  guarded(max, (out) => lzma2(bytes, 0, out));

/** Chunks of LZMA2 from `at`; returns where they end. */
function lzma2(bytes: Uint8Array, start: number, out: Output): number {
  const decoder = new Lzma(out);
  let at = start;
  for (;;) {
    if (at >= bytes.length) throw new Damaged("the stream ends early");
    const control = bytes[at++]!;
    if (control === 0) return at;
    if (control < 0x80) {
      if (control > 2) throw new Damaged("an unknown chunk");
      if (at + 2 > bytes.length) throw new Damaged("the stream ends early");
      const length = ((bytes[at]! << 8) | bytes[at + 1]!) + 1;
      at += 2;
      if (control === 1) decoder.dictionary();
      if (at + length > bytes.length) throw new Damaged("the stream ends early");
      if (!out.room(length)) throw new Full();
      out.bytes.set(bytes.subarray(at, at + length), out.length);
      out.length += length;
      at += length;
      continue;
    }
    if (at + 5 > bytes.length) throw new Damaged("the stream ends early");
    const size = (((control & 0x1f) << 16) | (bytes[at]! << 8) | bytes[at + 1]!) + 1;
    const packed = ((bytes[at + 2]! << 8) | bytes[at + 3]!) + 1;
    at += 4;
    const reset = (control >> 5) & 3;
    if (reset === 3) decoder.dictionary();
    if (reset >= 2) decoder.reset(settings(bytes[at++]!));
    else if (reset === 1) decoder.reset();
    decoder.run(bytes, at, Math.min(at + packed, bytes.length), size);
    at += packed;
  }
}

/** The xz container: blocks of LZMA2 without other filters. */
export const unxz = (bytes: Uint8Array, max: number): Unpacked =>
  guarded(max, (out) => {
    let at = 0;
    while (at + 12 <= bytes.length && bytes[at] === 0xfd) {
      const check = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64][bytes[at + 7]! & 15]!;
      at += 12;
      while (at < bytes.length && bytes[at] !== 0) {
        const header = (bytes[at]! + 1) * 4;
        const flags = bytes[at + 1]!;
        if ((flags & 3) !== 0) throw new Damaged("more filters than LZMA2");
        let i = at + 2;
        for (const has of [flags & 0x40, flags & 0x80]) if (has) while (bytes[i++]! & 0x80);
        if (bytes[i] !== 0x21) throw new Damaged("a filter that is not LZMA2");
        const end = lzma2(bytes, at + header, out);
        at = end + ((4 - ((end - at - header) & 3)) & 3) + check;
      }
      // The index: its size is in the footer, which ends the stream.
      at = endOfStream(bytes, at);
    }
    return at;
  });

function endOfStream(bytes: Uint8Array, start: number): number {
  for (let at = start; at + 2 <= bytes.length; at++)
    if (bytes[at] === 0x59 && bytes[at + 1] === 0x5a) return at + 2;
  return bytes.length;
}
