/**
 * The VAR transformer as graphs: a class and token maps -> logits. Neither samples (sampler.ts) nor measures a loss
 * (var-loss.ts).
 *
 * VAR (arXiv 2404.02905), section 3.2. The same functions build the training graph (all scales at once, block-causal
 * mask) and the inference graph (one scale per run, cached keys and values); only the shapes differ.
 */

import { type Bind, under } from "../nn/bind.ts";
import { inScope, linear } from "../nn/layers.ts";
import { filled, type Graph, sharedConstant, type Value, withScope } from "../tensor/graph.ts";
import {
  add,
  concat,
  embedding,
  exp,
  gelu,
  l2Normalize,
  layerNorm,
  matmul,
  linear as matrixProduct,
  minimum,
  mul,
  reshape,
  silu,
  slice,
  softmax,
  split,
  transpose,
} from "../tensor/ops.ts";
import type { Dim } from "../tensor/shape.ts";
import type { VarConfig } from "./config.ts";
import { scaleStarts, scalesText } from "./scales.ts";
import { blockCausalMask, scaleOfToken } from "./var-layout.ts";

/** What the class says to every layer. Six per block: gamma1, gamma2, scale1, scale2, shift1, shift2. */
export interface Modulation {
  /** For each block: B 6 C, or 1 6 C where all classes are alike. */
  readonly blocks: readonly Value[];
  /** Scale and shift before the head: B 2 C, or 1 2 C. */
  readonly head: Value;
}

/** Keys (normalised where the model normalises them) and values: B h M d. */
export interface KeyValue {
  readonly k: Value;
  readonly v: Value;
}

/** Class embedding; row `classes` is "no class". labels B (int64) -> B C. */
export const condition = (labels: Value, p: Bind): Value =>
  embedding(p("class_emb.weight"), labels);

/**
 * `linear` for few rows and a matrix that is read once: on the left of the product the runtime takes it as it lies in
 * its file, on the right it would repack it first. x B in -> B out.
 */
export const linearOnce = (x: Value, p: Bind): Value =>
  add(transpose(matmul(p("weight"), x, { transB: true }), [1, 0]), p("bias"));

/**
 * AdaLN: the modulation of all layers, computed once per sample as it is the same for all tokens. cond B C.
 * @param product `linear`, or `linearOnce` for a graph that is run once
 */
export function modulation(
  cond: Value,
  p: Bind,
  config: VarConfig,
  product: typeof linear = linear,
): Modulation {
  if (!config.adaLN) return plainNorms(cond, p, config);
  const { depth, width: C, sharedAdaLN } = config;
  const B = cond.shape[0]!;
  const active = silu(cond);
  const ada = (name: string, parts: number) =>
    reshape(
      inScope(active, p, name, (q) => product(active, q)),
      [B, parts, C],
    );
  const shared = sharedAdaLN ? ada("shared_ada_lin.1", 6) : undefined;
  const blocks = Array.from({ length: depth }, (_, i) =>
    shared
      ? add(shared, reshape(p(`blocks.${i}.ada_gss`), [1, 6, C]))
      : ada(`blocks.${i}.ada_lin.1`, 6),
  );
  return { blocks, head: ada("head_nm.ada_lin.1", 2) };
}

/** What takes the place of the modulation without AdaLN: gates of one, learned scales and shifts, all classes alike. */
function plainNorms({ graph }: Value, p: Bind, { depth, width: C }: VarConfig): Modulation {
  const open = filled(graph, [1, 2, C], 1);
  return {
    blocks: Array.from({ length: depth }, (_, i) => concat([open, p(`blocks.${i}.ln_gss`)], 1)),
    head: p("head_nm.ln_gss"),
  };
}

/** LN(x)·(1 + scale) + shift. x B L C, scale and shift B 1 C. */
const adaNorm = (
  x: Value,
  [scale, shift]: readonly [Value, Value],
  { normEps }: VarConfig,
): Value => add(mul(layerNorm(x, { eps: normEps }), add(scale, 1)), shift);

