/** Optimizers and the one-graph step against plain arithmetic written a second time. */

import { describe, expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { createGraph, input } from "../tensor/graph.ts";
import { linear, mse } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";
import { adamw, muon, type Optimizer, sgd } from "./optim.ts";
import { compileStep, type Stepper } from "./step.ts";

const [N, I, O] = [16, 6, 4];
const PACE = { lr: 0.05, weightDecay: 0.1 };

const noise = (name: string, shape: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: rng("optim")
    .child(name)
    .fillNormal(new Float32Array(shape.reduce((a, b) => a * b, 1))),
});
const batch = { x: noise("x", [N, I]), y: noise("y", [N, O]) };
const start = () =>
  new Map([
    ["w", noise("w", [O, I])],
    ["b", noise("b", [O])],
  ]);

/** Linear regression; its gradient is easy to write by hand. */
async function regression(
  optimizer: Optimizer,
  {
    clip = 0,
    weights = start(),
    state,
    parts = 1,
  }: {
    clip?: number;
    weights?: Map<string, Tensor>;
    state?: Map<string, Tensor>;
    parts?: number;
  } = {},
): Promise<Stepper> {
  const g = createGraph("regression");
  const [x, y] = [input(g, "x", [N / parts, I]), input(g, "y", [N / parts, O])];
  const params = new Map([
    ["w", input(g, "w", [O, I])],
    ["b", input(g, "b", [O])],
  ]);
  const loss = mse(linear(x, params.get("w")!, params.get("b")!), y);
  const plan = { loss, params, decayed: new Set(["w"]), optimizer, clip, parts };
  return compileStep(plan, ortNode(), { weights, state });
}

/** Gradients of the same loss in float64. */
function gradients(w: Float64Array, b: Float64Array) {
  const [gw, gb] = [new Float64Array(O * I), new Float64Array(O)];
  let loss = 0;
  for (let n = 0; n < N; n++)
    for (let o = 0; o < O; o++) {
      let error = b[o]! - Number(batch.y.data[n * O + o]);
      for (let i = 0; i < I; i++) error += w[o * I + i]! * Number(batch.x.data[n * I + i]);
      loss += (error * error) / (N * O);
      const slope = (2 * error) / (N * O);
      gb[o]! += slope;
      for (let i = 0; i < I; i++) gw[o * I + i]! += slope * Number(batch.x.data[n * I + i]);
    }
  return { gw, gb, loss, norm: Math.hypot(...gw, ...gb) };
}

type Rule = (
  p: Float64Array,
  g: Float64Array,
  at: { step: number; decay: number; memory: Float64Array[] },
) => void;

/** A few updates by a rule written for one vector of parameters. */
function byHand(steps: number, rule: Rule, clip = Number.POSITIVE_INFINITY) {
  const [w, b] = [...start().values()].map((t) => Float64Array.from(t.data as Float32Array));
  const memory = [w!, b!].map((p) => [new Float64Array(p.length), new Float64Array(p.length)]);
  for (let step = 1; step <= steps; step++) {
    const { gw, gb, norm } = gradients(w!, b!);
    const factor = Math.min(1, clip / (norm + 1e-6));
    const scaled = [gw, gb].map((g) => g.map((x) => x * factor));
    rule(w!, scaled[0]!, { step, decay: PACE.weightDecay, memory: memory[0]! });
    rule(b!, scaled[1]!, { step, decay: 0, memory: memory[1]! });
  }
  return { w: w!, b: b! };
}

const adamByHand: Rule = (p, g, { step, decay, memory: [m, v] }) => {
  for (let i = 0; i < p.length; i++) {
    m![i] = 0.9 * m![i]! + 0.1 * g[i]!;
    v![i] = 0.95 * v![i]! + 0.05 * g[i]! ** 2;
    const mean = m![i]! / (1 - 0.9 ** step);
    const root = Math.sqrt(v![i]! / (1 - 0.95 ** step));
    p[i] = p[i]! * (1 - PACE.lr * decay) - (PACE.lr * mean) / (root + 1e-8);
  }
};
const sgdByHand =
  (momentum: number, nesterov: boolean): Rule =>
  (p, g, { decay, memory: [m] }) => {
    for (let i = 0; i < p.length; i++) {
      m![i] = momentum * m![i]! + g[i]!;
      const move = nesterov ? g[i]! + momentum * m![i]! : m![i]!;
      p[i] = p[i]! * (1 - PACE.lr * decay) - PACE.lr * move;
    }
  };

async function run(stepper: Stepper, steps: number, from = 1) {
  const losses: number[] = [];
  for (let step = from; step < from + steps; step++)
    losses.push(Number((await stepper.step(batch, { step, ...PACE })).loss!.data[0]));
  return losses;
}
function expectClose(stepper: Stepper, hand: { w: Float64Array; b: Float64Array }, within: number) {
  for (const name of ["w", "b"] as const) {
    const got = stepper.weights().get(name)!.data as Float32Array;
    const worst = Math.max(...hand[name].map((x, i) => Math.abs(x - got[i]!)));
    expect(worst, name).toBeLessThan(within);
  }
}

