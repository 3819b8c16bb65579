/** Containers: zip, tar and compressed streams. Opens every member within the budgets and scans it. */

import { crc32 } from "../../formats/index.ts";
import { memorySource } from "./bytes.ts";
import { inflateRaw, type Unpacked } from "./inflate.ts";
import { scanKerasZip } from "./keras.ts";
import { found, member, notOpened, type Part, peek, slice, unreadable } from "./part.ts";
import { baseOf, type Head } from "./sniff.ts";
import { readTar } from "./tar.ts";
import { scanTorchTar } from "./torch-tar.ts";
import { scanTorchZip } from "./torch-zip.ts";
import { UNPACKERS, unpack } from "./unpack.ts";
import { type Archive, hiddenMember, localHeaders, type Member, readArchive } from "./zip-read.ts";

/** Members up to this size have their CRC checked. */
const CRC_SIZE = 16 * 2 ** 20;

// ---- zip --------------------------------------------------------------------------------------

export async function scanZip(part: Part, _head: Head): Promise<void> {
  const archive = await readArchive(part.source);
  for (const { rule, at, effect, why } of archive.oddities)
    found(part, rule, {
      severity: rule === "zip-name" ? "malicious" : "suspicious",
      at,
      effect,
      why,
    });
  if (archive.fault) unreadable(part, `zip: ${archive.fault}`);
  const skip = await scanKnownZip(part, archive);
  for (const entry of archive.members) if (!skip.has(entry)) await scanMember(part, entry);
  for (const gap of archive.gaps) await scanGap(part, gap);
}

/** Archives of a known layout: the scanners of torch and Keras say which members are theirs. */
async function scanKnownZip(part: Part, archive: Archive): Promise<ReadonlySet<Member>> {
  const open = (entry: Member) => openMember(part, entry);
  const torch = await scanTorchZip(part, archive, open);
  await scanKerasZip(part, archive, open);
  return torch;
}

const METHODS: ReadonlyMap<number, (bytes: Uint8Array, max: number) => Unpacked> = new Map([
  [8, (bytes: Uint8Array, max: number) => inflateRaw(bytes, max)],
  [12, UNPACKERS.bz2!.run],
  [14, UNPACKERS["zip-lzma"]!.run],
  [93, UNPACKERS.zstd!.run],
  [95, UNPACKERS.xz!.run],
]);
/** Methods that are not opened. */
const METHOD_NAMES: ReadonlyMap<number, string> = new Map([
  [1, "Shrink"],
  [6, "Implode"],
  [9, "Deflate64"],
  [96, "JPEG"],
  [97, "WavPack"],
  [98, "PPMd"],
  [99, "AES encryption"],
]);

/** A member as a part of its own; stored ones stay in the file. */
async function openMember(part: Part, entry: Member): Promise<Part | undefined> {
  const { source } = part;
  const packed = slice(source, entry.offset, entry.packed);
  const name = entry.name || "(no name)";
  if (packed.size < entry.packed)
    unreadable(part, `zip: ${JSON.stringify(name.slice(0, 120))} is cut off`, entry.offset);
  if (entry.method === 0) {
    const inner = member(part, name, packed);
    if (inner && packed.size <= CRC_SIZE)
      checkCrc(inner, entry, await peek(packed, 0, packed.size));
    return inner;
  }
  const run = METHODS.get(entry.method);
  if (!run) {
    const method = METHOD_NAMES.get(entry.method) ?? "which is not known here";
    notOpened(part, "zip-method", {
      at: entry.header,
      why: `${JSON.stringify(name.slice(0, 120))} is packed by method ${entry.method}, ${method}`,
    });
    // Readers that ignore the method take the bytes as they are.
    return member(part, name, packed);
  }
  const inner = member(part, name, packed);
  if (!inner) return undefined;
  const { bytes } = await unpack(inner, { source: packed, size: entry.size }, run);
  if (bytes.length < CRC_SIZE && bytes.length >= entry.size) checkCrc(inner, entry, bytes);
  return {
    ...inner,
    source: memorySource(bytes),
  };
}

