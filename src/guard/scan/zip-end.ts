/** The end records of a zip archive, and where readers differ on which one counts. Members are in zip-read.ts. */

import { type ByteSource, byteText, viewOf } from "./bytes.ts";
import { peek } from "./part.ts";

const END = 0x06054b50;
const LOCATOR64 = 0x07064b50;
const END64 = 0x06064b50;
const MAX32 = 0xffffffff;
const MAX16 = 0xffff;
/** An end record lies in the last 64 KiB. */
const TAIL = 22 + MAX16 + 76;
/** The beginning of any zip record. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: signatures hold them
const RECORD = /PK[\x01-\x07][\x02-\x08]/;

/** What the end record says of the directory. */
export interface End {
  readonly at: number;
  readonly count: number;
  readonly size: number;
  readonly offset: number;
}

export const u64 = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));

/** Told of everything that readers see differently. */
export type ZipNote = (rule: string, at: number, why: string, effect?: string) => void;

/** Whether the source ends like a zip archive whose directory is where the end record says. */
export async function endsAsZip(source: ByteSource): Promise<boolean> {
  const tail = await peek(source, source.size - TAIL, TAIL);
  return lastEnd(tail) >= 0;
}

/** The last end record whose comment fits before the end of the bytes. */
function lastEnd(tail: Uint8Array): number {
  const view = viewOf(tail);
  for (let at = tail.length - 22; at >= 0; at--)
    if (tail[at] === 0x50 && view.getUint32(at, true) === END) {
      if (at + 22 + view.getUint16(at + 20, true) <= tail.length) return at;
    }
  return -1;
}

/** The end record that most readers take, zip64 included; undefined when there is none. */
export async function readEnd(source: ByteSource, note: ZipNote): Promise<End | undefined> {
  const tail = await peek(source, source.size - TAIL, TAIL);
  const start = source.size - tail.length;
  const at = lastEnd(tail);
  if (at < 0) return undefined;
  const view = viewOf(tail);
  const u16 = (o: number) => view.getUint16(at + o, true);
  const u32 = (o: number) => view.getUint32(at + o, true);
  const comment = u16(20);
  const after = tail.length - at - 22;
  if (after > comment) note("zip-tail", start + at, `${after - comment} bytes follow the archive`);
  if (comment > 0 && RECORD.test(byteText(tail.subarray(at + 22))))
    note("zip-comment", start + at, "the comment holds records of another archive");
  for (let i = 0; i < at; i++)
    if (tail[i] === 0x50 && i + 22 <= at && view.getUint32(i, true) === END) {
      note("zip-ends", start + i, "there are two end records");
      break;
    }
  if (u16(4) !== 0 || u16(6) !== 0) note("zip-disks", start + at, "the archive names other disks");
  if (u16(8) !== u16(10)) note("zip-count", start + at, "the two entry counts differ");
  const end: End = { at: start + at, count: u16(10), size: u32(12), offset: u32(16) };
  if (at >= 20 && view.getUint32(at - 20, true) === LOCATOR64) {
    const wide = await readEnd64(source, u64(view, at - 12), note);
    if (wide) {
      const agrees = (narrow: number, value: number, full: number) =>
        narrow === full || narrow === value;
      if (
        !agrees(end.count, wide.count, MAX16) ||
        !agrees(end.size, wide.size, MAX32) ||
        !agrees(end.offset, wide.offset, MAX32)
      )
        note("zip-ends", wide.at, "the two end records disagree");
      return wide;
    }
  }
  return end;
}

async function readEnd64(source: ByteSource, at: number, note: ZipNote): Promise<End | undefined> {
  const raw = await peek(source, at, 56);
  if (raw.length < 56 || viewOf(raw).getUint32(0, true) !== END64) {
    note("zip-ends", at, "the zip64 end record is not where its locator says");
    return undefined;
  }
  const view = viewOf(raw);
  if (view.getUint32(16, true) !== 0 || view.getUint32(20, true) !== 0)
    note("zip-disks", at, "the archive names other disks");
  return { at, count: u64(view, 32), size: u64(view, 40), offset: u64(view, 48) };
}
