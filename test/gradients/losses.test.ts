/** The losses of tokenizer training: through networks from ONNX files, and between two players. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { type OnnxModel, type OnnxNode, readOnnx, writeOnnx } from "../../src/formats/onnx.ts";
import { diffAugment, drawDiffAugment } from "../../src/image/diff-augment.ts";
import { patchGan, patchGanSpecs } from "../../src/image/patch-gan.ts";
import { onnxFeatures, perceptualDistance } from "../../src/image/perceptual.ts";
import { initWeights } from "../../src/nn/spec.ts";
import { ortNode } from "../../src/tensor/backends/ort-node.ts";
import { reference } from "../../src/tensor/backends/reference.ts";
import { featureLayers, onnxValues } from "../../src/tensor/from-onnx.ts";
import { grad } from "../../src/tensor/grad.ts";
import { constant, createGraph, input, output } from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import { rng } from "../../src/tensor/rng.ts";
import { ADVERSARY_RECIPE, adversary } from "../../src/train/adversary.ts";
import { floats, tensor } from "../conformance/tensors.ts";
import { sharedTest } from "../shared.ts";
import { checkGradients } from "./check.ts";

const r = rng("losses");
const f = (name: string, shape: number[], low = -1) =>
  floats(r.child(name), shape, { low, high: 1 });

/** A small network with what picture networks are made of. */
const int = (value: number) => ({ kind: "int", value }) as const;
const ints = (...value: number[]) => ({ kind: "ints", value }) as const;
const node = (
  op: string,
  inputs: string[],
  out: string,
  attrs: OnnxNode["attrs"] = {},
): OnnxNode => ({
  ...{ op, domain: "", name: out, inputs, outputs: [out], attrs },
});
const same = { kind: "string", value: "SAME_UPPER" } as const;
const weights: Record<string, Tensor> = {
  w1: f("w1", [4, 3, 3, 3]),
  w2: f("w2", [4, 1, 3, 3]),
  b2: f("b2", [4]),
  ...Object.fromEntries(["gain", "shift", "mean"].map((name) => [name, f(name, [4])])),
  variance: f("variance", [4], 0.5),
  low: tensor([], [-0.9]),
  high: tensor([], [2]),
};
const model: OnnxModel = {
  opsets: { "": 13 },
  graph: {
    name: "small",
    inputs: [{ name: "x", dtype: "float32", shape: ["N", 3, 9, 9] }],
    outputs: [{ name: "flat", dtype: "float32", shape: ["N", 4] }],
    initializers: Object.entries(weights).map(([name, t]) => ({ name, tensor: t })),
    nodes: [
      node("Conv", ["x", "w1"], "down", { strides: ints(2, 2), auto_pad: same }),
      node("Clip", ["down", "low", "high"], "clipped"),
      node("BatchNormalization", ["clipped", "gain", "shift", "mean", "variance"], "normed"),
      node("Conv", ["normed", "w2", "b2"], "deep", { group: int(4), pads: ints(1, 1, 1, 1) }),
      node("LeakyRelu", ["deep"], "leaky", { alpha: { kind: "float", value: 0.1 } }),
      node("Add", ["leaky", "normed"], "sum"),
      node("MaxPool", ["sum"], "peaks", {
        ...{ kernel_shape: ints(3, 3), strides: ints(2, 2), pads: ints(1, 1, 1, 1) },
      }),
      node("AveragePool", ["peaks"], "mean2", { kernel_shape: ints(2, 2), strides: ints(1, 1) }),
      node("GlobalAveragePool", ["mean2"], "pooled"),
      node("Flatten", ["pooled"], "flat", { axis: int(1) }),
    ],
  },
};

