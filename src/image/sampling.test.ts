/** The sampler against the official filters, a naive version of itself, and the laws of chance. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readGolden } from "../../test/read-safetensors.ts";
import { sharedTest } from "../../test/shared.ts";
import { sizeOf } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { rng } from "../tensor/rng.ts";
import { type FilterOptions, RowFilter } from "./row-filter.ts";
import {
  drawTokens,
  filteredProbabilities,
  filterLogits,
  guide,
  scaleRatio,
  smoothTemperature,
  smoothVectors,
} from "./sampling.ts";

const GOLDEN = "fixtures/var/golden_sampling.safetensors";

const VAR = "fixtures/var/golden_var.safetensors";

/** One tensor of a fixture model, whose weights are a hash of their place. */
function hashed(file: string, name: string): Float32Array {
  const { seed, tensors } = JSON.parse(readFileSync(file, "utf8"));
  const { t, shape, kind, a, b } = tensors.find((entry: { name: string }) => entry.name === name);
  const start = Math.imul(t, 0x9e3779b1) + Math.imul(seed, 0x85ebca6b);
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    let x = (i + start) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    const u = ((x ^ (x >>> 15)) >>> 8) * 2 ** -24;
    if (kind === "t") return (u < 0.05 ? -1 : u < 0.95 ? 0 : 1) * a;
    return ((kind === "q" ? Math.floor(u * 256) / 256 : u) - 0.5) * a + b;
  });
}

/** What the filters keep, by full sorting, as the official code does it. */
function naiveKeep(
  row: Float32Array,
  { topK = 0, topP = 0, temperature = 1 }: FilterOptions,
): boolean[] {
  const values = row.map((l) => l / temperature);
  const up = [...values.keys()].sort((a, b) => values[a]! - values[b]! || a - b);
  if (topK > 0) {
    const least = values[up.at(-Math.min(topK, row.length))!]!;
    values.forEach((v, i) => {
      if (v < least) values[i] = Number.NEGATIVE_INFINITY;
    });
  }
  if (topP > 0) {
    const max = Math.max(...values);
    const weights = Array.from(values, (v) => Math.exp(v - max));
    const total = weights.reduce((a, b) => a + b, 0);
    let mass = 0;
    const order = [...values.keys()].sort((a, b) => values[a]! - values[b]! || a - b);
    for (const i of order.slice(0, -1)) {
      mass += Math.fround(weights[i]! * (1 / total));
      if (Math.fround(mass) <= Math.fround(1 - topP)) values[i] = Number.NEGATIVE_INFINITY;
    }
  }
  return Array.from(values, (v) => v > Number.NEGATIVE_INFINITY);
}

const kept = (row: Float32Array, options: FilterOptions) =>
  Array.from(filterLogits(row.slice(), { codes: row.length, ...options }), Number.isFinite);

