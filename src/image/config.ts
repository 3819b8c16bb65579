/** The dials of the tokenizer (VQVAE) and of the transformer (VAR), and what follows from them. Holds no weights. */

import { InputError } from "../formats/errors.ts";
import { checkPatchNums, PATCH_NUMS, type PatchNum, scalesText } from "./scales.ts";

/** The multi-scale VQVAE. Paper: VAR (arXiv 2404.02905), section 3.2 and appendix. */
export interface VqvaeConfig {
  /** Channels of the first level. */
  readonly channels: number;
  /** Channels of each level as multiples of `channels`, highest resolution first; each level after the first halves the side. */
  readonly chMult: readonly number[];
  /** Residual blocks per encoder level; the decoder has one more. */
  readonly resBlocks: number;
  /** Attention after each residual block of the deepest level. */
  readonly attention: boolean;
  /** Attention between the two middle blocks. */
  readonly midAttention: boolean;
  /** GroupNorm groups; every channel count is a multiple. */
  readonly groups: number;
  /** Channels of the latent map and of a code vector. */
  readonly latent: number;
  /** V: entries of the codebook. */
  readonly codes: number;
  /** Shapes of the token maps, coarse to fine; the last is the shape of the latent map. */
  readonly patchNums: readonly PatchNum[];
  /** How scales share the phi convolutions: `phis` convolutions chosen by nearness, one for all, or one per scale. */
  readonly phiSharing: "partial" | "shared" | "each";
  /** Number of phi convolutions. */
  readonly phis: number;
  /** Share of the convolution in phi(h) = (1 - quantResi) h + quantResi conv(h); 0 leaves phi out. */
  readonly quantResi: number;
  /** Nearest code by cosine instead of by distance. */
  readonly usingZnorm: boolean;
  /** Weight of the commitment loss. */
  readonly beta: number;
  /** Codebook start: x > 0 truncated normal of std x, x < 0 uniform within |x| / codes. */
  readonly codebookInit: number;
}

/** The transformer. Paper: VAR (arXiv 2404.02905), section 3.2 and table of sizes. */
export interface VarConfig {
  /** Blocks. */
  readonly depth: number;
  /** C: channels of the residual stream. */
  readonly width: number;
  readonly heads: number;
  /** Hidden width of the feed-forward part over `width`. */
  readonly mlpRatio: number;
  /** Classes without the extra "no class" row. */
  readonly classes: number;
  readonly patchNums: readonly PatchNum[];
  /** V: codes of the tokenizer. */
  readonly codes: number;
  /** Channels of the tokenizer's latent map. */
  readonly latent: number;
  /** One modulation layer for all blocks plus an offset per block, instead of one layer per block. */
  readonly sharedAdaLN: boolean;
  /**
   * The class modulates every layer. Without it layers have their own LayerNorm scales and shifts, and the class is
   * the first token alone: the paper's ablation, no released model.
   */
  readonly adaLN: boolean;
  /** l2-normalised queries and keys with a learned temperature per head. */
  readonly attnL2Norm: boolean;
  /** Drop-path rate of the last block; it rises from 0 in the first. */
  readonly dropPath: number;
  /** Probability that a label is replaced by "no class" in training. */
  readonly labelDrop: number;
  /** Epsilon of the LayerNorms. */
  readonly normEps: number;
  /** Starting scale of the residual gates gamma; the official `alng`. */
  readonly gammaInit: number;
}

/**
 * THE dial: width 64 depth, heads depth, drop path 0.1 depth / 24; the rest as the official 256-pixel models.
 * A `width` alone keeps heads of 64 channels, or of as nearly as many as divide it.
 * @throws InputError when the parts do not fit
 */
export function varConfig(depth: number, overrides: Partial<VarConfig> = {}): VarConfig {
  const width = overrides.width ?? 64 * depth;
  return checkVarConfig({
    width,
    heads: nearestDivisor(width, Math.max(1, Math.round(width / 64))),
    mlpRatio: 4,
    classes: 1000,
    patchNums: PATCH_NUMS[16]!,
    codes: 4096,
    latent: 32,
    sharedAdaLN: false,
    adaLN: true,
    attnL2Norm: true,
    dropPath: (0.1 * depth) / 24,
    labelDrop: 0.1,
    normEps: 1e-6,
    gammaInit: 1e-3,
    ...definedOnly(overrides),
    depth,
  });
}

/**
 * The tokenizer; by default the official ch160 V4096 z32 with f = 16 and 256-pixel scales.
 * @throws InputError when the parts do not fit
 */
export function vqvaeConfig(overrides: Partial<VqvaeConfig> = {}): VqvaeConfig {
  const { phiSharing = "partial", patchNums = PATCH_NUMS[16]! } = overrides;
  return checkVqvaeConfig({
    channels: 160,
    chMult: [1, 1, 2, 2, 4],
    resBlocks: 2,
    attention: true,
    midAttention: true,
    groups: 32,
    latent: 32,
    codes: 4096,
    patchNums,
    phiSharing,
    phis: { partial: 4, shared: 1, each: patchNums.length }[phiSharing],
    quantResi: 0.5,
    usingZnorm: false,
    beta: 0.25,
    codebookInit: -1,
    ...definedOnly(overrides),
  });
}

/** The small tokenizer of the 64-pixel models: f = 8, scales 1 2 3 4 5 6 8, sized to be trained on a CPU. */
export const labVqvaeConfig = (overrides: Partial<VqvaeConfig> = {}): VqvaeConfig =>
  vqvaeConfig({
    channels: 32,
    chMult: [1, 2, 2, 4],
    resBlocks: 1,
    latent: 16,
    codes: 1024,
    patchNums: PATCH_NUMS[8]!,
    ...definedOnly(overrides),
  });