describe("a network from an ONNX file", () => {
  const values = ["down", "normed", "sum", "peaks", "mean2", "flat"];
  test("computes in our graph what the runtime computes from the file", async () => {
    const images = f("images", [2, 3, 9, 9]);
    const g = createGraph();
    const x = input(g, "images", images.shape);
    onnxValues(model, x, { wanted: values }).forEach((v, i) => {
      output(g, `our ${values[i]}`, v);
    });
    const ours = await (await ortNode().compile(g)).run({ images });
    const { InferenceSession, Tensor: Ort } = await import("onnxruntime-node");
    const outputs = values.map((name) => ({ name, dtype: "float32" as const }));
    const whole = writeOnnx({ ...model, graph: { ...model.graph, outputs } });
    const session = await InferenceSession.create(whole);
    const theirs = await session.run({
      x: new Ort("float32", images.data as Float32Array, images.shape),
    });
    for (const name of values) {
      const [a, b] = [ours[`our ${name}`]!, theirs[name]!];
      expect(a.shape).toEqual(b.dims);
      const worst = Math.max(
        ...Array.from(b.data as Float32Array, (y, i) => Math.abs(y - Number(a.data[i]))),
      );
      expect(worst, name).toBeLessThan(1e-5);
    }
  });

  test("is looked through at the last value of each resolution", () => {
    expect(featureLayers(model, [9, 9])).toEqual(["sum", "peaks", "mean2"]);
  });

  test("passes gradients on to the picture as finite differences have them", async () => {
    const net = onnxFeatures(model, { name: "small", hash: "0" });
    const images = f("wanted", [1, 3, 9, 9]);
    await checkGradients(
      {
        feeds: { x: f("got", [1, 3, 9, 9]) },
        build: ({ x }) => perceptualDistance(constant(x!.graph, images), x!, net),
      },
      r.child("weights"),
    );
  });

  test("an operator without a gradient here, or an absent value, is named", () => {
    const strange = node("NonMaxSuppression", ["x"], "boxes");
    const odd = { ...model, graph: { ...model.graph, nodes: [strange] } };
    const x = input(createGraph(), "x", [1, 3, 9, 9]);
    expect(() => onnxValues(odd, x, { wanted: ["boxes"] })).toThrow(
      /operator NonMaxSuppression \(at "boxes"\)/,
    );
    expect(() => onnxValues(model, x, { wanted: ["nose"] })).toThrow(/computes no value "nose"/);
  });

  sharedTest(
    "MobileNetV2 is looked through at four resolutions, and gives gradients",
    "data/mobilenet_v2_imagenet.onnx",
    async (file) => {
      const net = onnxFeatures(readOnnx(readFileSync(file)), { name: "mobilenet", hash: "0" });
      const g = createGraph();
      const [a, b] = [input(g, "a", [1, 3, 32, 32]), input(g, "b", [1, 3, 32, 32])];
      expect(net.maps(a).map(({ shape }) => shape.slice(1))).toEqual([
        [96, 16, 16],
        [144, 8, 8],
        [192, 4, 4],
        [576, 2, 2],
      ]);
      const distance = perceptualDistance(a, b, net);
      output(g, "distance", distance);
      output(g, "d b", grad(distance, [b])[0]!);
      const session = await ortNode().compile(g);
      const feeds = { a: f("a", [1, 3, 32, 32]), b: f("b", [1, 3, 32, 32]) };
      const at = await session.run(feeds);
      // Along its gradient the distance rises by the gradient's square, to first order.
      const slope = at["d b"]!.data as Float32Array;
      const square = slope.reduce((s, x) => s + x * x, 0);
      const by = (t: number) => ({
        ...feeds.b,
        data: (feeds.b.data as Float32Array).map((x, i) => x + t * slope[i]!),
      });
      const step = 0.02 / Math.sqrt(square);
      const up = await session.run({ ...feeds, b: by(step) });
      const down = await session.run({ ...feeds, b: by(-step) });
      const rise = (Number(up.distance!.data[0]) - Number(down.distance!.data[0])) / (2 * step);
      expect(rise / square).toBeGreaterThan(0.95);
      expect(rise / square).toBeLessThan(1.05);
    },
    { timeout: 60_000 },
  );
});

