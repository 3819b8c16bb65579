/** Scaling laws: known laws come back, intervals cover, the frontier is the frontier. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rng } from "../tensor/rng.ts";
import { fitPowerLaw, frontier, lawIntervals, predictLaw } from "./power-law.ts";

const sizes = [7e4, 6e5, 2e6, 4.7e6, 9.2e6, 1.6e7];
const law = (scale: number, exponent: number, floor = 0) =>
  sizes.map((x) => ({ x, y: floor + (scale * x) ** exponent }));

describe("a law without noise", () => {
  test("comes back: exponent, scale, and a correlation of -1", () => {
    const dials = fc.record({
      scale: fc.double({ min: 1e-7, max: 10, noNaN: true }),
      exponent: fc.double({ min: -0.6, max: -0.01, noNaN: true }),
    });
    fc.assert(
      fc.property(dials, ({ scale, exponent }) => {
        const fit = fitPowerLaw(law(scale, exponent));
        expect(fit.exponent).toBeCloseTo(exponent, 9);
        expect(fit.scale / scale).toBeCloseTo(1, 5);
        expect(fit.pearson).toBeCloseTo(-1, 9);
        expect(fit.error).toBeLessThan(1e-9);
      }),
    );
  });

  test("with an irreducible part comes back in all three parts", () => {
    const dials = fc.record({
      exponent: fc.double({ min: -0.6, max: -0.1, noNaN: true }),
      // (scale·7e4)^exponent from about 1 to 9: the reducible part is to be seen.
      reach: fc.double({ min: 1, max: 9, noNaN: true }),
      floor: fc.double({ min: 0, max: 4, noNaN: true }),
    });
    fc.assert(
      fc.property(dials, ({ exponent, reach, floor }) => {
        const scale = reach ** (1 / exponent) / sizes[0]!;
        const fit = fitPowerLaw(law(scale, exponent, floor), { floor: true });
        expect(Math.abs(fit.floor - floor)).toBeLessThan(1e-3);
        expect(Math.abs(fit.exponent - exponent)).toBeLessThan(1e-3);
        expect(fit.error).toBeLessThan(1e-6);
      }),
    );
  });

  test("of the paper is read as the paper writes it: L = (2.0 N)^-0.23", () => {
    const fit = fitPowerLaw(law(2e-9, -0.23));
    expect(predictLaw(fit, 3e8)).toBeCloseTo((2e-9 * 3e8) ** -0.23, 9);
  });
});

test("a law that is flat, or nearly so, has finite values and intervals", () => {
  for (const tilt of [0, 1e-9]) {
    const points = sizes.map((x, i) => ({ x, y: 0.9 * (1 + tilt * i) }));
    for (const floor of [false, true]) {
      const law = fitPowerLaw(points, { floor });
      expect(predictLaw(law, 1e8)).toBeCloseTo(0.9, 6);
      const { prediction } = lawIntervals(points, { floor, rng: rng(1), draws: 20, at: 1e8 });
      expect(prediction!.every(Number.isFinite)).toBe(true);
    }
  }
});

test("ignoring a floor bends the law: the fit with one is better", () => {
  const points = law(1e-6, -0.4, 2);
  const [plain, whole] = [fitPowerLaw(points), fitPowerLaw(points, { floor: true })];
  expect(plain.error).toBeGreaterThan(100 * whole.error);
  expect(Math.abs(plain.exponent)).toBeLessThan(Math.abs(whole.exponent));
});

describe("intervals", () => {
  const noisy = (seed: number) => {
    const noise = rng(seed).child("noise");
    return law(1e-8, -0.2).map(({ x, y }) => ({ x, y: y * Math.exp(0.01 * noise.normal()) }));
  };

  test("hold the true exponent and a new measurement about as often as they say", () => {
    let [exponent, prediction] = [0, 0];
    const rounds = 60;
    const at = 3e7;
    for (let seed = 0; seed < rounds; seed++) {
      const found = lawIntervals(noisy(seed), { rng: rng(seed), draws: 200, at });
      const inside = ([low, high]: readonly [number, number], y: number) => low <= y && y <= high;
      if (inside(found.exponent, -0.2)) exponent++;
      const truth = (1e-8 * at) ** -0.2 * Math.exp(0.01 * rng(seed).child("new").normal());
      if (inside(found.prediction!, truth)) prediction++;
    }
    // 95 % wanted; with six points a percentile bootstrap gives a little less, and 60 rounds scatter by 3 %.
    expect(exponent / rounds).toBeGreaterThan(0.75);
    expect(prediction / rounds).toBeGreaterThan(0.8);
  });

  test("are the same for the same seed", () => {
    const options = { draws: 50, at: 3e7, floor: true };
    const once = lawIntervals(noisy(1), { ...options, rng: rng(5) });
    expect(lawIntervals(noisy(1), { ...options, rng: rng(5) })).toEqual(once);
  });
});

test("the frontier holds what nothing cheaper beats, by rising cost", () => {
  const points = [
    { x: 3, y: 5 },
    { x: 1, y: 9 },
    { x: 2, y: 9 },
    { x: 4, y: 6 },
    { x: 5, y: 4 },
    { x: 1, y: 10 },
  ];
  expect(frontier(points)).toEqual([
    { x: 1, y: 9 },
    { x: 3, y: 5 },
    { x: 5, y: 4 },
  ]);
});

test("too few points, and values a logarithm has nothing for, are refused", () => {
  expect(() => fitPowerLaw([{ x: 1, y: 1 }])).toThrow(/got 1 points, want at least 2/);
  expect(() => fitPowerLaw(law(1, -0.1).slice(0, 3), { floor: true })).toThrow(/at least 4/);
  expect(() =>
    fitPowerLaw([
      { x: 1, y: 0 },
      { x: 2, y: 1 },
    ]),
  ).toThrow(/\(1, 0\) is not positive/);
});
