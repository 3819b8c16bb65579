/** What a run's ledger says happened, gathered from its entries: for going on with a run and for doing it again. */

import type { LedgerRecord } from "../guard/ledger/entry.ts";
import { fromBase64 } from "../guard/sign/encoding.ts";

/** An update as the ledger has it. */
export interface StepRecord {
  readonly step: number;
  /** Index of its entry. */
  readonly index: number;
  /** Index into `History.configs`: with what it was done. */
  readonly config: number;
  /** Root over everything after it; only every few updates and where a checkpoint was written. */
  readonly stateAfter?: string;
  readonly sketchBefore: string;
  readonly sketchAfter: string;
  /** 8 bytes per tensor, in the order of their names. */
  readonly sketches: Uint8Array;
  readonly batchRoot: string;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly applied: Readonly<Record<string, unknown>>;
  readonly loss: unknown;
  readonly gradientNorm: unknown;
}

export interface History {
  /** Entries read. */
  readonly size: number;
  /** What was said at the start of the run: config, commitments. */
  readonly start?: Readonly<Record<string, unknown>>;
  /** Configurations in force, in order: that of the start, and that of each resume which changed it. */
  readonly configs: readonly Readonly<Record<string, unknown>>[];
  /** The latest entry of each update. */
  readonly steps: ReadonlyMap<number, StepRecord>;
  /** State roots by update: the start's, checkpoints', full roots of updates. */
  readonly roots: ReadonlyMap<number, string>;
  /** First update after each resume. */
  readonly resumed: readonly number[];
  /** Updates around which something else than training was written: alarms, changed states, errors. */
  readonly alarms: readonly number[];
  /** Why the run ended the last time: "finished", "stopped", "error", or "killed" when it did not say. */
  readonly ended: string;
  /** The update of the last checkpoint, resume or start: updates after it are done again. */
  readonly resumeFrom: number;
  /** Milliseconds since 1970 of the last entry. */
  readonly time?: number;
}

const ALARMS = ["state-changed", "differs", "alarm"];
const text = (facts: Readonly<Record<string, unknown>>, key: string): string =>
  String(facts[key] ?? "");

/** Reads all entries. Only their form is believed, as they are signed; numbers are compared later, not trusted. */
export async function readHistory(records: AsyncIterable<LedgerRecord>): Promise<History> {
  const steps = new Map<number, StepRecord>();
  const roots = new Map<number, string>();
  const configs: Record<string, unknown>[] = [];
  const [resumed, alarms]: [number[], number[]] = [[], []];
  let start: Readonly<Record<string, unknown>> | undefined;
  let [size, ended, resumeFrom, last] = [0, "killed", 0, 0];
  let time: number | undefined;
  const useConfig = (config: unknown) => {
    if (JSON.stringify(config) !== JSON.stringify(configs.at(-1)))
      configs.push(config as Record<string, unknown>);
  };
  const learn = (step: unknown, root: unknown) => {
    if (typeof root === "string") roots.set(Number(step), root);
  };
  for await (const { kind, index, facts, time: when } of records) {
    size = index + 1;
    time = when ?? time;
    if (kind !== "run-end") ended = "killed";
    if (kind === "run-start") {
      start = facts;
      resumeFrom = Number(facts.step ?? 0);
      learn(resumeFrom, facts.stateRoot);
      useConfig(facts.config);
    } else if (kind === "step") {
      const step = Number(facts.step);
      last = step;
      learn(step, facts.stateAfter);
      steps.set(step, {
        ...{ step, index, config: configs.length - 1 },
        stateAfter: typeof facts.stateAfter === "string" ? facts.stateAfter : undefined,
        sketchBefore: text(facts, "sketchBefore"),
        sketchAfter: text(facts, "sketchAfter"),
        sketches: fromBase64(text(facts, "sketches"), `ledger entry ${index}: sketches`),
        batchRoot: text(facts, "batchRoot"),
        learningRate: Number(facts.learningRate),
        weightDecay: Number(facts.weightDecay),
        applied: (facts.applied ?? {}) as Record<string, unknown>,
        ...{ loss: facts.loss, gradientNorm: facts.gradientNorm },
      });
    } else if (kind === "checkpoint") {
      resumeFrom = Number(facts.step);
      learn(facts.step, facts.stateRoot);
    } else if (kind === "run-end") {
      ended = text(facts, "reason");
      if (ended === "error") alarms.push(last);
    } else if (facts.event === "resume") {
      resumeFrom = Number(facts.step);
      resumed.push(resumeFrom + 1);
      useConfig(facts.config);
    } else if (ALARMS.includes(text(facts, "event"))) {
      alarms.push(Number(facts.step ?? facts.since ?? last));
    }
  }
  return { size, start, configs, steps, roots, resumed, alarms, ended, resumeFrom, time };
}
