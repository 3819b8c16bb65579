/** What a PNG of ours was drawn with, as a request that draws it again. Reads the file's text alone. */

import { decodePng } from "../../../src/formats/png.ts";
import type { DrawRequest } from "./engine.ts";

/** @returns undefined for a picture that is not ours @throws InputError for a file that is no PNG */
export async function recall(png: Blob): Promise<DrawRequest | undefined> {
  const { text } = await decodePng(new Uint8Array(await png.arrayBuffer()));
  if (text.underpaint === undefined) return undefined;
  const note = parsed(text.underpaint);
  const number = (key: string) => (typeof note[key] === "number" ? note[key] : undefined);
  const word = (key: string) => (typeof note[key] === "string" ? note[key] : undefined);
  const branches = Array.isArray(note.branches) ? note.branches.filter(isBranch) : [];
  return {
    model: word("model"),
    label: word("label"),
    count: 1,
    seed: number("seed"),
    first: number("index"),
    guidance: number("guidance"),
    top_k: number("topK"),
    top_p: number("topP"),
    temperature: number("temperature"),
    branches,
  };
}

function parsed(text: string): Record<string, unknown> {
  try {
    const note: unknown = JSON.parse(text);
    return typeof note === "object" && note !== null ? { ...note } : {};
  } catch {
    return {};
  }
}

const isBranch = (one: unknown): one is { from: number; name: string | number } =>
  typeof one === "object" &&
  one !== null &&
  "from" in one &&
  Number.isInteger(one.from) &&
  "name" in one &&
  (typeof one.name === "string" || typeof one.name === "number");
