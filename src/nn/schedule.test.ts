/** The schedules against the table of the official trainer, and at their edges. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { sharedTest } from "../../test/shared.ts";
import { learningRate, peakLearningRate, weightDecay } from "./schedule.ts";

sharedTest(
  "every schedule equals the official table at every listed step, to 1e-15",
  "fixtures/var/lr_wd_table.json",
  (file) => {
    const { rows } = JSON.parse(readFileSync(file, "utf8")) as {
      rows: Record<string, [number, number, number, number, number][]>;
    };
    expect(Object.keys(rows)).toEqual(["lin0", "cos", "lin", "lin00", "lin0.8", "exp"]);
    const of = { peak: 3e-4, warmup: 20, steps: 1000, start: 0.005, end: 0.01 };
    for (const [schedule, table] of Object.entries(rows)) {
      for (const [step, low, high, lowDecay, highDecay] of table) {
        const rate = learningRate(step, { ...of, schedule });
        expect(Math.abs(rate - low), `${schedule} rate at ${step}`).toBeLessThan(1e-15);
        expect(low).toBe(high);
        const decay = weightDecay(step, { start: 0.05, end: 0.08, steps: 1000 });
        expect(Math.abs(decay - lowDecay), `${schedule} decay at ${step}`).toBeLessThan(1e-15);
        expect(lowDecay).toBe(highDecay);
      }
    }
  },
);

test("a run without warm-up starts at the peak and ends at the final fraction, and stays there", () => {
  const of = { peak: 1, steps: 10, end: 0.1 };
  expect(learningRate(0, of)).toBe(1);
  expect(learningRate(9, of)).toBeCloseTo(0.1, 15);
  expect(learningRate(99, of)).toBeCloseTo(0.1, 15);
});

test("a run of one step, or one that is all warm-up, never divides by zero", () => {
  expect(learningRate(0, { peak: 1, steps: 1, end: 0.1 })).toBeCloseTo(0.1, 15);
  expect(learningRate(3, { peak: 1, warmup: 5, steps: 5, start: 0 })).toBeCloseTo(0.6, 15);
  expect(weightDecay(0, { start: 0.05, steps: 1 })).toBe(0.05);
});

test("weight decay without an end is constant", () => {
  for (const step of [0, 7, 99]) expect(weightDecay(step, { start: 0.05, steps: 100 })).toBe(0.05);
});

test("the peak rate grows in proportion to the batch", () => {
  expect(peakLearningRate(768)).toBeCloseTo(3e-4, 18);
  expect(peakLearningRate(768, { base: 8e-5 })).toBeCloseTo(2.4e-4, 18);
});

test.each(["linear", "lin1.5", "lin0.", "toString"])(
  "an unknown schedule %s is refused with the names of the known ones",
  (schedule) => {
    expect(() => learningRate(0, { schedule, peak: 1, steps: 10 })).toThrow(
      /lin0, lin00, lin, cos, exp/,
    );
  },
);

test("a mixed schedule holds the highest rate, then runs the whole curve in what is left", () => {
  const of = { peak: 2, steps: 101, end: 0.1, schedule: "const0.5+cos" };
  for (const step of [0, 20, 49]) expect(learningRate(step, of)).toBe(2);
  for (const [step, share] of [
    [50, 0],
    [75, 0.5],
    [100, 1],
  ] as const)
    expect(learningRate(step, of)).toBeCloseTo(
      learningRate(Math.round(share * 1000), { ...of, steps: 1001, schedule: "cos" }),
      12,
    );
  expect(learningRate(99, { ...of, schedule: "const" })).toBe(2);
});

test.each(["const0.5+const", "const0.5+", "const1.5+cos", "const0.5+no"])(
  "a mixed schedule %s that means nothing is refused",
  (schedule) => {
    expect(() => learningRate(0, { schedule, peak: 1, steps: 10 })).toThrow(/as const0\.7\+cos/);
  },
);
