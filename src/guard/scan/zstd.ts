/** Zstandard frames, decoded without dictionaries (RFC 8878). Checksums are not compared; tables are in zstd-tables.ts. */

import { viewOf } from "./bytes.ts";
import { Damaged, Full, guarded, type Output, type Unpacked } from "./inflate.ts";
import { isSkippable } from "./lz4.ts";
import {
  BackBits,
  constant,
  type Fse,
  fse,
  type Huffman,
  readFse,
  readHuffman,
} from "./zstd-tables.ts";

const MAGIC = 0xfd2fb528;
const MAX_BLOCK = 128 * 1024;

// ---- codes (RFC 8878, 3.1.1.3.2.1) ------------------------------------------------------------

/** Values by code: each begins where the last ended, and has 2^bits members. */
function ranges(
  first: number,
  bits: readonly number[],
): { bases: number[]; bits: readonly number[] } {
  let base = first;
  const bases = bits.map((n) => {
    base += 2 ** n;
    return base - 2 ** n;
  });
  return { bases, bits };
}
const zeros = (n: number): number[] => new Array<number>(n).fill(0);
const LITERALS = ranges(0, [
  ...zeros(16),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  6,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
]);
const MATCHES = ranges(3, [
  ...zeros(32),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
]);

/** The three tables of sequences: limits, and what stands where none is sent. */
const KINDS = {
  literals: {
    maxLog: 9,
    maxSymbol: 35,
    usual: fse(
      [
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1,
        1, -1, -1, -1, -1,
      ],
      6,
    ),
  },
  offsets: {
    maxLog: 8,
    maxSymbol: 31,
    usual: fse(
      [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
      5,
    ),
  },
  matches: {
    maxLog: 9,
    maxSymbol: 52,
    usual: fse(
      [
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
      ],
      6,
    ),
  },
} as const;
type Kind = keyof typeof KINDS;

/** What blocks of one frame hand on. */
interface Frame {
  readonly out: Output;
  /** Where the frame began in the output. */
  readonly start: number;
  tree: Huffman | undefined;
  readonly tables: Partial<Record<Kind, Fse>>;
  offsets: [number, number, number];
}

// ---- literals ---------------------------------------------------------------------------------

function huffmanStream(tree: Huffman, bits: BackBits, to: Uint8Array): void {
  for (let i = 0; i < to.length; i++) {
    if (bits.left <= 0) throw new Damaged("the stream ends early");
    const code = bits.peekAt(bits.left - tree.log, tree.log);
    to[i] = tree.symbols[code]!;
    bits.left -= tree.lengths[code]!;
  }
  if (bits.left !== 0) throw new Damaged("bits are left in a stream");
}

/** The literals of a block, and where its sequences begin. */
function literalsOf(frame: Frame, bytes: Uint8Array, end: number, from: number) {
  const kind = bytes[from]! & 3;
  const format = (bytes[from]! >> 2) & 3;
  const field = (shift: number, n: number, width: number): number => {
    let value = 0;
    for (let i = 0; i < n; i++) value += (bytes[from + i] ?? 0) * 2 ** (8 * i);
    return Math.floor(value / 2 ** shift) % 2 ** width;
  };
  if (kind < 2) {
    const head = format === 1 ? 2 : format === 3 ? 3 : 1;
    const size = head === 1 ? field(3, 1, 5) : field(4, head, head === 2 ? 12 : 20);
    const at = from + head;
    const length = kind === 0 ? size : 1;
    if (size > MAX_BLOCK || at + length > end) throw new Damaged("the stream ends early");
    const data = kind === 0 ? bytes.subarray(at, at + size) : new Uint8Array(size).fill(bytes[at]!);
    return { data, at: at + length };
  }
  const head = format < 2 ? 3 : format + 2;
  const width = format < 2 ? 10 : format === 2 ? 14 : 18;
  const size = field(4, head, width);
  let at = from + head;
  const stop = at + field(4 + width, head, width);
  if (size > MAX_BLOCK || stop > end) throw new Damaged("the stream ends early");
  if (kind === 2) ({ tree: frame.tree, at } = readHuffman(bytes, at, stop));
  const { tree } = frame;
  if (!tree) throw new Damaged("a tree that was never sent");
  const data = new Uint8Array(size);
  if (format === 0) huffmanStream(tree, new BackBits(bytes, at, stop), data);
  else {
    if (at + 6 > stop) throw new Damaged("the stream ends early");
    const sizes = [0, 2, 4].map((i) => bytes[at + i]! | (bytes[at + i + 1]! << 8));
    const part = (size + 3) >> 2;
    at += 6;
    for (let i = 0; i < 4; i++) {
      const to = i < 3 ? at + sizes[i]! : stop;
      if (to > stop) throw new Damaged("the stream ends early");
      const here = data.subarray(
        Math.min(size, i * part),
        i < 3 ? Math.min(size, (i + 1) * part) : size,
      );
      huffmanStream(tree, new BackBits(bytes, at, to), here);
      at = to;
    }
  }
  return { data, at: stop };
}

// ---- sequences --------------------------------------------------------------------------------

function tableOf(
  frame: Frame,
  kind: Kind,
  mode: number,
  where: { bytes: Uint8Array; at: number; end: number },
) {
  const { maxLog, maxSymbol, usual } = KINDS[kind];
  const { bytes, end } = where;
  if (mode === 0) frame.tables[kind] = usual;
  else if (mode === 1) {
    if (where.at >= end) throw new Damaged("the stream ends early");
    if (bytes[where.at]! > maxSymbol) throw new Damaged("a code that does not exist");
    frame.tables[kind] = constant(bytes[where.at++]!);
  } else if (mode === 2) {
    const { table, at } = readFse(bytes, where.at, { end, maxLog, maxSymbol });
    frame.tables[kind] = table;
    where.at = at;
  }
  const table = frame.tables[kind];
  if (!table) throw new Damaged("a table that was never sent");
  return table;
}

/** The distance of a match, from the code of its offset and the last three. */
function distanceOf(frame: Frame, offset: number, literals: number): number {
  const [a, b, c] = frame.offsets;
  if (offset > 3) {
    frame.offsets = [offset - 3, a, b];
    return offset - 3;
  }
  const nth = offset - 1 + (literals === 0 ? 1 : 0);
  if (nth === 0) return a;
  const distance = nth === 1 ? b : nth === 2 ? c : a - 1;
  frame.offsets = nth === 1 ? [b, a, c] : [distance, a, b];
  return distance;
}

function compressed(frame: Frame, bytes: Uint8Array, from: number, end: number): void {
  const { out } = frame;
  const { data, at: start } = literalsOf(frame, bytes, end, from);
  let used = 0;
  const literals = (n: number) => {
    if (n > data.length - used) throw new Damaged("more literals than were sent");
    if (!out.room(n)) throw new Full();
    out.bytes.set(data.subarray(used, used + n), out.length);
    out.length += n;
    used += n;
  };
  const where = { bytes, at: start, end };
  const byte = (): number => {
    if (where.at >= end) throw new Damaged("the stream ends early");
    return bytes[where.at++]!;
  };
  let count = byte();
  if (count === 255) count = byte() + byte() * 256 + 0x7f00;
  else if (count > 127) count = (count - 128) * 256 + byte();
  if (count > 0) {
    const modes = byte();
    const [ll, of, ml] = [
      tableOf(frame, "literals", modes >> 6, where),
      tableOf(frame, "offsets", (modes >> 4) & 3, where),
      tableOf(frame, "matches", (modes >> 2) & 3, where),
    ];
    const bits = new BackBits(bytes, where.at, end);
    let [l, o, m] = [bits.read(ll.log), bits.read(of.log), bits.read(ml.log)];
    for (let i = 0; i < count; i++) {
      const [lc, oc, mc] = [ll.symbols[l]!, of.symbols[o]!, ml.symbols[m]!];
      const offset = 2 ** oc + bits.read(oc);
      const match = MATCHES.bases[mc]! + bits.read(MATCHES.bits[mc]!);
      const length = LITERALS.bases[lc]! + bits.read(LITERALS.bits[lc]!);
      if (i + 1 < count) {
        l = ll.bases[l]! + bits.read(ll.bits[l]!);
        m = ml.bases[m]! + bits.read(ml.bits[m]!);
        o = of.bases[o]! + bits.read(of.bits[o]!);
      }
      if (bits.left < 0) throw new Damaged("the stream ends early");
      literals(length);
      const distance = distanceOf(frame, offset, length);
      if (distance < 1 || distance > out.length - frame.start)
        throw new Damaged("a distance before the start");
      if (!out.room(match)) throw new Full();
      out.copy(distance, match);
    }
  }
  literals(data.length - used);
}

// ---- frames -----------------------------------------------------------------------------------

/** Unpacks all frames up to `max` bytes; keeps what came before any damage. */
export const unzstd = (bytes: Uint8Array, max: number): Unpacked =>
  guarded(max, (out) => {
    const view = viewOf(bytes);
    let at = 0;
    const need = (n: number): number => {
      if (n > bytes.length - at) throw new Damaged("the stream ends early");
      at += n;
      return at - n;
    };
    while (at < bytes.length) {
      const magic = view.getUint32(need(4), true);
      if (isSkippable(magic)) {
        need(view.getUint32(need(4), true));
        continue;
      }
      if (magic !== MAGIC) {
        if (at === 4) throw new Damaged("no zstd");
        return at - 4;
      }
      const flags = bytes[need(1)]!;
      if (flags & 8) throw new Damaged("an unknown version");
      const single = (flags & 32) !== 0;
      const dictionary = [0, 1, 2, 4][flags & 3]!;
      if (!single) need(1); // window
      if (bytes.subarray(at, at + dictionary).some((b) => b !== 0))
        throw new Damaged("needs a dictionary");
      need(dictionary + [single ? 1 : 0, 2, 4, 8][flags >> 6]!);
      const frame: Frame = {
        out,
        start: out.length,
        tree: undefined,
        tables: {},
        offsets: [1, 4, 8],
      };
      for (let last = 0; last === 0; ) {
        const head = need(3);
        const word = bytes[head]! | (bytes[head + 1]! << 8) | (bytes[head + 2]! << 16);
        last = word & 1;
        const kind = (word >> 1) & 3;
        const size = word >> 3;
        if (kind === 3 || size > MAX_BLOCK) throw new Damaged("an unknown kind of block");
        const from = need(kind === 1 ? 1 : size);
        if (kind === 2) {
          compressed(frame, bytes, from, at);
          continue;
        }
        if (!out.room(size)) throw new Full();
        if (kind === 0) out.bytes.set(bytes.subarray(from, at), out.length);
        else out.bytes.fill(bytes[from]!, out.length, out.length + size);
        out.length += size;
      }
      if (flags & 4) need(4);
    }
    return at;
  });
