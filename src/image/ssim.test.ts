/** SSIM against the definition, written out as loops. */

import { expect, test } from "vitest";
import { floats } from "../../test/conformance/tensors.ts";
import type { Tensor } from "../formats/dtype.ts";
import { reference } from "../tensor/backends/reference.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { rng } from "../tensor/rng.ts";
import { ssim } from "./ssim.ts";

async function ours(a: Tensor, b: Tensor): Promise<number[]> {
  const g = createGraph();
  output(g, "y", ssim(input(g, "a", a.shape), input(g, "b", b.shape)));
  const session = await reference().compile(g);
  return Array.from((await session.run({ a, b })).y!.data, Number);
}

/** Wang et al. 2004, eq. 13, window by window. */
function byHand({ shape, data: x }: Tensor, { data: y }: Tensor): number[] {
  const [B, C, H, W] = shape as [number, number, number, number];
  const weight = (i: number) => Math.exp(-((i - 5) ** 2) / 4.5);
  const norm = Array.from({ length: 11 }, (_, i) => weight(i)).reduce((p, q) => p + q, 0) ** 2;
  return Array.from({ length: B }, (_, b) => {
    let [sum, count] = [0, 0];
    for (let c = 0; c < C; c++)
      for (let top = 0; top + 11 <= H; top++)
        for (let left = 0; left + 11 <= W; left++) {
          const m = [0, 0, 0, 0, 0] as [number, number, number, number, number];
          for (let i = 0; i < 11; i++)
            for (let j = 0; j < 11; j++) {
              const at = ((b * C + c) * H + top + i) * W + left + j;
              const [p, q, w] = [Number(x[at]), Number(y[at]), (weight(i) * weight(j)) / norm];
              [p, q, p * p, q * q, p * q].forEach((v, k) => {
                m[k]! += w * v;
              });
            }
          const [mx, my, xx, yy, xy] = m;
          sum +=
            ((2 * mx * my + 4e-4) * (2 * (xy - mx * my) + 36e-4)) /
            ((mx * mx + my * my + 4e-4) * (xx - mx * mx + yy - my * my + 36e-4));
          count++;
        }
    return sum / count;
  });
}

test("is what the definition gives, and 1 for a picture with itself", async () => {
  const shape = [2, 3, 14, 12];
  const [a, b] = [floats(rng(1), shape, { low: -1, high: 1 }), floats(rng(2), shape)];
  const [got, wanted] = [await ours(a, b), byHand(a, b)];
  got.forEach((x, i) => {
    expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-5); // float32 kernels
  });
  for (const x of await ours(a, a)) expect(x).toBeCloseTo(1, 6);
});

test("pictures smaller than the window are compared with a smaller one", async () => {
  const a = floats(rng(3), [1, 3, 4, 6], { low: -1, high: 1 });
  expect((await ours(a, a))[0]).toBeCloseTo(1, 6);
});
