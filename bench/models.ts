/**
 * The models of the engine benchmark, in the library's own ops and layers; those of our trainers are in trainers.ts.
 * Their PyTorch twins: peers/torch_steps.py.
 */

import type { Tensor } from "../src/formats/dtype.ts";
import { type Bind, bindInputs } from "../src/nn/bind.ts";
import { conv, inScope, linear, norm } from "../src/nn/layers.ts";
import { initWeights, type ParamSpec } from "../src/nn/spec.ts";
import { constant, createGraph, input, type Value } from "../src/tensor/graph.ts";
import * as o from "../src/tensor/ops.ts";
import { rng } from "../src/tensor/rng.ts";
import {
  trainerBatch,
  trainerPlan,
  trainerWeights,
  type VarCase,
  type VqvaeCase,
  varCase,
  vqvaeCase,
} from "./trainers.ts";

/** A decoder-only transformer on tokens. */
export interface GptConfig {
  readonly kind: "gpt";
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly length: number;
  readonly codes: number;
  readonly batch: number;
}

/** A convolutional autoencoder: the tokenizer without its quantizer, which PyTorch has no kernel for either. */
export interface VaeConfig {
  readonly kind: "vae";
  readonly side: number;
  /** Channels per resolution, full resolution first. */
  readonly widths: readonly number[];
  readonly latent: number;
  readonly groups: number;
  readonly batch: number;
}

type Plain = GptConfig | VaeConfig;
export type ModelConfig = Plain | VarCase | VqvaeCase;

const isPlain = (model: ModelConfig): model is Plain =>
  model.kind === "gpt" || model.kind === "vae";

export interface Case {
  readonly name: string;
  readonly title: string;
  /** Largest allowed ratio of our time to PyTorch's; absent where none was promised. */
  readonly target?: number;
  /** How far, relative, the losses of the first steps may differ, where that is more than usual. */
  readonly tolerance?: number;
  readonly model: ModelConfig;
}

const gpt = (layers: number, width: number, heads: number): GptConfig => ({
  kind: "gpt",
  layers,
  width,
  heads,
  length: 130,
  codes: 1024,
  batch: 16,
});
const vae = (side: number, widths: readonly number[]): VaeConfig => ({
  kind: "vae",
  side,
  widths,
  latent: 32,
  groups: 8,
  batch: 32,
});

export const CASES: readonly Case[] = [
  { name: "gpt-6x384", title: "GPT, 6 layers x 384", target: 1.05, model: gpt(6, 384, 6) },
  { name: "gpt-8x512", title: "GPT, 8 layers x 512", target: 1.15, model: gpt(8, 512, 8) },
  { name: "vae-32", title: "VQVAE, 32x32 images", target: 1.5, model: vae(32, [64, 128, 128]) },
  { name: "vae-64", title: "VQVAE, 64x64 images", model: vae(64, [32, 32, 64, 128]) },
  { name: "var-6", title: "VAR training, depth 6, 64 px", target: 1, model: varCase(6, 16) },
  {
    ...{ name: "vqvae-all", title: "VQVAE training, all losses, 64 px" },
    // A code at a near tie is another one for either side, and Adam's first steps are as long for it as for any.
    ...{ target: 1.3, tolerance: 1e-3, model: vqvaeCase(16) },
  },
];

/** What both sides do after the backward pass. */
export const TRAINING = {
  lr: 1e-3,
  weightDecay: 0.05,
  betas: [0.9, 0.95],
  eps: 1e-8,
  clip: 2,
} as const;

// ---- layouts: PyTorch's parameter names and default starts; matrices and kernels decay

const param = (name: string, shape: readonly number[], init: ParamSpec["init"]): ParamSpec => ({
  name,
  shape,
  dtype: "float32",
  kind: "param",
  init,
  decay: shape.length > 1,
});
const dense = (name: string, [out, ...fan]: [number, ...number[]]): ParamSpec[] => {
  const init = { kind: "uniform", bound: 1 / Math.sqrt(fan.reduce((a, b) => a * b)) } as const;
  return [param(`${name}.weight`, [out, ...fan], init), param(`${name}.bias`, [out], init)];
};
const scale = (name: string, channels: number): ParamSpec[] => [
  param(`${name}.weight`, [channels], { kind: "constant", value: 1 }),
  param(`${name}.bias`, [channels], { kind: "zeros" }),
];

