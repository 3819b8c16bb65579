/** Trackers of a run for `underpaint train`: TensorBoard's files and an MLflow server. Trains nothing. */

import { basename, resolve } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { mlflow } from "../train/mlflow.node.ts";
import { tensorboard } from "../train/tensorboard.node.ts";
import type { Watcher } from "../train/watch.ts";

/** Flags of `train` about trackers. */
export interface TrackerFlags {
  readonly tensorboard?: string;
  readonly mlflow?: string;
  readonly mlflowExperiment: string;
}

export function addTrackerFlags(command: Command): void {
  command
    .option("--tensorboard <folder>", "Also write TensorBoard event files: numbers and sheets")
    .option(
      "--mlflow <url>",
      "Also tell an MLflow server; MLFLOW_TRACKING_TOKEN is sent as its bearer token",
    )
    .option("--mlflow-experiment <name>", "Experiment over there", "underpaint");
}

/** The watchers that the flags ask for. @throws InputError where the address is none */
export function openTrackers(
  { tensorboard: folder, mlflow: url, mlflowExperiment: experiment }: TrackerFlags,
  { run, recipe, say }: { run: string; recipe: object; say: (line: string) => void },
): Watcher[] {
  const clock = Date.now;
  const found: Watcher[] = folder ? [tensorboard(folder, { clock })] : [];
  if (!url) return found;
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new InputError(`--mlflow ${url}: want an address such as http://127.0.0.1:5000`, { url });
  const token = process.env.MLFLOW_TRACKING_TOKEN;
  return [
    ...found,
    mlflow({
      ...{ url, experiment, name: basename(resolve(run)), params: recipe, clock, say },
      ...(token && { authorization: `Bearer ${token}` }),
    }),
  ];
}
