/** Deflate, decoded by hand, because a scanner needs what came before the damage and where the data ended. RFC 1951. */

/** What came out. */
export interface Unpacked {
  readonly bytes: Uint8Array;
  /** Packed bytes that were read. */
  readonly used: number;
  /** Why it is not whole: damaged, or more than allowed. */
  readonly fault: "damaged" | "limit" | undefined;
}

/** Bytes that grow up to a limit. */
export class Output {
  bytes: Uint8Array;
  length = 0;
  constructor(readonly max: number) {
    this.bytes = new Uint8Array(Math.min(max, 1 << 16));
  }
  /** Makes room for `n` more; false when the limit does not allow them. */
  room(n: number): boolean {
    const wanted = this.length + n;
    if (wanted > this.max) return false;
    if (wanted > this.bytes.length) {
      const larger = new Uint8Array(Math.min(this.max, Math.max(wanted, this.bytes.length * 2)));
      larger.set(this.bytes.subarray(0, this.length));
      this.bytes = larger;
    }
    return true;
  }
  /** Repeats `length` bytes from `distance` before the end. */
  copy(distance: number, length: number): void {
    const { bytes } = this;
    const to = this.length;
    if (length < 64) for (let i = 0; i < length; i++) bytes[to + i] = bytes[to - distance + i]!;
    else if (distance >= length) bytes.copyWithin(to, to - distance, to - distance + length);
    else if (distance === 1) bytes.fill(bytes[to - 1]!, to, to + length);
    else for (let i = 0; i < length; i++) bytes[to + i] = bytes[to - distance + i]!;
    this.length = to + length;
  }
  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

export class Damaged extends Error {}
export class Full extends Error {}

/** Runs a decoder; keeps what came before the damage or the limit. @param work returns the packed bytes it read */
export function guarded(max: number, work: (out: Output) => number): Unpacked {
  const out = new Output(max);
  let fault: Unpacked["fault"];
  let used = 0;
  try {
    used = work(out);
  } catch (error) {
    if (error instanceof Full) fault = "limit";
    else if (error instanceof Damaged || error instanceof RangeError) fault = "damaged";
    else throw error;
  }
  return { bytes: out.done(), used, fault };
}

/** Codes up to this length are looked up at once; longer ones are rare and walked bit by bit. */
const FAST = 10;

/** The symbols of one Huffman code. */
interface Codes {
  /** By the next FAST bits, lowest first: symbol << 4 | length; 0 where the code is longer. */
  readonly table: Uint16Array;
  /** Codes of each length, and all symbols in order of their codes. */
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

function codes(lengths: ArrayLike<number>): Codes {
  const counts = new Uint16Array(16);
  for (let i = 0; i < lengths.length; i++) counts[lengths[i]!]!++;
  counts[0] = 0;
  const starts = new Uint16Array(17);
  const next = new Uint16Array(17);
  let left = 1;
  for (let n = 1; n < 16; n++) {
    left = (left << 1) - counts[n]!;
    if (left < 0) throw new Damaged("more codes than a length has");
    starts[n + 1] = starts[n]! + counts[n]!;
    next[n + 1] = (next[n]! + counts[n]!) << 1;
  }
  const symbols = new Uint16Array(lengths.length);
  const table = new Uint16Array(1 << FAST);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const n = lengths[symbol]!;
    if (n === 0) continue;
    symbols[starts[n]!++] = symbol;
    const code = next[n]!++;
    if (n > FAST) continue;
    // The stream has the highest bit of a code first.
    let turned = 0;
    for (let i = 0; i < n; i++) turned |= ((code >> i) & 1) << (n - 1 - i);
    for (let i = turned; i < table.length; i += 1 << n) table[i] = (symbol << 4) | n;
  }
  return { table, counts, symbols };
}

const LENGTHS = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258,
];
const LENGTH_BITS = [
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCES = Array.from({ length: 30 }, (_, i) =>
  i < 2 ? i + 1 : (2 + (i & 1)) * 2 ** ((i >> 1) - 1) + 1,
);
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const FIXED = codes(
  Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)),
);
const FIXED_DISTANCES = codes(new Array(30).fill(5));

