/** Large files for the scanner's bench, written by hole where they hold tensors. */

import { open } from "node:fs/promises";
import { crc32 } from "../src/formats/index.ts";
import { le } from "../test/guard/build.ts";
import { join, text } from "../test/guard/samples.ts";

/** A dict of small values: three million opcodes in 16 MB, a thousand entries at a time as pickle.dumps writes them. */
export function manyOpcodes(entries = 500_000): Uint8Array {
  const parts: Uint8Array[] = [text("\x80\x04}\x94")];
  for (let i = 0; i < entries; i++) {
    if (i % 1000 === 0) parts.push(text(i === 0 ? "(" : "u("));
    const key = `layer.${String(i).padStart(7, "0")}.weight`;
    parts.push(
      text(`\x8c${String.fromCharCode(key.length)}${key}\x94J`),
      le(i, 4),
      text("K\x01\x86\x94"),
    );
  }
  parts.push(text("u."));
  return join(parts);
}

/** Writes pieces one after another; a number is a hole of so many bytes. */
async function write(path: string, pieces: readonly (Uint8Array | number)[]): Promise<number> {
  const file = await open(path, "w");
  let at = 0;
  for (const piece of pieces) {
    if (typeof piece !== "number") await file.write(piece, 0, piece.length, at);
    at += typeof piece === "number" ? piece : piece.length;
  }
  await file.truncate(at);
  await file.close();
  return at;
}

/** One float tensor of `size` bytes in safetensors. */
export function safetensors(path: string, size: number): Promise<number> {
  const header = text(
    JSON.stringify({ w: { dtype: "F32", shape: [size / 4], data_offsets: [0, size] } }),
  );
  return write(path, [le(header.length, 8), header, size]);
}

/** One float array of `size` bytes in .npy. */
export function npy(path: string, size: number): Promise<number> {
  const line = `{'descr': '<f4', 'fortran_order': False, 'shape': (${size / 4},), }`.padEnd(117);
  return write(path, [text("\x93NUMPY\x01\0"), le(118, 2), text(`${line}\n`), size]);
}

/** A pickle of one tensor whose storage "0" has `count` floats. */
const tensorPickle = (count: number): Uint8Array => {
  const number = join([text("\x8a\x08"), le(count, 8)]);
  return join([
    text(
      "\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu",
    ),
    number,
    text("tQK\0"),
    number,
    text("\x85K\x01\x85\x89}tRs."),
  ]);
};

/** A torch checkpoint as a zip with sizes of 64 bits, as torch writes large ones. */
export function torchZip(path: string, size: number): Promise<number> {
  const members: [name: string, content: Uint8Array | number][] = [
    ["m/data.pkl", tensorPickle(size / 4)],
    ["m/version", text("3\n")],
    ["m/data/0", size],
  ];
  const pieces: (Uint8Array | number)[] = [];
  const listed: Uint8Array[] = [];
  let at = 0;
  for (const [name, content] of members) {
    const length = typeof content === "number" ? content : content.length;
    // The CRC of a hole is not known; members of that size are not checked.
    const crc = typeof content === "number" ? 0 : crc32(content);
    const shared = join([
      le(45, 2),
      le(0, 4),
      le(0, 2),
      le(0x21, 2),
      le(crc, 4),
      le(0xffffffff, 4),
      le(0xffffffff, 4),
      le(name.length, 2),
    ]);
    const wide = [le(1, 2), le(16, 2), le(length, 8), le(length, 8)];
    const local = join([text("PK\x03\x04"), shared, le(20, 2), text(name), ...wide]);
    listed.push(
      text("PK\x01\x02"),
      le(45, 2),
      shared,
      le(28, 2),
      le(0, 10),
      le(0xffffffff, 4),
      text(name),
    );
    listed.push(le(1, 2), le(24, 2), le(length, 8), le(length, 8), le(at, 8));
    pieces.push(local, content);
    at += local.length + length;
  }
  const directory = join(listed);
  const count = members.length;
  const end64 = join([
    text("PK\x06\x06"),
    le(44, 8),
    le(45, 2),
    le(45, 2),
    le(0, 8),
    le(count, 8),
    le(count, 8),
    le(directory.length, 8),
    le(at, 8),
  ]);
  const locator = join([text("PK\x06\x07"), le(0, 4), le(at + directory.length, 8), le(1, 4)]);
  const end = join([
    text("PK\x05\x06"),
    le(0, 4),
    le(count, 2),
    le(count, 2),
    le(directory.length, 4),
    le(0xffffffff, 4),
    le(0, 2),
  ]);
  return write(path, [...pieces, directory, end64, locator, end]);
}

/** The legacy container of torch. */
export function torchLegacy(path: string, size: number): Promise<number> {
  return write(path, [
    text("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."),
    text("\x80\x02}(X\x10\0\0\0protocol_versionM\xe9\x03X\r\0\0\0little_endian\x88u."),
    tensorPickle(size / 4),
    text("\x80\x02]X\x01\0\0\x000a."),
    le(size / 4, 8),
    size,
  ]);
}
