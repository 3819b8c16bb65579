/** 7z archives: every file that can be unpacked is scanned; the others, and lies about them, are findings. */

import { crc32 } from "../../formats/index.ts";
import { InputError, viewOf } from "./bytes.ts";
import { unbzip2 } from "./bzip2.ts";
import { inflateRaw, type Unpacked } from "./inflate.ts";
import { unlzma2, unlzmaRaw } from "./lzma.ts";
import { found, member, notOpened, type Part, peek, slice, unreadable } from "./part.ts";
import {
  type Coder,
  type Folder,
  readDirectory,
  type SevenDirectory,
  START,
} from "./seven-zip-read.ts";
import { unpack } from "./unpack.ts";
import { badName } from "./zip-read.ts";

/** Unpacks one step. Filters for machine code are not undone: their folders count as closed. */
const METHODS: Readonly<
  Record<string, (bytes: Uint8Array, max: number, coder: Coder) => Unpacked>
> = {
  "00": (bytes, max) => ({
    bytes: bytes.subarray(0, max),
    used: bytes.length,
    fault: bytes.length > max ? "limit" : undefined,
  }),
  "21": unlzma2,
  "030101": unlzmaRaw,
  "040108": (bytes, max) => inflateRaw(bytes, max),
  "040202": unbzip2,
};

/** Methods that are not opened. */
const METHOD_NAMES: Readonly<Record<string, string>> = {
  "03": "the Delta filter",
  "030401": "PPMd",
  "03030103": "the BCJ filter for x86 code",
  "0303011b": "the BCJ2 filter for x86 code",
  "03030501": "the BCJ filter for ARM code",
  "03030701": "the BCJ filter for ARM Thumb code",
  "0a": "the BCJ filter for ARM64 code",
  "04": "the BCJ filter for x86 code",
  "040109": "Deflate64",
  "06f10701": "AES encryption",
};

const MAX_DIRECTORY = 32 * 2 ** 20;
const HIDES = "shows one content to checkers and another to loaders";
/** The bit of Unix's own mode in the attributes, and what its upper half says. */
const UNIX = 0x8000;
const LINK = 0o120000;

/** No container of any model format: where it cannot be read it is not trusted. */
export async function scanSevenZip(part: Part): Promise<void> {
  try {
    await scanArchive(part);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    notOpened(part, "packed", { why: error.message });
  }
}

async function scanArchive(part: Part): Promise<void> {
  const { source } = part;
  const view = viewOf(await peek(source, 0, START));
  if (view.byteLength < START) throw new InputError("7z: the file is cut off");
  const [offset, size] = [12, 20].map((at) => Number(view.getBigUint64(at, true)));
  const at = START + offset!;
  if (size === 0) return accountFor(part, []);
  if (!(at + size! <= source.size) || size! > MAX_DIRECTORY)
    throw new InputError(`7z: a directory of ${size} bytes at ${at}`);
  let bytes = await source.read(at, size!);
  if (crc32(bytes) !== view.getUint32(28, true))
    found(part, "7z-crc", {
      severity: "suspicious",
      at,
      effect: HIDES,
      why: "the directory's CRC does not fit",
    });
  const used: Range[] = [[at, at + size!]];
  let directory: SevenDirectory | undefined;
  // A packed directory may hold another packed one.
  for (let layer = 0; layer < 4 && !directory; layer++) {
    const read = readDirectory(bytes);
    if ("packed" in read) {
      used.push([read.packed.offset, read.packed.offset + read.packed.packed]);
      const plain = await openFolder(part, read.packed, "directory");
      if (!plain) return;
      bytes = plain;
    } else directory = read;
  }
  if (!directory) throw new InputError("7z: a directory packed too often");
  await scanFiles(part, directory);
  for (const { offset, packed } of directory.folders) used.push([offset, offset + packed]);
  await accountFor(part, used);
}

