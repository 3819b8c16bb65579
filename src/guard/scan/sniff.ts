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
  };
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

/** Text: no control characters but white space. A few odd bytes may be another encoding. */
export function isText({ bytes }: Head): boolean {
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
