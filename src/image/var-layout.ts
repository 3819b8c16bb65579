/** The transformer's tensors: names, shapes, start and decay, in the official state_dict order. Builds no graph. */

import type { Tensor } from "../formats/dtype.ts";
import type { Init, ParamSpec } from "../nn/spec.ts";
import type { VarConfig } from "./config.ts";
import { mapTokens, type PatchNum, scaleStarts, tokenCount } from "./scales.ts";

/** Parameters whose name contains one of these are never decayed; the official trainer's list. */
const NO_DECAY = [
  "cls_token",
  "start_token",
  "task_token",
  "cfg_uncond",
  "pos_embed",
  "pos_1LC",
  "pos_start",
  "start_pos",
  "lvl_embed",
  "gamma",
  "beta",
  "ada_gss",
  "ln_gss", // ours: LayerNorms without AdaLN
  "moe_bias",
  "scale_mul",
] as const;

/** Weight decay applies to weights of at least two dimensions that are not positions, levels, gates or scales. */
export const decays = (name: string, shape: readonly number[]): boolean =>
  shape.length > 1 && !name.endsWith("bias") && !NO_DECAY.some((part) => name.includes(part));

/**
 * Every tensor of the transformer. There are no LayerNorm parameters: AdaLN modulates plain norms.
 *
 * Start (official `init_weights`): std sqrt(1/(3C)) truncated normal everywhere, biases 0; residual projections
 * / sqrt(2 depth), head x 0.02, modulation x 0.5 but for the gates gamma (x gammaInit), attention temperature ln 4.
 */
export function varSpecs(config: VarConfig): ParamSpec[] {
  const { width: C, depth, heads, latent, classes, codes, patchNums, gammaInit } = config;
  const L = tokenCount(config);
  const std = Math.sqrt(1 / C / 3);
  const start: Init = { kind: "truncNormal", std };
  const scaled = (scale: number): Init => ({ ...start, scale });
  const gates = (rows: number) => [
    { rows: 2 * rows, scale: gammaInit }, // gamma1, gamma2
    { rows: 4 * rows, scale: 0.5 }, // scale1, scale2, shift1, shift2
  ];

  const block = (name: string): ParamSpec[] => [
    ...(config.sharedAdaLN
      ? [
          param(`${name}.ada_gss`, [1, 1, 6, C], {
            kind: "normal",
            std: 1 / Math.sqrt(C),
            rowScales: gates(1),
            rowAxis: 2,
          }),
        ]
      : []),
    ...(config.attnL2Norm
      ? [
          param(`${name}.attn.scale_mul_1H11`, [1, heads, 1, 1], {
            kind: "constant",
            value: Math.log(4),
          }),
        ]
      : []),
    param(`${name}.attn.q_bias`, [C], ZEROS),
    param(`${name}.attn.v_bias`, [C], ZEROS),
    buffer(`${name}.attn.zero_k_bias`, () => zeroBias(C), [C]), // keys have no bias; saved all the same
    param(`${name}.attn.mat_qkv.weight`, [3 * C, C], start),
    ...linear(`${name}.attn.proj`, [C, C], scaled(1 / Math.sqrt(2 * depth))),
    ...linear(`${name}.ffn.fc1`, [C * config.mlpRatio, C], start),
    ...linear(`${name}.ffn.fc2`, [C, C * config.mlpRatio], scaled(1 / Math.sqrt(2 * depth))),
    ...(config.adaLN ? [] : [param(`${name}.ln_gss`, [1, 4, C], ZEROS)]), // scale1, scale2, shift1, shift2
    ...(config.sharedAdaLN || !config.adaLN
      ? []
      : linear(`${name}.ada_lin.1`, [6 * C, C], { ...start, rowScales: gates(C) })),
  ];

  return [
    param("pos_start", [1, 1, C], start),
    param("pos_1LC", [1, L, C], start),
    buffer("lvl_1L", () => scaleOfToken(patchNums), [1, L], "int64"),
    buffer("attn_bias_for_masking", () => blockCausalMask(patchNums), [1, 1, L, L]),
    ...linear("word_embed", [C, latent], start),
    param("class_emb.weight", [classes + 1, C], start), // the last row is "no class"
    param("lvl_embed.weight", [patchNums.length, C], start),
    ...(config.sharedAdaLN ? linear("shared_ada_lin.1", [6 * C, C], start) : []),
    ...Array.from({ length: depth }, (_, i) => block(`blocks.${i}`)).flat(),
    ...(config.adaLN
      ? linear("head_nm.ada_lin.1", [2 * C, C], scaled(0.5))
      : [param("head_nm.ln_gss", [1, 2, C], ZEROS)]),
    ...linear("head", [codes, C], scaled(0.02)),
  ];
}

/** The scale of each token. [1, L] int64 */
export function scaleOfToken(patchNums: readonly PatchNum[]): Tensor {
  const data = BigInt64Array.from(
    patchNums.flatMap((pn, k) => new Array<bigint>(mapTokens(pn)).fill(BigInt(k))),
  );
  return { dtype: "int64", shape: [1, data.length], data };
}

/** The training mask: 0 where the query's scale is the key's or finer, else -infinity. [1, 1, L, L] */
export function blockCausalMask(patchNums: readonly PatchNum[]): Tensor {
  const starts = scaleStarts(patchNums);
  const L = starts.at(-1)!;
  const data = new Float32Array(L * L);
  for (let k = 0; k < patchNums.length; k++) {
    for (let query = starts[k]!; query < starts[k + 1]!; query++) {
      data.fill(Number.NEGATIVE_INFINITY, query * L + starts[k + 1]!, (query + 1) * L);
    }
  }
  return { dtype: "float32", shape: [1, 1, L, L], data };
}

const ZEROS: Init = { kind: "zeros" };

const zeroBias = (C: number): Tensor => ({
  dtype: "float32",
  shape: [C],
  data: new Float32Array(C),
});

const param = (name: string, shape: readonly number[], init: Init): ParamSpec => ({
  name,
  shape,
  dtype: "float32",
  kind: "param",
  init,
  decay: decays(name, shape),
});

const linear = (name: string, shape: readonly [number, number], init: Init): ParamSpec[] => [
  param(`${name}.weight`, shape, init),
  param(`${name}.bias`, [shape[0]], ZEROS),
];

const buffer = (
  name: string,
  value: () => Tensor,
  shape: readonly number[],
  dtype: "float32" | "int64" = "float32",
): ParamSpec => ({ name, shape, dtype, kind: "buffer", init: ZEROS, decay: false, value });
