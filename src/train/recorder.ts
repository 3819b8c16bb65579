/** Writes a run into its ledger as it trains: start, every update, checkpoints, resumes, ends. Judges nothing. */

import { InputError } from "../formats/errors.ts";
import type { Facts } from "../guard/ledger/entry.ts";
import type { Ledger } from "../guard/ledger/ledger.ts";
import { canonicalBytes, type JsonValue } from "../guard/sign/canonical.ts";
import { toBase64, toHex } from "../guard/sign/encoding.ts";
import {
  differingTensors,
  type Hash,
  type Sketcher,
  sketchRoot,
  sortedNames,
  stateRoot,
} from "../guard/state/index.ts";
import { batchRootOf } from "./batch-root.ts";
import type { History } from "./history.ts";
import type { AfterStepEvent, RunState, Watcher } from "./watch.ts";

/** What a run starts from, besides its state; see KINDS["run-start"] of the ledger. */
export interface RunFacts {
  /** SHA-256 of the list of everything that runs. */
  readonly code: string;
  readonly environment: JsonValue;
  /** All that fixes the run, as `underpaint audit` needs it to do it again. */
  readonly config: JsonValue;
  readonly dataRoot: string;
  readonly seed: string;
  readonly auditCommitment?: string;
  readonly [more: string]: JsonValue | undefined;
}

