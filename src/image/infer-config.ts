/** The configuration that a checkpoint was made with, found from its names and shapes. Checks no contents: see `checkWeights`. */

import type { TypedArray } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { type VarConfig, type VqvaeConfig, varConfig, vqvaeConfig } from "./config.ts";
import { PATCH_NUMS, type PatchNum, scalesText, tokenCount } from "./scales.ts";

/** Names with shapes, as a header gives them; the data is used where present. A `TensorMap` is one. */
export type Shapes = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data?: TypedArray }
>;

/** What shapes cannot tell. */
export interface InferOptions {
  /** Shapes of the token maps, e.g. from the file's metadata; found from the file where possible. */
  readonly patchNums?: readonly PatchNum[];
  /** What the file is, for errors; default "checkpoint". */
  readonly what?: string;
}

/** Which model a file holds, by its names; undefined for neither. */
export function modelKind(names: Iterable<string>): "var" | "vqvae" | undefined {
  const all = new Set(names);
  if (all.has("pos_1LC") && all.has("head.weight")) return "var";
  if (all.has("quantize.embedding.weight") && all.has("encoder.conv_in.weight")) return "vqvae";
  return undefined;
}

/**
 * The transformer's configuration. Rates that no file tells (drop path, label drop, gammaInit) get the defaults of
 * its depth.
 * @param options.heads for files without attention temperatures whose heads are not 64 channels wide
 * @throws InputError when tensors are absent or their shapes contradict each other
 */
export function inferVarConfig(
  tensors: Shapes,
  { patchNums, heads, what = "checkpoint" }: InferOptions & { heads?: number } = {},
): VarConfig {
  const dims = reader(tensors, { what, model: "VAR transformer" });
  const [width, latent] = dims("word_embed.weight", 2);
  const [classRows] = dims("class_emb.weight", 2);
  const [codes] = dims("head.weight", 2);
  const [scales] = dims("lvl_embed.weight", 2);
  const [, tokens] = dims("pos_1LC", 3);
  const [hidden] = dims("blocks.0.ffn.fc1.weight", 2);
  const depth = countOf(tensors, (i) => `blocks.${i}.attn.mat_qkv.weight`);
  const attnL2Norm = tensors.has("blocks.0.attn.scale_mul_1H11");
  const config = varConfig(depth, {
    width: width!,
    heads: attnL2Norm
      ? dims("blocks.0.attn.scale_mul_1H11", 4)[1]!
      : (heads ?? headsOf64(width!, what)),
    mlpRatio: hidden! / width!,
    classes: classRows! - 1,
    codes: codes!,
    latent: latent!,
    attnL2Norm,
    sharedAdaLN: tensors.has("shared_ada_lin.1.weight"),
    adaLN: !tensors.has("head_nm.ln_gss"),
    patchNums:
      patchNums ??
      sidesFromLevels(tensors.get("lvl_1L")?.data) ??
      knownSides({ scales: scales!, tokens: tokens! }) ??
      unknownSides(what, { scales: scales!, tokens: tokens! }),
  });
  if (config.patchNums.length !== scales || tokenCount(config) !== tokens) {
    throw new InputError(
      `${what} has ${scales} scales and ${tokens} tokens, patchNums [${scalesText(config.patchNums)}] mean ${config.patchNums.length} and ${tokenCount(config)}; give the patchNums it was trained with`,
      { scales, tokens, patchNums: config.patchNums },
    );
  }
  return config;
}

/**
 * The tokenizer's configuration. The weights do not depend on the scales: where the file tells only their number,
 * the first list in use of that length is taken (256 pixels before 512), so give `patchNums` when it matters.
 * @throws InputError when tensors are absent or their shapes contradict each other
 */