/** Plain bytes of a folder, as far as they come; undefined where its method is not ours. */
async function openFolder(
  part: Part,
  folder: Folder,
  name: string,
): Promise<Uint8Array | undefined> {
  const { chain, offset, packed, size } = folder;
  const closed = chain?.find(({ method }) => !Object.hasOwn(METHODS, method));
  if (!chain || closed) {
    const method = closed && (METHOD_NAMES[closed.method] ?? `the method ${closed.method}`);
    notOpened(part, "7z-method", {
      at: offset,
      why: `${name} is packed by ${method ?? "several streams at once, as BCJ2 does"}`,
    });
    return undefined;
  }
  if (offset + packed > part.source.size) unreadable(part, `7z: ${name} is cut off`, offset);
  const source = slice(part.source, offset, packed);
  const { bytes } = await unpack(part, { source, size }, (bytes, max) => {
    let result: Unpacked = { bytes, used: 0, fault: undefined };
    for (const coder of chain) {
      const next = METHODS[coder.method]!(result.bytes, Math.min(max, coder.size), coder);
      result = { ...next, fault: next.fault ?? result.fault };
    }
    return result;
  });
  return bytes;
}

async function scanFiles(part: Part, { folders, files }: SevenDirectory): Promise<void> {
  const seen = new Set<string>();
  for (const { name, attributes } of files) {
    const what = JSON.stringify(name.slice(0, 120));
    const bad = badName(name);
    if (bad)
      found(part, "7z-name", {
        severity: "malicious",
        effect: "writes outside of the folder it is unpacked to",
        why: `the name ${what} ${bad}`,
      });
    if (attributes & UNIX && ((attributes >>> 16) & 0o170000) === LINK)
      found(part, "7z-link", {
        severity: "suspicious",
        effect: "makes a link, through which a later file writes elsewhere",
        why: `${what} is a link`,
      });
    if (seen.has(name.toLowerCase()))
      found(part, "7z-duplicate", {
        severity: "suspicious",
        effect: HIDES,
        why: `${what} stands twice`,
      });
    seen.add(name.toLowerCase());
  }
  const full = files.filter(({ isEmpty }) => !isEmpty);
  const inside = folders.reduce((n, folder) => n + folder.files.length, 0);
  if (full.length !== inside)
    found(part, "7z-count", {
      severity: "suspicious",
      effect: HIDES,
      why: `${full.length} files have names, ${inside} have content`,
    });
  let next = 0;
  for (const folder of folders) {
    const bytes = await openFolder(
      part,
      folder,
      JSON.stringify(full[next]?.name.slice(0, 120) ?? "a folder"),
    );
    let at = 0;
    for (const { size, crc } of folder.files) {
      const name = full[next++]?.name || "(no name)";
      if (!bytes) continue;
      const content = bytes.subarray(at, at + size);
      at += size;
      const inner = member(part, name, content);
      if (!inner) return;
      if (content.length < size)
        unreadable(inner, "7z: the content is damaged, or more than is unpacked");
      else if (crc !== undefined && crc32(content) !== crc)
        found(inner, "7z-crc", {
          severity: "suspicious",
          effect: HIDES,
          why: "the CRC does not fit the content",
        });
      await part.scan.scanPart(inner);
    }
  }
}

type Range = [from: number, to: number];

/** Every byte belongs to the header, the directory or a folder. */
async function accountFor(part: Part, used: Range[]): Promise<void> {
  const { size } = part.source;
  let at = START;
  for (const [from, to] of used.sort((a, b) => a[0] - b[0])) {
    if (from > at) break;
    at = Math.max(at, to);
  }
  if (at >= size) return;
  found(part, "7z-hidden", {
    severity: "suspicious",
    at,
    effect: "carries bytes that readers of the archive never see",
    why: `bytes from ${at} on belong to no file`,
  });
  const inner = member(part, "hidden.pkl", slice(part.source, at, size - at));
  if (inner) await part.scan.scanPart(inner);
}
