/** From what a user calls a class to its number. Draws nothing. */

import { InputError } from "../formats/errors.ts";
import { nearest } from "../nn/spec.ts";

/** A class by its name or part of it, or by its number; null is "no class". */
export type Label = string | number | null;

const SHOWN = 5;

/**
 * The classes that a label may mean: one for a full name or a number; all that have the word as a part between
 * slashes for a short one ("food" means "food/fluent" and "food/noto"); [labels.length], "no class", for null.
 * @throws InputError listing near matches
 */
export function findLabel(labels: readonly string[], label: Label): number[] {
  const n = labels.length;
  if (label === null) return [n];
  const exact = typeof label === "string" ? labels.indexOf(label) : -1;
  if (exact >= 0) return [exact];
  const index = typeof label === "number" ? label : /^\d+$/.test(label) ? Number(label) : -1;
  if (Number.isInteger(index) && index >= 0 && index < n) return [index];
  if (typeof label === "number" || index >= 0)
    throw new InputError(
      `label ${label} is not a class: there are ${n}, numbered from 0 to ${n - 1}; use one of those or a name such as "${labels[0]}"`,
      { label, classes: n },
    );
  const word = label.toLowerCase();
  const found = labels.flatMap((name, i) =>
    name.toLowerCase() === word || name.toLowerCase().split("/").includes(word) ? [i] : [],
  );
  if (found.length > 0) return found;
  const near = nearLabels(labels, word);
  throw new InputError(
    `there is no class "${label}"; ${near.length > 0 ? `near it: ${near.join(", ")}` : `some of the ${n}: ${labels.slice(0, SHOWN).join(", ")}`}`,
    { label, near },
  );
}

/** Full names and parts of names that resemble a word, the likeliest first. */
function nearLabels(labels: readonly string[], word: string): string[] {
  const parts = [...new Set(labels.flatMap((name) => [...name.split("/"), name]))];
  const holding = parts.filter(
    (part) =>
      part.toLowerCase().includes(word) || (part.length > 2 && word.includes(part.toLowerCase())),
  );
  const rest = parts.filter((part) => !holding.includes(part));
  const typed: string[] = [];
  for (let i = 0; i < SHOWN; i++) {
    const close = nearest(
      word,
      rest.filter((part) => !typed.includes(part)),
    );
    if (close === undefined) break;
    typed.push(close);
  }
  return [...typed, ...holding].slice(0, SHOWN);
}