/** Learned temperatures are kept from exceeding 100. */
const MAX_LOG_TEMPERATURE = Math.log(100);

/**
 * Multi-head attention over what `past` holds and x itself. x B L C.
 * Plain: scale 0.25/√d, as the official code has it. Normalised (Liu et al. 2022, "Swin v2", eq. 2): cosines times
 * a learned temperature per head.
 */
function attention(
  x: Value,
  p: Bind,
  { config, mask, past }: { config: VarConfig; mask?: Value; past?: KeyValue },
): { y: Value; cache: KeyValue } {
  const [B, L, C] = x.shape as [Dim, Dim, number];
  const { heads, attnL2Norm } = config;
  const d = C / heads;
  // Keys have no bias: it would cancel in the softmax.
  const bias = concat([p("q_bias"), filled(x.graph, [C], 0), p("v_bias")], 0);
  const qkv = matrixProduct(x, p("mat_qkv.weight"), bias); // B L 3C
  const toHeads = (part: Value) => transpose(reshape(part, [B, L, heads, d]), [0, 2, 1, 3]);
  let [q, k, v] = split(qkv, [C, C, C], 2).map(toHeads) as [Value, Value, Value]; // B h L d
  if (attnL2Norm) {
    const temperature = exp(minimum(p("scale_mul_1H11"), MAX_LOG_TEMPERATURE)); // 1 h 1 1
    q = l2Normalize(q, { length: temperature });
    k = l2Normalize(k);
  }
  if (past) [k, v] = [concat([past.k, k], 2), concat([past.v, v], 2)]; // B h M d
  const scores = matmul(q, k, { transB: true, alpha: attnL2Norm ? 1 : 0.25 / Math.sqrt(d) });
  const weights = softmax(mask ? add(scores, mask) : scores); // B h L M
  const mixed = reshape(transpose(matmul(weights, v), [0, 2, 1, 3]), [B, L, C]);
  return { y: inScope(mixed, p, "proj", (r) => linear(mixed, r)), cache: { k, v } };
}

/** fc2(gelu(fc1(x))). B L C. */
function feedForward(x: Value, p: Bind): Value {
  const hidden = gelu(inScope(x, p, "fc1", (q) => linear(x, q))); // B L 4C
  return inScope(hidden, p, "fc2", (q) => linear(hidden, q));
}

export interface BlockOptions {
  config: VarConfig;
  /** This block's modulation: B 6 C. */
  six: Value;
  /** Added to the attention scores: 1 1 L L. */
  mask?: Value;
  /** Keys and values of coarser scales. */
  past?: KeyValue;
  /** Drop path of the two branches, 0 or 1/keep for each sample: 2 of B 1 1. */
  drop?: readonly [Value, Value];
}

/** One transformer block: x += γ1·Attn(adaNorm1(x)); x += γ2·FFN(adaNorm2(x)). x B L C. */
function block(x: Value, p: Bind, options: BlockOptions): { x: Value; cache: KeyValue } {
  const { six, drop, config } = options;
  const [g1, g2, s1, s2, b1, b2] = split(six, [1, 1, 1, 1, 1, 1], 1) as Value[]; // each B 1 C
  // Dropping a branch is a gate of zero, so the mask is applied to the small gate.
  const gate = (g: Value, i: 0 | 1) => (drop ? mul(g, drop[i]) : g);
  const mixed = adaNorm(x, [s1!, b1!], config);
  const { y, cache } = inScope(mixed, p, "attn", (q) => attention(mixed, q, options));
  const between = add(x, mul(y, gate(g1!, 0)));
  const fed = adaNorm(between, [s2!, b2!], config);
  const z = inScope(fed, p, "ffn", (q) => feedForward(fed, q));
  return { x: add(between, mul(z, gate(g2!, 1))), cache };
}

export interface TransformerOptions {
  config: VarConfig;
  modulation: Modulation;
  mask?: Value;
  /** Keys and values of coarser scales, one per block. */
  past?: readonly KeyValue[];
  drop?: readonly (readonly [Value, Value])[];
}