function checkCrc(part: Part, entry: Member, bytes: Uint8Array): void {
  if (bytes.length === entry.size && crc32(bytes) === entry.crc) return;
  if (bytes.length !== entry.size)
    found(part, "zip-size", {
      severity: "suspicious",
      effect: "shows one content to checkers and another to loaders",
      why: `the archive says ${entry.size} bytes, there are ${bytes.length}`,
    });
  else
    found(part, "zip-crc", {
      severity: "suspicious",
      effect: "is loaded by readers that ignore checksums and refused by those that do not",
      why: "the CRC does not fit the content: it was damaged or changed",
    });
}

async function scanMember(part: Part, entry: Member): Promise<void> {
  if (entry.isFolder && entry.packed === 0) return;
  const inner = await openMember(part, entry);
  if (inner) await part.scan.scanPart(inner);
}

/** Bytes outside of all members: other files, or members that the directory hides. */
async function scanGap(part: Part, gap: { offset: number; length: number }): Promise<void> {
  const { source } = part;
  const range = slice(source, gap.offset, gap.length);
  const bytes = await peek(range, 0, part.scan.limits.maxHeld);
  for (const at of localHeaders(bytes)) {
    const hidden = await hiddenMember(source, gap.offset + at, gap.offset + gap.length);
    if (!hidden) continue;
    const inner = await openMember(part, { ...hidden, crc: hidden.crc, size: hidden.size });
    if (inner) await part.scan.scanPart({ ...inner, path: `${inner.path} (hidden)` });
  }
  // Zero bytes that align are no content.
  if (bytes.every((b) => b === 0)) return;
  const inner = member(part, `bytes ${gap.offset} to ${gap.offset + gap.length}`, range);
  // The whole file without any member would be scanned for ever.
  if (inner && gap.length < source.size)
    await part.scan.scanPart({ ...inner, name: `${baseOf(part.name)}.pkl` });
}

// ---- tar --------------------------------------------------------------------------------------

export async function scanTar(part: Part, _head: Head): Promise<void> {
  const { source } = part;
  const { members, oddities, end } = await readTar(source);
  for (const { at, effect, why } of oddities)
    found(part, "tar-member", { severity: "suspicious", at, effect, why });
  const torch = await scanTorchTar(part, members);
  for (const entry of members) {
    if (!entry.isFile || entry.size === 0 || torch.has(entry)) continue;
    const inner = member(part, entry.name, slice(source, entry.offset, entry.size));
    if (inner) await part.scan.scanPart(inner);
  }
  await scanTail(part, end);
}

/** Behind the zero blocks of a tar nothing should stand. */
async function scanTail(part: Part, end: number): Promise<void> {
  const { source } = part;
  const tail = await peek(source, end, 1 << 20);
  const at = tail.findIndex((b) => b !== 0);
  if (at < 0) return;
  found(part, "tar-tail", {
    severity: "suspicious",
    at: end + at,
    effect: "carries bytes that readers of the archive never see",
    why: `${source.size - end - at} bytes follow the end of the archive`,
  });
  const inner = member(part, "after the end", slice(source, end + at, source.size - end - at));
  if (inner) await part.scan.scanPart(inner);
}

// ---- compressed streams -----------------------------------------------------------------------

/** One stream of a known compression; what it holds is scanned as a part of the same name. */
export const scanPacked =
  (codec: string) =>
  async (part: Part, head: Head): Promise<void> => {
    const codecRules = UNPACKERS[codec];
    if (!codecRules)
      return void notOpened(part, "packed", { why: `the content is packed by ${codec}` });
    const { source } = part;
    const name = head.name.replace(/\.(gz|bz2|xz|lzma|zlib|z|lz4|zst|zstd)$/i, "") || codec;
    const inner = member(part, name, source);
    if (!inner) return;
    const { bytes, used, fault } = await unpack(inner, { source, size: undefined }, codecRules.run);
    if (bytes.length > 0) await part.scan.scanPart({ ...inner, source: memorySource(bytes) });
    if (fault === undefined) await scanRest(part, used);
  };

/** Behind a packed stream zeros may stand, as tapes have them, and nothing else. */
async function scanRest(part: Part, from: number): Promise<void> {
  const { source } = part;
  const length = source.size - from;
  if (length <= 0 || (await peek(source, from, 1 << 20)).every((b) => b === 0)) return;
  found(part, "packed-rest", {
    severity: "suspicious",
    at: from,
    effect: "carries bytes that readers of the packed stream never see",
    why: `${length} bytes follow the packed stream`,
  });
  const inner = member(part, "rest.pkl", slice(source, from, length));
  if (inner) await part.scan.scanPart(inner);
}
