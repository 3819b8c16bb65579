/** What is to be drawn: the options of sampling, and one order per picture that follows from them. Draws nothing. */

import { InputError } from "../formats/errors.ts";
import { type Rng, rng } from "../tensor/rng.ts";
import { type Drawing, withDrawing } from "./drawing.ts";
import { findLabel, type Label } from "./labels.ts";
import type { Var } from "./model.ts";
import type { FilterOptions } from "./row-filter.ts";

export interface SampleOptions extends FilterOptions {
  /** Class of all pictures; null is "no class", undefined a random class for each. A short name such as "food" means any class it is part of. */
  label?: Label;
  /** One class per picture, instead of `label` and `count`. */
  labels?: readonly Label[];
  /** How many pictures. Default 1. */
  count?: number;
  /** Names the chance of all pictures. Default 0. */
  seed?: number | string;
  /** Number of the first picture: pictures 8 to 15 of a seed are `first: 8, count: 8`. Default 0. */
  first?: number;
  /** Strength of classifier-free guidance at the last scale; it rises from 0 at the first. 0 is none, and half the work. Default, as for the filters, the model's own `drawing`. */
  guidance?: number;
  /** How many of the last scales are drawn without guidance, at half the work of each. Default the model's own, usually 0. */
  unguidedLast?: number;
  /** Mix code vectors instead of choosing one: smoother pictures, not for statistics. Default false. */
  moreSmooth?: boolean;
  /**
   * Another way for the chance of the finer scales: the same seed draws the same coarse scales, and the same branch
   * the same picture. Several branch off one after the other. Default none.
   */
  branches?: readonly Branch[];
  /** Tokens that are not drawn but given, the same for every picture. */
  given?: (scale: number) => Given | undefined;
  /** Pictures that go through the transformer together; changes speed and memory, not results. Default 16. */
  batch?: number;
  /** Stops between scales and between batches. */
  signal?: AbortSignal;
}

/** Tokens of one scale of one picture that are given instead of drawn: edits are made of them, see edit.ts. */
export interface Given {
  /** 1 where the token is given, 0 where it is drawn: T. */
  readonly keep: Uint8Array;
  /** Codes; read where `keep` is 1: T. */
  readonly ids: Int32Array;
  /** Vectors to lay down instead of the vectors of `ids`, e.g. a mixture: T C flat. */
  readonly rows?: Float32Array;
}

/** From scale `from` on, the chance goes another way, which has a name. */
export interface Branch {
  readonly from: number;
  readonly name: number | string;
}

/** One picture to be drawn, and everything its tokens depend on. */
export interface Order {
  /** Class number; the number of classes means "no class". */
  readonly label: number;
  readonly seed: number | string;
  /** Number of the picture within its seed. */
  readonly index: number;
  readonly drawing: Drawing;
  readonly moreSmooth: boolean;
  readonly branches: readonly Branch[];
  readonly given?: (scale: number) => Given | undefined;
  /** Is shown the guided logits of every scale at which something is drawn: T V flat, to be left as they are. */
  readonly watch?: (scale: number, logits: Float32Array) => void;
}

/** More at once would hold too many keys and values; go on with `first`. */
const MOST = 4096;

/** The pictures that options ask for, one by one. @throws InputError for an unknown label or an option out of range */
export function ordersOf(model: Var, options: SampleOptions): Order[] {
  const { moreSmooth = false, seed = 0, first = 0, branches = [], given } = options;
  const drawing = withDrawing(model.drawing, options);
  checkWhole({ first }, 0);
  checkSeed(seed);
  return chooseClasses(model, options).map((label, i) => ({
    label,
    seed,
    index: first + i,
    drawing,
    moreSmooth,
    branches,
    given,
  }));
}

/** Where the chance of one scale of one picture comes from. */
export const chanceOf = ({ seed, index, branches }: Order, k: number): Rng =>
  branches
    .filter(({ from }) => from <= k)
    .reduce(
      (way, { from, name }) => way.child(`branch ${from}`).child(name),
      rng(seed).child(index),
    )
    .child(k);

/** @throws InputError unless so many pictures can be on their way at once. */
export function checkCount(count: number): void {
  checkWhole({ count }, 1);
  if (count > MOST)
    throw new InputError(
      `count must be at most ${MOST} at once, got ${count}; use generate, or several calls with first`,
      { count },
    );
}

/** @throws InputError where the order is no order for a model of so many scales */
export function checkOrder({ seed, index, branches }: Order, scales: number): void {
  checkWhole({ index }, 0);
  checkSeed(seed);
  checkBranches(branches, scales);
}

/** @throws InputError for a branch that would change nothing, or cannot be */
export function checkBranches(branches: readonly Branch[], scales: number): void {
  for (const { from } of branches) {
    checkWhole({ "a branch's scale": from }, 0);
    if (from >= scales)
      throw new InputError(
        `a branch must start at scale 0 to ${scales - 1}, this model has ${scales}, got ${from}; name an earlier one`,
        { from, scales, param: "branches" },
      );
  }
}

function checkSeed(seed: Order["seed"]): void {
  if (typeof seed === "number" && !Number.isSafeInteger(seed))
    throw new InputError(`seed must be a whole number or a text, got ${seed}`, { seed });
}

export function checkWhole(numbers: Record<string, number>, least: number): void {
  for (const [name, value] of Object.entries(numbers))
    if (!Number.isSafeInteger(value) || value < least)
      throw new InputError(`${name} must be a whole number of at least ${least}, got ${value}`, {
        [name]: value,
      });
}

/** Class number of each picture. @throws InputError for an unknown label, with near ones */
export function chooseClasses(
  model: Pick<Var, "labels">,
  { label, labels, count, seed = 0, first = 0 }: SampleOptions,
): number[] {
  if (labels !== undefined && label !== undefined)
    throw new InputError("label and labels exclude each other; give one of them");
  if (labels !== undefined && count !== undefined && count !== labels.length)
    throw new InputError(`count is ${count}, there are ${labels.length} labels; leave count out`);
  const n = labels?.length ?? count ?? 1;
  checkCount(n);
  const known = new Map<Label, number[]>();
  const candidates = (wanted: Label) => {
    let found = known.get(wanted);
    if (!found) {
      found = findLabel(model.labels, wanted);
      known.set(wanted, found);
    }
    return found;
  };
  const any = model.labels.map((_, i) => i);
  const chance = rng(seed).child("label");
  return Array.from({ length: n }, (_, i) => {
    const wanted = labels ? labels[i] : label;
    const from = wanted === undefined ? any : candidates(wanted);
    return from.length === 1 ? from[0]! : from[chance.child(first + i).int(from.length)]!;
  });
}
