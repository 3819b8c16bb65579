/** HDF5 files as Keras and others write them: every attribute is judged, and what makes a reader open other files. No data sets are read. */

import { byteText, InputError, indexOf } from "./bytes.ts";
import { denseObjects } from "./h5-heap.ts";
import {
  type H5,
  heapText,
  isAddress,
  type Link,
  MESSAGE,
  type Message,
  messagesOf,
  number,
  oldGroup,
  openH5,
  readAttribute,
  readLink,
} from "./h5-read.ts";
import { judgeKerasJson } from "./keras.ts";
import { checkpoint, found, type Part, peek, unreadable } from "./part.ts";
import { Bytes } from "./protobuf-walk.ts";
import { shown } from "./report.ts";
import type { Head } from "./sniff.ts";
import { scanTexts } from "./texts.ts";

export async function scanH5(part: Part, head: Head): Promise<void> {
  const { source } = part;
  const start = head.h5At;
  if (start > 0)
    found(part, "h5-userblock", {
      severity: "suspicious",
      effect: "is one thing to a checker and another to a loader",
      why: `${start} foreign bytes stand before the HDF5 data`,
    });
  await walk(part, start);
  await searchText(part, source.size);
}

// ---- the tree ---------------------------------------------------------------------------------

const MAX_OBJECTS = 200_000;

/** Visits every object that a link leads to. What is damaged is noted, and the rest goes on. */
async function walk(part: Part, start: number): Promise<void> {
  const tolerate = async (at: number, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      unreadable(part, error.message, at);
    }
  };
  await tolerate(start, async () => {
    const { h5, root } = await openH5(new Bytes(part.source), start);
    const seen = new Set<number>([root]);
    const queue = [root];
    for (let address = queue.pop(); address !== undefined; address = queue.pop()) {
      checkpoint(part);
      if (seen.size > MAX_OBJECTS) throw new InputError(`hdf5: more than ${MAX_OBJECTS} objects`);
      const follow = ({ name, address: to, external }: Link): void => {
        if (external !== undefined)
          found(part, "h5-external", {
            severity: "malicious",
            effect: `makes the reader open the file ${JSON.stringify(shown(external, 120))}`,
            why: `${JSON.stringify(shown(name, 80))} is a link into another file`,
          });
        if (to === undefined || !isAddress(to) || seen.has(to)) return;
        seen.add(to);
        queue.push(to);
      };
      await tolerate(h5.base + address, async () => {
        for (const message of await messagesOf(h5, address!))
          await tolerate(message.at, () => judge(part, h5, { message, follow }));
      });
    }
  });
}

/** What one message of an object makes a reader do. */
async function judge(
  part: Part,
  h5: H5,
  { message, follow }: { message: Message; follow: (link: Link) => void },
): Promise<void> {
  const { type, flags, at, body } = message;
  const { wide, long } = h5;
  if (type === MESSAGE.link) follow(readLink(h5, body));
  else if (type === MESSAGE.symbols) {
    const [tree, heap] = [number(body, 0, wide), number(body, wide, wide)];
    for await (const link of oldGroup(h5, tree, heap)) follow(link);
  } else if (type === MESSAGE.linkInfo) {
    const from = 2 + (body[1]! & 1 ? 8 : 0);
    const [heap, tree] = [number(body, from, wide), number(body, from + wide, wide)];
    for await (const raw of denseObjects(h5, { heap, tree, kind: "link" }))
      follow(readLink(h5, raw));
  } else if (type === MESSAGE.attribute) {
    if (flags & 2) throw new InputError("hdf5: an attribute that is kept elsewhere");
    await attribute(part, h5, { body, at });
  } else if (type === MESSAGE.attributeInfo) {
    const from = 2 + (body[1]! & 1 ? 2 : 0);
    const [heap, tree] = [number(body, from, wide), number(body, from + wide, wide)];
    for await (const raw of denseObjects(h5, { heap, tree, kind: "attribute" }))
      await attribute(part, h5, { body: raw, at });
  } else if (type === MESSAGE.external) {
    const [used, heap] = [number(body, 6, 2), number(body, 8, wide)];
    for (let i = 0; i < Math.min(used, 64); i++) {
      const name = await heapText(h5, heap, number(body, 8 + wide + i * 3 * long, long));
      found(part, "h5-external", {
        severity: "malicious",
        at,
        effect: `makes the reader take weights from the file ${JSON.stringify(shown(name, 120))}`,
        why: "a data set whose elements are in another file",
      });
    }
  } else if (type === MESSAGE.layout && body[0]! >= 4 && body[1] === 3)
    found(part, "h5-external", {
      severity: "suspicious",
      at,
      effect: "makes the reader take weights from other files",
      why: "a virtual data set",
    });
}

async function attribute(
  part: Part,
  h5: H5,
  { body, at }: { body: Uint8Array; at: number },
): Promise<void> {
  const { name, text } = await readAttribute(h5, body);
  if (/"(class_name|module)"|\\u00/.test(text)) judgeKerasJson(part, text, { at });
  scanTexts(part, name, text, at);
}

// ---- text anywhere ----------------------------------------------------------------------------

const WINDOW = 8 * 2 ** 20;
const OVERLAP = 1 << 20;
/** What a model's description holds. Looked for in the bytes too, for readers that find what no link leads to. */
const MARKS: readonly (readonly number[])[] = ['"class_name"', '"module"'].map((t) =>
  [...t].map((c) => c.charCodeAt(0)),
);
/** Descriptions lie in the first and last parts of a file; in between are weights. */
const SEARCHED = 128 * 2 ** 20;

async function searchText(part: Part, size: number): Promise<void> {
  const judged = new Set<string>();
  for (let at = 0; at < size; at += WINDOW - OVERLAP) {
    if (at > SEARCHED && at < size - SEARCHED) at = size - SEARCHED;
    const bytes = await peek(part.source, at, WINDOW);
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
