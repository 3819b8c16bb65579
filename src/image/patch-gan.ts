/** The discriminator that judges reconstructions patch by patch: its tensors and its graph. Trains nothing. */

import type { Bind } from "../nn/bind.ts";
import { conv, inScope, norm } from "../nn/layers.ts";
import type { Init, ParamSpec } from "../nn/spec.ts";
import type { Value } from "../tensor/graph.ts";
import { leakyRelu } from "../tensor/ops.ts";

export interface PatchGanConfig {
  /** Width of the first layer; a multiple of 8. Each next is twice as wide. */
  readonly channels: number;
  /** Layers that halve the side: 3 see patches of 30 pixels, 2 of 14. */
  readonly layers: number;
}

const SLOPE = 0.2;
const GROUPS = 8;

const widths = ({ channels, layers }: PatchGanConfig): number[] =>
  Array.from({ length: layers }, (_, i) => channels * 2 ** i);

/** Every tensor of the discriminator; convolutions start normal with std 0.02, as pix2pix. */
export function patchGanSpecs(config: PatchGanConfig): ParamSpec[] {
  const normal: Init = { kind: "normal", std: 0.02 };
  const tensor = (name: string, shape: number[], init: Init, decay: boolean): ParamSpec => ({
    ...{ name, shape, init, decay },
    ...{ dtype: "float32", kind: "param" },
  });
  const layer = (name: string, from: number, to: number, side: number) => [
    tensor(`${name}.weight`, [to, from, side, side], normal, true),
    tensor(`${name}.bias`, [to], { kind: "zeros" }, false),
  ];
  const wide = widths(config);
  return [
    ...wide.flatMap((width, i) => [
      ...layer(`judge.${i}.conv`, i === 0 ? 3 : wide[i - 1]!, width, 4),
      ...(i === 0
        ? []
        : [
            tensor(`judge.${i}.norm.weight`, [width], { kind: "constant", value: 1 }, false),
            tensor(`judge.${i}.norm.bias`, [width], { kind: "zeros" }, false),
          ]),
    ]),
    ...layer("judge.out", wide.at(-1)!, 1, 3),
  ];
}

/**
 * PatchGAN (Isola et al. 2017): a judgement per patch, high for what looks real. Differs: GroupNorm for BatchNorm, so
 * that a picture is judged alone. x B 3 H W in [-1, 1] -> B 1 H/2^layers W/2^layers
 */
export function patchGan(x: Value, p: Bind, config: PatchGanConfig): Value {
  const judged = widths(config).reduce(
    (h, _, i) =>
      inScope(h, p, `judge.${i}`, (q) => {
        const y = inScope(h, q, "conv", (r) => conv(h, r, { stride: 2, pad: 1 }));
        return leakyRelu(i === 0 ? y : inScope(y, q, "norm", (r) => norm(y, r, GROUPS)), SLOPE);
      }),
    x,
  );
  return inScope(judged, p, "judge.out", (q) => conv(judged, q, { pad: 1 }));
}
