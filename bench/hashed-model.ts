/** Writes the two files of a VAR as large as the released ones, with weights from a hash. Trains nothing. */

import { existsSync } from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf } from "../src/formats/bytes.ts";
import { safetensorsHeader } from "../src/formats/safetensors.ts";
import { type VarConfig, type VqvaeConfig, varConfig, vqvaeConfig } from "../src/image/config.ts";
import { varSpecs } from "../src/image/var-layout.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import type { ParamSpec } from "../src/nn/spec.ts";
import { hashedValue } from "../test/hash-weights.ts";

/** Uniform around `b`: `a` is the whole width, or what the width is for a given fan-in. */
interface Spread {
  readonly a: number | ((fanIn: number) => number);
  readonly b?: number;
}

/** A layer of independent weights keeps the variance of what it reads, times `gain` squared. */
const layer = (gain: number): Spread => ({
  a: (fanIn) => (gain * Math.sqrt(12)) / Math.sqrt(fanIn),
});
/** Of that standard deviation. */
const std = (value: number): Spread => ({ a: value * Math.sqrt(12) });

/**
 * By name, the first that fits. Sizes as in a trained model, so that numbers stay in its range: logits of a few units,
 * attention neither flat nor one-hot, pictures that are rarely clamped.
 */
const SPREADS: readonly (readonly [RegExp, Spread])[] = [
  [/norm(\d|_out)?\.weight$/, { a: 0.4, b: 1 }],
  [/scale_mul/, { a: 0.8, b: Math.log(4) }],
  [/bias$/, { a: 0.2 }],
  [/^pos_|^lvl_embed/, std(0.4)],
  [/^class_emb/, std(0.8)],
  [/^quantize\.embedding/, std(0.5)],
  [/ada_lin/, layer(0.5)],
  [/^head\./, layer(2)],
  [/decoder\.conv_out/, layer(0.5)],
  [/./, layer(1)],
];

/** Weights of tensor `t` of a model; buffers are what the model says they are. */
function tensorOf(spec: ParamSpec, t: number, seed: number) {
  if (spec.value) return spec.value().data;
  const { name, shape } = spec;
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
  if (spec.kind === "buffer") return data;
  const [, { a, b = 0 }] = SPREADS.find(([pattern]) => pattern.test(name))!;
  const fanIn = data.length / shape[0]!;
  const width = typeof a === "number" ? a : a(fanIn);
  const recipe = { t, name, shape: [...shape], kind: "u" as const, a: width, b };
  for (let i = 0; i < data.length; i++) data[i] = hashedValue(recipe, seed, i);
  return data;
}

/** One tensor at a time: only one is in memory. The file is there under its name when it is whole. */
async function writeHashed(path: string, specs: readonly ParamSpec[], seed: number): Promise<void> {
  const part = `${path}.part`;
  const file = await open(part, "w");
  try {
    await file.writeFile(safetensorsHeader(new Map(specs.map((spec) => [spec.name, spec]))));
    for (const [t, spec] of specs.entries()) await file.writeFile(bytesOf(tensorOf(spec, t, seed)));
  } finally {
    await file.close();
  }
  await rename(part, path);
}

export interface HashedModel {
  readonly var: string;
  readonly vqvae: string;
  readonly config: VarConfig;
  readonly tokenizer: VqvaeConfig;
  /** Files that were not there before. */
  readonly made: readonly string[];
}

/** The files of an official size in `folder`: made where they are not there yet. 1.7 GB at depth 16. */
export async function hashedModel(folder: string, depth: number): Promise<HashedModel> {
  const config = varConfig(depth);
  const tokenizer = vqvaeConfig();
  const files = {
    var: join(folder, `var_d${depth}.safetensors`),
    vqvae: join(folder, "vae_ch160v4096z32.safetensors"),
  };
  await mkdir(folder, { recursive: true });
  const made = Object.values(files).filter((file) => !existsSync(file));
  if (made.includes(files.var)) await writeHashed(files.var, varSpecs(config), 1);
  if (made.includes(files.vqvae)) await writeHashed(files.vqvae, vqvaeSpecs(tokenizer), 2);
  return { ...files, config, tokenizer, made };
}
