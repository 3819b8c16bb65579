/** HDF5 files as Keras and others write them: the texts of their attributes, judged. No tree, no data sets are read. */

import { byteText, indexOf, startsWith } from "./bytes.ts";
import { judgeKerasJson } from "./keras.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import type { Head } from "./sniff.ts";
import { scanTexts } from "./texts.ts";

const SIGNATURE = "\x89HDF\r\n\x1a\n";
/** A user block may stand before the signature; it doubles from 512 bytes. */
const STARTS = [0, 512, 1024, 2048];

export const h5Start = ({ bytes }: Head): number =>
  STARTS.find((at) => startsWith(bytes, SIGNATURE, at)) ?? -1;

const WINDOW = 8 * 2 ** 20;
const OVERLAP = 1 << 20;
/** What a model's description holds. Looking at the bytes finds it wherever the tree puts it, chunks and heaps included. */
const MARKS: readonly (readonly number[])[] = ['"class_name"', '"module"'].map((t) =>
  [...t].map((c) => c.charCodeAt(0)),
);
/** Descriptions lie in the first and last parts of a file; in between are weights. */
const SCANNED = 256 * 2 ** 20;

export async function scanH5(part: Part, head: Head): Promise<void> {
  const { source } = part;
  const start = h5Start(head);
  if (start > 0)
    found(part, "h5-userblock", {
      severity: "suspicious",
      effect: "is one thing to a checker and another to a loader",
      why: `${start} foreign bytes stand before the HDF5 data`,
    });
  if (source.size < start + 48) unreadable(part, "hdf5: the file is cut off");
  const judged = new Set<string>();
  for (let at = 0; at < Math.min(source.size, SCANNED); at += WINDOW - OVERLAP) {
    const bytes = await peek(source, at, WINDOW);
    for (const mark of MARKS)
      for (let hit = indexOf(bytes, mark); hit >= 0; ) {
        const { from, to } = around(bytes, hit);
        const text = byteText(bytes.subarray(from, to));
        if (!judged.has(text)) {
          judged.add(text);
          judgeKerasJson(part, text, { at: at + from });
          scanTexts(part, "attribute", text, at + from);
        }
        hit = indexOf(bytes, mark, to);
      }
    if (bytes.length < WINDOW) break;
  }
}

/** The text around a hit: from its opening brace, up to a byte that no JSON has. */
function around(bytes: Uint8Array, hit: number): { from: number; to: number } {
  const isText = (b: number) => b >= 32 || b === 9 || b === 10 || b === 13;
  let from = hit;
  while (from > 0 && isText(bytes[from - 1]!)) from--;
  let to = hit;
  while (to < bytes.length && isText(bytes[to]!)) to++;
  return { from, to };
}