describe("the discriminator", () => {
  test("and the changes before it have the gradients of finite differences", async () => {
    const config = { channels: 8, layers: 1 };
    const feeds = {
      x: f("x", [2, 3, 4, 4]),
      w: f("first", [8, 3, 4, 4]),
      ...drawDiffAugment("changed", [2, 4, 4], { strength: 1, rng: rng(5) }),
    };
    const fixed = initWeights(patchGanSpecs(config), rng(6));
    await checkGradients(
      {
        feeds: { x: feeds.x, w: feeds.w },
        build: ({ x, w }) => {
          const g = x!.graph;
          const bound = (name: string) =>
            name === "judge.0.conv.weight" ? w! : constant(g, fixed.get(name)!);
          return patchGan(o.tanh(x!), bound, config);
        },
      },
      r.child("judge"),
    );
  });

  test("changes of strength 0 change nothing; of strength 1 they move, cut and colour", async () => {
    const g = createGraph();
    const x = input(g, "x", [2, 3, 16, 16]);
    output(g, "y", diffAugment(x, "a"));
    const session = await reference().compile(g);
    const picture = f("plain", [2, 3, 16, 16]);
    const run = async (strength: number) => {
      const drawn = drawDiffAugment("a", [2, 16, 16], { strength, rng: rng(1) });
      return (await session.run({ x: picture, ...drawn })).y!;
    };
    const [plain, changed] = [await run(0), await run(1)];
    const apart = (t: Tensor) =>
      Math.max(
        ...Array.from(t.data as Float32Array, (v, i) => Math.abs(v - Number(picture.data[i]))),
      );
    expect(apart(plain)).toBeLessThan(1e-6);
    expect(apart(changed)).toBeGreaterThan(0.1);
    expect(
      Array.from(changed.data as Float32Array).filter((v) => v === 0).length,
    ).toBeGreaterThanOrEqual(2 * 27);
  });

  test("pulls with the reconstruction's force at the last layer, and moves nothing of the decoder's itself", async () => {
    const g = createGraph();
    const [h, images] = [f("h", [2, 4, 8, 8]), f("images", [2, 3, 8, 8])];
    const layer = f("layer", [3, 4, 3, 3]);
    const w = input(g, "w", layer.shape);
    const rebuilt = o.conv2d(constant(g, h), w, { pad: 1 });
    const real = constant(g, images);
    const reconstruction = o.mse(rebuilt, real);
    const recipe = { ...ADVERSARY_RECIPE, gan: 0.5, ganChannels: 8, ganLayers: 1, ganAugment: 0 };
    const at = { images: real, rebuilt, reconstruction, lastLayer: w };
    const { objective, opponent, report } = adversary(at, recipe);
    const wanted = { ours: objective, pixels: reconstruction, fooling: report.gan! };
    for (const [name, loss] of Object.entries(wanted)) output(g, name, grad(loss, [w])[0]!);
    output(g, "judge", grad(opponent.loss, [...opponent.params.values()])[0]!);
    output(g, "balance", report.ganBalance!);
    const fresh = initWeights(patchGanSpecs({ channels: 8, layers: 1 }), rng(2));
    const scalar = (x: number) => tensor([], [x]);
    const got = await (await reference({ precision: "float64" }).compile(g)).run(
      Object.fromEntries(
        Object.entries({
          ...{
            w: layer,
            "gan.weight": scalar(0.5),
            "lecam.real": scalar(0),
            "lecam.fake": scalar(0),
          },
          ...Object.fromEntries(fresh),
        }).map(([k, t]) => [
          k,
          { ...t, dtype: "float64", data: Float64Array.from(t.data as never) } as Tensor,
        ]),
      ),
    );
    const list = (name: string) => Array.from(got[name]!.data as Float64Array);
    const length = (v: number[]) => Math.hypot(...v);
    const balance = length(list("pixels")) / (length(list("fooling")) + 1e-4);
    expect(list("balance")[0]).toBeCloseTo(balance, 5);
    list("ours").forEach((d, i) => {
      expect(d).toBeCloseTo(list("pixels")[i]! + 0.5 * balance * list("fooling")[i]!, 6);
    });
    expect(length(list("judge"))).toBeGreaterThan(0);
  });
});
