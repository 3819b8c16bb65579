/** The baselines: gradients, cached drawing against teacher forcing, what a token may see, costs. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../formats/dtype.ts";
import { bindConstants, bindInputs } from "../../nn/bind.ts";
import { countParams, initWeights } from "../../nn/spec.ts";
import { ortNode } from "../../tensor/backends/ort-node.ts";
import { reference } from "../../tensor/backends/reference.ts";
import { grad } from "../../tensor/grad.ts";
import { createGraph, input, output } from "../../tensor/graph.ts";
import { rng } from "../../tensor/rng.ts";
import { varConfig, vqvaeConfig } from "../config.ts";
import { samplingFlops, trainingFlops } from "../cost.ts";
import { tokenCount } from "../scales.ts";
import { varSpecs } from "../var-layout.ts";
import { vqvaeSpecs } from "../vqvae-layout.ts";
import {
  BASELINE_KINDS,
  type BaselineKind,
  baselineConfig,
  baselineSamplingFlops,
  baselineSpecs,
  baselineTrainingFlops,
  equalDepth,
} from "./config.ts";
import { drawBaseline, drawMasked, drawRaster } from "./draw.ts";
import { lesson, lessonChance } from "./lessons.ts";
import { Baseline } from "./model.ts";
import { noiseLevel, rasterLogits, timeFeatures } from "./nets.ts";

const tokenizerOf = (patchNums: readonly number[]) =>
  vqvaeConfig({
    ...{ channels: 8, chMult: [1, 2], resBlocks: 1, groups: 4, codebookInit: 1 },
    ...{ patchNums, codes: 12, latent: 4 },
  });

/** Fresh weights made louder, so that tokens differ. */
function loud(kind: BaselineKind, config: ReturnType<typeof baselineConfig>, seed = 1) {
  const specs = baselineSpecs(kind, config);
  const weights = initWeights(specs, rng(seed));
  for (const { name, kind: sort, shape } of specs) {
    if (name === "latent_std") (weights.get(name)!.data as Float32Array).fill(1);
    if (sort === "buffer" || name.includes("scale_mul")) continue;
    const std = shape.length > 1 && shape.at(-1)! > 1 ? 1.5 / Math.sqrt(shape.at(-1)!) : 0.2;
    rng(seed)
      .child(name)
      .fillNormal(weights.get(name)!.data as Float32Array, { std });
  }
  return weights;
}

function tinyModel(
  kind: BaselineKind,
  {
    patchNums = [1, 2, 3],
    seed = 1,
    ...dials
  }: Record<string, unknown> & { patchNums?: readonly number[]; seed?: number } = {},
) {
  const tokenizer = tokenizerOf(patchNums);
  const { codes, latent } = tokenizer;
  const config = baselineConfig(kind, 2, {
    ...{ width: 32, heads: 2, classes: 3, patchNums, codes, latent },
    ...dials,
  });
  const weights = loud(kind, config, seed);
  const tokenizerWeights = initWeights(vqvaeSpecs(tokenizer), rng(seed));
  const parts = { kind, config, weights, tokenizer, tokenizerWeights };
  return new Baseline(parts, { backend: ortNode(), threads: 1 });
}

const int64 = (shape: number[], values: readonly number[]): Tensor => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