/** Drop-path rate of each block: evenly from 0 to `dropPath`. */
export const dropPathRates = ({ depth, dropPath }: VarConfig): number[] =>
  Array.from({ length: depth }, (_, i) => (depth === 1 ? 0 : (dropPath * i) / (depth - 1)));

/** @throws InputError unless the transformer reads and writes the tokens of this tokenizer. */
export function checkPair(transformer: VarConfig, tokenizer: VqvaeConfig): void {
  const different = differentDial(transformer, tokenizer);
  if (!different) return;
  const { key, values } = different;
  throw new InputError(
    `transformer and tokenizer do not fit: ${key} is ${values[0]} in the transformer and ${values[1]} in the tokenizer; use the tokenizer it was trained with`,
    { key, transformer: transformer[key], tokenizer: tokenizer[key] },
  );
}

/** The dials that a model shares with the tokenizer whose tokens it draws. */
type Shared = Pick<VqvaeConfig, "codes" | "latent" | "patchNums">;

/** The first shared dial that differs, with both values as text; undefined where two fit. */
export function differentDial(
  model: Shared,
  tokenizer: Shared,
): { key: keyof Shared; values: readonly [string, string] } | undefined {
  const text = ({ codes, latent, patchNums }: Shared) => ({
    codes: `${codes}`,
    latent: `${latent}`,
    patchNums: scalesText(patchNums),
  });
  const [a, b] = [text(model), text(tokenizer)];
  const key = (["codes", "latent", "patchNums"] as const).find((name) => a[name] !== b[name]);
  return key && { key, values: [a[key], b[key]] };
}

/** Checks a configuration from outside. @throws InputError @returns the same, frozen */
export function checkVarConfig(config: VarConfig): VarConfig {
  if (config.patchNums[0] !== 1)
    throw new InputError(
      `patchNums [${scalesText(config.patchNums)}] do not start at 1, and the class stands for the first token of a VAR; use a tokenizer whose first map is one token`,
      { patchNums: config.patchNums },
    );
  return checkTransformerConfig(config);
}

/** The same for a transformer that reads its tokens in another order: `patchNums` may be one map. @throws InputError */
export function checkTransformerConfig(config: VarConfig): VarConfig {
  checkWhole(config, ["depth", "width", "heads", "classes", "codes", "latent"]);
  const patchNums = checkPatchNums(config.patchNums);
  checkRange(config, ["dropPath", "labelDrop"], [0, 1]);
  if (config.sharedAdaLN && !config.adaLN)
    throw new InputError("sharedAdaLN shares what adaLN false leaves out; set one of them", {
      sharedAdaLN: true,
      adaLN: false,
    });
  const { width, heads, mlpRatio } = config;
  if (width % heads !== 0) {
    throw new InputError(
      `width ${width} does not split into ${heads} heads of equal size; use a multiple of ${heads}, or ${nearestDivisor(width, heads)} heads`,
      { width, heads },
    );
  }
  if (!(mlpRatio > 0) || !Number.isInteger(width * mlpRatio)) {
    throw new InputError(
      `mlpRatio ${mlpRatio} times width ${width} is not a positive whole number of channels; use 4`,
      { width, mlpRatio },
    );
  }
  return Object.freeze({ ...config, patchNums });
}

/** Checks a configuration from outside. @throws InputError @returns the same, frozen */
export function checkVqvaeConfig(config: VqvaeConfig): VqvaeConfig {
  checkWhole(config, ["channels", "resBlocks", "groups", "latent", "codes", "phis"]);
  const patchNums = checkPatchNums(config.patchNums);
  checkRange(config, ["quantResi"], [0, 1]);
  const { channels, chMult, groups, phiSharing, phis } = config;
  if (chMult.length === 0) throw new InputError("chMult is empty; give one number per level");
  for (const mult of chMult) {
    const wide = channels * mult;
    if (!(wide > 0) || wide % groups !== 0) {
      throw new InputError(
        `a level of ${channels} x ${mult} = ${wide} channels does not split into the ${groups} groups of its GroupNorms; make it a multiple of ${groups}`,
        { channels, chMult, groups },
      );
    }
  }
  const wanted = { partial: phis, shared: 1, each: patchNums.length }[phiSharing];
  if (phis !== wanted) {
    throw new InputError(
      `phiSharing "${phiSharing}" means ${wanted} phi convolutions, got ${phis}; leave phis out`,
      { phis, phiSharing },
    );
  }
  return Object.freeze({ ...config, chMult: Object.freeze([...chMult]), patchNums });
}

function checkWhole<T>(config: T, keys: readonly (keyof T & string)[]): void {
  for (const key of keys) {
    const value = config[key];
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      throw new InputError(`${key} must be a whole number of at least 1, got ${value}`, {
        [key]: value,
      });
    }
  }
}

function checkRange<T>(
  config: T,
  keys: readonly (keyof T & string)[],
  range: [number, number],
): void {
  const [low, high] = range;
  for (const key of keys) {
    const value = config[key] as number;
    if (!(value >= low && value <= high)) {
      throw new InputError(`${key} must lie from ${low} to ${high}, got ${value}`, {
        [key]: value,
      });
    }
  }
}

function nearestDivisor(n: number, wish: number): number {
  for (let off = 0; wish + off < n; off++) {
    if (wish - off >= 1 && n % (wish - off) === 0) return wish - off;
    if (n % (wish + off) === 0) return wish + off;
  }
  return 1;
}

/** An option given as undefined means its default. */
function definedOnly<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined)) as T;
}
