/** Fresh weights depend on their names alone; files are taken whole or refused with the tensor's name. */

import { describe, expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { rng } from "../tensor/rng.ts";
import {
  checkWeights,
  countParams,
  type Init,
  initWeights,
  nearest,
  type ParamSpec,
} from "./spec.ts";

const param = (name: string, shape: number[], init: Init): ParamSpec => ({
  name,
  shape,
  dtype: "float32",
  kind: "param",
  init,
  decay: false,
});

const ones = (): Tensor => ({ dtype: "float32", shape: [2], data: Float32Array.of(1, 1) });

const specs: ParamSpec[] = [
  param("blocks.0.fc.weight", [2, 3], { kind: "normal", std: 1 }),
  param("blocks.0.fc.bias", [2], { kind: "zeros" }),
  { ...param("mask", [2], { kind: "zeros" }), kind: "buffer", value: ones },
  { ...param("counts", [3], { kind: "zeros" }), kind: "buffer" },
];

const fresh = () => initWeights(specs, rng(1));

describe("initWeights", () => {
  test("adding a parameter changes no other", () => {
    const more = initWeights([param("first", [9], { kind: "normal", std: 1 }), ...specs], rng(1));
    for (const [name, tensor] of fresh()) expect(more.get(name)).toEqual(tensor);
  });

  test("the same seed gives the same weights, another seed others", () => {
    expect(fresh()).toEqual(fresh());
    expect(initWeights(specs, rng(2))).not.toEqual(fresh());
  });

  test("each kind of start is what it says", () => {
    const draw = (init: Init, n = 20_000) =>
      initWeights([param("w", [n], init)], rng(3)).get("w")!.data as Float32Array;
    const mean = (x: Float32Array) => x.reduce((a, b) => a + b, 0) / x.length;
    const std = (x: Float32Array) => Math.sqrt(mean(x.map((v) => v * v)));
    expect(draw({ kind: "zeros" }).every((v) => v === 0)).toBe(true);
    expect(draw({ kind: "constant", value: 3 }).every((v) => v === 3)).toBe(true);
    expect(std(draw({ kind: "normal", std: 2 }))).toBeCloseTo(2, 1);
    expect(std(draw({ kind: "uniform", bound: 0.3 }))).toBeCloseTo(0.3 / Math.sqrt(3), 2);
    const truncated = draw({ kind: "truncNormal", std: 2, scale: 0.5 });
    expect(Math.max(...truncated.map(Math.abs))).toBeLessThanOrEqual(1);
    expect(Math.max(...truncated)).toBeGreaterThan(0.99);
  });

  test("rows are scaled on their axis", () => {
    const shape = [1, 3, 2];
    const of = (init: Init) =>
      initWeights([param("w", shape, init)], rng(1)).get("w")!.data as Float32Array;
    const plain = of({ kind: "normal", std: 1 });
    const rowScales = [
      { rows: 1, scale: 2 },
      { rows: 2, scale: 0 },
    ];
    const scaled = of({ kind: "normal", std: 1, rowScales, rowAxis: 1 });
    expect([...scaled].map(Math.abs)).toEqual(
      [2 * plain[0]!, 2 * plain[1]!, 0, 0, 0, 0].map(Math.abs),
    );
    expect(() => of({ kind: "normal", std: 1, rowScales, rowAxis: 2 })).toThrow("before rowAxis 2");
    expect(() => of({ kind: "normal", std: 1, rowScales })).toThrow("rowScales cover 3 rows");
  });

  test("buffers get their fixed content, or zeros, and do not count", () => {
    expect(fresh().get("mask")).toEqual(ones());
    expect(fresh().get("counts")!.data).toEqual(new Float32Array(3));
    expect(countParams(specs)).toBe(8);
  });
});

describe("checkWeights", () => {
  const refuse = (change: (w: Map<string, Tensor>) => void): InputError => {
    const weights = fresh();
    change(weights);
    try {
      checkWeights(specs, weights, { what: "a.pth" });
    } catch (error) {
      return error as InputError;
    }
    throw new Error("was accepted");
  };

  test("a good file comes back in the order of the model, the data untouched", () => {
    const weights = fresh();
    const checked = checkWeights(specs, new Map([...weights].reverse()));
    expect([...checked.keys()]).toEqual(specs.map((s) => s.name));
    for (const [name, tensor] of checked) expect(tensor).toBe(weights.get(name));
  });

  test("absent buffers start afresh", () => {
    const weights = fresh();
    weights.delete("mask");
    weights.delete("counts");
    expect(checkWeights(specs, weights)).toEqual(fresh());
  });

  test("an absent tensor is named, with its like in the file", () => {
    const error = refuse((w) => {
      w.set("blocks.0.fc.wieght", w.get("blocks.0.fc.weight")!);
      w.delete("blocks.0.fc.weight");
    });
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toBe(
      'a.pth lacks tensor "blocks.0.fc.weight" of [2, 3] float32; the nearest name in it is "blocks.0.fc.wieght" (and 1 more in data.problems); use a file made for this model, or the configuration it was made with',
    );
    expect(error.data.problems).toHaveLength(2);
  });

  test("an absent tensor may be allowed, and is then left out", () => {
    const weights = fresh();
    weights.delete("blocks.0.fc.bias");
    const checked = checkWeights(specs, weights, { allowMissing: true });
    expect([...checked.keys()]).toEqual(["blocks.0.fc.weight", "mask", "counts"]);
  });

  test.each<[string, Tensor, string]>([
    [
      "shape",
      { dtype: "float32", shape: [3, 2], data: new Float32Array(6) },
      "as [3, 2] float32, expected [2, 3] float32",
    ],
    [
      "dtype",
      { dtype: "float16", shape: [2, 3], data: new Uint16Array(6) },
      "as [2, 3] float16, expected [2, 3] float32",
    ],
    [
      "length",
      { dtype: "float32", shape: [2, 3], data: new Float32Array(5) },
      'has 5 values in tensor "blocks.0.fc.weight", expected 6',
    ],
  ])("a wrong %s is refused with what was expected and found", (_, tensor, message) => {
    expect(refuse((w) => w.set("blocks.0.fc.weight", tensor)).message).toContain(message);
  });

  test("an unknown tensor is refused with the name it may mean", () => {
    const error = refuse((w) => w.set("module.extra", ones()));
    expect(error.message).toContain('has an unknown tensor "module.extra"; use');
  });

  test("a buffer that says something else than the configuration is refused", () => {
    const error = refuse((w) => w.set("mask", { ...ones(), data: Float32Array.of(1, 0) }));
    expect(error.message).toContain('has 0 at place 1 of buffer "mask", the configuration fixes 1');
  });
});

test("near names are found by edit distance or by prefix, far ones are not", () => {
  expect(nearest("head.wieght", ["head.bias", "head.weight"])).toBe("head.weight");
  expect(nearest("module.head.bias", ["head.bias", "head.weight"])).toBe("head.bias");
  expect(nearest("zzz", ["head.bias"])).toBeUndefined();
});
