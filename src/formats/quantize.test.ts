/** Small storage of weights: what is lost, what is refused. */

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { dequantizeWeights, quantizeWeights, storageFor } from "./quantize.ts";

const matrix = (rows: number, values: number[]): Tensor => ({
  dtype: "float32",
  shape: [rows, values.length / rows],
  data: Float32Array.from(values),
});

test("int8 is off by at most half a step of its row", () => {
  const rows = fc.integer({ min: 1, max: 5 });
  const value = fc.float({ noNaN: true, min: -1e6, max: 1e6 });
  fc.assert(
    fc.property(rows, fc.array(value, { minLength: 6, maxLength: 6 }), (r, row) => {
      const w = matrix(r, Array.from({ length: r }, (_, i) => row.map((v) => v * 10 ** -i)).flat());
      const small = quantizeWeights(new Map([["w", w]]), { storage: () => "int8" });
      expect([...small.keys()]).toEqual(["w", "w.scale"]);
      const back = dequantizeWeights(small).get("w")!;
      for (let i = 0; i < w.data.length; i++) {
        const step = small.get("w.scale")!.data[Math.floor(i / 6)] as number;
        const off = Math.abs(Number(w.data[i]) - Number(back.data[i]));
        expect(off).toBeLessThanOrEqual(step * 0.5001 + 1e-38);
      }
    }),
  );
});

test("matrices become int8, other large tensors float16, small ones stay", () => {
  const of = (...shape: number[]): Tensor => ({
    dtype: "float32",
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b)),
  });
  expect(storageFor(of(64, 64), "int8")).toBe("int8");
  expect(storageFor(of(32, 16, 3, 3), "int8")).toBe("int8");
  expect(storageFor(of(1, 155, 64), "int8")).toBe("float16");
  expect(storageFor(of(8192), "int8")).toBe("float16");
  expect(storageFor(of(1, 4, 1, 1), "int8")).toBe("float32");
  expect(storageFor(of(64, 64), "float16")).toBe("float16");
});

test("a file of halves, doubles and integers becomes float32 and integers", () => {
  const tensors = new Map<string, Tensor>([
    ["half", { dtype: "float16", shape: [2], data: Uint16Array.of(0x3c00, 0xfc00) }],
    ["brain", { dtype: "bfloat16", shape: [1], data: Uint16Array.of(0x3f80) }],
    ["double", { dtype: "float64", shape: [], data: Float64Array.of(0.5) }],
    ["level", { dtype: "int64", shape: [1], data: BigInt64Array.of(7n) }],
    ["norm.scale", { dtype: "float32", shape: [1], data: Float32Array.of(3) }],
  ]);
  const got = dequantizeWeights(tensors);
  expect([...got.get("half")!.data]).toEqual([1, Number.NEGATIVE_INFINITY]);
  expect([...got.get("brain")!.data]).toEqual([1]);
  expect([...got.get("double")!.data]).toEqual([0.5]);
  expect(got.get("level")).toBe(tensors.get("level"));
  expect(got.get("norm.scale"), "no int8 partner: an ordinary tensor").toBe(
    tensors.get("norm.scale"),
  );
});

test.each([
  ["no scales", undefined],
  ["scales for other rows", [1]],
  ["a scale that is not finite", [1, Number.NaN]],
])("int8 with %s is refused", (_, scales) => {
  const tensors = new Map<string, Tensor>([
    ["w", { dtype: "int8", shape: [2, 1], data: Int8Array.of(1, 2) }],
  ]);
  if (scales)
    tensors.set("w.scale", {
      dtype: "float32",
      shape: [scales.length],
      data: Float32Array.from(scales),
    });
  expect(() => dequantizeWeights(tensors)).toThrow(InputError);
});
