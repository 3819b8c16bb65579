/** The tokenizer's levels and tensors: names, shapes, start and decay, in state_dict order. Builds no graph. */

import { sizeOf, type Tensor } from "../formats/dtype.ts";
import type { Weight } from "../formats/lazy.ts";
import { pictureSize, type SizeOption } from "../formats/picture-size.ts";
import { checkWeights, type Init, type ParamSpec } from "../nn/spec.ts";
import type { VqvaeConfig } from "./config.ts";
import { imageSize } from "./scales.ts";

/** One resolution of the encoder or the decoder. */
export interface VaeLevel {
  /** 0 is the full resolution; level i has the side of the image / 2^i. */
  readonly level: number;
  /** Channels in and out of each residual block. */
  readonly blocks: readonly { readonly from: number; readonly to: number }[];
  /** Attention follows each block. */
  readonly attention: boolean;
  /** Channels after the blocks. */
  readonly channels: number;
  /** The encoder halves the side after this level, the decoder doubles it. */
  readonly resample: boolean;
}

/** What stands at each resolution. The encoder runs its list forwards, the decoder its list BACKWARDS: both index 0 = full resolution, as in the state_dict. */
export function vaeLevels(config: VqvaeConfig): { encoder: VaeLevel[]; decoder: VaeLevel[] } {
  const { chMult, channels, resBlocks } = config;
  const deepest = chMult.length - 1;
  const widths = chMult.map((mult) => channels * mult);
  const chain = (length: number, [from, to]: [number, number]) =>
    Array.from({ length }, (_, i) => ({ from: i === 0 ? from : to, to }));
  const levels = (
    count: number,
    before: (level: number) => number,
    resampled: (level: number) => boolean,
  ) =>
    widths.map((width, level) => ({
      level,
      blocks: chain(count, [before(level), width]),
      attention: config.attention && level === deepest,
      channels: width,
      resample: resampled(level),
    }));
  return {
    encoder: levels(
      resBlocks,
      (i) => widths[i - 1] ?? channels,
      (i) => i < deepest,
    ),
    decoder: levels(
      resBlocks + 1,
      (i) => widths[i + 1] ?? widths[deepest]!,
      (i) => i > 0,
    ),
  };
}

/**
 * Every tensor of the tokenizer.
 *
 * Start: PyTorch's defaults (uniform within 1/sqrt(fan-in) for convolutions and their biases, norms 1 and 0) and the
 * codebook by `codebookInit`. Decay: convolution weights only; decaying the codebook would pull unused codes to zero.
 */
export function vqvaeSpecs(config: VqvaeConfig): ParamSpec[] {
  const { channels, chMult, latent, codes, patchNums, codebookInit } = config;
  const deep = channels * chMult.at(-1)!;
  const { encoder, decoder } = vaeLevels(config);
  const level = (name: string, resampler: string) => (part: VaeLevel) => [
    ...part.blocks.flatMap(({ from, to }, j) =>
      resBlock(`${name}.${part.level}.block.${j}`, from, to),
    ),
    ...(part.attention
      ? part.blocks.flatMap(({ to }, j) => attention(`${name}.${part.level}.attn.${j}`, to))
      : []),
    ...(part.resample
      ? conv(`${name}.${part.level}.${resampler}.conv`, part.channels, part.channels)
      : []),
  ];
  const middle = (name: string) => [
    ...resBlock(`${name}.block_1`, deep, deep),
    ...(config.midAttention ? attention(`${name}.attn_1`, deep) : []),
    ...resBlock(`${name}.block_2`, deep, deep),
  ];
  return [
    ...conv("encoder.conv_in", 3, channels),
    ...encoder.flatMap(level("encoder.down", "downsample")),
    ...middle("encoder.mid"),
    ...norm("encoder.norm_out", deep),
    ...conv("encoder.conv_out", deep, latent),
    ...conv("decoder.conv_in", latent, deep),
    ...middle("decoder.mid"),
    ...decoder.flatMap(level("decoder.up", "upsample")),
    ...norm("decoder.norm_out", channels * chMult[0]!),
    ...conv("decoder.conv_out", channels * chMult[0]!, 3),
    usage(patchNums.length, codes),
    ...phiNames(config).flatMap((name) => conv(name, latent, latent)),
    param("quantize.embedding.weight", [codes, latent], codebook(codebookInit, codes), false),
    ...conv("quant_conv", latent, latent),
    ...conv("post_quant_conv", latent, latent),
  ];
}

/** Whether a tensor of that name is a part of what makes pictures out of code vectors. */
export const isDecoderWeight = (name: string): boolean => /^(decoder|post_quant_conv)\./.test(name);