describe("filters", () => {
  const cases: Record<string, FilterOptions & { of?: string }> = {
    k5: { topK: 5 },
    p90: { topP: 0.9 },
    k20p80: { topK: 20, topP: 0.8 },
    k1: { topK: 1 },
    ties_k1: { topK: 1, of: "logits_ties" },
    p100: { topP: 1 },
    k900clip: { topK: 900, topP: 0.96 },
  };
  for (const [name, { of = "logits", ...options }] of Object.entries(cases)) {
    sharedTest(
      `${name}: filtered logits are the official ones exactly, probabilities within 1e-7`,
      GOLDEN,
      (file) => {
        const { tensors } = readGolden(file);
        const get = (key: string) => tensors.get(key)!.data as Float32Array;
        expect(filterLogits(get(of).slice(), { codes: 64, ...options })).toEqual(
          get(`filtered.${name}`),
        );
        const ours = filteredProbabilities(get(of), { codes: 64, ...options });
        for (const [i, p] of get(`probs.${name}`).entries())
          expect(Math.abs(ours[i]! - p)).toBeLessThan(1e-7);
      },
    );
  }

  const level = fc.oneof(
    fc.float({ min: -30, max: 30, noNaN: true }),
    fc.integer({ min: -3, max: 3 }), // many ties
    fc.constantFrom(-1e30, 1e30, 0, Number.NEGATIVE_INFINITY),
  );
  const rows = fc.array(level, { minLength: 1, maxLength: 60 });
  const filters = fc.record({
    topK: fc.integer({ min: 0, max: 70 }),
    topP: fc.oneof(
      fc.constantFrom(0, 1, 1e-9, 0.5, 0.9, 0.96),
      fc.double({ min: 0, max: 1, noNaN: true }),
    ),
    temperature: fc.constantFrom(1, 0.5, 2, 1e-4),
  });
  test("selection without sorting keeps what full sorting keeps, ties included", () => {
    fc.assert(
      fc.property(rows, filters, (values, options) => {
        const row = Float32Array.from(values);
        fc.pre(row.some((v) => v > Number.NEGATIVE_INFINITY));
        const naive = naiveKeep(row, options);
        expect(kept(row, options)).toEqual(naive);
      }),
      { numRuns: 3000 },
    );
  });

  test("so it does on long rows of every character", () => {
    const chance = rng(5);
    const shapes: ((n: Float32Array) => Float32Array)[] = [
      (n) => chance.fillNormal(n),
      (n) => chance.fillNormal(n, { std: 8 }),
      (n) => chance.fillUniform(n).map((v) => Math.floor(8 * v)), // eight levels
      (n) => chance.fillNormal(n, { std: 1e-3 }).map((v, i) => (i === 7 ? 1000 : v)), // one bucket takes nearly all
      (n) => chance.fillNormal(n).map((v, i) => (i % 16 === 3 ? 1e20 * v : v)), // far outside what a sample shows
      (n) => n.fill(3),
    ];
    for (const fill of shapes) {
      const row = fill(new Float32Array(4096));
      for (const options of [
        { topK: 900, topP: 0.96 },
        { topK: 1 },
        { topP: 0.5 },
        { topP: 0.999 },
      ]) {
        expect(kept(row, options)).toEqual(naiveKeep(row, options));
      }
    }
  });

  test("of equal codes at the edge of top-p the lower ones go first", () => {
    expect(kept(Float32Array.of(0, 0, 0, 0), { topP: 0.5 })).toEqual([false, false, true, true]);
  });

  test("equals of the k-th stay, all of them", () => {
    expect(kept(Float32Array.of(2, 1, 1, 1, 0), { topK: 2 })).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  test("the largest stays however small top-p is", () => {
    expect(kept(Float32Array.of(1, 1, 1), { topP: 1e-12 })).toEqual([false, false, true]);
    expect(kept(Float32Array.of(5, 1, 1), { topP: 1e-12 })).toEqual([true, false, false]);
  });

  test("a model that diverged is told so, not sampled", () => {
    const filter = new RowFilter(2);
    expect(() => filter.select(Float32Array.of(1, Number.NaN))).toThrow("logit of code 1 is NaN");
    expect(() => filter.select(Float32Array.of(Number.POSITIVE_INFINITY, 0))).toThrow("diverged");
    expect(() => filter.select(new Float32Array(2).fill(Number.NEGATIVE_INFINITY))).toThrow(
      "nothing can be drawn",
    );
    expect(() => filterLogits(new Float32Array(5), { codes: 2 })).toThrow(
      "5 logits are no whole number of rows",
    );
  });

  test.each([
    [{ topK: -1 }, "top-k must be a whole number, 0 for off, got -1"],
    [{ topK: 1.5 }, "top-k must be"],
    [{ topP: 1.2 }, "top-p must lie from 0 (off) to 1, got 1.2"],
    [
      { temperature: 0 },
      "temperature must be at least 0.0001, got 0; for the likeliest code use top-k 1",
    ],
    [{ temperature: Number.NaN }, "temperature must be"],
  ])("%o is refused", (options, message) => {
    expect(() => new RowFilter(4, options)).toThrow(InputError);
    expect(() => new RowFilter(4, options)).toThrow(message);
  });
});

describe("the draw", () => {
  test("is the inverse of the cumulative distribution", () => {
    const logits = Float32Array.of(Math.log(1), Math.log(2), Math.log(5), Number.NEGATIVE_INFINITY);
    const at = (u: number) => drawTokens(logits, { codes: 4, uniforms: Float32Array.of(u) })[0];
    expect([0, 0.12, 0.13, 0.37, 0.38, 0.9999999].map(at)).toEqual([0, 0, 1, 1, 2, 2]);
  });

  test("follows the filtered distribution (chi-square, 200,000 draws)", () => {
    const n = 200_000;
    const row = rng(3).fillNormal(new Float32Array(12));
    const options = { codes: 12, topK: 9, topP: 0.95, temperature: 0.8 };
    const p = filteredProbabilities(row, options);
    const logits = new Float32Array(12 * n);
    for (let i = 0; i < n; i++) logits.set(row, 12 * i);
    const counts = new Float64Array(12);
    const uniforms = rng(4).fillUniform(new Float32Array(n));
    for (const code of drawTokens(logits, { ...options, uniforms })) counts[code]!++;
    let chi = 0;
    for (const [i, share] of p.entries()) {
      if (share === 0) expect(counts[i]).toBe(0);
      else chi += (counts[i]! - n * share) ** 2 / (n * share);
    }
    expect(chi).toBeLessThan(27); // below with probability 0.999 at 8 degrees of freedom
  });

  test("needs a number per row", () => {
    expect(() =>
      drawTokens(new Float32Array(8), { codes: 4, uniforms: new Float32Array(1) }),
    ).toThrow("2 rows of logits need as many uniforms, got 1");
  });
});

describe("guidance", () => {
  test("is nothing at the first scale and full at the last", () => {
    expect([0, 1, 2, 3].map((k) => scaleRatio(k, 4))).toEqual([0, 1 / 3, 2 / 3, 1]);
    expect(scaleRatio(0, 1)).toBe(0);
    expect([...guide(Float32Array.of(1, 2, 5, 5), 0)]).toEqual([1, 2]);
    expect([...guide(Float32Array.of(1, 2, 5, 6), 2)]).toEqual([-7, -6]);
  });

  sharedTest(
    "mixes logits as the official code does, to the bit, and so finds its tokens",
    VAR,
    (file) => {
      const { tensors } = readGolden(file);
      for (let k = 0; k < 4; k++) {
        const raw = tensors.get(`l2.ar.logits_raw.${k}`)!.data as Float32Array;
        const mixed = guide(raw.slice(), 1.5 * scaleRatio(k, 4));
        expect(mixed).toEqual(tensors.get(`l2.ar.logits_cfg.${k}`)!.data);
        const uniforms = new Float32Array(mixed.length / 64);
        const ids = drawTokens(mixed, { codes: 64, topK: 1, uniforms });
        expect(ids).toEqual(tensors.get(`l2.ar.idx.${k}`)!.data);
      }
    },
  );
});

describe("more smooth", () => {
  sharedTest("mixes codes as the official Gumbel-softmax, within 1e-6", GOLDEN, (file) => {
    const { tensors, metadata } = readGolden(file);
    const get = (key: string) => tensors.get(key)!.data as Float32Array;
    const unit = new Float32Array(64 * 64); // an identity codebook shows the weights themselves
    for (let i = 0; i < 64; i++) unit[i * 65] = 1;
    for (const ratio of [0, 0.5, 1]) {
      const name = ratio.toFixed(1);
      expect(smoothTemperature(ratio)).toBeCloseTo(Number(metadata[`tau.${name}`]), 12);
      const noise = get("exponential_noise");
      const ours = smoothVectors(get("logits"), { codes: 64, codebook: unit, ratio, noise });
      for (const [i, w] of get(`gumbel.ratio${name}`).entries()) {
        expect(Math.abs(ours[i]! - w), `ratio ${name} [${i}]`).toBeLessThan(1e-6);
      }
    }
  });

  sharedTest(
    "mixes the vectors of a codebook as the official code, within 1e-6",
    [GOLDEN, "fixtures/var/vae_tiny.weights.json"],
    (file, recipe) => {
      const { tensors } = readGolden(file);
      const get = (key: string) => tensors.get(key)!.data as Float32Array;
      const codebook = hashed(recipe!, "quantize.embedding.weight");
      for (const ratio of [0, 0.5, 1]) {
        const ours = smoothVectors(get("logits"), {
          codes: 64,
          codebook,
          ratio,
          noise: get("exponential_noise"),
        });
        for (const [i, v] of get(`gumbel.emb.ratio${ratio.toFixed(1)}`).entries()) {
          expect(Math.abs(ours[i]! - v), `ratio ${ratio} [${i}]`).toBeLessThan(1e-6);
        }
      }
    },
  );

  test("gives dropped codes no part", () => {
    const noise = rng(1).fillExponential(new Float32Array(4));
    const codebook = Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1);
    const logits = Float32Array.of(3, 2, 1, 0);
    const mixed = smoothVectors(logits, { codes: 4, codebook, ratio: 0, noise, topK: 2 });
    expect([...mixed.slice(2)]).toEqual([0, 0]);
    expect(mixed[0]! + mixed[1]!).toBeCloseTo(1, 6);
    expect(() =>
      smoothVectors(logits, { codes: 4, codebook, ratio: 0, noise: new Float32Array(3) }),
    ).toThrow("4 logits need as much noise, got 3");
  });
});