function gptSpecs({ layers, width: C, length, codes }: GptConfig): ParamSpec[] {
  const small = { kind: "normal", std: 0.02 } as const;
  return [
    param("tokens.weight", [codes, C], small),
    param("positions", [length, C], small),
    ...Array.from({ length: layers }, (_, i) => `blocks.${i}`).flatMap((b) => [
      ...scale(`${b}.norm1`, C),
      ...dense(`${b}.qkv`, [3 * C, C]),
      ...dense(`${b}.proj`, [C, C]),
      ...scale(`${b}.norm2`, C),
      ...dense(`${b}.fc1`, [4 * C, C]),
      ...dense(`${b}.fc2`, [C, 4 * C]),
    ]),
    ...scale("norm", C),
    param("head.weight", [codes, C], small),
  ];
}

function vaeSpecs({ widths, latent }: VaeConfig): ParamSpec[] {
  const kernel = (name: string, from: number, to: number) => dense(name, [to, from, 3, 3]);
  const res = (name: string, C: number) =>
    [1, 2].flatMap((n) => [...scale(`${name}.norm${n}`, C), ...kernel(`${name}.conv${n}`, C, C)]);
  const deepest = widths.length - 1;
  return [
    ...kernel("enc_in", 3, widths[0]!),
    ...widths.flatMap((C, i) => [
      ...res(`enc.${i}`, C),
      ...(i < deepest ? kernel(`down.${i}`, C, widths[i + 1]!) : []),
    ]),
    ...kernel("enc_out", widths[deepest]!, latent),
    ...kernel("dec_in", latent, widths[deepest]!),
    ...widths.flatMap((C, i) => [
      ...res(`dec.${i}`, C),
      ...(i > 0 ? kernel(`up.${i}`, C, widths[i - 1]!) : []),
    ]),
    ...scale("dec_norm", widths[0]!),
    ...kernel("dec_out", widths[0]!, 3),
  ];
}

// ---- losses

/** Mean cross-entropy of the next token. */
function gptLoss(p: Bind, batch: Record<string, Value>, config: GptConfig): Value {
  const { layers, width: C, heads, length: L, codes: V, batch: B } = config;
  const { tokens, targets } = batch as { tokens: Value; targets: Value }; // B L
  const d = C / heads;
  const scores = new Float32Array(L * L).map((_, i) => (i % L > Math.floor(i / L) ? -1e9 : 0));
  const mask = constant(tokens.graph, { dtype: "float32", shape: [L, L], data: scores });
  const norm = (x: Value, q: Bind) => o.layerNorm(x, { weight: q("weight"), bias: q("bias") });
  const attention = (x: Value, q: Bind) => {
    const qkv = inScope(x, q, "qkv", (w) => linear(x, w)); // B L 3C
    const [query, key, value] = o
      .split(qkv, [C, C, C], 2)
      .map((part) => o.transpose(o.reshape(part, [B, L, heads, d]), [0, 2, 1, 3])); // B h L d
    const weights = o.softmax(
      o.add(o.matmul(query!, key!, { transB: true, alpha: d ** -0.5 }), mask), // B h L L
    );
    const mixed = o.reshape(o.transpose(o.matmul(weights, value!), [0, 2, 1, 3]), [B, L, C]);
    return inScope(mixed, q, "proj", (w) => linear(mixed, w));
  };
  const feedForward = (x: Value, q: Bind) => {
    const h = o.gelu(inScope(x, q, "fc1", (w) => linear(x, w))); // B L 4C
    return inScope(h, q, "fc2", (w) => linear(h, w));
  };
  let x = o.add(o.embedding(p("tokens.weight"), tokens), p("positions")); // B L C
  for (let i = 0; i < layers; i++)
    x = inScope(x, p, `blocks.${i}`, (q) => {
      const h1 = inScope(x, q, "norm1", (w) => norm(x, w));
      const y = o.add(x, attention(h1, q));
      const h2 = inScope(y, q, "norm2", (w) => norm(y, w));
      return o.add(y, feedForward(h2, q));
    });
  const last = inScope(x, p, "norm", (w) => norm(x, w));
  const logits = o.linear(o.reshape(last, [B * L, C]), p("head.weight")); // BL V
  return o.mean(o.crossEntropy(o.reshape(logits, [B * L, V]), o.reshape(targets, [B * L])));
}

