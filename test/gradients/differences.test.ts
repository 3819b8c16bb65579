/** Every gradient rule against finite differences in double precision, over random shapes; and the edges of rules. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { reference } from "../../src/tensor/backends/reference.ts";
import { grad } from "../../src/tensor/grad.ts";
import {
  constant,
  createGraph,
  input,
  output,
  type Value,
  withScope,
} from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import { rng } from "../../src/tensor/rng.ts";
import { ShapeError } from "../../src/tensor/shape.ts";
import { vjp } from "../../src/tensor/vjp.ts";
import { floats, numbers, tensor } from "../conformance/tensors.ts";
import { checkGradients, lossGraph } from "./check.ts";
import { SMOOTH, SUBJECTS } from "./subjects.ts";

describe("gradients agree with finite differences over random shapes", () => {
  for (const [name, subjects] of Object.entries(SUBJECTS))
    test(name, async () => {
      await fc.assert(
        fc.asyncProperty(subjects, async ({ subject, r }) => {
          await checkGradients(subject, r.child("loss"));
        }),
        { numRuns: 20, seed: 2024 },
      );
    });
});

test("every rule is met by one of those subjects", () => {
  const met = new Set(
    Object.values(SUBJECTS).flatMap((subjects) =>
      fc.sample(subjects, { numRuns: 20, seed: 1 }).flatMap(({ subject, r }) => {
        const { g } = lossGraph(subject, r);
        return g.nodes.filter((n) => !n.scope.startsWith("grad")).map((n) => n.op);
      }),
    ),
  );
  const flat = vjp.Equal; // the rule of ops that pass no gradient
  const missing = Object.keys(vjp).filter((op) => vjp[op] !== flat && !met.has(op));
  expect(missing).toEqual([]);
});

describe("gradients of gradients agree with finite differences", () => {
  for (const [name, { feeds, build }] of Object.entries(SMOOTH))
    test(name, async () => {
      const penalty = (v: Readonly<Record<string, Value>>): Value => {
        const built = build(v);
        const results: readonly Value[] = Array.isArray(built) ? built : [built];
        const loss = results.map((y) => o.sum(o.square(y))).reduce(o.add);
        const wrt = Object.values(v).filter((x) => x.dtype === "float32");
        return grad(loss, wrt)
          .map((g) => o.sum(o.square(g)))
          .reduce(o.add);
      };
      await checkGradients({ feeds, build: penalty }, rng(5));
    });
});

/** Gradient of Σ f(x) at the given numbers. */
async function slopeAt(xs: readonly number[], f: (x: Value) => Value): Promise<number[]> {
  const g = createGraph();
  const x = input(g, "x", [xs.length]);
  output(g, "dx", grad(o.sum(f(x)), [x])[0]!);
  const session = await reference().compile(g);
  return numbers((await session.run({ x: tensor([xs.length], xs) })).dx!);
}

test("at their corners relu, abs and sign pass nothing, clip passes at its bounds", async () => {
  expect(await slopeAt([-1, 0, 1], o.relu)).toEqual([0, 0, 1]);
  expect(await slopeAt([-1, 0, 1], o.abs)).toEqual([-1, 0, 1]);
  expect(await slopeAt([-1, 0, 1], (x) => o.mul(o.sign(x), 3))).toEqual([0, 0, 0]);
  expect(await slopeAt([-2, -1, 0, 1, 2], (x) => o.clip(x, -1, 1))).toEqual([0, 1, 1, 1, 0]);
});

test("ties share: half each for two operands, equal parts in a reduction", async () => {
  expect(await slopeAt([1, 2, 3], (x) => o.maximum(x, 2))).toEqual([0, 0.5, 1]);
  expect(await slopeAt([1, 2, 3], (x) => o.minimum(x, 2))).toEqual([1, 0.5, 0]);
  expect(await slopeAt([4, 4, 1, 4], (x) => o.max(x))).toEqual(
    [1, 0, 0, 0].map((_, i) => (i === 2 ? 0 : Math.fround(1 / 3))),
  );
});

test("where keeps the branch not taken out of it, even where that one is infinite", async () => {
  const f = (x: Value) => o.where(o.greater(x, 0), o.mul(x, 2), 0);
  expect(await slopeAt([-1, 0, 3], f)).toEqual([0, 0, 2]);
});

test("a zero row has a finite gradient through l2Normalize", async () => {
  const slopes = await slopeAt([0, 0, 0], (x) => o.mul(o.l2Normalize(x, { eps: 1e-3 }), 2));
  expect(slopes.map((s) => Math.round(s))).toEqual([2000, 2000, 2000]);
});

test("0 to a power is flat in the exponent", async () => {
  expect(await slopeAt([2], (b) => o.pow(constant(b.graph, tensor([1], [0])), b))).toEqual([0]);
});

test("what does not influence the loss gets zeros; indices and truths pass nothing on", async () => {
  const g = createGraph();
  const [x, y] = [input(g, "x", [2, 2]), input(g, "y", [3])];
  const index = o.cast(o.cast(x, "int64"), "float32");
  const loss = o.add(o.sum(o.mul(index, 2)), o.sum(o.stopGradient(x)));
  const [dx, dy, self] = grad(loss, [x, y, loss]);
  output(g, "dx", dx!);
  output(g, "dy", dy!);
  output(g, "self", self!);
  const session = await reference().compile(g);
  const got = await session.run({ x: tensor([2, 2], [1, 2, 3, 4]), y: tensor([3], [1, 2, 3]) });
  expect(numbers(got.dx!)).toEqual([0, 0, 0, 0]);
  expect([...got.dy!.shape, ...numbers(got.dy!)]).toEqual([3, 0, 0, 0]);
  expect(numbers(got.self!)).toEqual([1]);
});

test("gradient nodes keep the scope of what they differentiate, under grad", () => {
  const g = createGraph();
  const x = input(g, "x", [2, 2]);
  const y = withScope(g, "blocks.3", () => withScope(g, "attn", () => o.softmax(x)));
  const forward = g.nodes.length;
  grad(o.sum(y), [x]);
  const scopes = new Set(g.nodes.slice(forward + 1).map((n) => n.scope));
  expect([...scopes].sort()).toEqual(["grad", "grad.blocks.3.attn"]);
});

test("a loss that is no scalar, an integer, or a fused op on the way is refused with a reason", () => {
  const g = createGraph();
  const x = input(g, "x", [1, 1, 2, 2]);
  const i = input(g, "i", [2], "int64");
  expect(() => grad(x, [x])).toThrow("the loss has shape [1, 1, 2, 2]; take a mean or a sum");
  expect(() => grad(o.sum(x), [i])).toThrow("i is int64; gradients are taken of float32 only");
  const y = withScope(g, "blocks.0", () => o.attention(x, x, x));
  expect(() => grad(o.sum(y), [x])).toThrow(/Attention in blocks\.0 .*fused for inference/);
  expect(() => grad(o.sum(y), [x])).toThrow(ShapeError);
});

test("the checker itself sees a wrong gradient", async () => {
  const wrong = {
    feeds: { x: floats(rng(1), [3]) },
    build: ({ x }: Record<string, Value>) => o.mul(x!, o.stopGradient(x!)),
  };
  await expect(checkGradients(wrong, rng(2))).rejects.toThrow(/differences say/);
});
