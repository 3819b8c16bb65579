/** The first and last bytes of a part and what they show. Reads nothing else. */

import { looseText, startsWith, viewOf } from "./bytes.ts";
import { type Part, peek } from "./part.ts";
import { isTarHeader } from "./tar.ts";
import { endsAsZip } from "./zip-end.ts";

export interface Head {
  readonly name: string;
  /** Ending of the name, lower case, without the dot. */
  readonly ending: string;
  readonly size: number;
  /** The first 4 KiB, or fewer. */
  readonly bytes: Uint8Array;
  /** A zip directory stands at the end, whatever the start. */
  readonly endsAsZip: boolean;
  readonly isTar: boolean;
  /** Where the signature of HDF5 stands, -1 where it does not. */
  readonly h5At: number;
}

const HEAD = 4096;

export async function readHead(part: Part): Promise<Head> {
  const { source, name } = part;
  const bytes = await peek(source, 0, HEAD);
  return {
    name,
    ending: endingOf(name),
    size: source.size,
    bytes,
    endsAsZip: await endsAsZip(source),
    isTar: isTarHeader(bytes.subarray(0, 512)),
    h5At: await findH5(source),
  };
}

/** HDF5's readers look at byte 0, then at 512 and at every double of that: what is before is the user's. */
async function findH5(source: Part["source"]): Promise<number> {
  for (let at = 0; at + 8 <= source.size; at = Math.max(512, at * 2))
    if (startsWith(await peek(source, at, 8), "\x89HDF\r\n\x1a\n")) return at;
  return -1;
}

export const baseOf = (name: string): string => name.replace(/^.*[\\/!]/s, "");

export function endingOf(name: string): string {
  const base = baseOf(name).toLowerCase();
  const dot = base.lastIndexOf(".");
  return dot < 0 ? "" : base.slice(dot + 1);
}

const PICKLE_ENDINGS = new Set(
  "pkl pickle pck p pt pth ckpt bin joblib dat data dill model mar z npy npz".split(" "),
);
const WHOLE_PICKLE_ENDINGS = new Set("pkl pickle pck p pt pth ckpt joblib dill".split(" "));

/** The name promises a pickle, or a container that is read as one. */
export const claimsPickle = ({ ending }: Head): boolean => WHOLE_PICKLE_ENDINGS.has(ending);
/** The name is one under which models lie. */
export const claimsModel = ({ ending }: Head): boolean => PICKLE_ENDINGS.has(ending);

/** PROTO with a version that exists. */
export const hasProto = ({ bytes }: Head): boolean =>
  bytes.length >= 2 && bytes[0] === 0x80 && bytes[1]! <= 5;

export const isZip = (h: Head): boolean =>
  startsWith(h.bytes, "PK\x03\x04") || startsWith(h.bytes, "PK\x05\x06") || h.endsAsZip;

/** safetensors: a header length below 2^40, then a brace. */
export const isSafetensors = ({ bytes, ending }: Head): boolean =>
  (bytes.length > 8 && bytes[8] === 0x7b && viewOf(bytes).getBigUint64(0, true) < 2n ** 40n) ||
  ending === "safetensors";

/** Endings of texts that loaders parse, whatever characters are in them. */
const TEXT_ENDINGS = new Set(
  "json jsonl yaml yml jinja jinja2 j2 template tmpl tpl toml cfg ini".split(" "),
);

/** The encoding by its mark, or by where the zeros of plain letters stand; UTF-8 otherwise. */
export function encodingOf(bytes: Uint8Array): "utf-8" | "utf-16le" | "utf-16be" {
  const [a, b, c, d] = bytes;
  if ((a === 0xff && b === 0xfe) || (a && b === 0 && c && d === 0)) return "utf-16le";
  if ((a === 0xfe && b === 0xff) || (a === 0 && b && c === 0 && d)) return "utf-16be";
  return "utf-8";
}

/** Text: no control characters but white space. A few odd bytes may be another encoding. */
export function isText({ bytes, ending }: Head): boolean {
  if (bytes.length > 0 && TEXT_ENDINGS.has(ending)) return true;
  if (encodingOf(bytes) !== "utf-8" && bytes[0]! >= 0xfe) return true;
  const some = bytes.subarray(0, 2048);
  let odd = 0;
  for (const b of some) {
    if (b === 0 || (b < 32 && b !== 9 && b !== 10 && b !== 13 && b !== 12 && b !== 27))
      return false;
    if (b === 0x7f) odd++;
  }
  return (
    odd === 0 &&
    some.length > 0 &&
    !looseText(some.subarray(0, 1024)).slice(0, -4).includes("\ufffd")
  );
}
