/** Scaling laws of made-up models that obey a law: the law, the frontier and the held-out model are found. */

import { expect, test } from "vitest";
import { evaluationOf, scalingLaws, type TrainedSize } from "./scaling.ts";

/** Loss 1.5 + (N/1e6)^-0.2 at the end, more before; errors that follow loss. */
const sizes: TrainedSize[] = [1, 2, 3, 4, 5, 6].map((depth) => {
  const parameters = 73_728 * depth ** 3;
  const evaluations = [100, 200, 400].map((step) => {
    const testLoss = 1.5 + (parameters / 1e6) ** -0.2 * (400 / step) ** 0.3;
    const testError = 0.2 * testLoss;
    return {
      step,
      testLoss,
      testLastLoss: 0.8 * testLoss,
      testError,
      testLastError: 0.9 * testError,
    };
  });
  return {
    ...{ depth, width: 64 * depth, parameters, tokensPerUpdate: 100 },
    ...{ flopsPerUpdate: 600 * parameters, evaluations },
  };
});

test("the law with a floor is the one the models obey, and it foretells the largest", () => {
  const { laws } = scalingLaws(sizes, { draws: 100 });
  expect(laws).toHaveLength(16);
  const found = laws.find(
    (l) => l.measure === "testLoss" && l.against === "parameters" && l.floor,
  )!;
  expect(found.law.exponent).toBeCloseTo(-0.2, 4);
  expect(found.law.floor).toBeCloseTo(1.5, 4);
  expect(found.heldOut!.predicted).toBeCloseTo(found.heldOut!.measured, 4);
  const plain = laws.find(
    (l) => l.measure === "testLoss" && l.against === "parameters" && !l.floor,
  )!;
  expect(plain.law.pearson).toBeLessThan(-0.98);
});

test("the frontier goes from small models at little compute to large ones at much", () => {
  const { frontier, curves } = scalingLaws(sizes, { draws: 10 });
  expect(curves.map(({ points }) => points.length)).toEqual([3, 3, 3, 3, 3, 3]);
  expect(frontier[0]!.depth).toBe(1);
  expect(frontier.at(-1)!.depth).toBe(6);
  for (let i = 1; i < frontier.length; i++) {
    expect(frontier[i]!.x).toBeGreaterThan(frontier[i - 1]!.x);
    expect(frontier[i]!.y).toBeLessThan(frontier[i - 1]!.y);
  }
});

test("lines of metrics are evaluations only where the test split was measured", () => {
  expect(evaluationOf({ step: 3, loss: 1 })).toBeUndefined();
  expect(
    evaluationOf({
      step: 3,
      testLoss: 2,
      testLastLoss: 3,
      testAccuracy: 0.25,
      testLastAccuracy: 0.5,
    }),
  ).toEqual({ step: 3, testLoss: 2, testLastLoss: 3, testError: 0.75, testLastError: 0.5 });
});

test("fewer than three sizes are refused", () => {
  expect(() => scalingLaws(sizes.slice(0, 2))).toThrow(/got 2 sizes, want at least 3/);
});
