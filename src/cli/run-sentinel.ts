/** The sentinel of a run for `underpaint train`: its flags, its secret, how it speaks. Trains nothing, detects nothing. */

import { randomBytes } from "node:crypto";
import { type Command, Option } from "commander";
import { type Alarm, describeAlarm } from "../guard/sentinel/index.ts";
import { recordSources } from "../guard/sentinel/sources.node.ts";
import { codeFiles } from "../train/evidence.node.ts";
import type { Task } from "../train/loop.ts";
import type { Recorder } from "../train/recorder.ts";
import { type Sentinel, sentinel } from "../train/sentinel/watcher.ts";
import { numberFlag } from "./flags.ts";

/** Flags of `train` about the sentinel. */
export interface SentinelFlags {
  readonly sentinel: boolean;
  readonly onAlarm: "warn" | "stop";
  readonly checks: number;
}

export function addSentinelFlags(command: Command): void {
  command
    .option("--no-sentinel", "Do not compute updates, gradients and batches again at random")
    .addOption(
      new Option(
        "--on-alarm <what>",
        "What an alarm about weights, updates, gradients, data or sources does; alarms of time only warn",
      )
        .choices(["warn", "stop"])
        .default("warn"),
    );
  numberFlag(command, "--checks <p>", {
    sentence: "Chance that an update's gradient is compared with the loss, two passes forward",
    ...{ real: true, min: 0, max: 1, fallback: 0.005 },
  });
}

export interface SentinelPlace {
  /** Prints a line for people. */
  readonly say: (line: string) => void;
  /** The run's ledger, where there is one. */
  readonly ledger?: Recorder;
}

/** The sentinel of a run. Its secret is made for this process and told to nobody. */
export async function openSentinel(
  task: Task,
  { onAlarm, checks }: SentinelFlags,
  { say, ledger }: SentinelPlace,
): Promise<Sentinel> {
  const tell = (alarm: Alarm): void => {
    const { kind, step, since, severity, evidence } = alarm;
    ledger?.note("alarm", { alarm: kind, step, since, severity, evidence: { ...evidence } });
    say(`${severity === "high" ? "ALARM" : "note"}: ${describeAlarm(alarm)}`);
  };
  return sentinel({
    ...{ secret: randomBytes(32), declared: task.declared, tell, stop: onAlarm === "stop" },
    checks,
    sources: await recordSources(await codeFiles()),
    book: ledger,
    wall: Date.now,
  });
}
