/** A run's folder as a model: its recipe, its metrics, its weights as of the last checkpoint. Trains nothing. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { readTensorFile } from "../formats/node.ts";
import type { VarConfig, VqvaeConfig } from "../image/config.ts";
import { modelKind } from "../image/infer-config.ts";
import { noteConfig } from "../image/note.ts";
import { phiIndex } from "../image/quantizer-math.ts";
import { varSpecs } from "../image/var-layout.ts";
import { checkVqvaeWeights, phiNames, vqvaeSpecs } from "../image/vqvae-layout.ts";
import { checkWeights, initWeights } from "../nn/spec.ts";
import { rng } from "../tensor/rng.ts";
import { type MetricLine, parseMetrics } from "./metrics.ts";

/** What a run was asked to do, as its run.json has it. */
export type Recipe = Readonly<Record<string, unknown>>;

export interface TrainedRun<Config> {
  readonly folder: string;
  readonly recipe: Recipe;
  readonly config: Config;
  readonly metrics: readonly MetricLine[];
  readonly weights: TensorMap;
  /** First 16 hex digits of SHA-256 of the finished model's file; undefined for a checkpoint. */
  readonly hash?: string;
}

interface Kinds {
  readonly vqvae: VqvaeConfig;
  readonly var: VarConfig;
}

/**
 * Reads a run of `train vqvae` or `train var`; of one that is not finished, the last checkpoint.
 * @throws InputError when a file is missing, is of the other kind, or its tensors are not those of the recipe
 */
export async function readRun<Kind extends keyof Kinds>(
  folder: string,
  kind: Kind,
): Promise<TrainedRun<Kinds[Kind]>> {
  const recipe = parseRecipe(await text(folder, "run.json"), join(folder, "run.json"));
  const what = join(folder, "run.json");
  const note = { kind, config: recipe.model as Recipe };
  const config = (
    kind === "var"
      ? noteConfig(note, { kind: "var", what })
      : noteConfig(note, { kind: "vqvae", what })
  ) as Kinds[Kind];
  const file = join(folder, "metrics.jsonl");
  const metrics = parseMetrics(await text(folder, "metrics.jsonl"), { what: file });
  if (recipe.only === "decoder" && !existsSync(join(folder, FINISHED[kind])))
    throw new InputError(
      `${folder} trains a decoder alone and is not finished, and its checkpoint holds nothing else; give it again when its training has ended`,
      { folder },
    );
  const { tensors, from, step } = await newestWeights(folder, kind);
  const hash = from.endsWith(CHECKPOINT) ? undefined : hashOf(await readFile(from));
  const weights =
    kind === "var"
      ? varWeights(config as VarConfig, tensors, from)
      : vqvaeWeights(config as VqvaeConfig, tensors, from);
  // Updates after the last checkpoint are not in these weights.
  const known = metrics.filter((line) => line.step <= step);
  return { folder, recipe, config, metrics: known, weights, hash };
}

/** First 16 hex digits of SHA-256. */
export const hashOf = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("hex").slice(0, 16);

async function text(folder: string, name: string): Promise<string> {
  const file = join(folder, name);
  if (!existsSync(file))
    throw new InputError(`${file} is not there; give the folder of a run, as --run named it`, {
      file,
    });
  return readFile(file, "utf8");
}

function parseRecipe(json: string, file: string): Recipe {
  try {
    const recipe: unknown = JSON.parse(json);
    const { model } = (recipe ?? {}) as { model?: unknown };
    if (typeof model === "object" && model !== null) return recipe as Recipe;
  } catch {
    // falls to the sentence below
  }
  throw new InputError(`${file} is not the recipe of a run: it has no model`, { file });
}

const FINISHED = { vqvae: "vqvae.safetensors", var: "var.safetensors" } as const;
const CHECKPOINT = "checkpoint.safetensors";
/** What becomes the model: the running mean of its weights where there is one, else the weights themselves. */
const [PARAM, EMA] = ["param.", "ema."];

/** The finished model, or what its last checkpoint holds. */
async function newestWeights(
  folder: string,
  kind: keyof Kinds,
): Promise<{ tensors: TensorMap; from: string; step: number }> {
  const file = [FINISHED[kind], CHECKPOINT].map((n) => join(folder, n)).find((f) => existsSync(f));
  if (!file)
    throw new InputError(
      `${folder} has neither ${FINISHED[kind]} nor a checkpoint; train it first`,
      {
        folder,
      },
    );
  const { tensors: all, metadata } = await readTensorFile(file);
  const tensors = file.endsWith(CHECKPOINT) ? modelOf(all) : all;
  const found = modelKind(tensors.keys());
  if (found !== kind)
    throw new InputError(
      `${file} holds ${found === undefined ? "no model" : `a ${found}`}, wanted a ${kind}; give the other run`,
      { file, found },
    );
  const { step = Number.POSITIVE_INFINITY } = parsedState(metadata["underpaint.checkpoint"]);
  return { tensors, from: file, step };
}

/** The model in a checkpoint, which also has the optimizer's moments ("state.") and buffers under their own names. */
function modelOf(all: TensorMap): TensorMap {
  const averaged = [...all.keys()].some((name) => name.startsWith(EMA));
  const own = new Map<string, Tensor>();
  for (const [name, tensor] of all) {
    if (name.startsWith("state.")) continue;
    if (name.startsWith(EMA)) own.set(name.slice(EMA.length), tensor);
    else if (!(name.startsWith(PARAM) && averaged && all.has(EMA + name.slice(PARAM.length))))
      own.set(name.replace(PARAM, ""), tensor);
  }
  return own;
}

/** What a checkpoint says of itself; nothing for a finished model. */
function parsedState(text: string | undefined): { step?: number } {
  const { step } = (text === undefined ? {} : JSON.parse(text)) as { step?: unknown };
  return typeof step === "number" ? { step } : {};
}

/** Checkpoints of tokenizers lack the phi convolutions that few scales never choose: any values do. */
function vqvaeWeights(config: VqvaeConfig, tensors: TensorMap, what: string): TensorMap {
  const phis = phiNames(config);
  const used = new Set(phis.length ? phiIndex(config.patchNums.length, phis.length) : []);
  const spare = phis.filter((_, i) => !used.has(i));
  const missing = vqvaeSpecs(config).filter(
    ({ name }) => !tensors.has(name) && spare.some((phi) => name.startsWith(`${phi}.`)),
  );
  const whole = new Map([...tensors, ...initWeights(missing, rng(0))]);
  return checkVqvaeWeights(config, whole, { what });
}

/** Checkpoints of transformers have no buffers: these follow from the configuration. */
function varWeights(config: VarConfig, tensors: TensorMap, what: string): TensorMap {
  const specs = varSpecs(config);
  const missing = specs.filter(({ kind, name }) => kind === "buffer" && !tensors.has(name));
  const whole = new Map([...tensors, ...initWeights(missing, rng(0))]);
  return checkWeights(specs, whole, { what });
}
