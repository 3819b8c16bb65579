/** The whole drill: every sabotage at every rate, clean runs, and the table of what was seen. */

import { medianOf } from "../../guard/sentinel/timing.ts";
import { drillRun, type Outcome } from "./run.ts";
import { SABOTAGES, type Sabotage, SLEEPS } from "./sabotages.ts";
import type { World } from "./world.ts";

export interface DrillOptions {
  /** Runs of each sabotage at each rate. */
  readonly runs?: number;
  /** Clean runs. */
  readonly clean?: number;
  /** Shares of updates that are sabotaged; default all of the table. */
  readonly rates?: readonly number[];
  /** Chance that the gradient of an update is checked. */
  readonly checks?: number;
  /** Only sabotages whose "group: name" fits. */
  readonly only?: RegExp;
  /** Sabotages of time instead of the others; they want a machine with nothing else to do. */
  readonly time?: boolean;
  /** Where all chance comes from. */
  readonly seed?: string;
  readonly signal?: AbortSignal;
}

/** One line of the table. */
export interface DrillRow {
  readonly group: string;
  readonly name: string;
  /** Share of updates sabotaged; absent where it happens once. */
  readonly rate?: number;
  /** Runs in which the saboteur acted, and those found. */
  readonly runs: number;
  readonly found: number;
  /** Share of runs that the design expects to be found. */
  readonly expected: number;
  /** Updates from the first sabotaged one to the alarm; absent where none was found. */
  readonly delay?: { readonly median: number; readonly most: number };
  /** Median that the design expects. */
  readonly expectedDelay?: number;
  /** What raised the alarms, and how often. */
  readonly seenBy: Readonly<Record<string, number>>;
  /** Alarms before the sabotage began. */
  readonly falseAlarms: number;
}

export interface CleanRow {
  readonly runs: number;
  readonly updates: number;
  /** Alarms by kind. */
  readonly alarms: Readonly<Record<string, number>>;
}

export type DrillEvent =
  | { readonly kind: "progress"; readonly done: number; readonly of: number; readonly what: string }
  | { readonly kind: "clean"; readonly clean: CleanRow }
  | { readonly kind: "row"; readonly row: DrillRow };

/** Updates between which a sabotage begins. Times must be usual first, so theirs begin later. */
const ONSET = [20, 80] as const;
const ONSET_TIMED = [130, 180] as const;
/** Updates of a run with sleeps, in multiples of what the design says it takes. */
const PATIENCE = 6;

/** Runs the drill; yields progress and rows as they are ready. */
export async function* drill(world: World, options: DrillOptions = {}): AsyncGenerator<DrillEvent> {
  const { runs = 20, clean = 50, checks = 0.1, time = false, seed = "drill", signal } = options;
  const onset = time
    ? ONSET_TIMED
    : ([ONSET[0], Math.min(ONSET[1], world.recipe.steps / 2)] as const);
  const chosen = (time ? SLEEPS : SABOTAGES).filter(({ group, name }) =>
    (options.only ?? /./).test(`${group}: ${name}`),
  );
  const cells = chosen.flatMap((sabotage) =>
    (sabotage.rates ?? [undefined])
      .filter((rate) => rate === undefined || time || (options.rates?.includes(rate) ?? true))
      .map((rate) => ({ sabotage, rate })),
  );
  const of = clean + runs * cells.length;
  let done = 0;
  const common = { onset, checks: time ? 0.02 : checks, timed: time, signal };

  const honest: Outcome[] = [];
  for (let i = 0; i < clean; i++) {
    yield { kind: "progress", done: done++, of, what: "clean run" };
    honest.push(await drillRun(world, undefined, { ...common, seed: `${seed} clean ${i}` }));
  }
  if (clean > 0)
    yield {
      kind: "clean",
      clean: {
        runs: clean,
        updates: honest.reduce((sum, { updates }) => sum + updates, 0),
        alarms: tally(honest.flatMap((o) => o.false.map(({ kind }) => kind))),
      },
    };

  for (const { sabotage, rate } of cells) {
    const outcomes: Outcome[] = [];
    const own = time ? { ...world, recipe: { ...world.recipe, steps: stepsFor(sabotage) } } : world;
    for (let i = 0; i < runs; i++) {
      yield { kind: "progress", done: done++, of, what: sabotage.name };
      const name = `${seed} ${sabotage.group} ${sabotage.name} ${rate} ${i}`;
      outcomes.push(await drillRun(own, sabotage, { ...common, seed: name, rate }));
    }
    yield {
      kind: "row",
      row: rowOf(sabotage, rate, { outcomes, checks, steps: own.recipe.steps }),
    };
  }
}

const stepsFor = (sabotage: Sabotage): number =>
  ONSET_TIMED[1] + PATIENCE * (sabotage as (typeof SLEEPS)[number]).updates;

function rowOf(
  sabotage: Sabotage,
  rate: number | undefined,
  { outcomes, checks, steps }: { outcomes: readonly Outcome[]; checks: number; steps: number },
): DrillRow {
  const acted = outcomes.filter((o) => o.acted > 0);
  const found = acted.filter((o) => o.detected);
  const delays = found.map((o) => o.delay!);
  const expectation = expected(sabotage, {
    rate,
    checks,
    remaining: acted.map((o) => steps - o.onset),
  });
  return {
    ...{ group: sabotage.group, name: sabotage.name, rate },
    ...{ runs: acted.length, found: found.length, ...expectation },
    ...(delays.length > 0 && {
      delay: { median: medianOf(Float64Array.from(delays)), most: Math.max(...delays) },
    }),
    seenBy: tally(found.map((o) => o.detected!.kind)),
    falseAlarms: outcomes.reduce((sum, o) => sum + o.false.length, 0),
  };
}

/**
 * With p the chance that a sabotaged update is seen and f the share of sabotaged updates, n updates show it with a chance
 * of 1 - (1 - pf)^n; given that at least one was sabotaged. The delay counts from the first sabotaged one.
 */
function expected(
  sabotage: Sabotage,
  { rate = 1, checks, remaining }: { rate?: number; checks: number; remaining: readonly number[] },
): Pick<DrillRow, "expected" | "expectedDelay"> {
  if ("updates" in sabotage) return { expected: 1, expectedDelay: sabotage.updates as number };
  if (sabotage.every) return { expected: 1, expectedDelay: (sabotage.every - 1) / 2 };
  const p = sabotage.perUpdate * (sabotage.checked ? checks : 1);
  const within = (n: number) => (1 - (1 - p * rate) ** n) / (1 - (1 - rate) ** n);
  const share = sabotage.rates
    ? remaining.reduce((sum, n) => sum + within(n), 0) / Math.max(1, remaining.length)
    : p;
  const half = p >= 0.5 ? 0 : Math.ceil(Math.log(0.5 / (1 - p)) / Math.log(1 - p * rate));
  return { expected: share, expectedDelay: half };
}

function tally(kinds: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