/**
 * All blocks and the norm after them. x B L C -> y B L C, which `head` reads, and each block's keys and values, past
 * ones included.
 */
export function transformer(
  x: Value,
  p: Bind,
  { config, modulation: m, mask, past, drop }: TransformerOptions,
): { y: Value; cache: KeyValue[] } {
  const cache: KeyValue[] = [];
  let h = x;
  for (const [i, six] of m.blocks.entries()) {
    const options = { config, six, mask, past: past?.[i], drop: drop?.[i] };
    const out = inScope(h, p, `blocks.${i}`, (q) => block(h, q, options));
    h = out.x;
    cache.push(out.cache);
  }
  const [scale, shift] = split(m.head, [1, 1], 1) as [Value, Value];
  const y = withScope(x.graph, "head_nm", () => adaNorm(h, [scale, shift], config));
  return { y, cache };
}

/** Logits of all codes. y B L C -> B L V. */
export const head = (y: Value, p: Bind): Value => inScope(y, p, "head", (q) => linear(y, q));

/** What is added to tokens by their place: learned positions plus the embedding of their scale. 1 L C */
export function positions(g: Graph, p: Bind, { patchNums }: VarConfig): Value {
  const scales = sharedConstant(g, `scale of token ${scalesText(patchNums)}`, () =>
    scaleOfToken(patchNums),
  ); // 1 L
  return add(p("pos_1LC"), embedding(p("lvl_embed.weight"), scales));
}

/** The same for scale k alone, of which no more is read. 1 T C */
export function positionsOf(p: Bind, { patchNums }: VarConfig, k: number): Value {
  const [start, end] = scaleStarts(patchNums).slice(k, k + 2) as [number, number];
  const own = slice(p("pos_1LC"), { axis: 1, start, end });
  return add(own, slice(p("lvl_embed.weight"), { axis: 0, start: k, end: k + 1 }));
}

/** Maps of fHat to tokens, without their places. B n latent -> B n C. */
export const embedMaps = (maps: Value, p: Bind): Value => linear(maps, under(p, "word_embed"));

/** The first token, without its place: the class itself. cond B C -> B 1 C. */
export const startToken = (cond: Value, p: Bind): Value =>
  add(reshape(cond, [cond.shape[0]!, 1, cond.shape[1]!]), p("pos_start"));

export interface TrainingOptions {
  /** Drop-path masks, depth 2 B: 0 where a branch is dropped, else 1/keep. None: nothing is dropped. */
  dropMasks?: Value;
}

/**
 * Logits of all scales at once, each from the class and the true coarser scales.
 * @param from.input what scales 1 and up read, B L-1 latent: see `inputFromIds`
 * @param from.labels B (int64); `classes` stands for "no class"
 * @returns B L V
 */
export function trainingLogits(
  from: { input: Value; labels: Value },
  p: Bind,
  { config, dropMasks }: TrainingOptions & { config: VarConfig },
): Value {
  const { input, labels } = from;
  const g = input.graph;
  const cond = condition(labels, p); // B C
  const tokens = concat([startToken(cond, p), embedMaps(input, p)], 1); // B L C
  const mask = sharedConstant(g, `block-causal mask ${scalesText(config.patchNums)}`, () =>
    blockCausalMask(config.patchNums),
  );
  const { y } = transformer(add(tokens, positions(g, p, config)), p, {
    config,
    modulation: modulation(cond, p, config),
    mask,
    drop: dropMasks && dropPairs(dropMasks),
  });
  return head(y, p);
}

/** depth 2 B -> for each block a pair of B 1 1. */
export function dropPairs(masks: Value): [Value, Value][] {
  const [depth, , B] = masks.shape as [number, 2, Dim];
  const flat = reshape(masks, [2 * depth, B, 1, 1]);
  const one = (i: number) => reshape(slice(flat, { axis: 0, start: i, end: i + 1 }), [B, 1, 1]); // B 1 1
  return Array.from({ length: depth }, (_, i) => [one(2 * i), one(2 * i + 1)]);
}
