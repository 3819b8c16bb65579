/** Encoder and decoder of the tokenizer as graphs: image <-> feature map. What lies between is quantizer.ts. */

import type { Bind } from "../nn/bind.ts";
import { conv, inScope, norm } from "../nn/layers.ts";
import { doubledConv } from "../tensor/doubling.ts";
import type { Value } from "../tensor/graph.ts";
import { add, matmul, reshape, silu, slice, softmax } from "../tensor/ops.ts";
import type { Dim } from "../tensor/shape.ts";
import type { VqvaeConfig } from "./config.ts";
import { vaeLevels } from "./vqvae-layout.ts";

/** Right and bottom by one, as the official downsampling pads. */
const DOWN = { stride: 2, pad: [0, 0, 1, 1] } as const;
const SAME = { pad: 1 } as const;

/** x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 shortcut where channels change. B C H W. */
function resBlock(x: Value, p: Bind, { groups }: VqvaeConfig): Value {
  const half = (h: Value, n: 1 | 2) => {
    const active = silu(inScope(h, p, `norm${n}`, (q) => norm(h, q, groups)));
    return inScope(active, p, `conv${n}`, (q) => conv(active, q, SAME));
  };
  const h = half(half(x, 1), 2);
  const same = x.shape[1] === h.shape[1];
  return add(same ? x : inScope(x, p, "nin_shortcut", (q) => conv(x, q)), h);
}

/** Single-head self-attention over all positions, residual. B C H W. */
function attention(x: Value, p: Bind, { groups }: VqvaeConfig): Value {
  const [B, C, H, W] = x.shape as [Dim, number, number, number];
  const h = inScope(x, p, "norm", (q) => norm(x, q, groups));
  const qkv = reshape(
    inScope(h, p, "qkv", (q) => conv(h, q)),
    [B, 3 * C, H * W],
  );
  const [q, k, v] = [0, 1, 2].map((i) => slice(qkv, { axis: 1, start: i * C, end: (i + 1) * C }));
  const scores = matmul(q!, k!, { transA: true, alpha: C ** -0.5 }); // B HW HW
  const mixed = matmul(v!, softmax(scores), { transB: true }); // B C HW
  const y = reshape(mixed, [B, C, H, W]);
  return add(
    x,
    inScope(y, p, "proj_out", (r) => conv(y, r)),
  );
}

function middle(x: Value, p: Bind, config: VqvaeConfig): Value {
  let h = inScope(x, p, "mid.block_1", (q) => resBlock(x, q, config));
  if (config.midAttention) h = inScope(h, p, "mid.attn_1", (q) => attention(h, q, config));
  return inScope(h, p, "mid.block_2", (q) => resBlock(h, q, config));
}

/** Blocks of one resolution, each followed by attention where the level has it. */
function blocks(
  x: Value,
  p: Bind,
  level: ReturnType<typeof vaeLevels>["encoder"][number],
  config: VqvaeConfig,
): Value {
  return level.blocks.reduce((h, _, i) => {
    const y = inScope(h, p, `block.${i}`, (q) => resBlock(h, q, config));
    return level.attention ? inScope(y, p, `attn.${i}`, (q) => attention(y, q, config)) : y;
  }, x);
}

const output = (x: Value, p: Bind, { groups }: VqvaeConfig): Value => {
  const h = silu(inScope(x, p, "norm_out", (q) => norm(x, q, groups)));
  return inScope(h, p, "conv_out", (q) => conv(h, q, SAME));
};

/** Image in [-1, 1] to feature map f, quant_conv included. B 3 H W -> B C h w. */
export function encode(image: Value, p: Bind, config: VqvaeConfig): Value {
  const h = inScope(image, p, "encoder", (e) => {
    let x = inScope(image, e, "conv_in", (q) => conv(image, q, SAME));
    for (const level of vaeLevels(config).encoder)
      x = inScope(x, e, `down.${level.level}`, (q) => {
        const y = blocks(x, q, level, config);
        return level.resample ? inScope(y, q, "downsample.conv", (r) => conv(y, r, DOWN)) : y;
      });
    return output(middle(x, e, config), e, config);
  });
  return inScope(h, p, "quant_conv", (q) => conv(h, q, SAME));
}

/** Feature map to image, post_quant_conv included; not clamped. B C h w -> B 3 H W. */
export function decode(fHat: Value, p: Bind, config: VqvaeConfig): Value {
  const z = inScope(fHat, p, "post_quant_conv", (q) => conv(fHat, q, SAME));
  return inScope(z, p, "decoder", (d) => {
    const start = inScope(z, d, "conv_in", (q) => conv(z, q, SAME));
    let x = middle(start, d, config);
    for (const level of vaeLevels(config).decoder.toReversed())
      x = inScope(x, d, `up.${level.level}`, (q) => {
        const y = blocks(x, q, level, config);
        if (!level.resample) return y;
        return inScope(y, q, "upsample.conv", (r) => doubledConv(y, r("weight"), r("bias")));
      });
    return output(x, d, config);
  });
}
