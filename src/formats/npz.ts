/**
 * NumPy's .npz: arrays by name in a zip. Large ones are read by parts, and written while they are made. What holds
 * pickles is refused.
 */

import { type ByteSource, memorySource, readRange } from "./bytes.ts";
import { crc32 } from "./crc32.ts";
import { BYTES, sizeOf, type Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { NPY_HEADER_MOST, type NpyHeader, npyHeader, readNpy, readNpyHeader } from "./npy.ts";
import { checkZipEntry, readZip, readZipEntry, type ZipEntry } from "./zip.ts";
import { record } from "./zip-write.ts";

/** An array of a .npz: what it is now, its elements later. */
export interface NpzArray {
  readonly dtype: Tensor["dtype"];
  readonly shape: readonly number[];
  /** The whole array. */
  read(): Promise<Tensor>;
  /** Rows `from` to before `to` (of the first axis) as bytes; of compressed arrays only after reading them whole. */
  rows(from: number, to: number): Promise<Uint8Array>;
}

const SUFFIX = ".npy";
/** A compressed array is unpacked in memory. */
const MOST_PACKED = 2 ** 31 - 1;

/** The arrays of a .npz by name, `arr_0` for unnamed ones. @throws InputError where it is none */
export async function readNpz(from: ByteSource | Uint8Array): Promise<Map<string, NpzArray>> {
  const source = from instanceof Uint8Array ? memorySource(from) : from;
  const arrays = new Map<string, NpzArray>();
  for (const [name, entry] of await readZip(source)) {
    if (!name.endsWith(SUFFIX))
      throw new InputError(`npz: "${name}" is no array; want only .npy entries`, { name });
    const short = name.slice(0, -SUFFIX.length);
    arrays.set(short, await openArray(source, short, entry));
  }
  return arrays;
}

async function openArray(source: ByteSource, name: string, entry: ZipEntry): Promise<NpzArray> {
  const what = `npz: array "${name}"`;
  let whole: Promise<Uint8Array> | undefined;
  const unpacked = () => {
    if (entry.size > MOST_PACKED)
      throw new InputError(
        `${what} unpacks to ${entry.size} bytes; save it without compression (np.savez)`,
      );
    whole ??= readZipEntry(source, entry);
    return whole;
  };
  const stored = entry.method === "stored";
  const head = stored
    ? await readRange(source, what, {
        offset: entry.offset,
        length: Math.min(NPY_HEADER_MOST, entry.size),
      })
    : await unpacked();
  const header: NpyHeader = readNpyHeader(head, what);
  const { dtype, shape, length } = header;
  const bytes = sizeOf(shape) * BYTES[dtype];
  if (length + bytes !== entry.size)
    throw new InputError(
      `${what}: ${dtype} [${shape}] takes ${bytes} bytes, the file has ${entry.size - length}`,
    );
  const row = (sizeOf(shape) / Math.max(1, shape[0] ?? 1)) * BYTES[dtype];
  return {
    dtype,
    shape,
    read: async () => readNpy(await unpacked(), what),
    async rows(start, end) {
      if (!stored) return (await unpacked()).subarray(length + start * row, length + end * row);
      return readRange(source, what, {
        offset: entry.offset + length + start * row,
        length: (end - start) * row,
      });
    },
  };
}

/** Compares the checksums of every array, reading the file once. @throws InputError at the first that differs */
export async function checkNpz(source: ByteSource, crc = crc32): Promise<void> {
  for (const [, entry] of await readZip(source)) await checkZipEntry(source, entry, { crc });
}

/** An array to be written: its elements in pieces, together as many bytes as its shape says. */
export interface NpzPart {
  readonly name: string;
  readonly dtype: Tensor["dtype"];
  readonly shape: readonly number[];
  data(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

interface Written {
  readonly name: Uint8Array;
  readonly crc: number;
  readonly size: number;
  readonly offset: number;
}

/**
 * The bytes of a .npz in pieces, uncompressed, zip64 throughout, as `numpy.load` and the evaluator of guided-diffusion
 * read it. Checksums follow the data, so nothing is held in memory. Times are 1980: same arrays, same bytes.
 */
export async function* npzPieces(
  parts: readonly NpzPart[],
  { crc = crc32 }: { crc?: (bytes: Uint8Array, seed: number) => number } = {},
): AsyncGenerator<Uint8Array> {
  const written: Written[] = [];
  let at = 0;
  for (const part of parts) {
    const name = new TextEncoder().encode(part.name + SUFFIX);
    const header = npyHeader(part);
    const wanted = header.length + sizeOf(part.shape) * BYTES[part.dtype];
    let [sum, size] = [crc(header, 0), header.length];
    const local = localHeader(name);
    yield local;
    yield header;
    for await (const piece of part.data()) {
      sum = crc(piece, sum);
      size += piece.length;
      yield piece;
    }
    if (size !== wanted)
      throw new RangeError(`npz: "${part.name}" [${part.shape}] gave ${size} of ${wanted} bytes`);
    const after = descriptor(sum, size);
    yield after;
    written.push({ name, crc: sum, size, offset: at });
    at += local.length + size + after.length;
  }
  const directory = written.map(centralHeader);
  for (const entry of directory) yield entry;
  yield endRecords(written.length, {
    size: directory.reduce((n, entry) => n + entry.length, 0),
    offset: at,
  });
}

const VERSION = 45; // zip64
const FLAGS = 0x0808; // sizes and checksum follow the data; names are UTF-8
const DATE = 0x0021; // 1 January 1980
const FULL = 0xffffffff;

/** Fields shared by both headers of an entry, from "version needed" to the checksum. */
const COMMON = [
  [2, VERSION],
  [2, FLAGS],
  [2, 0], // stored
  [2, 0],
  [2, DATE],
] as const;

const localHeader = (name: Uint8Array): Uint8Array =>
  record(
    [[4, 0x04034b50], ...COMMON, [4, 0], [4, FULL], [4, FULL], [2, name.length], [2, 20]],
    name,
    record([
      [2, 1],
      [2, 16],
      [8, 0],
      [8, 0],
    ]),
  );

const descriptor = (crc: number, size: number): Uint8Array =>
  record([
    [4, 0x08074b50],
    [4, crc],
    [8, size],
    [8, size],
  ]);

const centralHeader = ({ name, crc, size, offset }: Written): Uint8Array =>
  record(
    [
      [4, 0x02014b50],
      [2, VERSION],
      ...COMMON,
      [4, crc],
      [4, FULL],
      [4, FULL],
      [2, name.length],
      [2, 28],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, 0],
      [4, FULL],
    ],
    name,
    record([
      [2, 1],
      [2, 24],
      [8, size],
      [8, size],
      [8, offset],
    ]),
  );

const endRecords = (count: number, { size, offset }: { size: number; offset: number }) =>
  record([
    ...([
      [4, 0x06064b50],
      [8, 44],
      [2, VERSION],
      [2, VERSION],
      [4, 0],
      [4, 0],
      [8, count],
      [8, count],
      [8, size],
      [8, offset],
    ] as const),
    ...([
      [4, 0x07064b50],
      [4, 0],
      [8, offset + size],
      [4, 1],
    ] as const),
    ...([
      [4, 0x06054b50],
      [2, 0],
      [2, 0],
      [2, Math.min(count, 0xffff)],
      [2, Math.min(count, 0xffff)],
      [4, FULL],
      [4, FULL],
      [2, 0],
    ] as const),
  ]);
