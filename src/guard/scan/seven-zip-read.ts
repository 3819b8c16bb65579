/** The directory of a 7z archive (7zFormat.txt of the LZMA SDK): folders of packed streams, and files in them. Unpacks nothing itself. */

import { InputError, viewOf } from "./bytes.ts";

/** One step of unpacking; a chain of them makes a folder. */
export interface Coder {
  /** Hexadecimal, e.g. "030101" for LZMA. */
  readonly method: string;
  readonly setup: Uint8Array;
  /** Bytes that come out. */
  readonly size: number;
}

/** Streams that are unpacked together, and cut into files. */
export interface Folder {
  /** From packed to plain; undefined where streams branch, as BCJ2's do. */
  readonly chain: readonly Coder[] | undefined;
  /** Where the packed bytes lie in the archive. */
  readonly offset: number;
  readonly packed: number;
  /** Plain bytes. */
  readonly size: number;
  /** Sizes of the files inside, and their CRCs where they are given. */
  readonly files: readonly { readonly size: number; readonly crc: number | undefined }[];
}

export interface SevenFile {
  readonly name: string;
  /** A folder of the file system, or an empty file. */
  readonly isEmpty: boolean;
  readonly attributes: number;
}

export interface SevenDirectory {
  readonly folders: readonly Folder[];
  readonly files: readonly SevenFile[];
}

/** Property numbers of the format. */
const ID = {
  end: 0,
  header: 1,
  archive: 2,
  additional: 3,
  streams: 4,
  files: 5,
  pack: 6,
  unpack: 7,
  substreams: 8,
  size: 9,
  crc: 10,
  folder: 11,
  sizes: 12,
  count: 13,
  empty: 14,
  names: 17,
  attributes: 21,
  encoded: 23,
} as const;

const MAX_COUNT = 100_000;
/** Packed streams begin behind the signature header. */
export const START = 32;

const fail = (why: string): never => {
  throw new InputError(`7z: ${why}`);
};

class Reader {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}
  take(n: number): Uint8Array {
    if (!(n <= this.bytes.length - this.at)) return fail("the directory is cut off");
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
  byte(): number {
    return this.take(1)[0]!;
  }
  u32(): number {
    return viewOf(this.take(4)).getUint32(0, true);
  }
  /** The set bits at the top of the first byte say how many bytes follow. */
  number(): number {
    const first = this.byte();
    let value = 0;
    for (let i = 0, mask = 0x80; i < 8; i++, mask >>= 1) {
      if ((first & mask) === 0) return value + (first & (mask - 1)) * 2 ** (8 * i);
      value += this.byte() * 2 ** (8 * i);
    }
    return value;
  }
  count(): number {
    const n = this.number();
    return n <= MAX_COUNT ? n : fail(`${n} of something`);
  }
  bits(n: number): boolean[] {
    const raw = this.take((n + 7) >> 3);
    return Array.from({ length: n }, (_, i) => (raw[i >> 3]! & (0x80 >> (i & 7))) !== 0);
  }
  /** Which of n are given, when not all are. */
  given(n: number): boolean[] {
    return this.byte() === 0 ? this.bits(n) : new Array<boolean>(n).fill(true);
  }
  digests(n: number): (number | undefined)[] {
    return this.given(n).map((here) => (here ? this.u32() : undefined));
  }
  want(id: number): void {
    const got = this.byte();
    if (got !== id) fail(`wanted property ${id} at byte ${this.at - 1}, got ${got}`);
  }
}

// ---- streams ----------------------------------------------------------------------------------

interface RawFolder {
  readonly coders: { method: string; setup: Uint8Array; inputs: number; outputs: number }[];
  readonly binds: { input: number; output: number }[];
  readonly packedInputs: number[];
  sizes: number[];
  crc: number | undefined;
}

function readFolder(r: Reader): RawFolder {
  const coders: RawFolder["coders"] = [];
  const number = r.count();
  if (number < 1 || number > 16) fail(`${number} coders in a folder`);
  for (let i = 0; i < number; i++) {
    const flags = r.byte();
    if (flags & 0xc0) fail("an unknown kind of coder");
    const method = Array.from(r.take(flags & 15), (b) => b.toString(16).padStart(2, "0")).join("");
    const [inputs, outputs] = flags & 0x10 ? [r.count(), r.count()] : [1, 1];
    if (inputs > 16 || outputs > 16) fail("a coder with more than 16 streams");
    coders.push({
      method,
      inputs,
      outputs,
      setup: flags & 0x20 ? r.take(r.count()) : new Uint8Array(0),
    });
  }
  const inputs = coders.reduce((n, c) => n + c.inputs, 0);
  const outputs = coders.reduce((n, c) => n + c.outputs, 0);
  const binds = Array.from({ length: outputs - 1 }, () => ({
    input: r.count(),
    output: r.count(),
  }));
  const packed = inputs - binds.length;
  const free = Array.from({ length: inputs }, (_, i) => i).filter((i) =>
    binds.every((b) => b.input !== i),
  );
  const packedInputs =
    packed > 1 ? Array.from({ length: packed }, () => r.count()) : free.slice(0, 1);
  return { coders, binds, packedInputs, sizes: new Array(outputs).fill(0), crc: undefined };
}

/** The coders in order, where each hands its one stream to the next. */
function chainOf({ coders, binds, packedInputs, sizes }: RawFolder): Coder[] | undefined {
  if (packedInputs.length !== 1 || coders.some((c) => c.inputs !== 1 || c.outputs !== 1))
    return undefined;
  const chain: Coder[] = [];
  for (let i: number | undefined = packedInputs[0]; i !== undefined; ) {
    const coder: RawFolder["coders"][number] | undefined = coders[i];
    if (!coder || chain.length >= coders.length) return fail("coders that run in a circle");
    chain.push({ method: coder.method, setup: coder.setup, size: sizes[i]! });
    const output: number = i;
    i = binds.find((b) => b.output === output)?.input;
  }
  return chain;
}

