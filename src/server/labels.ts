/** From what a client writes to classes: a label, or a prompt that names one in its words. Draws nothing. */

import { InputError } from "../formats/errors.ts";
import { chooseClasses } from "../image/orders.ts";
import { rng } from "../tensor/rng.ts";
import type { ServedModel } from "./protocol.ts";

interface Of {
  readonly count: number;
  readonly seed: number;
  readonly first: number;
}

/** A class for each picture. "none" is no class, an empty text any class. @throws InputError with near labels */
export function classesFor({ labels }: ServedModel, prompt: string, of: Of): number[] {
  const text = prompt.trim();
  if (text === "none") return new Array<number>(of.count).fill(labels.length);
  const label = text === "" ? undefined : text;
  try {
    return chooseClasses({ labels }, { ...of, label });
  } catch (error) {
    const named = namedIn(labels, text);
    if (!(error instanceof InputError) || named.length === 0) throw error;
    const chance = rng(of.seed).child("label");
    return Array.from(
      { length: of.count },
      (_, i) => named[chance.child(of.first + i).int(named.length)]!,
    );
  }
}

/** Classes most of whose parts stand in the prompt as words, in singular or plural: "a heart, noto" is hearts/noto. */
export function namedIn(labels: readonly string[], prompt: string): number[] {
  const stem = (word: string) => word.replace(/(?<=[a-z]{2})s$/, "");
  const words = new Set((prompt.toLowerCase().match(/[\p{L}\p{N}-]+/gu) ?? []).map(stem));
  const hits = labels.map(
    (label) =>
      label
        .toLowerCase()
        .split("/")
        .filter((part) => words.has(stem(part))).length,
  );
  const most = Math.max(0, ...hits);
  return most === 0 ? [] : hits.flatMap((n, i) => (n === most ? [i] : []));
}