/** State_dict prefixes of the phi convolutions, in the order `phiIndex` counts them; empty when quantResi is 0. */
export function phiNames({ phis, phiSharing, quantResi }: VqvaeConfig): string[] {
  if (quantResi === 0) return [];
  const name = {
    partial: (i: number) => `quantize.quant_resi.qresi_ls.${i}`,
    shared: () => "quantize.quant_resi.qresi",
    each: (i: number) => `quantize.quant_resi.${i}`,
  }[phiSharing];
  return Array.from({ length: phis }, (_, i) => name(i));
}

/**
 * `checkWeights` for tokenizers: the usage counts of a file made with another number of scales are dropped, as the
 * official loader does, because the weights do not depend on the scales.
 */
export function checkVqvaeWeights<W extends Weight = Tensor>(
  config: VqvaeConfig,
  tensors: ReadonlyMap<string, W>,
  options: Parameters<typeof checkWeights>[2] = {},
): Map<string, W | Tensor> {
  const counts = tensors.get(USAGE);
  const scales = config.patchNums.length;
  if (
    counts?.shape.length !== 2 ||
    counts.shape[0] === scales ||
    counts.shape[1] !== config.codes
  ) {
    return checkWeights(vqvaeSpecs(config), tensors, options);
  }
  const rest = new Map(tensors);
  rest.delete(USAGE);
  return checkWeights(vqvaeSpecs(config), rest, options);
}

/** Multiply-adds x 2 of the convolutions and attentions for one image; norms and activations do not count. */
export function vqvaeFlops(
  config: VqvaeConfig,
  { size = imageSize(config) }: { size?: SizeOption } = {},
): { encode: number; decode: number; train: number } {
  const { width, height } = pictureSize(size);
  const { encoder, decoder } = vaeLevels(config);
  const attending = [...encoder, ...decoder]
    .filter((part) => part.attention)
    .map((part) => part.level);
  const deepest = Math.max(config.chMult.length - 1, ...attending);
  const total = { encode: 0, decode: 0 };
  for (const { name, shape } of vqvaeSpecs(config)) {
    if (shape.length !== 4 || name.includes("quant_resi")) continue; // only convolutions, and phi is thousandths
    const half = name.startsWith("encoder.") || name.startsWith("quant_conv") ? "encode" : "decode";
    const cells = (width * height) / 4 ** levelOf(name, deepest);
    total[half] += 2 * cells * sizeOf(shape);
    if (name.endsWith("qkv.weight")) total[half] += 4 * cells * cells * shape[1]!; // q k^T, then times v
  }
  return { ...total, train: 3 * (total.encode + total.decode) };
}

/** Where a convolution's OUTPUT lives: image / 2^level. */
function levelOf(name: string, deepest: number): number {
  const [, , index] = /\.(down|up)\.(\d+)\./.exec(name) ?? [];
  if (index === undefined) return /coder\.conv_(in|out)/.test(name) && isFull(name) ? 0 : deepest;
  if (name.includes("downsample")) return Number(index) + 1;
  if (name.includes("upsample")) return Number(index) - 1;
  return Number(index);
}

const isFull = (name: string): boolean =>
  name.startsWith("encoder.conv_in") || name.startsWith("decoder.conv_out");

const USAGE = "quantize.ema_vocab_hit_SV";

const usage = (scales: number, codes: number): ParamSpec => ({
  name: USAGE,
  shape: [scales, codes],
  dtype: "float32",
  kind: "buffer",
  init: { kind: "zeros" },
  decay: false,
});

const codebook = (dial: number, codes: number): Init =>
  dial > 0 ? { kind: "truncNormal", std: dial } : { kind: "uniform", bound: -dial / codes };

function param(name: string, shape: readonly number[], init: Init, decay: boolean): ParamSpec {
  return { name, shape, dtype: "float32", kind: "param", init, decay };
}

function conv(name: string, from: number, to: number, kernel = 3): ParamSpec[] {
  const init: Init = { kind: "uniform", bound: 1 / Math.sqrt(from * kernel * kernel) };
  return [
    param(`${name}.weight`, [to, from, kernel, kernel], init, true),
    param(`${name}.bias`, [to], init, false),
  ];
}

function norm(name: string, channels: number): ParamSpec[] {
  return [
    param(`${name}.weight`, [channels], { kind: "constant", value: 1 }, false),
    param(`${name}.bias`, [channels], { kind: "zeros" }, false),
  ];
}

function resBlock(name: string, from: number, to: number): ParamSpec[] {
  return [
    ...norm(`${name}.norm1`, from),
    ...conv(`${name}.conv1`, from, to),
    ...norm(`${name}.norm2`, to),
    ...conv(`${name}.conv2`, to, to),
    ...(from === to ? [] : conv(`${name}.nin_shortcut`, from, to, 1)),
  ];
}

function attention(name: string, channels: number): ParamSpec[] {
  return [
    ...norm(`${name}.norm`, channels),
    ...conv(`${name}.qkv`, channels, 3 * channels, 1),
    ...conv(`${name}.proj_out`, channels, channels, 1),
  ];
}
