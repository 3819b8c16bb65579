/**
 * The baselines that VAR is compared with: their dials, tensors and costs. All three are made of VAR's own blocks
 * (var.ts); they differ in what a token is, what it sees and what it predicts. Builds no graph.
 */

import type { Tensor } from "../../formats/dtype.ts";
import type { ParamSpec } from "../../nn/spec.ts";
import { checkTransformerConfig, type VarConfig, varConfig } from "../config.ts";
import { type Pass, passFlops, sumFlops, type VarFlops } from "../cost.ts";
import { tokenCount } from "../scales.ts";
import { decays, varSpecs } from "../var-layout.ts";

interface Family {
  readonly title: string;
  /** Where it comes from. */
  readonly paper: string;
  /** Passes of the transformer for one picture. */
  readonly passes: (config: VarConfig, steps: number) => readonly Omit<Pass, "rows">[];
  /** The dials that make VAR's transformer this one. */
  readonly dials: Partial<VarConfig>;
}

/** Every token in one order, each seen by all later ones: one pass per token. */
const perToken = (config: VarConfig): Omit<Pass, "rows">[] =>
  Array.from({ length: tokenCount(config) }, (_, t) => ({
    tokens: 1,
    keys: t + 1,
    modulate: false,
  }));
const whole = (tokens: number, modulate: boolean) => (_: VarConfig, steps: number) =>
  Array.from({ length: steps }, () => ({ tokens, keys: tokens, modulate }));

export const BASELINES = {
  ar: {
    title: "raster-order next token",
    paper: "VQGAN, Esser et al. 2021 (arXiv 2012.09841)",
    dials: { adaLN: false },
    passes: perToken,
  },
  maskgit: {
    title: "masked tokens in parallel",
    paper: "MaskGIT, Chang et al. 2022 (arXiv 2202.04200)",
    dials: { adaLN: false },
    passes: (config, steps) => whole(tokenCount(config) + 1, false)(config, steps),
  },
  dit: {
    title: "diffusion transformer",
    paper: "DiT, Peebles & Xie 2023 (arXiv 2212.09748)",
    dials: { gammaInit: 0 }, // adaLN-zero
    passes: (config, steps) => whole(tokenCount(config), true)(config, steps),
  },
} as const satisfies Record<string, Family>;

export type BaselineKind = keyof typeof BASELINES;
export const BASELINE_KINDS = Object.keys(BASELINES) as readonly BaselineKind[];

/**
 * A baseline's dials, defaults as `varConfig`. `patchNums` is what it runs over: for `ar` and `maskgit` the token maps
 * of the tokenizer one after the other, which may be one map; for `dit` the latent map alone.
 * @throws InputError when the parts do not fit
 */
export function baselineConfig(
  kind: BaselineKind,
  depth: number,
  { patchNums, ...overrides }: Partial<VarConfig> & Pick<VarConfig, "patchNums">,
): VarConfig {
  const maps = kind === "dit" ? [patchNums.at(-1)!] : patchNums;
  const dials = varConfig(depth, { ...BASELINES[kind].dials, ...overrides, patchNums: [1] });
  return checkTransformerConfig({ ...dials, patchNums: maps });
}

/** Depth at which a baseline has the parameters of a VAR of the same width: blocks without AdaLN are 12 C², with it 18 C². */
export const equalDepth = (kind: BaselineKind, varDepth: number): number =>
  kind === "dit" ? varDepth : Math.round(1.5 * varDepth);

/** Numbers that tell the time of diffusion to the network: half cosines, half sines. */
export const TIME_FEATURES = 256;

/** Every tensor of a baseline; those it shares with VAR bear the same names and start alike. */
export function baselineSpecs(kind: BaselineKind, config: VarConfig): ParamSpec[] {
  const { width: C, latent, codes } = config;
  const std = Math.sqrt(1 / C / 3);
  const param = (name: string, shape: readonly number[], spread = std): ParamSpec => ({
    ...{ name, shape, dtype: "float32", kind: "param", decay: decays(name, shape) },
    init: spread ? { kind: "truncNormal", std: spread } : { kind: "zeros" },
  });
  const head = kind === "dit" ? { ...config, codes: latent } : config;
  const shared = varSpecs(head).filter((spec) => spec.kind === "param");
  if (kind !== "dit") {
    const rows = kind === "maskgit" ? codes + 1 : codes; // the last row is "hidden"
    const blocks = shared.filter(({ name }) => !name.startsWith("word_embed"));
    return [param("tok_emb.weight", [rows, C]), ...blocks];
  }
  return [
    buffer("latent_mean", [1, 1, latent]),
    buffer("latent_std", [1, 1, latent]),
    param("time_embed.0.weight", [C, TIME_FEATURES], Math.sqrt(1 / TIME_FEATURES)),
    param("time_embed.0.bias", [C], 0),
    param("time_embed.2.weight", [C, C]),
    param("time_embed.2.bias", [C], 0),
    ...shared.filter(({ name }) => name !== "pos_start"), // there is no first token
  ];
}

/** Found on the training set before training; see `LatentScale`. */
const buffer = (name: string, shape: readonly number[]): ParamSpec => ({
  ...{ name, shape, dtype: "float32", kind: "buffer", decay: false, init: { kind: "zeros" } },
});

/** What a diffusion model's latent rows are shifted and scaled by: 1 1 C each. */
export interface LatentScale {
  readonly latent_mean: Tensor;
  readonly latent_std: Tensor;
}

/** FLOPs of drawing one picture: AR with a key-value cache. @param options.steps passes of maskgit and dit */
export function baselineSamplingFlops(
  kind: BaselineKind,
  config: VarConfig,
  { steps, guided = true }: { steps: number; guided?: boolean },
): VarFlops {
  const rows = guided ? 2 : 1;
  const passes: readonly Omit<Pass, "rows">[] = BASELINES[kind].passes(config, steps);
  return sumFlops(passes.map((pass) => passFlops(counted(kind, config), { rows, ...pass })));
}

/** FLOPs of one training step per picture: forward over all tokens at once, and twice that backwards. */
export function baselineTrainingFlops(kind: BaselineKind, config: VarConfig): VarFlops {
  const tokens = tokenCount(config) + (kind === "maskgit" ? 1 : 0);
  const pass = { rows: 1, tokens, keys: tokens, modulate: true };
  const once = passFlops(counted(kind, config), pass);
  return sumFlops([once, once, once]);
}

/** Tokens are looked up, which costs nothing; a diffusion model's head gives a latent. The time's MLP does not count. */
const counted = (kind: BaselineKind, config: VarConfig): VarConfig =>
  kind === "dit" ? { ...config, codes: config.latent } : { ...config, latent: 0 };