/** Inflates a raw deflate stream from `at`, up to `max` bytes; keeps what came before any damage. */
export function inflateRaw(bytes: Uint8Array, max: number, start = 0): Unpacked {
  let at = start;
  let hold = 0;
  let held = 0;
  const out = new Output(max);

  const need = (n: number) => {
    while (held < n) {
      if (at >= bytes.length) throw new Damaged("the stream ends early");
      hold |= bytes[at++]! << held;
      held += 8;
    }
  };
  const bits = (n: number): number => {
    need(n);
    const value = hold & ((1 << n) - 1);
    hold >>>= n;
    held -= n;
    return value;
  };
  const symbol = ({ table, counts, symbols }: Codes): number => {
    while (held < 15 && at < bytes.length) {
      hold |= bytes[at++]! << held;
      held += 8;
    }
    const entry = table[hold & ((1 << FAST) - 1)]!;
    const length = entry & 15;
    if (length !== 0 && length <= held) {
      hold >>>= length;
      held -= length;
      return entry >>> 4;
    }
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length < 16; length++) {
      if (length > held) throw new Damaged("the stream ends early");
      code |= (hold >>> (length - 1)) & 1;
      const count = counts[length]!;
      if (code - count < first) {
        hold >>>= length;
        held -= length;
        return symbols[index + code - first]!;
      }
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new Damaged("a code that stands for nothing");
  };
  const stored = () => {
    // Whole bytes that were fetched ahead go back.
    at -= held >> 3;
    hold = 0;
    held = 0;
    if (at + 4 > bytes.length) throw new Damaged("the stream ends early");
    const length = bytes[at]! | (bytes[at + 1]! << 8);
    if ((length ^ 0xffff) !== (bytes[at + 2]! | (bytes[at + 3]! << 8)))
      throw new Damaged("a stored block whose lengths disagree");
    at += 4;
    const have = Math.min(length, bytes.length - at);
    if (!out.room(have)) throw new Full();
    out.bytes.set(bytes.subarray(at, at + have), out.length);
    out.length += have;
    at += have;
    if (have < length) throw new Damaged("the stream ends early");
  };
  const dynamic = (): [Codes, Codes] => {
    const [literals, distances, lengths] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
    const small: number[] = new Array(19).fill(0);
    for (let i = 0; i < lengths; i++) small[ORDER[i]!] = bits(3);
    const table = codes(small);
    const all: number[] = [];
    while (all.length < literals + distances) {
      const code = symbol(table);
      if (code < 16) all.push(code);
      else {
        const [value, times] =
          code === 16
            ? [all.at(-1), 3 + bits(2)]
            : code === 17
              ? [0, 3 + bits(3)]
              : [0, 11 + bits(7)];
        if (value === undefined) throw new Damaged("a repeat of nothing");
        for (let i = 0; i < times; i++) all.push(value);
      }
    }
    if (all.length > literals + distances) throw new Damaged("too many code lengths");
    return [codes(all.slice(0, literals)), codes(all.slice(literals))];
  };
  const block = ([literal, distance]: [Codes, Codes]) => {
    for (;;) {
      const code = symbol(literal);
      if (code < 256) {
        if (out.length >= out.bytes.length && !out.room(1)) throw new Full();
        out.bytes[out.length++] = code;
      } else if (code === 256) return;
      else {
        if (code > 285) throw new Damaged("a length that does not exist");
        const length = LENGTHS[code - 257]! + bits(LENGTH_BITS[code - 257]!);
        const by = symbol(distance);
        if (by > 29) throw new Damaged("a distance that does not exist");
        const far = DISTANCES[by]! + bits(by < 2 ? 0 : (by >> 1) - 1);
        if (far > out.length) throw new Damaged("a distance before the start");
        if (!out.room(length)) throw new Full();
        out.copy(far, length);
      }
    }
  };

  let fault: Unpacked["fault"];
  try {
    for (let last = 0; last === 0; ) {
      last = bits(1);
      const kind = bits(2);
      if (kind === 0) stored();
      else if (kind === 1) block([FIXED, FIXED_DISTANCES]);
      else if (kind === 2) block(dynamic());
      else throw new Damaged("an unknown kind of block");
    }
  } catch (error) {
    if (error instanceof Full) fault = "limit";
    else if (error instanceof Damaged) fault = "damaged";
    else throw error;
  }
  return { bytes: out.done(), used: at - (held >> 3) - start, fault };
}
