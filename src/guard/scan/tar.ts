/** Tar archives: members, and what extracting them would do. Reads headers only; the walk is in containers.ts. */

import { type ByteSource, byteText, looseText, startsWith } from "./bytes.ts";
import { peek } from "./part.ts";
import { badName } from "./zip-read.ts";

export interface TarMember {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly header: number;
  readonly isFile: boolean;
}

export interface TarReading {
  readonly members: readonly TarMember[];
  readonly oddities: readonly { at: number; effect: string; why: string }[];
  /** Where the archive ends: after its zero blocks. */
  readonly end: number;
}

const BLOCK = 512;
const MAX_MEMBERS = 50_000;

/** Whether the block is a tar header: its checksum fits. */
export function isTarHeader(block: Uint8Array): boolean {
  if (block.length < BLOCK) return false;
  const wanted = octal(block, 148, 8);
  if (wanted === undefined || wanted <= 0) return false;
  let unsigned = 0;
  for (let i = 0; i < BLOCK; i++) unsigned += i >= 148 && i < 156 ? 32 : block[i]!;
  if (unsigned === wanted) return true;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) signed += i >= 148 && i < 156 ? 32 : (block[i]! << 24) >> 24;
  return signed === wanted;
}

/** A number field: octal text, or base 256 when its first bit is set. */
function octal(block: Uint8Array, at: number, length: number): number | undefined {
  const field = block.subarray(at, at + length);
  if (field[0]! & 0x80) {
    let value = field[0]! & 0x3f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    return field[0]! & 0x40 ? -1 : value;
  }
  const text = byteText(field).replace(/\0.*$/s, "").trim();
  return text === "" ? 0 : /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

const string = (block: Uint8Array, at: number, length: number): string =>
  looseText(block.subarray(at, at + length)).replace(/\0.*$/s, "");

/** Kinds of members that are neither files nor folders, and what unpacking them does. */
const KINDS: Readonly<Record<string, string>> = {
  "1": "makes a hard link, through which a later member writes elsewhere",
  "2": "makes a symbolic link, through which a later member writes elsewhere",
  "3": "makes a character device",
  "4": "makes a block device",
  "6": "makes a named pipe",
};

/** key=value records of a pax header. */
function paxRecords(bytes: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  const text = looseText(bytes);
  for (const match of text.matchAll(/(?:^|\n)?\d+ ([^=\n]{1,200})=([^\n]*)\n/g))
    records.set(match[1]!, match[2]!);
  return records;
}

export async function readTar(source: ByteSource): Promise<TarReading> {
  const members: TarMember[] = [];
  const oddities: { at: number; effect: string; why: string }[] = [];
  const odd = (at: number, effect: string, why: string) => void oddities.push({ at, effect, why });
  const seen = new Set<string>();
  let [longName, paxName, paxSize] = ["", "", -1];
  let at = 0;
  while (members.length < MAX_MEMBERS) {
    const block = await peek(source, at, BLOCK);
    if (block.length < BLOCK || block.every((b) => b === 0)) break;
    if (!isTarHeader(block)) {
      odd(at, "hides content from readers that stop here", "a header whose checksum does not fit");
      break;
    }
    const kind = String.fromCharCode(block[156]!);
    const said = octal(block, 124, 12);
    const isData = kind === "0" || kind === "\0" || kind === "7";
    const size = isData && paxSize >= 0 ? paxSize : (said ?? 0);
    if (said === undefined || size < 0 || size > source.size - at - BLOCK)
      odd(
        at,
        "is truncated, or read differently by different readers",
        `a member of ${size} bytes, fewer are left`,
      );
    const data = at + BLOCK;
    const room = Math.min(Math.max(0, size), Math.max(0, source.size - data));
    if (kind === "L" || kind === "K" || kind === "x" || kind === "g") {
      const body = await peek(source, data, Math.min(room, 1 << 20));
      if (kind === "L") longName = looseText(body).replace(/\0.*$/s, "");
      if (kind === "x") {
        const records = paxRecords(body);
        paxName = records.get("path") ?? "";
        const sized = records.get("size");
        paxSize = sized !== undefined && /^\d{1,15}$/.test(sized) ? Number(sized) : -1;
        const link = records.get("linkpath");
        if (link) odd(at, KINDS["2"]!, `a link to ${JSON.stringify(link.slice(0, 120))}`);
      }
    } else {
      const prefix = startsWith(block, "ustar", 257) ? string(block, 345, 155) : "";
      const plain = string(block, 0, 100);
      const name = paxName || longName || (prefix ? `${prefix}/${plain}` : plain);
      const bad = badName(name);
      if (bad)
        odd(
          at,
          "writes outside of the folder it is unpacked to",
          `the name ${JSON.stringify(name.slice(0, 120))} ${bad}`,
        );
      if (seen.has(name) && kind !== "5")
        odd(
          at,
          "shows one content to checkers and another to loaders",
          `${JSON.stringify(name.slice(0, 120))} stands twice`,
        );
      seen.add(name);
      if (KINDS[kind])
        odd(
          at,
          KINDS[kind],
          `${JSON.stringify(name.slice(0, 120))} is of kind ${kind}, to ${JSON.stringify(string(block, 157, 100))}`,
        );
      members.push({ name, offset: data, size: room, header: at, isFile: isData });
      [longName, paxName, paxSize] = ["", "", -1];
    }
    at = data + Math.ceil(room / BLOCK) * BLOCK;
  }
  // Zero blocks fill the archive up to its record size.
  return { members, oddities, end: at };
}
