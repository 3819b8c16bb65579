/** Convolutions in 8 bits: near those in float32 within the ranges of a calibration, cut beyond them. */

import { expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { ortNode } from "./backends/ort-node.ts";
import { reference } from "./backends/reference.ts";
import { constant, createGraph, type Graph, input, output } from "./graph.ts";
import { int8Convs, readRanges, withRanges } from "./int8-conv.ts";
import { add, conv2d, silu } from "./ops.ts";
import { rng } from "./rng.ts";

const C = 16;
const normals = (name: string, shape: readonly number[], std = 1): Tensor => ({
  dtype: "float32",
  shape,
  data: rng(name).fillNormal(new Float32Array(shape.reduce((a, b) => a * b, 1)), { std }),
});

/** A residual pair of convolutions. B C 8 8. */
function layers(): Graph {
  const g = createGraph("layers");
  const x = input(g, "x", ["B", C, 8, 8]);
  const conv = (from: typeof x, name: string, pad: 0 | 1) =>
    conv2d(from, constant(g, normals(name, [C, C, 1 + 2 * pad, 1 + 2 * pad], 0.1), name), {
      ...{ pad, bias: constant(g, normals(`${name} bias`, [C])) },
    });
  output(g, "y", add(x, conv(silu(conv(silu(x), "first", 1)), "second", 0)));
  return g;
}

async function run(g: Graph, x: Tensor, backend = ortNode()): Promise<Record<string, Tensor>> {
  const session = await backend.compile(g);
  try {
    return await session.run({ x });
  } finally {
    await session.release();
  }
}

const images = (name: string, B: number) => normals(name, [B, C, 8, 8]);

async function calibrated(g: Graph, B = 8) {
  const runs = [
    await run(withRanges(g), images("one", B)),
    await run(withRanges(g), images("two", B)),
  ];
  return readRanges(g, runs);
}

function error(a: Tensor, b: Tensor): number {
  let [gap, size] = [0, 0];
  for (const [i, y] of (b.data as Float32Array).entries()) {
    gap += (Number(a.data[i]) - y) ** 2;
    size += y ** 2;
  }
  return Math.sqrt(gap / size);
}

test("a calibration tells what goes in and comes out of every convolution, and changes no result", async () => {
  const g = layers();
  const x = images("one", 8);
  const ranged = await run(withRanges(g), x);
  expect(ranged.y).toEqual((await run(g, x)).y);
  const ranges = readRanges(g, [ranged]);
  expect([...ranges.keys()]).toEqual(["first", "second"]);
  const { x: into } = ranges.get("first")!;
  expect(into.low).toBeCloseTo(-0.2785, 3); // the least value of silu
  expect(into.high).toBeGreaterThan(2.5);
  const other = await run(withRanges(g), images("two", 32));
  const [apart, both] = [readRanges(g, [other]), readRanges(g, [ranged, other])];
  for (const name of ["first", "second"]) {
    const [one, two, all] = [ranges, apart, both].map((of) => of.get(name)!.y);
    expect(two).not.toEqual(one);
    expect(all).toEqual({
      low: Math.min(one!.low, two!.low),
      high: Math.max(one!.high, two!.high),
    });
  }
});

test("pictures like those of the calibration come out nearly as in float32, on every backend", async () => {
  const g = layers();
  const small = int8Convs(g, await calibrated(g));
  expect(small.nodes.filter(({ op }) => op === "QLinearConv")).toHaveLength(2);
  expect(small.nodes.some(({ op }) => op === "Conv")).toBe(false);
  const x = images("three", 4);
  const [full, ort, plain] = [
    await run(g, x),
    await run(small, x),
    await run(small, x, reference()),
  ];
  expect(error(ort.y!, full.y!)).toBeLessThan(0.02);
  expect(error(ort.y!, full.y!)).toBeGreaterThan(1e-4);
  // A level may fall on either side of a half: one step of many numbers apart.
  expect(error(ort.y!, plain.y!)).toBeLessThan(2e-3);
});

test("numbers beyond the ranges are cut to them", async () => {
  const g = layers();
  const ranges = await calibrated(g);
  const only = int8Convs(g, ranges, { choose: (name) => name === "second" });
  expect(only.nodes.filter(({ op }) => op === "QLinearConv")).toHaveLength(1);
  const x = images("three", 1);
  const far = { ...x, data: (x.data as Float32Array).map((v) => v * 1e3) };
  const [{ y }, full] = [await run(only, far), await run(g, far)];
  const { high } = ranges.get("second")!.y;
  const residual = (of: Tensor) =>
    Math.max(...Array.from(of.data as Float32Array, (v, i) => v - far.data[i]!));
  expect(residual(y!)).toBeLessThan(1.1 * high + 1);
  expect(residual(full.y!)).toBeGreaterThan(100 * high);
});

test("without ranges nothing changes", () => {
  const g = layers();
  expect(int8Convs(g, new Map()).nodes.map(({ op }) => op)).toEqual(g.nodes.map(({ op }) => op));
});
