/** Doubling and convolving in four parts, beside what it stands for. */

import { expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { openBackend } from "./backend.ts";
import { doubledConv } from "./doubling.ts";
import { constant, createGraph, input, output } from "./graph.ts";
import { conv2d, upsample2x } from "./ops.ts";
import { rng } from "./rng.ts";

const random = (name: string, shape: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: rng(name).fillNormal(new Float32Array(shape.reduce((n, d) => n * d, 1))),
});

test.each([
  ["ort-node", 2, 16, 16],
  ["ort-node", 1, 3, 5],
  ["reference", 1, 3, 5],
] as const)(
  "four small convolutions are that of the doubled image: %s, %i x %i x %i",
  async (name, B, C, O) => {
    const g = createGraph();
    const x = input(g, "x", ["B", C, 3, 5]);
    const weight = constant(g, random("w", [O, C, 3, 3]), "w");
    const bias = constant(g, random("b", [O]), "b");
    output(g, "parts", doubledConv(x, weight, bias));
    output(g, "whole", conv2d(upsample2x(x), weight, { bias, pad: 1 }));
    const session = await (await openBackend(name)).compile(g, { threads: 1 });
    const { parts, whole } = await session.run({ x: random("x", [B, C, 3, 5]) });
    expect(parts!.shape).toEqual([B, O, 6, 10]);
    const [got, want] = [parts!.data as Float32Array, whole!.data as Float32Array];
    for (const [i, value] of want.entries()) expect(Math.abs(got[i]! - value)).toBeLessThan(1e-4);
    await session.release();
  },
);

test("kernels that are no constants go through the transposed convolution", () => {
  const g = createGraph();
  const [x, w, b] = [input(g, "x", [1, 2, 3, 3]), input(g, "w", [2, 2, 3, 3]), input(g, "b", [2])];
  doubledConv(x, w, b);
  expect(g.nodes.map(({ op }) => op)).toContain("ConvTranspose");
});
