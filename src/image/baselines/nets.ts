/** The baselines' networks as graphs, on VAR's blocks: what goes in, what sees what, what comes out. Measures no loss. */

import type { Tensor } from "../../formats/dtype.ts";
import { type Bind, under } from "../../nn/bind.ts";
import { inScope, linear } from "../../nn/layers.ts";
import { sharedConstant, type Value } from "../../tensor/graph.ts";
import { add, concat, embedding, reshape, silu, slice, transpose } from "../../tensor/ops.ts";
import type { Dim } from "../../tensor/shape.ts";
import type { VarConfig } from "../config.ts";
import { tokenCount } from "../scales.ts";
import {
  condition,
  dropPairs,
  embedMaps,
  head,
  modulation,
  positions,
  startToken,
  transformer,
} from "../var.ts";
import { TIME_FEATURES } from "./config.ts";

interface Tokens {
  /** B L (int64). */
  readonly ids: Value;
  /** B (int64); `classes` stands for "no class". */
  readonly labels: Value;
  /** Drop-path masks, depth 2 B. */
  readonly dropMasks?: Value;
}

/** Blocks and head over finished tokens. x B L C */
const run = (
  x: Value,
  p: Bind,
  at: { config: VarConfig; cond: Value; dropMasks?: Value; mask?: Value },
): Value =>
  head(
    transformer(x, p, {
      config: at.config,
      modulation: modulation(at.cond, p, at.config),
      mask: at.mask,
      drop: at.dropMasks && dropPairs(at.dropMasks),
    }).y,
    p,
  );

/** Raster order: logits of every token from the class and the tokens before it. ids B L -> B L V */
export function rasterLogits(
  { ids, labels, dropMasks }: Tokens,
  p: Bind,
  { config }: { config: VarConfig },
): Value {
  const g = ids.graph;
  const L = tokenCount(config);
  const cond = condition(labels, p); // B C
  const before = embedding(p("tok_emb.weight"), slice(ids, { axis: 1, end: L - 1 })); // B L-1 C
  const x = add(concat([startToken(cond, p), before], 1), positions(g, p, config)); // B L C
  const mask = sharedConstant(g, `causal mask ${L}`, () => causalMask(L));
  return run(x, p, { config, cond, dropMasks, mask });
}

/** 0 where the key is not later than the query, else -infinity. 1 1 L L */
export function causalMask(L: number): Tensor {
  const data = new Float32Array(L * L);
  for (let query = 0; query < L; query++)
    data.fill(Number.NEGATIVE_INFINITY, query * L + query + 1, (query + 1) * L);
  return { dtype: "float32", shape: [1, 1, L, L], data };
}

/** Logits of every token from the class and all tokens; hidden ones have the id V. ids B L -> B L V */
export function maskedLogits(
  { ids, labels, dropMasks }: Tokens,
  p: Bind,
  { config }: { config: VarConfig },
): Value {
  const cond = condition(labels, p); // B C
  const tokens = add(embedding(p("tok_emb.weight"), ids), positions(ids.graph, p, config));
  const x = concat([startToken(cond, p), tokens], 1); // B 1+L C
  return slice(run(x, p, { config, cond, dropMasks }), { axis: 1, start: 1 });
}

/**
 * The velocity v = α·noise - σ·x0 (Salimans & Ho 2022, arXiv 2202.00512, appendix D) of noisy latents.
 * @param at.x B n latent @param at.times `timeFeatures`, B F @returns B n latent
 */
export function velocity(
  at: { x: Value; times: Value; labels: Value; dropMasks?: Value },
  p: Bind,
  { config }: { config: VarConfig },
): Value {
  const { x, times, labels, dropMasks } = at;
  const time = inScope(times, p, "time_embed", (q) =>
    linear(silu(linear(times, under(q, "0"))), under(q, "2")),
  ); // B C
  const cond = add(condition(labels, p), time);
  const tokens = add(embedMaps(x, p), positions(x.graph, p, config)); // B n C
  return run(tokens, p, { config, cond, dropMasks });
}

/** Signal and noise at time t from 0 (picture) to 1 (noise): α = cos(πt/2), σ = sin(πt/2), so α² + σ² = 1. */
export const noiseLevel = (t: number): { alpha: number; sigma: number } => ({
  alpha: Math.cos((Math.PI / 2) * t),
  sigma: Math.sin((Math.PI / 2) * t),
});

const LONGEST = 10_000;

/** Times as waves of falling frequency (Vaswani et al. 2017), t counted in thousandths. B -> B F */
export function timeFeatures(times: ArrayLike<number>): Tensor {
  const half = TIME_FEATURES / 2;
  const data = new Float32Array(times.length * TIME_FEATURES);
  for (let b = 0; b < times.length; b++)
    for (let i = 0; i < half; i++) {
      const angle = 1000 * times[b]! * LONGEST ** (-i / half);
      data[b * TIME_FEATURES + i] = Math.cos(angle);
      data[b * TIME_FEATURES + half + i] = Math.sin(angle);
    }
  return { dtype: "float32", shape: [times.length, TIME_FEATURES], data };
}

/** Latent maps as rows. B C h w -> B hw C */
export function rowsOfMap(map: Value): Value {
  const [B, C, h, w] = map.shape as [Dim, number, number, number];
  return transpose(reshape(map, [B, C, h * w]), [0, 2, 1]);
}

/** And back. B hw C -> B C h w */
export function mapOfRows(rows: Value, [h, w]: readonly [height: number, width: number]): Value {
  const [B, , C] = rows.shape as [Dim, number, number];
  return reshape(transpose(rows, [0, 2, 1]), [B, C, h, w]);
}