export interface RecorderOptions {
  readonly ledger: Ledger;
  /** What the ledger says so far. */
  readonly history: History;
  readonly facts: RunFacts;
  readonly sketcher: Sketcher;
  /** SHA-256; Node's own is much faster than ours. */
  readonly hash: Hash;
  /** SHA-256 of a file, in hexadecimal. */
  readonly hashFile: (file: string) => Promise<string>;
  /** Updates between roots over everything; sketches are taken before and after each. */
  readonly rootEvery?: number;
  /** Keeps the state of a checkpoint for audits. */
  readonly keep?: (file: string, step: number) => Promise<void>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** What a ledger knows beyond the sentinel: it compares the whole state around every update, and remembers earlier processes. */
export interface Book {
  /** What changed between the last update and the one that begins; undefined where all is as it was left. */
  changed(): { readonly since: number; readonly tensors: readonly string[] } | undefined;
  /** The process before ended in order, by its own account; so did one that never was. */
  readonly ended: boolean;
}

/** A watcher that others may ask to write events, and ask what it saw. */
export interface Recorder extends Watcher, Book {
  /** Writes an event: an alarm, an approved change. */
  note(event: string, facts?: Facts): void;
}

/** Updates between roots over everything: SHA-256 takes as long as eight sketches. */
export const ROOT_EVERY = 40;
/** Tensors named in one event. */
const MOST_NAMES = 20;

/** The name of a file without its folders. */
const baseName = (file: string): string => file.split(/[\\/]/).at(-1)!;

/**
 * The watcher that writes the ledger. Appending is not waited for, except around checkpoints: what a checkpoint holds is
 * in the ledger, signed and on the disk, before the file is.
 */
export function recorder(options: RecorderOptions): Recorder {
  const { ledger, history, facts, sketcher, hash, hashFile, keep, clock } = options;
  const { rootEvery = ROOT_EVERY } = options;
  let failed: unknown;
  /** The last update's entry: a checkpoint may follow, which wants its full root in it. */
  let pending: Facts | undefined;
  /** Events that belong behind it. */
  const behind: Facts[] = [];
  let after: { step: number; sketches: Uint8Array; root: string } | undefined;
  let before: string | undefined;
  let changed: ReturnType<Book["changed"]>;

  const rootOf = (state: RunState) =>
    stateRoot({ tensors: state.tensors(), position: state.position() }, hash);
  const look = (state: RunState) => {
    const sketches = sketcher.state(state.tensors());
    return { sketches, root: sketchRoot(sketches, state.position(), hash) };
  };
  const append = (
    kind: Parameters<Ledger["append"]>[0]["kind"],
    said: Facts,
    subjects?: Record<string, string>,
  ) => {
    if (failed) throw failed;
    ledger.append({ kind, facts: said, subjects }).catch((error: unknown) => {
      failed ??= error;
    });
  };
  const note = (event: string, said: Facts = {}) => {
    if (pending) behind.push({ event, ...said });
    else append("event", { event, ...said });
  };
  const settle = () => {
    if (pending) append("step", pending);
    pending = undefined;
    for (const event of behind.splice(0)) append("event", event);
  };
  const safe = async () => {
    settle();
    // What an append failed with says more than that the ledger is broken since.
    await ledger.flush().catch((error: unknown) => {
      failed ??= error;
    });
    if (failed) throw failed;
  };

  const entryOf = (event: AfterStepEvent, sketches: Uint8Array, root: string): Facts => {
    const { step, pace, metrics, phases, applied, batch, ms } = event;
    const { loss, gradNorm, lr: _, ...others } = metrics;
    return {
      ...{ step, sketchBefore: before, sketchAfter: root, sketches: toBase64(sketches) },
      batchRoot: batchRootOf(batch, hash),
      ...{ learningRate: pace.lr, weightDecay: pace.weightDecay, applied: { ...applied } },
      ...{ loss, gradientNorm: gradNorm, metrics: others, wallTime: ms, phases: { ...phases } },
    };
  };

  return {
    name: "ledger",
    note,
    changed: () => changed,
    ended: history.size === 0 || history.ended !== "killed",
    async start(event) {
      const root = rootOf(event);
      const { done, of } = event;
      if (ledger.size === 0)
        append("run-start", { ...facts, step: done, steps: of, stateRoot: root });
      else {
        const vouched = history.roots.get(done);
        if (vouched !== root)
          throw new InputError(
            vouched
              ? `${event.run.folder}: the state after update ${done} is not the one that was saved: its root is ${root.slice(0, 16)}…, the ledger says ${vouched.slice(0, 16)}…; restore the checkpoint from a copy, or see underpaint ledger show`
              : `${event.run.folder}: the ledger knows no state after update ${done}; restore the checkpoint it speaks of (see underpaint ledger show --kind checkpoint), or begin in another folder`,
            { step: done, root, vouched },
          );
        const gap = history.time === undefined ? undefined : clock() - history.time;
        const { code, config, environment, dataRoot } = facts;
        note("resume", {
          ...{ step: done, steps: of, stateRoot: root, ended: history.ended, gap },
          ...{ code, config, environment, dataRoot },
        });
      }
      await safe();
    },
    beforeStep(event) {
      settle();
      const now = look(event);
      before = now.root;
      changed = undefined;
      if (after && after.root !== now.root) {
        const names = differingTensors(sortedNames(event.tensors()), after.sketches, now.sketches);
        note("state-changed", {
          ...{ since: after.step, tensors: names.slice(0, MOST_NAMES), count: names.length },
          position: names.length === 0,
        });
        changed = { since: after.step, tensors: names };
      }
    },
    afterStep(event) {
      const { step, of } = event;
      const now = look(event);
      after = { step, ...now };
      pending = entryOf(event, now.sketches, now.root);
      if (step % rootEvery === 0 || step === of)
        pending = { ...pending, stateAfter: rootOf(event) };
      // After a kill some updates are done again; the ledger remembers how they went.
      const earlier = history.steps.get(step);
      if (earlier && step > history.resumeFrom && earlier.sketchAfter !== now.root)
        note("differs", { step, first: earlier.sketchAfter, now: now.root });
    },
    evaluation({ step, metrics }) {
      note("evaluation", { step, metrics: { ...metrics } });
    },
    async saving(event) {
      if (pending && pending.stateAfter === undefined)
        pending = { ...pending, stateAfter: rootOf(event) };
      await safe();
    },
    async checkpoint(event) {
      const digest = await hashFile(event.file);
      const path = baseName(event.file);
      const manifest = toHex(hash(canonicalBytes([{ name: path, digest: { sha256: digest } }])));
      const said = { step: event.step, path, stateRoot: rootOf(event), manifest };
      append("checkpoint", said, { [path]: digest });
      await keep?.(event.file, event.step);
      await safe();
    },
    async stop(event) {
      settle();
      append("run-end", { reason: "stopped", step: event.step, stateRoot: rootOf(event) });
      await safe();
    },
    async finish(event) {
      settle();
      const path = baseName(event.file);
      append(
        "run-end",
        { reason: "finished", step: event.step, stateRoot: rootOf(event) },
        { [path]: await hashFile(event.file) },
      );
      await safe();
    },
    async error({ step, error }) {
      const { name, message, data } = error as Error & { data?: Record<string, unknown> };
      settle();
      const evidence = data && (JSON.parse(JSON.stringify(data)) as JsonValue);
      append("run-end", { reason: "error", step, error: String(name), message, evidence });
      await safe();
    },
    close: () => ledger.close(),
  };
}
