/** A run's folder: what it was asked to do, its metrics, its last checkpoint, its sheets. Trains nothing. */

import { node } from "../formats/builtins.node.ts";
import type { TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { encodePng } from "../formats/png.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import type { Picture } from "../image/sheet.ts";

export type Metrics = Readonly<Record<string, number>>;

/** The whole state of a run after some update. */
export interface Checkpoint {
  readonly step: number;
  /** The task's own plain JSON. */
  readonly position: unknown;
  readonly tensors: TensorMap;
}

const CONFIG = "run.json";
const METRICS = "metrics.jsonl";
const CHECKPOINT = "checkpoint.safetensors";
const utf8 = new TextEncoder();

/** One training run on disk. */
export interface Run {
  readonly folder: string;
  /** Where a file of that name is or would be. */
  file(name: string): string;
  /** Appends one line to metrics.jsonl. */
  log(line: Record<string, unknown>): Promise<void>;
  /** Replaces the checkpoint; the old one stays whole until the new one is. Returns the file. */
  save(checkpoint: Checkpoint): Promise<string>;
  /** Writes a picture under the folder; returns the file. */
  draw(name: string, picture: Picture): Promise<string>;
  /** Writes tensors under the folder; returns the file. */
  write(name: string, tensors: TensorMap, metadata: Record<string, string>): Promise<string>;
}

export interface OpenedRun<Config> {
  readonly run: Run;
  /** What the run was started with; on resuming, what its folder says. */
  readonly config: Config;
  /** Where to go on; undefined for a fresh run. */
  readonly checkpoint?: Checkpoint;
}

/**
 * Starts a run in a new folder, or resumes the one that is there.
 * `config` is plain JSON that fixes the whole run; a folder started with another one is refused with the first
 * difference, apart from the keys of `mayChange`.
 */
export async function openRun<Config extends object>(
  folder: string,
  config: Config,
  { mayChange = [] }: { mayChange?: readonly (keyof Config & string)[] } = {},
): Promise<OpenedRun<Config>> {
  await node.fs.mkdir(node.path.join(folder, "sheets"), { recursive: true });
  const before = await readIfThere(node.path.join(folder, CONFIG));
  const wanted = `${JSON.stringify(config, null, 2)}\n`;
  if (before) {
    const was = readObject(before.toString(), node.path.join(folder, CONFIG));
    refuseOther(folder, was, JSON.parse(wanted), mayChange);
  }
  const bytes = await readIfThere(node.path.join(folder, CHECKPOINT));
  const checkpoint = bytes && readCheckpoint(bytes, node.path.join(folder, CHECKPOINT));
  await writeFileAtomic(node.path.join(folder, CONFIG), utf8.encode(wanted));
  await forgetMetricsAfter(node.path.join(folder, METRICS), checkpoint?.step ?? 0);
  return { run: runIn(folder), config, checkpoint };
}

/** Writes into a run's folder that is there already; `openRun` is for training in it. */
export const runIn = (folder: string): Run => ({
  folder,
  file: (name) => node.path.join(folder, name),
  log: (line) => node.fs.appendFile(node.path.join(folder, METRICS), `${JSON.stringify(line)}\n`),
  async save({ step, position, tensors }) {
    const file = node.path.join(folder, CHECKPOINT);
    const metadata = { "underpaint.checkpoint": JSON.stringify({ format: 1, step, position }) };
    await writeFileAtomic(file, writeSafetensors(tensors, { metadata }));
    return file;
  },
  async draw(name, picture) {
    const file = node.path.join(folder, name);
    await writeFileAtomic(file, await encodePng(picture));
    return file;
  },
  async write(name, tensors, metadata) {
    const file = node.path.join(folder, name);
    await writeFileAtomic(file, writeSafetensors(tensors, { metadata }));
    return file;
  },
});

async function readIfThere(file: string): Promise<Buffer | undefined> {
  return (await node.fs.stat(file).catch(() => undefined)) ? node.fs.readFile(file) : undefined;
}

/** A JSON object out of a file. @throws InputError naming the file when it is none */
function readObject(text: string, file: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below, like every other thing that is no object.
  }
  throw new InputError(
    `${file}: holds no JSON object; restore it, or move it away to start afresh`,
    {
      file,
    },
  );
}

/** A state of a run from its file. @throws InputError when it is none */
export const readCheckpointFile = async (file: string): Promise<Checkpoint> =>
  readCheckpoint(await node.fs.readFile(file), file);

function readCheckpoint(bytes: Uint8Array, file: string): Checkpoint {
  const { tensors, metadata } = readSafetensors(bytes);
  const text = metadata?.["underpaint.checkpoint"];
  if (!text)
    throw new InputError(`${file}: not a checkpoint of a run; move it away to start afresh`, {
      file,
    });
  const { step, position } = readObject(text, file) as { step: number; position: unknown };
  if (!Number.isSafeInteger(step) || step < 0)
    throw new InputError(`${file}: says step ${step}, want a whole number`, { file, step });
  return { step, position, tensors };
}

function refuseOther(
  folder: string,
  before: Record<string, unknown>,
  now: Record<string, unknown>,
  mayChange: readonly string[],
): void {
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [was, is] = [JSON.stringify(before[key]), JSON.stringify(now[key])];
    if (was !== is && !mayChange.includes(key))
      throw new InputError(
        `${folder}: the run there was started with ${key} ${was}, now it is ${is}; use the same, or another folder`,
        { folder, key, was, is },
      );
  }
}

/** Drops lines of updates that will be done again, and a last line cut off by a crash. */
async function forgetMetricsAfter(file: string, step: number): Promise<void> {
  const text = (await readIfThere(file))?.toString();
  if (!text) return;
  const kept = text.split("\n").filter((line) => {
    try {
      return line !== "" && (JSON.parse(line) as { step: number }).step <= step;
    } catch {
      return false;
    }
  });
  await writeFileAtomic(file, utf8.encode(kept.map((line) => `${line}\n`).join("")));
}