describe("optimizers", () => {
  test.each([
    ["AdamW", adamw(), adamByHand, 0],
    ["AdamW with clipped gradients", adamw(), adamByHand, 0.3],
    ["SGD", sgd(), sgdByHand(0, false), 0],
    ["SGD with momentum", sgd({ momentum: 0.9 }), sgdByHand(0.9, false), 0],
    ["SGD with Nesterov momentum", sgd({ momentum: 0.9, nesterov: true }), sgdByHand(0.9, true), 0],
  ] as const)("%s moves as its textbook says", async (_name, optimizer, rule, clip) => {
    const stepper = await regression(optimizer, { clip });
    await run(stepper, 5);
    expectClose(stepper, byHand(5, rule, clip || undefined), 2e-6);
  });

  test("the first loss and gradient norm are those of the start", async () => {
    const stepper = await regression(adamw());
    const r = await stepper.step(batch, { step: 1, ...PACE });
    const [w, b] = [...start().values()].map((t) => Float64Array.from(t.data as Float32Array));
    const { loss, norm } = gradients(w!, b!);
    expect(r.loss!.data[0]).toBeCloseTo(loss, 5);
    expect(r.gradNorm!.data[0]).toBeCloseTo(norm, 5);
  });

  test("Muon moves matrices by a nearly orthogonal step of the learning rate's size", async () => {
    const stepper = await regression(muon({ momentum: 0 }));
    const before = start().get("w")!.data as Float32Array;
    await run(stepper, 1);
    const after = stepper.weights().get("w")!.data as Float32Array;
    const shrink = 1 - PACE.lr * PACE.weightDecay;
    const move = Array.from(after, (x, i) => (before[i]! * shrink - x) / PACE.lr); // O I, rows <= columns
    for (let p = 0; p < O; p++)
      for (let q = 0; q < O; q++) {
        let dot = 0;
        for (let i = 0; i < I; i++) dot += move[p * I + i]! * move[q * I + i]!;
        // Five iterations bring singular values to about [0.7, 1.2], so squares to [0.5, 1.45].
        if (p === q) expect(dot).toBeGreaterThan(0.4);
        expect(Math.abs(dot)).toBeLessThan(p === q ? 1.5 : 0.5);
      }
    expect((await run(stepper, 30, 2)).at(-1)!).toBeLessThan(
      gradients(Float64Array.from(before), new Float64Array(O)).loss,
    );
  });

  test("a checkpoint that lacks a tensor, or holds another shape, is refused by name", async () => {
    const whole = await regression(adamw());
    const lacking = whole.state();
    lacking.delete("adamw.v.w");
    await expect(regression(adamw(), { state: lacking })).rejects.toThrow(
      /"adamw\.v\.w" of float32\[4, 6\], found nothing/,
    );
    const bent = new Map([...whole.weights(), ["b", noise("b", [O + 1])] as const]);
    await expect(regression(adamw(), { weights: bent })).rejects.toThrow(
      /"b" of float32\[4\], found float32\[5\]/,
    );
  });

  test("a step resumed from saved weights and moments goes on bit by bit", async () => {
    for (const optimizer of [adamw(), sgd({ momentum: 0.9 }), muon()]) {
      const whole = await regression(optimizer, { clip: 1 });
      await run(whole, 6);
      const half = await regression(optimizer, { clip: 1 });
      await run(half, 3);
      const saved = { weights: half.weights(), state: half.state() };
      const resumed = await regression(optimizer, { clip: 1, ...saved });
      await run(half, 2, 4); // what was saved must not follow the old stepper
      await run(resumed, 3, 4);
      for (const [name, t] of whole.weights())
        expect(resumed.weights().get(name)!.data).toEqual(t.data);
    }
  });
});

describe("a batch in parts", () => {
  test.each([2, 4, 16])("gives the update of the whole batch: %i parts", async (parts) => {
    const stepper = await regression(adamw(), { clip: 0.3, parts });
    const whole = await regression(adamw(), { clip: 0.3 });
    const losses = await run(whole, 5);
    for (const [i, loss] of (await run(stepper, 5)).entries())
      expect(loss).toBeCloseTo(losses[i]!, 5);
    expectClose(stepper, byHand(5, adamByHand, 0.3), 2e-6);
    expect(await stepper.lossAt([batch], start())).toBeCloseTo(losses[0]!, 5);
  });

  test("resumes bit by bit", async () => {
    const whole = await regression(adamw(), { parts: 4 });
    await run(whole, 4);
    const half = await regression(adamw(), { parts: 4 });
    await run(half, 2);
    const saved = { weights: half.weights(), state: half.state() };
    const resumed = await regression(adamw(), { parts: 4, ...saved });
    await run(resumed, 2, 3);
    for (const [name, t] of whole.weights())
      expect(resumed.weights().get(name)!.data).toEqual(t.data);
  });

  test("that does not divide is refused by name, and a NaN in any part is found", async () => {
    const stepper = await regression(adamw(), { parts: 4 });
    const short = { ...batch, x: noise("x", [N - 1, I]) };
    await expect(stepper.step(short, { step: 1, ...PACE })).rejects.toThrow(
      /"x" is \[15, 6\], want \[4, 6\] with one axis 4 times as long/,
    );
    const bad = Float32Array.from(batch.y.data as Float32Array);
    bad[bad.length - 1] = Number.NaN;
    const broken = { ...batch, y: { ...batch.y, data: bad } };
    await expect(stepper.step(broken, { step: 1, ...PACE })).rejects.toThrow(/input "y"|NaN/);
    expect(stepper.weights().get("w")!.data).toEqual(start().get("w")!.data);
  });
});
