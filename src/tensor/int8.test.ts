/** Products in 8 bits: near those in float32, row by row, and the same on every backend. */

import { describe, expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { ortNode } from "./backends/ort-node.ts";
import { reference } from "./backends/reference.ts";
import { constant, createGraph, type Graph, input, output } from "./graph.ts";
import { int8Columns, int8Products } from "./int8.ts";
import { linear, mul } from "./ops.ts";
import { rng } from "./rng.ts";

const [K, N] = [256, 320];
const normals = (name: string, shape: readonly number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: rng(name).fillNormal(new Float32Array(shape.reduce((a, b) => a * b, 1))),
});
const weight = normals("weight", [N, K]);
const bias = normals("bias", [N]);

/** Two layers over rows of unknown number: K -> N, halved, -> K. */
function layers(rows: number | string): Graph {
  const g = createGraph("layers");
  const x = input(g, "x", [2, rows, K]);
  const hidden = linear(x, constant(g, weight, "first"), constant(g, bias, "bias"));
  const second = constant(g, normals("second", [K, N]), "second");
  output(g, "y", linear(mul(hidden, 0.5), second));
  return g;
}

async function run(g: Graph, x: Tensor, backend = ortNode()): Promise<Float32Array> {
  const session = await backend.compile(g);
  try {
    return (await session.run({ x })).y!.data as Float32Array;
  } finally {
    await session.release();
  }
}

const ops = (g: Graph) => g.nodes.map(({ op }) => op);

/** |a - b| / |b| of each row of `width`. */
function rowErrors(a: Float32Array, b: Float32Array, width: number): number[] {
  return Array.from({ length: a.length / width }, (_, r) => {
    let [error, size] = [0, 0];
    for (let i = r * width; i < (r + 1) * width; i++) {
      error += (a[i]! - b[i]!) ** 2;
      size += b[i]! ** 2;
    }
    return Math.sqrt(error / size);
  });
}

describe.each([
  ["known", 5],
  ["named", "T"],
] as const)("a %s number of rows", (_, rows) => {
  const x = normals("x", [2, 5, K]);

  test("every row is near the float32 result, however large another row is", async () => {
    const data = (x.data as Float32Array).slice();
    for (let k = 0; k < K; k++) data[k] = data[k]! * 1e4;
    const large = { ...x, data };
    const [full, small] = [layers(rows), int8Products(layers(rows))];
    const errors = rowErrors(await run(small, large), await run(full, large), K);
    // Rounding to 1/127 of the largest of a row of normals, twice over: about 1 % each time.
    expect(Math.max(...errors)).toBeLessThan(0.025);
    expect(Math.max(...errors)).toBeGreaterThan(0.001);
  });

  test("the reference backend computes the same", async () => {
    const g = int8Products(layers(rows));
    const [ort, plain] = [await run(g, x), await run(g, x, reference())];
    for (const [i, y] of plain.entries()) expect(Math.abs(ort[i]! - y)).toBeLessThan(2e-3);
  });

  test("a row of zeros stays one, without bias", async () => {
    const zeros = { ...x, data: new Float32Array(x.data.length) };
    const g = createGraph("one");
    output(g, "y", linear(input(g, "x", [2, rows, K]), constant(g, weight, "first")));
    const y = await run(int8Products(g), zeros);
    expect(new Set(y)).toEqual(new Set([0]));
  });
});

test("only large products that are chosen change, and inputs and outputs keep their names", () => {
  const g = layers("T");
  const all = int8Products(g);
  expect(ops(all).filter((op) => op === "MatMulIntegerToFloat")).toHaveLength(2);
  expect(ops(all)).not.toContain("FusedMatMul");
  const one = int8Products(g, { choose: (name) => name === "second" });
  expect(ops(one).filter((op) => op === "MatMulIntegerToFloat")).toHaveLength(1);
  expect(ops(one).filter((op) => op === "FusedMatMul")).toHaveLength(1);
  expect(ops(int8Products(g, { choose: () => false }))).toEqual(ops(g));
  expect(one.inputs.map(({ name, shape }) => [name, shape])).toEqual([["x", [2, "T", K]]]);
  expect([...one.outputs.keys()]).toEqual(["y"]);
  const names = [...one.constants.keys()].map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["first", "bias", "second int8", "second scales"]));
  expect(names).not.toContain("second");
});

test("columns in int8 are the rows of W, each to its own largest value", () => {
  const { q, scale } = int8Columns(Float32Array.of(1, -2, 0.5, 0, 0, 0, 127, 1, 0), 3);
  expect([...scale]).toEqual([2 / 127, 0, 1].map(Math.fround));
  expect([...q]).toEqual([64, 0, 127, -127, 0, 1, 32, 0, 0]);
});
