/** Which backend is opened when, and what messages and printed graphs say. */

import { afterEach, expect, test, vi } from "vitest";
import { openBackend } from "./backend.ts";
import { createGraph, input, output, withScope } from "./graph.ts";
import * as o from "./ops.ts";
import { printGraph } from "./print.ts";
import { ShapeError } from "./shape.ts";

afterEach(() => {
  vi.doUnmock("./backends/ort-node.ts");
  vi.resetModules();
});

test("Node gets the native runtime", async () => {
  expect((await openBackend()).name).toBe("ort-node");
});

test("where the native package is missing, Node falls back to WebAssembly and computes", async () => {
  vi.doMock("./backends/ort-node.ts", () => {
    throw new Error("Cannot find package 'onnxruntime-node'");
  });
  const backend = await openBackend();
  expect(backend.name).toBe("ort-web");
  const g = createGraph();
  const x = input(g, "x", [2]);
  output(g, "y", o.mul(x, 2));
  const session = await backend.compile(g);
  const { y } = await session.run({
    x: { dtype: "float32", shape: [2], data: Float32Array.of(1, 2) },
  });
  expect(Array.from(y!.data as Float32Array)).toEqual([2, 4]);
});

test("a backend asked for by name is not replaced by another", async () => {
  vi.doMock("./backends/ort-node.ts", () => {
    throw new Error("Cannot find package 'onnxruntime-node'");
  });
  await expect(openBackend("ort-node")).rejects.toThrow();
  expect((await openBackend("reference")).name).toBe("reference");
  await expect(openBackend("cuda" as never)).rejects.toThrow(
    'backend "cuda" is unknown; use one of ort-node, ort-web, ort-webgpu, reference',
  );
});

test("WebGPU is a browser's, which Node says", async () => {
  await expect(openBackend("ort-webgpu")).rejects.toThrow(/ort-webgpu needs a browser/);
});

function small() {
  const g = createGraph("small");
  const x = input(g, "x", ["B", 3]);
  const y = withScope(g, "blocks.3", () => withScope(g, "attn", () => o.softmax(o.mul(x, 0.5))));
  output(g, "y", o.reshape(y, ["*"]));
  return g;
}

test("a printed graph has one line a node, with scope, types, attributes and small constants", () => {
  expect(printGraph(small())).toBe(
    [
      "graph small",
      "input x float32[B, 3]",
      "blocks.3.attn: blocks.3.attn/Mul_2 float32[B, 3] = Mul(x float32[B, 3], float32[]{0.5})",
      "blocks.3.attn: blocks.3.attn/Softmax_3 float32[B, 3] = Softmax(blocks.3.attn/Mul_2 float32[B, 3]) axis=-1",
      ".: Reshape_5 float32[3*B] = Reshape(blocks.3.attn/Softmax_3 float32[B, 3], int64[1]{-1}) allowzero=0",
      "output y = Reshape_5 float32[3*B]",
    ].join("\n"),
  );
});

test("a printed graph can be limited to a scope, wherever that stands in the path", () => {
  expect(printGraph(small(), { scope: "attn" }).split("\n")).toHaveLength(2);
  expect(printGraph(small(), { scope: "blocks.3" }).split("\n")).toHaveLength(2);
  expect(printGraph(small(), { scope: "blocks" }).split("\n")).toHaveLength(2);
  expect(printGraph(small(), { scope: "att" })).toBe("");
});

const WRONG: Readonly<Record<string, [(g: ReturnType<typeof createGraph>) => unknown, string]>> = {
  "operands that do not broadcast": [
    (g) => o.add(input(g, "a", [2, 3]), input(g, "b", [4])),
    "head: Add: shapes [2, 3] and [4] do not broadcast (3 against 4); reshape one of them",
  ],
  "two named dimensions that differ": [
    (g) => o.add(input(g, "a", ["B", 3]), input(g, "b", ["L", 3])),
    "head: Add: shapes [B, 3] and [L, 3] do not broadcast (B against L); reshape one of them",
  ],
  "mixed dtypes": [
    (g) => o.add(input(g, "a", [2]), input(g, "b", [2], "int64")),
    "head: Add(float32[2], int64[2]): dtypes differ (float32, int64); cast one of them",
  ],
  "a product whose inner sizes differ": [
    (g) => o.matmul(input(g, "a", [2, 3]), input(g, "b", [4, 5])),
    "head: MatMul(float32[2, 3], float32[4, 5]): inner sizes 3 and 4 differ; transpose one side or fix a width",
  ],
  "an image with other channels than the weights": [
    (g) => o.conv2d(input(g, "x", ["B", 3, 8, 8]), input(g, "w", [4, 5, 3, 3])),
    "head: Conv(float32[B, 3, 8, 8], float32[4, 5, 3, 3]): image has 3 channels, weights take 5",
  ],
  "a reshape of another size": [
    (g) => o.reshape(input(g, "x", [2, 3]), [4]),
    "head: Reshape(float32[2, 3], int64[1]): cannot reshape [2, 3] to [4]; the sizes differ",
  ],
  "an axis that is not there": [
    (g) => o.sum(input(g, "x", [2, 3]), { axes: [2] }),
    "head: ReduceSum: axis 2 is outside a rank of 2",
  ],
  "a fraction as int64": [
    (g) => o.mul(input(g, "x", [2], "int64"), 0.5),
    "scalar: 0.5 is no int64; cast the other operand to float32 first",
  ],
};
for (const [what, [build, message]] of Object.entries(WRONG))
  test(`${what} is refused while building, with op, scope and shapes`, () => {
    const attempt = () => {
      const g = createGraph();
      withScope(g, "head", () => build(g));
    };
    expect(attempt).toThrow(ShapeError);
    expect(attempt).toThrow(message);
  });

test("a result may not take the name of an input", () => {
  const g = createGraph("g");
  const x = input(g, "w", [2]);
  expect(() => output(g, "w", o.mul(x, 2))).toThrow('the name "w" is already taken');
});