export function readStreams(r: Reader): Folder[] {
  let [offset, packs, raw] = [START, [] as number[], [] as RawFolder[]];
  let cuts: { size: number; crc: number | undefined }[][] | undefined;
  for (let id = r.byte(); id !== ID.end; id = r.byte()) {
    if (id === ID.pack) {
      offset = START + r.number();
      const n = r.count();
      for (let inner = r.byte(); inner !== ID.end; inner = r.byte())
        if (inner === ID.size) packs = Array.from({ length: n }, () => r.number());
        else if (inner === ID.crc) r.digests(n);
        else fail(`the property ${inner} of packed streams`);
    } else if (id === ID.unpack) {
      r.want(ID.folder);
      const n = r.count();
      if (r.byte() !== 0) fail("a directory in another place");
      raw = Array.from({ length: n }, () => readFolder(r));
      r.want(ID.sizes);
      for (const folder of raw) folder.sizes = folder.sizes.map(() => r.number());
      for (let inner = r.byte(); inner !== ID.end; inner = r.byte())
        if (inner === ID.crc) {
          const crcs = r.digests(n);
          raw.forEach((folder, i) => {
            folder.crc = crcs[i];
          });
        } else fail(`the property ${inner} of folders`);
    } else if (id === ID.substreams) cuts = readSubstreams(r, raw);
    else fail(`the property ${id} of streams`);
  }
  let [at, next] = [offset, 0];
  return raw.map((folder, i) => {
    const sizes = folder.packedInputs.map(
      () => packs[next++] ?? fail("more folders than packed streams"),
    );
    const packed = sizes.reduce((n, size) => n + size, 0);
    at += packed;
    const size = sizeOf(folder);
    const files = cuts?.[i] ?? [{ size, crc: folder.crc }];
    return { chain: chainOf(folder), offset: at - packed, packed, size, files };
  });
}

/** What comes out of a folder: the one stream that no coder takes. */
const sizeOf = ({ sizes, binds }: RawFolder): number =>
  sizes.find((_, i) => binds.every((b) => b.output !== i)) ?? 0;

function readSubstreams(r: Reader, folders: readonly RawFolder[]) {
  let counts = folders.map(() => 1);
  let id = r.byte();
  if (id === ID.count) {
    counts = folders.map(() => r.count());
    id = r.byte();
  }
  const sizes = folders.map((folder, i) => {
    let left = sizeOf(folder);
    return Array.from({ length: counts[i]! }, (_, j) => {
      const size = j === counts[i]! - 1 ? left : id === ID.size ? r.number() : 0;
      left -= size;
      return left >= 0 ? size : fail("files that are larger than their folder");
    });
  });
  if (id === ID.size) id = r.byte();
  const known = folders.map(({ crc }, i) => counts[i] === 1 && crc !== undefined);
  let crcs: (number | undefined)[] = [];
  for (; id !== ID.end; id = r.byte())
    if (id === ID.crc) crcs = r.digests(counts.reduce((n, c, i) => n + (known[i] ? 0 : c), 0));
    else fail(`the property ${id} of files in folders`);
  let next = 0;
  return sizes.map((list, i) =>
    list.map((size) => ({ size, crc: known[i] ? folders[i]!.crc : crcs[next++] })),
  );
}

// ---- files ------------------------------------------------------------------------------------

function readFiles(r: Reader): SevenFile[] {
  const n = r.count();
  let names: string[] = [];
  let empty: boolean[] = [];
  let attributes: number[] = [];
  for (let id = r.number(); id !== ID.end; id = r.number()) {
    const body = new Reader(r.take(r.number()));
    if (id === ID.empty) empty = body.bits(n);
    else if (id === ID.names) {
      if (body.byte() !== 0) fail("names in another place");
      const text = new TextDecoder("utf-16le").decode(body.bytes.subarray(1));
      names = text.split("\0").slice(0, n);
    } else if (id === ID.attributes) {
      const given = body.given(n);
      if (body.byte() !== 0) fail("attributes in another place");
      attributes = given.map((here) => (here ? body.u32() : 0));
    }
  }
  return Array.from({ length: n }, (_, i) => ({
    name: names[i] ?? "",
    isEmpty: empty[i] ?? false,
    attributes: attributes[i] ?? 0,
  }));
}

/**
 * Reads a directory, or the folder in which it is packed.
 * @param bytes what stands where the signature header says
 */
export function readDirectory(bytes: Uint8Array): { packed: Folder } | SevenDirectory {
  const r = new Reader(bytes);
  const kind = r.byte();
  if (kind === ID.encoded) {
    const [packed] = readStreams(r);
    return packed ? { packed } : fail("a packed directory without a folder");
  }
  if (kind !== ID.header) return fail("there is no directory");
  let folders: Folder[] = [];
  let files: SevenFile[] = [];
  for (let id = r.byte(); id !== ID.end; id = r.byte())
    if (id === ID.archive)
      for (let inner = r.byte(); inner !== ID.end; inner = r.byte()) r.take(r.number());
    else if (id === ID.additional) readStreams(r);
    else if (id === ID.streams) folders = readStreams(r);
    else if (id === ID.files) files = readFiles(r);
    else fail(`the property ${id} of a directory`);
  return { folders, files };
}