export function inferVqvaeConfig(
  tensors: Shapes,
  { patchNums, what = "checkpoint" }: InferOptions = {},
): VqvaeConfig {
  const dims = reader(tensors, { what, model: "multi-scale VQVAE" });
  const [channels] = dims("encoder.conv_in.weight", 4);
  const [codes, latent] = dims("quantize.embedding.weight", 2);
  const levels = countOf(tensors, (i) => `encoder.down.${i}.block.0.conv1.weight`);
  const chMult = Array.from(
    { length: levels },
    (_, i) => dims(`encoder.down.${i}.block.0.conv1.weight`, 4)[0]! / channels!,
  );
  const phi = findPhi(tensors);
  const usageRows = tensors.get("quantize.ema_vocab_hit_SV")?.shape[0] ?? 10;
  const scaleCount = phi.phiSharing === "each" ? phi.phis : usageRows;
  return vqvaeConfig({
    channels: channels!,
    chMult,
    resBlocks: countOf(tensors, (i) => `encoder.down.0.block.${i}.conv1.weight`),
    attention: tensors.has(`encoder.down.${levels - 1}.attn.0.norm.weight`),
    midAttention: tensors.has("encoder.mid.attn_1.norm.weight"),
    latent: latent!,
    codes: codes!,
    ...phi,
    patchNums:
      patchNums ?? knownSides({ scales: scaleCount }) ?? unknownSides(what, { scales: scaleCount }),
  });
}

type Dims = (name: string, rank: number) => readonly number[];

/** The shape of a tensor that has to be there with that many dimensions. */
const reader =
  (tensors: Shapes, { what, model }: { what: string; model: string }): Dims =>
  (name, rank) => {
    const shape = tensors.get(name)?.shape;
    if (shape?.length === rank) return shape;
    const found = shape === undefined ? "it is absent" : `it has shape [${shape.join(", ")}]`;
    throw new InputError(
      `${what} is not a ${model}: "${name}" should have ${rank} dimensions and ${found}; give a checkpoint of that model`,
      { what, name, shape },
    );
  };

/** How many of the names name(0), name(1), ... are there without a gap. */
function countOf(tensors: Shapes, name: (i: number) => string): number {
  let n = 0;
  while (tensors.has(name(n))) n++;
  return n;
}

function headsOf64(width: number, what: string): number {
  if (width % 64 === 0) return width / 64;
  throw new InputError(
    `${what} does not tell its number of heads, and width ${width} is no multiple of 64; give heads`,
    { what, width },
  );
}

/** The sides from the buffer that holds the scale of each token; undefined where it holds no squares. */
function sidesFromLevels(levels: TypedArray | undefined): number[] | undefined {
  if (levels === undefined) return undefined;
  const counts: number[] = [];
  for (const level of levels) {
    const k = Number(level);
    if (k !== counts.length - 1 && k !== counts.length) return undefined; // steps up by one, or stays
    counts[k] = (counts[k] ?? 0) + 1;
  }
  const sides = counts.map(Math.sqrt);
  return sides.length > 0 && sides.every(Number.isInteger) ? sides : undefined;
}

/** The first list in use of that many scales, and of that many tokens where they are known. */
function knownSides({
  scales,
  tokens,
}: {
  scales: number;
  tokens?: number;
}): readonly number[] | undefined {
  return Object.values(PATCH_NUMS).find(
    (sides) =>
      sides.length === scales &&
      (tokens === undefined || tokenCount({ patchNums: sides }) === tokens),
  );
}

function unknownSides(what: string, facts: { scales: number; tokens?: number }): never {
  const tokens = facts.tokens === undefined ? "" : ` and ${facts.tokens} tokens`;
  throw new InputError(
    `${what} has ${facts.scales} scales${tokens}, which is no list of patchNums in use; give the patchNums it was trained with`,
    facts,
  );
}

/** How many phi convolutions there are and how they are shared. */
function findPhi(
  tensors: Shapes,
): Pick<VqvaeConfig, "phis" | "phiSharing"> & { quantResi?: number } {
  const count = (prefix: string) => countOf(tensors, (i) => `${prefix}${i}.weight`);
  const partial = count("quantize.quant_resi.qresi_ls.");
  if (partial > 0) return { phiSharing: "partial", phis: partial };
  const each = count("quantize.quant_resi.");
  if (each > 0) return { phiSharing: "each", phis: each };
  if (tensors.has("quantize.quant_resi.qresi.weight")) return { phiSharing: "shared", phis: 1 };
  return { phiSharing: "partial", phis: 4, quantResi: 0 };
}
