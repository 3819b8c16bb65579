/** What a transformer costs: floating-point operations (2 per multiply-add) of sampling and of training. Times nothing. */

import type { VarConfig } from "./config.ts";
import { mapTokens, scaleStarts, tokenCount } from "./scales.ts";

/** FLOPs by part. Norms, softmax and activations do not count. */
export interface VarFlops {
  /** Linear layers of the blocks: qkv, projection, feed-forward. */
  readonly linear: number;
  /** q k^T and the weighted sum of values. */
  readonly attention: number;
  /** Modulation computed from the class. */
  readonly adaLN: number;
  /** Output head with its modulation. */
  readonly head: number;
  /** Token and code embeddings. */
  readonly embed: number;
  readonly total: number;
}

/**
 * Sampling one image with a key-value cache, scale by scale.
 * @param options.guided two rows per image, with and without the class; default true
 * @param options.cacheAdaLN modulation computed once per image instead of once per scale, as the class does not
 *   change; default true
 */
export function samplingFlops(
  config: VarConfig,
  { guided = true, cacheAdaLN = true }: { guided?: boolean; cacheAdaLN?: boolean } = {},
): VarFlops & { readonly scales: readonly VarFlops[] } {
  const rows = guided ? 2 : 1;
  const starts = scaleStarts(config.patchNums);
  const scales = config.patchNums.map((pn, k) =>
    passFlops(config, {
      rows,
      tokens: mapTokens(pn),
      keys: starts[k + 1]!,
      modulate: k === 0 || !cacheAdaLN,
    }),
  );
  return { ...sumFlops(scales), scales };
}

/** One training step per image: the forward pass over all L tokens at once, and twice that backwards. */
export function trainingFlops(config: VarConfig): VarFlops {
  const L = tokenCount(config);
  const once = passFlops(config, { rows: 1, tokens: L, keys: L, modulate: true });
  return sumFlops([once, once, once]);
}

/** One run of the transformer. */
export interface Pass {
  /** Pictures, twice as many with guidance. */
  readonly rows: number;
  /** New tokens of each. */
  readonly tokens: number;
  /** Tokens that these see, themselves included. */
  readonly keys: number;
  /** Whether the modulation is computed. */
  readonly modulate: boolean;
}

export function passFlops(config: VarConfig, { rows, tokens, keys, modulate }: Pass): VarFlops {
  const { width: C, depth, mlpRatio, adaLN, sharedAdaLN, codes, latent } = config;
  const modulated = modulate && adaLN;
  const parts = {
    linear: 2 * rows * tokens * depth * (4 + 2 * mlpRatio) * C * C,
    attention: 4 * rows * tokens * keys * depth * C,
    adaLN: modulated ? 2 * rows * (sharedAdaLN ? 1 : depth) * 6 * C * C : 0,
    head: 2 * rows * (tokens * codes * C + (modulated ? 2 * C * C : 0)),
    embed: 2 * rows * tokens * latent * C,
  };
  return { ...parts, total: Object.values(parts).reduce((a, b) => a + b, 0) };
}

export function sumFlops(parts: readonly VarFlops[]): VarFlops {
  const total = (key: keyof VarFlops) => parts.reduce((acc, part) => acc + part[key], 0);
  return {
    linear: total("linear"),
    attention: total("attention"),
    adaLN: total("adaLN"),
    head: total("head"),
    embed: total("embed"),
    total: total("total"),
  };
}
