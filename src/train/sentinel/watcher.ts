/** The sentinel as a watcher of a training run: gives the detectors what they look at, and tells what they find. */

import { node } from "../../formats/builtins.node.ts";
import type { Tensor } from "../../formats/dtype.ts";
import {
  type Alarm,
  type AlarmKind,
  alarm,
  createChain,
  type DataRecord,
  describeAlarm,
  falls,
  recordData,
  secretStream,
} from "../../guard/sentinel/index.ts";
import type { SourceRecord } from "../../guard/sentinel/sources.node.ts";
import { type Hash, stateRoot } from "../../guard/state/index.ts";
import type { Declared } from "../declared.ts";
import type { Book } from "../recorder.ts";
import { type AfterStepEvent, AlarmError, type Watcher } from "../watch.ts";
import { checkDirections, type Direction } from "./directions.ts";
import { watchPace, watchStatistics } from "./pace.ts";
import { checkArithmetic, checkBatch, checkNumbers, type Found } from "./update.ts";

/** Where the alarms of a run stand in its folder, one JSON object a line. */
export const ALARM_FILE = "alarms.jsonl";

export interface SentinelOptions {
  /** Decides what is looked at and when; at least 16 bytes, told to nobody, not made from the run's seed. */
  readonly secret: Uint8Array;
  /** `task.declared`. Without it updates, gradients and batches are not checked. */
  readonly declared?: Declared;
  /** Of a run that goes on: `stateRoot` of the checkpoint. A ledger compares it itself and refuses another. */
  readonly saved?: string;
  /** The run's ledger: a watcher before this one. */
  readonly book?: Partial<Book>;
  /** What becomes of an alarm besides its line in alarms.jsonl. */
  readonly tell?: (alarm: Alarm) => Promise<void> | void;
  /** A high alarm ends the run before its state is saved. Default: it goes on. */
  readonly stop?: boolean;
  /** Chance that an update's gradient is checked against the loss, at two passes forward for each direction. */
  readonly checks?: number;
  /** Directions of such a check: one of them by lot (default), or both. */
  readonly directions?: "either" | "both";
  /** Coordinates of every update that are computed again. */
  readonly coordinates?: number;
  /** Bytes of the state that are compared between two updates; see ChainOptions. Less beside a ledger: it compares all. */
  readonly budget?: number;
  /** Milliseconds since 1970. Default: the wall clock is not compared. */
  readonly wall?: () => number;
  /** Files that the run executes; looked at every `sourcesEvery` updates, and read whole at every checkpoint. */
  readonly sources?: SourceRecord;
  readonly sourcesEvery?: number;
  /** An alarm of a kind is not told again before so many updates without it. */
  readonly quiet?: number;
}

export interface Sentinel extends Watcher {
  /** All alarms so far. */
  readonly alarms: readonly Alarm[];
}

/** Bytes of the state that the sentinel compares itself where a ledger compares the whole. */
const BESIDE_LEDGER = 2 ** 20;

/** The first tensor that changed; where none did, it was the data's cursor. */
const nameOf = ([first = "position"]: readonly string[]): string => first;

const sha256: Hash = (...parts) => {
  const hash = node.crypto.createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** A sentinel for one run; give it to `trainLoop`, last of the watchers so that their time is not the run's. */
export function sentinel(options: SentinelOptions): Sentinel {
  const { secret, declared, stop = false, checks = 0.005, directions = "either" } = options;
  const { coordinates = 512, sources, sourcesEvery = 20, quiet = 100, book } = options;
  const { budget = book?.changed ? BESIDE_LEDGER : undefined } = options;
  const chain = createChain({ secret, hash: sha256, ...(budget !== undefined && { budget }) });
  const [pace, statistics] = [watchPace(options), watchStatistics()];
  const alarms: Alarm[] = [];
  const last = new Map<AlarmKind, number>();
  const memory = new Map<string, Tensor>();
  let folder: string | undefined;
  let data: DataRecord | undefined;

  /** Tells everything that was found; then ends the run where that is wanted. */
  async function raise(step: number, found: readonly Found[]): Promise<void> {
    let refused: Alarm | undefined;
    for (const [kind, evidence] of found) {
      const raised = alarm(kind, step, evidence);
      if (stop && raised.severity === "high") refused ??= raised;
      const before = last.get(kind);
      last.set(kind, step);
      if (before !== undefined && step - before < quiet) continue;
      alarms.push(raised);
      const line = `${JSON.stringify(raised)}\n`;
      if (folder) await node.fs.appendFile(node.path.join(folder, ALARM_FILE), line);
      await options.tell?.(raised);
    }
    if (refused)
      throw new AlarmError(`the sentinel stops the run: ${describeAlarm(refused)}`, { ...refused });
  }

  async function checkGradient(event: AfterStepEvent, declared: Declared): Promise<Found[]> {
    const choice = secretStream(secret, "gradient", event.step);
    if (!falls(choice, checks)) return [];
    const either: Direction = falls(choice, 0.5) ? "along" : "across";
    const stream = () => secretStream(secret, "signs", event.step);
    const chosen: Direction[] = directions === "both" ? ["along", "across"] : [either];
    return checkDirections(event, declared, { directions: chosen, stream, memory });
  }

  async function checkSources(how?: { whole: boolean }): Promise<Found[]> {
    const [first, ...more] = (await sources?.changes(how)) ?? [];
    return first ? [["sources", { ...first, more: more.length }]] : [];
  }

  return {
    name: "sentinel",
    alarms,
    async start({ run, done, tensors, position }) {
      folder = run.folder;
      const { saved } = options;
      const { ended = true } = book ?? {};
      const found: Found[] = ended ? [] : [["gap", { since: done, reason: "no end was recorded" }]];
      const now = saved && stateRoot({ tensors: tensors(), position: position() }, sha256);
      if (now && now !== saved) found.push(["saved-state", { saved, loaded: now }]);
      await raise(done, found);
      if (declared)
        data = recordData(declared.rows, (i) => declared.row(i), { secret, hash: sha256 });
    },
    async beforeStep({ step, tensors, position }) {
      const found = pace.begin(step);
      const changed = book?.changed?.();
      const tensor =
        chain.changed(tensors(), JSON.stringify(position())) ??
        (changed && nameOf(changed.tensors));
      const more = changed && { tensors: changed.tensors.length };
      if (tensor) found.push(["state-chain", { since: step - 1, tensor, ...more }]);
      await raise(step, found);
    },
    async afterStep(event) {
      const { step, metrics } = event;
      const found = pace.observe(event);
      let moved: number | undefined;
      if (declared && data) {
        const stream = secretStream(secret, "coordinates", step);
        const shadow = checkArithmetic(event, declared, { stream, count: coordinates });
        moved = shadow.report.moved;
        found.push(...checkBatch(event, declared, data), ...checkNumbers(event, declared));
        found.push(...shadow.found, ...(await checkGradient(event, declared)));
      }
      found.push(...statistics(metrics, moved));
      if (step % sourcesEvery === 0) found.push(...(await checkSources()));
      await raise(step, found);
      chain.left(step, event.tensors(), JSON.stringify(event.position()));
      pace.end();
    },
    evaluation: pace.pause,
    sheet: pace.pause,
    async saving({ step, tensors, position }) {
      const tensor = chain.changed(tensors(), JSON.stringify(position()));
      const found = await checkSources({ whole: true });
      if (tensor) found.push(["state-chain", { tensor }]);
      await raise(step, found);
      pace.pause();
    },
    checkpoint: pace.pause,
  };
}