describe.each(BASELINE_KINDS)("%s", (kind) => {
  test("has the gradients that finite differences say, in every weight", async () => {
    const tokenizer = tokenizerOf([1, 2]);
    const { patchNums, codes, latent } = tokenizer;
    const dials = { width: 8, heads: 2, classes: 2, dropPath: 0, patchNums, codes, latent };
    const config = baselineConfig(kind, 1, dials);
    const specs = baselineSpecs(kind, config);
    const g = createGraph("check");
    const p = bindInputs(g, specs);
    const fixed = bindConstants(g, initWeights(vqvaeSpecs(tokenizer), rng(3)));
    const batch = 2;
    const { loss } = lesson(kind, g, p, {
      config,
      tokenizer,
      codes: fixed,
      batch,
      labelSmoothing: 0.1,
    });
    const trained = specs.filter((s) => s.kind === "param");
    const gradients = grad(
      loss,
      trained.map(({ name }) => p(name)),
    );
    output(g, "loss", loss);
    for (const [i, { name }] of trained.entries()) output(g, `d ${name}`, gradients[i]!);
    const backend = reference({ precision: "float64" });
    const [all, forward] = [
      await backend.compile(g),
      await backend.compile(g, { outputs: ["loss"] }),
    ];
    const double = (t: Tensor): Tensor =>
      t.dtype === "float32"
        ? { ...t, dtype: "float64", data: Float64Array.from(t.data as Float32Array) }
        : t;
    const weights = loud(kind, config);
    const given: Record<string, Tensor> = {
      ...Object.fromEntries(weights),
      ids: int64([batch, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
      labels: int64([batch], [0, 2]),
      ...lessonChance(kind, config, { batch, rng: rng("lesson") }),
    };
    const feeds = Object.fromEntries(Object.entries(given).map(([k, t]) => [k, double(t)]));
    const got = await all.run(feeds);
    const lossAt = async () => Number((await forward.run(feeds)).loss!.data[0]);
    const STEP = 1e-4;
    for (const { name } of trained) {
      const x = feeds[name]!.data as Float64Array;
      // A few places of each weight: every op below is checked everywhere by test/gradients.
      for (const i of new Set([0, Math.floor(x.length / 2), x.length - 1])) {
        const before = x[i]!;
        x[i] = before + STEP;
        const above = await lossAt();
        x[i] = before - STEP;
        const below = await lossAt();
        x[i] = before;
        const wanted = (above - below) / (2 * STEP);
        const found = Number(got[`d ${name}`]!.data[i]);
        expect(Math.abs(found - wanted), `${name}[${i}]`).toBeLessThan(
          2e-6 * Math.max(1, Math.abs(wanted)),
        );
      }
    }
  }, 120_000);

  test("draws the same bytes again, whatever the batch, and others with another seed or guidance", async () => {
    const m = tinyModel(kind);
    const draw = async (options: object) => {
      const bytes: string[] = [];
      const wish = { labels: [0, 1, 3], steps: 4, topK: 0, topP: 0, ...options };
      for await (const { picture } of drawBaseline(m, wish))
        bytes.push(Buffer.from(picture.data).toString("hex"));
      return bytes;
    };
    const once = await draw({});
    expect(await draw({})).toEqual(once);
    // Rounding differs between batch sizes; a byte may fall on the other side of a half.
    const far = (a: string, b: string) => {
      const [x, y] = [Buffer.from(a, "hex"), Buffer.from(b, "hex")];
      return Math.max(...x.map((v, i) => Math.abs(v - y[i]!)));
    };
    for (const [i, other] of (await draw({ batch: 2 })).entries())
      expect(far(other, once[i]!)).toBeLessThanOrEqual(1);
    expect(await draw({ seed: 1 })).not.toEqual(once);
    expect(await draw({ guidance: 0 })).not.toEqual(once);
    expect(new Set(once).size).toBe(3);
    await m.release();
  });
});

test("AR with cached keys and values computes the logits of teacher forcing", async () => {
  const dials = fc.record({
    heads: fc.constantFrom(1, 2),
    attnL2Norm: fc.boolean(),
    patchNums: fc.constantFrom([1, 2], [3], [1, 2, 3]),
    guidance: fc.constantFrom(0, 2),
    seed: fc.nat(1000),
  });
  await fc.assert(
    fc.asyncProperty(dials, async ({ guidance, ...config }) => {
      const m = tinyModel("ar", config);
      const seen: Float32Array[] = [];
      const run = m.run.bind(m);
      m.run = async (name, feeds, options) => {
        const results = await run(name, feeds, options);
        // With guidance the head reads the mixture; here it shall read every row alone.
        if (name === "next") {
          const { y } = options!.into as { y: Tensor };
          const each = { ...y, data: (y.data as Float32Array).slice() };
          seen.push((await run("head", { y: each })).logits!.data as Float32Array);
        }
        return results;
      };
      const labels = [0, 2];
      const drawing = {
        guidance,
        topK: 0,
        topP: 0,
        temperature: 1,
        steps: 1,
        confidenceNoise: 0,
        eta: 0,
      };
      const chances = labels.map((_, i) => rng(config.seed).child(i));
      const ids = await drawRaster(m, { labels, chances, drawing });
      const [L, V] = [tokenCount(m.config), m.config.codes];
      const rows = guidance ? [...labels, 3, 3] : labels;
      const g = createGraph("forced");
      const all = {
        ids: input(g, "ids", [rows.length, L], "int64"),
        labels: input(g, "labels", [rows.length], "int64"),
      };
      output(g, "logits", rasterLogits(all, bindConstants(g, m.parts.weights), m));
      const session = await ortNode().compile(g, { threads: 1 });
      const values = Array.from(ids.data as BigInt64Array, Number);
      const { logits } = await session.run({
        ids: int64([rows.length, L], guidance ? [...values, ...values] : values),
        labels: int64([rows.length], rows),
      });
      for (let t = 0; t < L; t++)
        for (let r = 0; r < rows.length; r++)
          for (let v = 0; v < V; v++)
            expect(
              Math.abs(seen[t]![r * V + v]! - Number(logits!.data[(r * L + t) * V + v])),
              `token ${t} row ${r}`,
            ).toBeLessThan(1e-5);
      await session.release();
      await m.release();
    }),
    { numRuns: 8 },
  );
}, 120_000);

test("MaskGIT reveals every token once and never changes one that stands", async () => {
  const m = tinyModel("maskgit");
  const [L, V] = [tokenCount(m.config), m.config.codes];
  const reads: number[][] = [];
  const run = m.run.bind(m);
  m.run = (name, feeds) => {
    if (name === "hidden") reads.push(Array.from(feeds.ids!.data as BigInt64Array, Number));
    return run(name, feeds);
  };
  const drawing = {
    guidance: 0,
    topK: 0,
    topP: 0,
    temperature: 1,
    steps: 5,
    confidenceNoise: 4.5,
    eta: 0,
  };
  const ids = await drawMasked(m, { labels: [1], chances: [rng(1)], drawing });
  reads.push(Array.from(ids.data as BigInt64Array, Number));
  const hidden = reads.map((row) => row.filter((id) => id === V).length);
  const wanted = [1, 2, 3, 4].map((s) => Math.floor(L * Math.cos((Math.PI / 2) * (s / 5))));
  expect(hidden).toEqual([L, ...wanted, 0]);
  for (let s = 1; s < reads.length; s++)
    for (let t = 0; t < L; t++)
      if (reads[s - 1]![t] !== V) expect(reads[s]![t]).toBe(reads[s - 1]![t]);
  await m.release();
});

test("MaskGIT's training hides the cosine share of each picture's tokens, at least one", () => {
  const config = baselineConfig("maskgit", 1, { patchNums: [8], codes: 8, latent: 4 });
  const { hidden } = lessonChance("maskgit", config, { batch: 4000, rng: rng("share") });
  const counts = Array.from({ length: 4000 }, (_, b) =>
    (hidden!.data.subarray(b * 64, b * 64 + 64) as Float32Array).reduce((a, x) => a + x, 0),
  );
  expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
  // The mean of cos(πr/2) is 2/π; rounding up adds half a token.
  const mean = counts.reduce((a, b) => a + b) / counts.length;
  expect(Math.abs(mean - (64 * 2) / Math.PI - 0.5)).toBeLessThan(1);
});

test("diffusion from noise with a perfect network arrives at the picture, in any number of steps", async () => {
  const m = tinyModel("dit");
  const [n, C] = [9, m.config.latent];
  const picture = rng("x0").fillNormal(new Float32Array(n * C));
  let drawn: Tensor | undefined;
  m.run = async (name, feeds): Promise<Record<string, Tensor>> => {
    if (name === "latents to image") {
      drawn = feeds.x;
      return { image: { dtype: "float32", shape: [1, 3, 2, 2], data: new Float32Array(12) } };
    }
    // The time is told by its first wave pair: cos and sin of 1000 t; steps are known, so search them.
    const t = [0, 1, 2, 3, 4, 5, 6]
      .map((s) => 1 - s / 7)
      .find(
        (each) =>
          Math.abs((timeFeatures([each]).data[1]! as number) - Number(feeds.times!.data[1])) < 1e-6,
      )!;
    const { alpha, sigma } = noiseLevel(t);
    const x = feeds.x!.data as Float32Array;
    const v = x.map((value, i) => {
      const noise = (value - alpha * picture[i]!) / sigma;
      return alpha * noise - sigma * picture[i]!;
    });
    return { v: { dtype: "float32", shape: [1, n, C], data: v } };
  };
  for (const eta of [0, 1]) {
    for await (const _ of drawBaseline(m, { labels: [3], steps: 7, eta, guidance: 0 }));
    for (const [i, x] of picture.entries()) expect(Number(drawn!.data[i])).toBeCloseTo(x, 4);
  }
});

describe("equal budgets", () => {
  test("a baseline of equal depth has VAR's parameters within a few percent, embeddings aside", () => {
    const dials = {
      width: 256,
      classes: 10,
      codes: 512,
      latent: 16,
      patchNums: [1, 2, 3, 4, 6, 8],
    };
    const inBlocks = (specs: ReturnType<typeof varSpecs>) =>
      countParams(specs.filter(({ name }) => name.startsWith("blocks.")));
    const wanted = inBlocks(varSpecs(varConfig(4, dials)));
    for (const kind of BASELINE_KINDS) {
      const own = inBlocks(baselineSpecs(kind, baselineConfig(kind, equalDepth(kind, 4), dials)));
      expect(Math.abs(own / wanted - 1), kind).toBeLessThan(0.01);
    }
  });

  test("training FLOPs over the same tokens are VAR's without its modulation and map embedding", () => {
    const dials = { width: 256, classes: 10, codes: 512, latent: 16, patchNums: [1, 2, 4, 8] };
    const plain = trainingFlops(varConfig(4, { ...dials, adaLN: false }));
    const ar = baselineTrainingFlops("ar", baselineConfig("ar", 4, dials));
    expect(ar.total).toBe(plain.total - plain.embed);
  });

  test("raster drawing costs what its tokens cost one by one: linear parts equal VAR's, attention about half", () => {
    const dials = { width: 1024, classes: 10, codes: 4096, latent: 32, patchNums: [16] };
    const ar = baselineSamplingFlops("ar", baselineConfig("ar", 16, dials), { steps: 1 });
    expect(ar.linear).toBe(2 * 2 * 256 * 16 * 12 * 1024 ** 2);
    expect(ar.attention).toBe(4 * 2 * ((256 * 257) / 2) * 16 * 1024);
    // One scale of 256 tokens after 424 others costs VAR the same linear part.
    expect(samplingFlops(varConfig(16)).scales.at(-1)!.linear).toBe(ar.linear);
  });
});
