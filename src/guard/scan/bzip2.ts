/** bzip2, decoded. Sizes and tables are checked before they are used. */

import { Damaged, Output, type Unpacked } from "./inflate.ts";

const BLOCK = 0x314159265359n;
const END = 0x177245385090n;
const MAX_BITS = 20;

/** Unpacks all streams up to `max` bytes; keeps what came before any damage. */
export function unbzip2(bytes: Uint8Array, max: number): Unpacked {
  let at = 0;
  let hold = 0;
  let held = 0;
  const out = new Output(max);
  let full = false;

  const bits = (n: number): number => {
    while (held < n) {
      if (at >= bytes.length) throw new Damaged("the stream ends early");
      hold = ((hold << 8) | bytes[at++]!) >>> 0;
      held += 8;
    }
    const value = (hold >>> (held - n)) & ((1 << n) - 1);
    held -= n;
    hold &= (1 << held) - 1;
    return value;
  };
  const big = (n: number): bigint => {
    let value = 0n;
    for (let i = 0; i < n; i += 8) value = (value << 8n) | BigInt(bits(8));
    return value;
  };

  /** Decoder of one Huffman table: limits and bases by length. */
  const table = (lengths: readonly number[]) => {
    const counts = new Array<number>(MAX_BITS + 2).fill(0);
    for (const n of lengths) counts[n]!++;
    const order = lengths
      .map((n, symbol) => [n, symbol] as const)
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([, symbol]) => symbol);
    return () => {
      let code = 0;
      let first = 0;
      let index = 0;
      for (let n = 1; n <= MAX_BITS; n++) {
        code |= bits(1);
        const count = counts[n]!;
        if (code - first < count) return order[index + code - first]!;
        index += count;
        first = (first + count) << 1;
        code <<= 1;
      }
      throw new Damaged("a code that stands for nothing");
    };
  };

  const block = (level: number) => {
    bits(16);
    bits(16); // CRC of the block
    if (bits(1)) throw new Damaged("randomized blocks");
    const origin = bits(24);
    const groups = bits(16);
    const used: number[] = [];
    for (let i = 0; i < 16; i++)
      if (groups & (0x8000 >> i)) {
        const set = bits(16);
        for (let j = 0; j < 16; j++) if (set & (0x8000 >> j)) used.push(i * 16 + j);
      }
    const tables = bits(3);
    const selectors = bits(15);
    if (used.length === 0 || tables < 2 || tables > 6 || selectors === 0)
      throw new Damaged("empty tables");
    const recent = Array.from({ length: tables }, (_, i) => i);
    const choice: number[] = [];
    for (let i = 0; i < selectors; i++) {
      let j = 0;
      while (bits(1)) if (++j >= tables) throw new Damaged("a table that does not exist");
      const [picked] = recent.splice(j, 1);
      recent.unshift(picked!);
      choice.push(picked!);
    }
    const symbols = used.length + 2;
    const decoders = Array.from({ length: tables }, () => {
      const lengths: number[] = [];
      let n = bits(5);
      for (let i = 0; i < symbols; i++) {
        while (bits(1)) n += bits(1) ? -1 : 1;
        if (n < 1 || n > MAX_BITS) throw new Damaged("a code of impossible length");
        lengths.push(n);
      }
      return table(lengths);
    });

    const size = level * 100_000;
    const data = new Uint32Array(size);
    const front = [...used];
    let length = 0;
    let [run, weight] = [0, 1];
    for (let group = 0, left = 0; ; left--) {
      if (left === 0) {
        if (group >= choice.length) throw new Damaged("more symbols than tables");
        left = 50;
        group++;
      }
      const symbol = decoders[choice[group - 1]!]!();
      if (symbol <= 1) {
        run += weight << symbol;
        weight <<= 1;
        if (run > size) throw new Damaged("a run beyond the block");
        continue;
      }
      if (run > 0) {
        if (length + run > size) throw new Damaged("more data than the block");
        data.fill(front[0]!, length, length + run);
        length += run;
        [run, weight] = [0, 1];
      }
      if (symbol === symbols - 1) break;
      const [byte] = front.splice(symbol - 1, 1);
      front.unshift(byte!);
      if (length >= size) throw new Damaged("more data than the block");
      data[length++] = byte!;
    }
    unsort(data, length, origin);
  };

  /** Inverts the Burrows-Wheeler transform and the first run-length code. */
  const unsort = (data: Uint32Array, length: number, origin: number) => {
    if (origin >= length) throw new Damaged("the origin lies outside of the block");
    const starts = new Uint32Array(256);
    for (let i = 0; i < length; i++) starts[data[i]! & 255]!++;
    let sum = 0;
    for (let i = 0; i < 256; i++) {
      const n = starts[i]!;
      starts[i] = sum;
      sum += n;
    }
    for (let i = 0; i < length; i++) {
      const byte = data[i]! & 255;
      data[starts[byte]!]! |= i << 8;
      starts[byte]!++;
    }
    let next = data[origin]! >>> 8;
    let [repeats, last] = [0, -1];
    for (let i = 0; i < length; i++) {
      const entry = data[next]!;
      const byte = entry & 255;
      next = entry >>> 8;
      const count = repeats === 4 ? byte : 1;
      if (!out.room(count)) {
        full = true;
        return;
      }
      if (repeats === 4) {
        out.bytes.fill(last, out.length, out.length + count);
        out.length += count;
        [repeats, last] = [0, -1];
        continue;
      }
      repeats = byte === last ? repeats + 1 : 1;
      last = byte;
      out.bytes[out.length++] = byte;
    }
  };

  try {
    do {
      if (bits(24) !== 0x425a68) throw new Damaged("no bzip2");
      const level = bits(8) - 48;
      if (level < 1 || level > 9) throw new Damaged("an unknown block size");
      for (let magic = big(48); magic !== END; magic = big(48)) {
        if (magic !== BLOCK) throw new Damaged("neither a block nor the end");
        block(level);
        if (full) return { bytes: out.done(), used: at, fault: "limit" };
      }
      bits(16);
      bits(16); // CRC of the stream
      held = 0;
      hold = 0;
    } while (at + 4 <= bytes.length && bytes[at] === 0x42 && bytes[at + 1] === 0x5a);
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    return { bytes: out.done(), used: at, fault: "damaged" };
  }
  return { bytes: out.done(), used: at, fault: undefined };
}
