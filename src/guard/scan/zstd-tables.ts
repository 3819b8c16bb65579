/** The entropy coders of Zstandard: bits read backwards, FSE tables, Huffman trees (RFC 8878, section 4). */

import { Damaged } from "./inflate.ts";

/** Bits from the end of a range to its beginning; the highest set bit of the last byte is the mark of the end. */
export class BackBits {
  /** Bits that are left; below zero when more were read than there are. */
  left: number;
  constructor(
    readonly bytes: Uint8Array,
    readonly from: number,
    to: number,
  ) {
    const last = to > from ? bytes[to - 1]! : 0;
    if (last === 0) throw new Damaged("a stream of bits without its mark");
    this.left = (to - from) * 8 - Math.clz32(last) + 24 - 1;
  }
  /** The next `n` bits, at most 32; zeros stand before the beginning. */
  read(n: number): number {
    if (n === 0) return 0;
    this.left -= n;
    return this.peekAt(this.left, n);
  }
  /** `n` bits whose lowest is bit `at` of the range. */
  peekAt(at: number, n: number): number {
    let value = 0;
    for (let done = 0; done < n; ) {
      const bit = at + done;
      if (bit < 0) {
        done -= bit;
        continue;
      }
      const have = Math.min(n - done, 8 - (bit & 7));
      const part = (this.bytes[this.from + (bit >> 3)]! >> (bit & 7)) & ((1 << have) - 1);
      value += part * 2 ** done;
      done += have;
    }
    return value;
  }
}

// ---- FSE --------------------------------------------------------------------------------------

/** States of a finite state entropy decoder. */
export interface Fse {
  readonly log: number;
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

/** Builds the states from the probabilities; -1 is "less than one". */
export function fse(counts: readonly number[], log: number): Fse {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  const next = counts.map((n) => (n === -1 ? 1 : n));
  let high = size - 1;
  counts.forEach((n, symbol) => {
    if (n === -1) symbols[high--] = symbol;
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  counts.forEach((n, symbol) => {
    for (let i = 0; i < n; i++) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at > high);
    }
  });
  if (at !== 0) throw new Damaged("probabilities that do not fill their table");
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const x = next[symbols[state]!]!++;
    bits[state] = log - (31 - Math.clz32(x));
    bases[state] = (x << bits[state]!) - size;
  }
  return { log, symbols, bits, bases };
}

/** One symbol for ever. */
export const constant = (symbol: number): Fse => ({
  log: 0,
  symbols: Uint8Array.of(symbol),
  bits: Uint8Array.of(0),
  bases: Uint16Array.of(0),
});

/** Reads a table's description; returns the table and where it ends. */
export function readFse(
  bytes: Uint8Array,
  start: number,
  { end, maxLog, maxSymbol }: { end: number; maxLog: number; maxSymbol: number },
): { table: Fse; at: number } {
  let bit = start * 8;
  const peek = (n: number): number => {
    let value = 0;
    for (let i = 0; i < n; i++) {
      const byte = (bit + i) >> 3;
      if (byte < end) value |= ((bytes[byte]! >> ((bit + i) & 7)) & 1) << i;
    }
    return value;
  };
  const take = (n: number): number => {
    const value = peek(n);
    bit += n;
    return value;
  };
  const log = take(4) + 5;
  if (log > maxLog) throw new Damaged("a table that is too large");
  const counts: number[] = [];
  let left = (1 << log) + 1;
  while (left > 1) {
    if (counts.length > maxSymbol || bit > end * 8) throw new Damaged("too many symbols");
    const width = 32 - Math.clz32(left);
    const spare = (1 << width) - 1 - left;
    let value = peek(width - 1);
    if (value < spare) bit += width - 1;
    else {
      value = take(width);
      if (value >= 1 << (width - 1)) value -= spare;
    }
    const count = value - 1;
    left -= Math.abs(count);
    if (left < 1) throw new Damaged("probabilities that sum to too much");
    counts.push(count);
    if (count !== 0) continue;
    for (let more = 3; more === 3; ) {
      more = take(2);
      for (let i = 0; i < more; i++) counts.push(0);
    }
  }
  if (counts.length > maxSymbol + 1) throw new Damaged("too many symbols");
  const at = (bit + 7) >> 3;
  if (at > end) throw new Damaged("the stream ends early");
  return { table: fse(counts, log), at };
}

// ---- Huffman ----------------------------------------------------------------------------------

/** By the next `log` bits: symbol, and how many of them its code has. */
export interface Huffman {
  readonly log: number;
  readonly symbols: Uint8Array;
  readonly lengths: Uint8Array;
}

function fromWeights(weights: number[]): Huffman {
  const sum = weights.reduce((n, w) => n + (w > 0 ? 1 << (w - 1) : 0), 0);
  if (sum === 0) throw new Damaged("a tree without symbols");
  const log = 32 - Math.clz32(sum);
  const rest = (1 << log) - sum;
  if (log > 11 || (rest & (rest - 1)) !== 0) throw new Damaged("a tree that is not whole");
  const all = [...weights, 32 - Math.clz32(rest)];
  const symbols = new Uint8Array(1 << log);
  const lengths = new Uint8Array(1 << log);
  let at = 0;
  for (let weight = 1; weight <= log; weight++)
    all.forEach((w, symbol) => {
      if (w !== weight) return;
      const width = 1 << (w - 1);
      symbols.fill(symbol, at, at + width);
      lengths.fill(log + 1 - w, at, at + width);
      at += width;
    });
  return { log, symbols, lengths };
}

/** Reads a tree's description; returns the tree and where it ends. */
export function readHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
): { tree: Huffman; at: number } {
  const head = start < end ? bytes[start]! : 0;
  const from = start + 1;
  const weights: number[] = [];
  if (head >= 128) {
    const count = head - 127;
    const to = from + ((count + 1) >> 1);
    if (to > end) throw new Damaged("the stream ends early");
    for (let i = 0; i < count; i++) {
      const byte = bytes[from + (i >> 1)]!;
      weights.push(i & 1 ? byte & 15 : byte >> 4);
    }
    return { tree: fromWeights(weights), at: to };
  }
  const to = from + head;
  if (head === 0 || to > end) throw new Damaged("the stream ends early");
  const { table, at } = readFse(bytes, from, { end: to, maxLog: 6, maxSymbol: 12 });
  const bits = new BackBits(bytes, at, to);
  const states = [bits.read(table.log), bits.read(table.log)];
  // Two states take turns; when the bits run out, the other has one symbol left.
  for (let i = 0; weights.length < 255; i ^= 1) {
    const state = states[i]!;
    weights.push(table.symbols[state]!);
    states[i] = table.bases[state]! + bits.read(table.bits[state]!);
    if (bits.left < 0) {
      weights.push(table.symbols[states[i ^ 1]!]!);
      break;
    }
  }
  return { tree: fromWeights(weights), at: to };
}
