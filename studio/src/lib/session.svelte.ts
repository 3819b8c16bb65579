/** What Generate has drawn since it was opened: a batch, and the branches that grew from its pictures. */

import type { DrawRequest } from "../engine/engine.ts";
import { Drawing, type Grown } from "./drawing.svelte.ts";
import { sentence } from "./sentence.ts";
import { studio } from "./studio.svelte.ts";

type Branches = NonNullable<DrawRequest["branches"]>;

/** One picture of the session: of the batch (no branches), or a branch. */
export interface Leaf {
  readonly drawing: Drawing;
  /** In its drawing. */
  readonly place: number;
  /** Which picture of the batch it grew from. */
  readonly root: number;
  readonly branches: Branches;
}

let batch = $state.raw<Drawing>();
let grown = $state.raw<readonly Leaf[]>([]);
let chosen = $state.raw<Leaf>();
let error = $state<string>();

export const session = {
  get batch(): Drawing | undefined {
    return batch;
  },
  get chosen(): Leaf | undefined {
    return chosen;
  },
  get error(): string | undefined {
    return error;
  },
  get busy(): boolean {
    return batch?.busy === true || grown.some(({ drawing }) => drawing.busy);
  },
  /** Branches of the picture that is chosen, parents before children. */
  get branches(): readonly Leaf[] {
    return grown.filter(({ root }) => root === chosen?.root);
  },
  dismiss(): void {
    error = undefined;
  },
  choose(leaf: Leaf): void {
    chosen = leaf;
  },
  chooseRoot(place: number): void {
    if (batch) chosen = { drawing: batch, place, root: place, branches: [] };
  },
  /** Replaces what was drawn before. */
  draw(request: DrawRequest): Promise<void> {
    for (const { drawing } of grown) drawing.forget();
    batch?.forget();
    grown = [];
    batch = new Drawing(request);
    session.chooseRoot(0);
    return run(batch);
  },
  /** Keeps the scales before `from` of the chosen picture and draws the rest with another chance. */
  branch(from: number): Promise<void> {
    const one = chosen && pictureOf(chosen);
    if (!chosen || !batch || !one?.done) return Promise.resolve();
    const kept = chosen.branches.filter((b) => b.from < from);
    const branches = [...kept, { from, name: freeName(kept, from) }];
    const drawing = new Drawing({
      ...batch.request,
      label: one.done.label,
      count: 1,
      first: one.done.index,
      branches,
    });
    chosen = { drawing, place: 0, root: chosen.root, branches };
    grown = [...grown, chosen].sort((a, b) => (pathOf(a) < pathOf(b) ? -1 : 1));
    return run(drawing);
  },
  cancel(): void {
    batch?.cancel();
    for (const { drawing } of grown) drawing.cancel();
  },
};

export const pictureOf = ({ drawing, place }: Leaf): Grown => drawing.pictures[place]!;

async function run(drawing: Drawing): Promise<void> {
  error = undefined;
  try {
    await drawing.run(studio.engine);
  } catch (reason) {
    error = sentence(reason);
  }
}

const pathOf = ({ branches }: Pick<Leaf, "branches">): string =>
  branches.map(({ from, name }) => `${String(from).padStart(3, "0")}:${name}`).join("/");

/** a, b, c ... of those that branch off at the same place. */
function freeName(kept: Branches, from: number): string {
  const taken = new Set(grown.filter(({ root }) => root === chosen?.root).map(pathOf));
  for (let i = 0; ; i++) {
    const name = letters(i);
    if (!taken.has(pathOf({ branches: [...kept, { from, name }] }))) return name;
  }
}

const letters = (i: number): string =>
  (i < 26 ? "" : letters(Math.floor(i / 26) - 1)) + String.fromCharCode(97 + (i % 26));
