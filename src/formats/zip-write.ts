/** Writes zip archives whose files are stored as they are: pictures are packed already. Reads none (zip.ts), streams none (npz.ts). */

import { viewOf } from "./bytes.ts";
import { crc32 } from "./crc32.ts";
import { InputError } from "./errors.ts";

export interface ZipFile {
  /** With "/" between folders. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Milliseconds since 1970; absent: the format's first day, so that same files give same bytes. */
  readonly time?: number;
}

/** Little-endian fields: [width in bytes, value]. */
export type Fields = readonly (readonly [1 | 2 | 4 | 8, number])[];

/** Fields, and what follows them. */
export function record(fields: Fields, ...rest: readonly Uint8Array[]): Uint8Array {
  const length = fields.reduce((n, [width]) => n + width, 0);
  const out = new Uint8Array(length + rest.reduce((n, part) => n + part.length, 0));
  const view = viewOf(out);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 8) view.setBigUint64(at, BigInt(value), true);
    else if (width === 4) view.setUint32(at, value >>> 0, true);
    else if (width === 2) view.setUint16(at, value, true);
    else view.setUint8(at, value);
    at += width;
  }
  for (const part of rest) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const VERSION = 20;
const UTF8 = 0x0800;
const [MAX16, MAX32] = [0xffff, 0xffffffff];

/**
 * An archive in pieces, in order: for a Blob, or one after the other into a file. PKWARE APPNOTE 6.3, sections 4.3.7 to
 * 4.3.16, without zip64.
 * @throws InputError for two files of one name, a name that leads elsewhere, or more than the format holds
 */
export function zipStored(files: readonly ZipFile[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  const names = new Set<string>();
  let at = 0;
  for (const { name, bytes, time } of files) {
    checkName(name, names);
    names.add(name);
    const path = new TextEncoder().encode(name);
    const common: Fields = [
      [2, VERSION],
      [2, UTF8],
      [2, 0], // stored
      ...dosTime(time),
      [4, crc32(bytes)],
      [4, bytes.length],
      [4, bytes.length],
      [2, path.length],
      [2, 0],
    ];
    const local = record([[4, 0x04034b50], ...common], path);
    const place: Fields = [
      [2, 0], // no comment
      [2, 0],
      [2, 0],
      [4, 0],
      [4, at],
    ];
    directory.push(record([[4, 0x02014b50], [2, VERSION], ...common, ...place], path));
    pieces.push(local, bytes);
    at += local.length + bytes.length;
  }
  const size = directory.reduce((n, { length }) => n + length, 0);
  if (files.length >= MAX16 || at + size >= MAX32)
    throw new InputError(
      `zip: ${files.length} files of ${at} bytes are more than one archive holds (65,534 files, 4 GiB); take fewer`,
      { files: files.length, bytes: at },
    );
  const end: Fields = [
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, files.length],
    [2, files.length],
    [4, size],
    [4, at],
    [2, 0],
  ];
  return [...pieces, ...directory, record(end)];
}

function checkName(name: string, taken: ReadonlySet<string>): void {
  if (taken.has(name)) throw new InputError(`zip: two files are called "${name}"; name one anew`);
  const parts = name.split("/");
  if (name.includes("\\") || parts.some((part) => part === "" || part === "." || part === ".."))
    throw new InputError(`zip: "${name}" is no path within an archive`, { name });
  if (new TextEncoder().encode(name).length > MAX16)
    throw new InputError(`zip: a name has more than ${MAX16} bytes; shorten it`);
}

/** Local time in steps of two seconds, from 1980 to 2107: [time, date]. */
function dosTime(ms: number | undefined): Fields {
  const when = new Date(ms ?? Number.NaN);
  const year = when.getFullYear();
  if (!(year >= 1980 && year <= 2107))
    return [
      [2, 0],
      [2, 0x0021],
    ];
  const time = (when.getHours() << 11) | (when.getMinutes() << 5) | (when.getSeconds() >> 1);
  const date = ((year - 1980) << 9) | ((when.getMonth() + 1) << 5) | when.getDate();
  return [
    [2, time],
    [2, date],
  ];
}