/** Mean square error of the reconstruction. */
function vaeLoss(p: Bind, { images }: Record<string, Value>, config: VaeConfig): Value {
  const { widths, groups } = config;
  const layer = (x: Value, name: string, stride = 1) =>
    inScope(x, p, name, (q) => conv(x, q, { stride, pad: 1 }));
  const active = (x: Value, name: string) => o.silu(inScope(x, p, name, (q) => norm(x, q, groups)));
  const res = (x: Value, name: string) => {
    const h = layer(active(x, `${name}.norm1`), `${name}.conv1`);
    return o.add(x, layer(active(h, `${name}.norm2`), `${name}.conv2`));
  };
  const doubled = (x: Value, name: string) =>
    inScope(x, p, name, (q) => o.upsample2xConv(x, q("weight"), q("bias")));
  const deepest = widths.length - 1;
  let x = layer(images!, "enc_in"); // B C H W
  for (let i = 0; i <= deepest; i++) {
    x = res(x, `enc.${i}`);
    if (i < deepest) x = layer(x, `down.${i}`, 2); // B C H/2 W/2
  }
  x = layer(layer(x, "enc_out"), "dec_in");
  for (let i = deepest; i >= 0; i--) {
    x = res(x, `dec.${i}`);
    if (i > 0) x = doubled(x, `up.${i}`); // B C 2H 2W
  }
  return o.mse(layer(active(x, "dec_norm"), "dec_out"), images!);
}

// ---- the whole

const ids = (name: string, shape: readonly number[], codes: number): Tensor => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(
    Array.from(
      rng("bench")
        .child(name)
        .fillUniform(new Float32Array(shape[0]! * shape[1]!), { high: codes }),
      (x) => BigInt(Math.floor(x)),
    ),
  ),
});

/** The batch that every step sees: random, from a fixed seed. */
export function batchOf(config: ModelConfig): Record<string, Tensor> {
  if (!isPlain(config)) return trainerBatch(config);
  if (config.kind === "gpt") {
    const shape = [config.batch, config.length];
    return {
      tokens: ids("tokens", shape, config.codes),
      targets: ids("targets", shape, config.codes),
    };
  }
  const shape = [config.batch, 3, config.side, config.side];
  const data = new Float32Array(shape.reduce((a, b) => a * b));
  rng("bench").child("images").fillUniform(data, { low: -1, high: 1 });
  return { images: { dtype: "float32", shape, data } };
}

const specsOf = (config: Plain): ParamSpec[] =>
  config.kind === "gpt" ? gptSpecs(config) : vaeSpecs(config);

export const weightsOf = (config: ModelConfig): Map<string, Tensor> =>
  isPlain(config) ? initWeights(specsOf(config), rng("bench")) : trainerWeights(config);

/** The loss graph with its parameters as inputs, and for our own trainers what they say besides. */
export function lossOf(config: ModelConfig): ReturnType<typeof trainerPlan> {
  if (!isPlain(config)) return trainerPlan(config);
  const g = createGraph(config.kind);
  const specs = specsOf(config);
  const p = bindInputs(g, specs);
  const batch = Object.fromEntries(
    Object.entries(batchOf(config)).map(([name, t]) => [name, input(g, name, t.shape, t.dtype)]),
  );
  const loss = config.kind === "gpt" ? gptLoss(p, batch, config) : vaeLoss(p, batch, config);
  const decayed = new Set(specs.filter((s) => s.decay).map((s) => s.name));
  return { loss, params: p.bound, decayed };
}
