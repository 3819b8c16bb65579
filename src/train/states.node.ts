/** States kept beside a run for audits: its checkpoints, under other names. Costs disk, no time. */

import { node } from "../formats/builtins.node.ts";
import { type Checkpoint, readCheckpointFile } from "./run.node.ts";

const FOLDER = "states";
const FORM = /^(\d{9,16})\.safetensors$/;
const nameOf = (step: number): string => `${String(step).padStart(9, "0")}.safetensors`;

export interface StoredStates {
  /** Updates after which a state is kept, rising. */
  readonly steps: readonly number[];
  read(step: number): Promise<Checkpoint>;
}

/** The states in a run's folder. */
export async function storedStates(run: string): Promise<StoredStates> {
  const folder = node.path.join(run, FOLDER);
  const names = await node.fs.readdir(folder).catch(() => []);
  const steps = names.flatMap((name) => FORM.exec(name)?.[1] ?? []).map(Number);
  return {
    steps: steps.sort((a, b) => a - b),
    read: (step) => readCheckpointFile(node.path.join(folder, nameOf(step))),
  };
}

/**
 * Keeps a checkpoint: the next one replaces the file's name, and its bytes stay under this one. Where that would take
 * more than `budget` bytes, every second kept state goes, so that those left are spread evenly.
 */
export async function keepState(
  run: string,
  { file, step, budget }: { file: string; step: number; budget: number },
): Promise<void> {
  const folder = node.path.join(run, FOLDER);
  const { size } = await node.fs.stat(file);
  if (size > budget) return;
  await node.fs.mkdir(folder, { recursive: true });
  const target = node.path.join(folder, nameOf(step));
  await node.fs.rm(target, { force: true });
  // A file system without hard links takes a copy.
  await node.fs.link(file, target).catch(() => node.fs.copyFile(file, target));
  for (;;) {
    const { steps } = await storedStates(run);
    if (steps.length * size <= budget || steps.length < 2) return;
    for (const old of steps.filter((_, i) => i % 2 === 0 && i !== steps.length - 1))
      await node.fs.rm(node.path.join(folder, nameOf(old)), { force: true });
  }
}
