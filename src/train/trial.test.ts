/** Sweeps of learning rates on a loss that is known, and what is read out of them. */

import { expect, test } from "vitest";
import { NonFiniteError } from "../tensor/nan-check.ts";
import type { Task } from "./loop.ts";
import { foundRate, type SweepStep, sweepRates, updateTime } from "./trial.ts";

/** A quadratic bowl by noisy gradient descent: it falls while the rate is below 2, and blows up above. */
function bowl({ breaks = Number.POSITIVE_INFINITY } = {}): Task {
  let x = 1;
  const rates: number[] = [];
  return {
    pace: (step: number) => ({ step, lr: 0.1, weightDecay: 0 }),
    async step({ lr }: { lr: number }) {
      rates.push(lr);
      if (rates.length >= breaks) throw new NonFiniteError("run: loss is not finite", {});
      const loss = 1 + x * x;
      x -= lr * (x + (rates.length % 2 ? 0.1 : -0.1));
      return { metrics: { loss } };
    },
    rates,
  } as unknown as Task;
}
async function swept(task: Task, options = {}): Promise<SweepStep[]> {
  const steps: SweepStep[] = [];
  for await (const step of sweepRates(task, options)) steps.push(step);
  return steps;
}

test("rates rise in equal ratios from the first to the last", async () => {
  const steps = await swept(bowl(), { from: 1e-4, to: 1e-1, steps: 31 });
  expect(steps[0]!.lr).toBeCloseTo(1e-4, 12);
  expect(steps.at(-1)!.lr).toBeCloseTo(1e-1, 9);
  const ratios = steps.slice(1).map(({ lr }, i) => lr / steps[i]!.lr);
  for (const ratio of ratios) expect(ratio).toBeCloseTo(10 ** 0.1, 9);
  expect(steps[0]!.smooth).toBeCloseTo(steps[0]!.loss, 12);
});

test("a sweep ends where the loss blows up, and the rate that suits lies below", async () => {
  const steps = await swept(bowl(), { from: 1e-4, to: 1e3, steps: 141 });
  expect(steps.length).toBeLessThan(141);
  const { steepest, lowest } = foundRate(steps);
  expect(steepest).toBeLessThan(lowest);
  expect(lowest).toBeLessThan(4); // the mean lags behind the 2 of the theory
  expect(steepest).toBeGreaterThan(1e-3);
});

test("a loss that is not finite ends the sweep with what was seen; a loss that never falls is said", async () => {
  expect(await swept(bowl({ breaks: 8 }), { steps: 50 })).toHaveLength(7);
  const flat = Array.from({ length: 40 }, (_, i) => ({
    ...{ step: i + 1, of: 40, lr: 10 ** (i / 10 - 6) },
    ...{ loss: 1 + i / 100, smooth: 1 + i / 100 },
  }));
  expect(() => foundRate(flat)).toThrow(/did not fall in 40 updates/);
  await expect(swept(bowl(), { from: 1, to: 0.1 })).rejects.toThrow(/rising rates/);
});

test("the time of an update is a median that leaves the first out", async () => {
  let n = 0;
  const task = bowl();
  const slow: Task = {
    ...task,
    async step(pace) {
      await new Promise((resolve) => setTimeout(resolve, n++ === 0 ? 200 : 5));
      return task.step(pace);
    },
  };
  expect(await updateTime(slow)).toBeLessThan(100);
  expect(n).toBe(4);
});
