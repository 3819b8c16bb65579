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
import { hashedTensor } from "../test/hash-weights.ts";
import { layer, madeUp, type Spreads } from "../test/official-like.ts";

/**
 * Where these models differ from the other made-up ones: wider biases, convolutions of full weights, and pictures that
 * are rarely clamped.
 */
const OWN: Spreads = [
  [/bias$/, () => ({ kind: "u", a: 0.2 })],
  [/norm\w*\.weight$/, () => ({ kind: "u", a: 0.4, b: 1 })],
  [/decoder\.conv_out/, layer(0.5)],
  [/^(encoder|decoder)\./, layer(1)],
];

/** Weights of tensor `t` of a model; buffers are what the model says they are. */
function tensorOf(spec: ParamSpec, t: number, seed: number) {
  if (spec.value) return spec.value().data;
  if (spec.kind === "buffer") return new Float32Array(spec.shape.reduce((n, d) => n * d, 1));
  return hashedTensor(madeUp(spec, t, OWN), seed);
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
