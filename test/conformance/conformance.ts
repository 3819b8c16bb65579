/** The one suite every backend must pass, against the reference. Knows no backend by name. */

import { beforeAll, describe, expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { type Backend, RunError, type Tensors } from "../../src/tensor/backend.ts";
import { reference } from "../../src/tensor/backends/reference.ts";
import {
  createGraph,
  type Graph,
  input,
  output,
  type Value,
  withScope,
} from "../../src/tensor/graph.ts";
import { NonFiniteError } from "../../src/tensor/nan-check.ts";
import * as o from "../../src/tensor/ops.ts";
import { ShapeError } from "../../src/tensor/shape.ts";
import { CASES, type Case } from "./cases.ts";
import { numbers, tensor } from "./tensors.ts";

export interface ConformanceOptions {
  readonly name: string;
  readonly make: () => Backend | Promise<Backend>;
  /** Cases this backend cannot do, each with its reason. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** float32 sums of at most a few dozen terms, in another order. */
const TOLERANCE = 2e-5;

/** The graph of a case; its outputs are y0, y1, ... */
export function buildCase({ feeds, shapes = {}, build }: Case): Graph {
  const g = createGraph("case");
  const values = Object.fromEntries(
    Object.entries(feeds).map(([k, t]) => [k, input(g, k, shapes[k] ?? t.shape, t.dtype)]),
  );
  const built = build(values);
  const results: readonly Value[] = Array.isArray(built) ? built : [built];
  results.forEach((v, i) => {
    output(g, `y${i}`, v);
  });
  return g;
}

/** Same dtype and shape, numbers within tolerance · max(1, |wanted|); NaN only where NaN is wanted. */
export function expectClose(got: Tensor, want: Tensor, { tolerance = TOLERANCE, what = "" } = {}) {
  expect([got.dtype, ...got.shape], `${what} type`).toEqual([want.dtype, ...want.shape]);
  const [a, b] = [numbers(got), numbers(want)];
  expect(a.length, `${what} size`).toBe(b.length);
  const worst = a.findIndex((x, i) => {
    const y = b[i]!;
    return !(Object.is(x, y) || Math.abs(x - y) <= tolerance * Math.max(1, Math.abs(y)));
  });
  if (worst >= 0)
    expect.fail(`${what}: element ${worst} is ${a[worst]}, wanted ${b[worst]} within ${tolerance}`);
}

async function runOn(backend: Backend, g: Graph, feeds: Tensors) {
  const session = await backend.compile(g);
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

const X = (data: readonly number[] = [1, 2, 3, 4, 5, 6]) => tensor([2, 3], data);

/** x [2,3] -> double, half; half's node stands in the scope "part.inner". */
function twoOutputs(): Graph {
  const g = createGraph("two");
  const x = input(g, "x", [2, 3]);
  output(g, "double", o.mul(x, 2));
  output(
    g,
    "half",
    withScope(g, "part", () => withScope(g, "inner", () => o.mul(x, 0.5))),
  );
  return g;
}

export function conformance({ name, make, skip = {} }: ConformanceOptions): void {
  describe(name, () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await make();
    });
    const check = (title: string, body: () => Promise<void>) =>
      skip[title] ? test.skip(`${title} (skipped: ${skip[title]})`, body) : test(title, body);

    for (const item of CASES)
      check(item.name, async () => {
        const g = buildCase(item);
        const got = await runOn(backend, g, item.feeds);
        const want = await runOn(reference(), g, item.feeds);
        for (const [key, tensor] of Object.entries(want))
          expectClose(got[key]!, tensor, {
            tolerance: item.tolerance,
            what: `${item.name} ${key}`,
          });
      });

    check("results are written into the tensors given, and those are returned", async () => {
      const session = await backend.compile(twoOutputs());
      const into = { double: X([9, 9, 9, 9, 9, 9]) };
      const got = await session.run({ x: X() }, { into });
      expect(got.double).toBe(into.double);
      expect(numbers(into.double)).toEqual([2, 4, 6, 8, 10, 12]);
      expect(numbers(got.half!)).toEqual([0.5, 1, 1.5, 2, 2.5, 3]);
      const next = await session.run({ x: into.double }, { into });
      expect(numbers(next.half!)).toEqual([1, 2, 3, 4, 5, 6]);
      await session.release();
    });

    check("only the outputs asked for are given", async () => {
      const session = await backend.compile(twoOutputs());
      expect(Object.keys(await session.run({ x: X() }, { outputs: ["half"] }))).toEqual(["half"]);
      const one = await backend.compile(twoOutputs(), { outputs: ["double"] });
      expect(one.outputs).toEqual(["double"]);
      expect(Object.keys(await one.run({ x: X() }))).toEqual(["double"]);
      await expect(one.run({ x: X() }, { outputs: ["half"] })).rejects.toThrow(/half.*left out/);
      await expect(backend.compile(twoOutputs(), { outputs: ["none"] })).rejects.toThrow(
        'has no output "none"; it has double, half',
      );
      await Promise.all([session.release(), one.release()]);
    });

    check("an input that goes straight out is copied", async () => {
      const g = createGraph("through");
      const x = input(g, "x", [2, 3]);
      output(g, "same", x);
      output(g, "again", x);
      const got = await runOn(backend, g, { x: X() });
      expect(numbers(got.same!)).toEqual(numbers(got.again!));
    });

    check("wrong feeds are named with what came and what was wanted", async () => {
      const session = await backend.compile(twoOutputs());
      await expect(session.run({})).rejects.toThrow(
        'input "x" (float32[2, 3]) is missing among none; feed it',
      );
      await expect(session.run({ y: X() })).rejects.toThrow("missing among y");
      await expect(session.run({ x: tensor([3, 2], [1, 2, 3, 4, 5, 6]) })).rejects.toThrow(
        'input "x" is float32[3, 2], wanted float32[2, 3]',
      );
      const whole = tensor([2, 3], [1, 2, 3, 4, 5, 6], "int64");
      await expect(session.run({ x: whole })).rejects.toThrow("is int64[2, 3], wanted float32");
      await expect(session.run({ x: { ...X(), data: new Float32Array(5) } })).rejects.toThrow(
        ShapeError,
      );
      await expect(
        session.run({ x: X() }, { into: { half: tensor([6], [1, 2, 3, 4, 5, 6]) } }),
      ).rejects.toThrow('into "half" is float32[6], wanted float32[2, 3]');
      await session.release();
    });

    check("a name is one size within a run and may be another in the next", async () => {
      const g = createGraph("named");
      const [a, b] = [input(g, "a", ["N", 2]), input(g, "b", ["N", 2])];
      output(g, "sum", o.add(a, b));
      const session = await backend.compile(g);
      const [one, two] = [tensor([1, 2], [1, 2]), tensor([2, 2], [1, 2, 3, 4])];
      expect(numbers((await session.run({ a: one, b: one })).sum!)).toEqual([2, 4]);
      expect(numbers((await session.run({ a: two, b: two })).sum!)).toEqual([2, 4, 6, 8]);
      await expect(session.run({ a: one, b: two })).rejects.toThrow(
        'input "b" is float32[2, 2], wanted float32[N, 2] where {"N":1}',
      );
      await session.release();
    });

    check("a compound name must be worth its parts", async () => {
      const g = createGraph("cache");
      const [p, l] = [input(g, "p", ["P", 2]), input(g, "l", ["L", 2])];
      const m = input(g, "m", ["P+L", 1]);
      output(g, "y", o.mul(o.concat([p, l], 0), m));
      const session = await backend.compile(g);
      const rows = (n: number, c: number) => tensor([n, c], Array(n * c).fill(2));
      for (const [P, L] of [
        [0, 1],
        [1, 2],
        [3, 1],
      ] as const) {
        const { y } = await session.run({ p: rows(P, 2), l: rows(L, 2), m: rows(P + L, 1) });
        expect([...y!.shape, ...numbers(y!)]).toEqual([P + L, 2, ...Array((P + L) * 2).fill(4)]);
      }
      const wrong = session.run({ p: rows(1, 2), l: rows(2, 2), m: rows(2, 1) });
      await expect(wrong).rejects.toThrow('input "m" is float32[2, 1], wanted float32[P+L, 1]');
      await session.release();
    });

    check("a failure inside a run names node, scope, shapes and feeds", async () => {
      const g = createGraph("broken");
      const [table, ids] = [input(g, "table", [4, 2]), input(g, "ids", ["L"], "int64")];
      output(
        g,
        "rows",
        withScope(g, "word_embed", () => o.embedding(table, ids)),
      );
      const session = await backend.compile(g);
      const bad = { table: tensor([4, 2], Array(8).fill(0)), ids: tensor([2], [0, 9], "int64") };
      const error = await session.run(bad).then(
        () => expect.fail("must not run"),
        (e: unknown) => e as RunError,
      );
      expect(error).toBeInstanceOf(RunError);
      expect(error.message).toMatch(/Gather in word_embed/);
      expect(error.message).toMatch(/int64\[/);
      expect(error.data).toMatchObject({ op: "Gather", scope: "word_embed" });
      await session.release();
    });

    check("the NaN check names the first node that breaks, and lets masks pass", async () => {
      const g = createGraph("nan");
      const [x, mask] = [input(g, "x", [2, 3]), input(g, "mask", [3])];
      const y = withScope(g, "blocks.1", () => o.softmax(o.add(x, mask)));
      output(g, "y", y);
      output(
        g,
        "z",
        withScope(g, "head", () => o.exp(o.log(o.sub(x, 3.5)))),
      );
      const session = await backend.compile(g, { nanCheck: true });
      const feeds = { mask: tensor([3], [0, 0, Number.NEGATIVE_INFINITY]) };
      const fine = X([4, 5, 6, 7, 8, 9]);
      const got = await session.run({ ...feeds, x: fine });
      expect(Object.keys(got)).toEqual(["y", "z"]);
      await expect(session.run({ ...feeds, x: X() })).rejects.toThrow(/Log in head .*NaN/);
      await expect(session.run({ ...feeds, x: X() })).rejects.toThrow(NonFiniteError);
      const poisoned = { ...feeds, x: X([1, Number.NaN, 1, 1, 1, 1]) };
      await expect(session.run(poisoned)).rejects.toThrow('input "x" already holds NaN');
      await session.release();
    });

    check("a profile says where the time goes, by op and scope", async () => {
      const g = createGraph("profiled");
      const x = input(g, "x", [32, 32]);
      const y = withScope(g, "blocks.3", () => withScope(g, "ffn", () => o.matmul(x, x)));
      output(g, "y", o.softmax(y));
      const session = await backend.compile(g, { profile: true });
      const feed = { x: tensor([32, 32], Array(1024).fill(0.1)) };
      for (let i = 0; i < 3; i++) await session.run(feed);
      const rows = await session.profile!();
      expect(rows).toContainEqual(
        expect.objectContaining({ op: "MatMul", scope: "blocks.3.ffn", calls: 3 }),
      );
      expect(rows).toContainEqual(expect.objectContaining({ op: "Softmax", scope: "", calls: 3 }));
      expect(rows.map((r) => r.ms)).toEqual(rows.map((r) => r.ms).sort((a, b) => b - a));
      await session.release();
    });
  });
}
