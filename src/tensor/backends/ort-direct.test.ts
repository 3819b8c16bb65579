/** Results into the caller's memory: with the binding as it is, and with bindings that behave otherwise. */

import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../formats/dtype.ts";
import { type Backend, RunError } from "../backend.ts";
import { constant, createGraph, input, output } from "../graph.ts";
import * as o from "../ops.ts";
import { ShapeError } from "../shape.ts";
import { type OrtModule, ortBackend } from "./ort.ts";
import { ortNode } from "./ort-node.ts";
import { ortWeb } from "./ort-web.ts";
import { reference } from "./reference.ts";

const vector = (...values: number[]): Tensor => ({
  dtype: "float32",
  shape: [values.length],
  data: Float32Array.from(values),
});
const unset = (n: number): Tensor => ({
  dtype: "float32",
  shape: [n],
  data: new Float32Array(n).fill(Number.NaN),
});
const counts = (n: number): Tensor => ({ dtype: "int64", shape: [n], data: new BigInt64Array(n) });

/** Results of every sort: of a node, an input given back, a constant, indices, a scalar. */
function graph() {
  const g = createGraph("direct");
  const x = input(g, "x", [3]);
  output(g, "double", o.mul(x, 2));
  output(g, "same", x);
  output(g, "constant", constant(g, vector(7, 8)));
  output(g, "order", o.topK(x, 3)[1]);
  output(g, "sum", o.sum(x));
  return g;
}
const x = vector(1, 3, 2);
const places = () => ({
  double: unset(3),
  same: unset(3),
  constant: unset(2),
  order: counts(3),
  sum: { dtype: "float32", shape: [], data: new Float32Array(1) } as Tensor,
});
const WANTED = {
  double: [2, 6, 4],
  same: [1, 3, 2],
  constant: [7, 8],
  order: [1, 2, 0],
  sum: [6],
};
const numbers = (tensors: Record<string, Tensor>) =>
  Object.fromEntries(
    Object.entries(tensors).map(([k, t]) => [k, Array.from(t.data as ArrayLike<number>, Number)]),
  );

type Args = [feeds: never, fetches: Record<string, unknown>];

/** onnxruntime-node with another way to run; `seen` lists what sessions were asked for. */
function binding(run: (session: ort.InferenceSession, args: Args) => Promise<unknown>) {
  const seen: Record<string, unknown>[] = [];
  const module = {
    Tensor: ort.Tensor,
    InferenceSession: {
      async create(model: Uint8Array, options: object) {
        const session = await ort.InferenceSession.create(model, options);
        return {
          inputNames: session.inputNames,
          outputNames: session.outputNames,
          release: () => session.release(),
          run: (...args: Args) => {
            seen.push(args[1]);
            return run(session, args);
          },
        };
      },
    },
  };
  const backend = ortBackend("ort-node", module as unknown as OrtModule, { stopCopies: true });
  return { backend, seen };
}
const STOP = "stop before copying";
const call = (session: ort.InferenceSession, [feeds, fetches]: Args): Promise<unknown> =>
  session.run(feeds, fetches as never);

async function direct(backend: Backend) {
  const session = await backend.compile(graph(), { resultsInto: true });
  const into = places();
  const results = await session.run({ x }, { into });
  return { session, into, results };
}

describe("a session compiled with resultsInto", () => {
  test.each([
    ["ort-node", async () => ortNode()],
    ["ort-web", ortWeb],
    ["reference", async () => reference()],
  ] as const)("writes every result into the tensors given: %s", async (_name, make) => {
    const { session, into, results } = await direct(await make());
    expect(session.outputs).toEqual(Object.keys(WANTED));
    expect(numbers(into)).toEqual(WANTED);
    for (const name of Object.keys(WANTED)) expect(results[name]).toBe(into[name as "sum"]);
    await session.release();
  });

  test.each([
    ["ort-node", async () => ortNode()],
    ["ort-web", ortWeb],
    ["reference", async () => reference()],
  ] as const)("says which tensor is missing: %s", async (_name, make) => {
    const session = await (await make()).compile(graph(), { resultsInto: true });
    const { sum: _, ...rest } = places();
    await expect(session.run({ x }, { into: rest })).rejects.toThrow(ShapeError);
    await expect(session.run({ x }, { into: rest })).rejects.toThrow("into lacks sum");
    const got = await session.run({ x }, { into: rest, outputs: ["double", "order"] });
    expect(numbers(got)).toEqual({ double: WANTED.double, order: WANTED.order });
  });

  test("hands the runtime a model at whose first output the binding stops", async () => {
    const { backend, seen } = binding(call);
    const { into } = await direct(backend);
    expect(seen).toHaveLength(2); // the self-check, then the run
    expect(Object.keys(seen[1]!)[0]).toBe(STOP);
    expect(numbers(into)).toEqual(WANTED);
    await direct(backend);
    expect(seen).toHaveLength(3); // checked once
  });

  test("copies as ever where the binding fails in other words", async () => {
    const { backend, seen } = binding((session, args) =>
      STOP in args[1] ? Promise.reject(new Error("sequences: no")) : call(session, args),
    );
    const { into } = await direct(backend);
    expect(numbers(into)).toEqual(WANTED);
    expect(seen.map((fetches) => STOP in fetches)).toEqual([true, false]);
  });

  test("copies as ever where the binding fails before our tensors are filled", async () => {
    const { backend, seen } = binding((session, args) =>
      STOP in args[1]
        ? Promise.reject(new Error("Non tensor type is temporarily not supported."))
        : call(session, args),
    );
    const { into } = await direct(backend);
    expect(numbers(into)).toEqual(WANTED);
    expect(seen.map((fetches) => STOP in fetches)).toEqual([true, false]);
  });

  test("copies as ever where the binding has learnt to return sequences", async () => {
    const { backend, seen } = binding((session, args) =>
      STOP in args[1] ? call(session, args).catch(() => ({})) : call(session, args),
    );
    const { into } = await direct(backend);
    expect(numbers(into)).toEqual(WANTED);
    expect(seen.map((fetches) => STOP in fetches)).toEqual([true, false]);
  });

  test("reports a failure inside the runtime as a failure, not as the stop", async () => {
    const g = createGraph("fails");
    const table = input(g, "table", [2, 2]);
    const ids = input(g, "ids", [1], "int64");
    output(g, "row", o.embedding(table, ids));
    const session = await ortNode().compile(g, { resultsInto: true });
    const into = { row: { dtype: "float32", shape: [1, 2], data: new Float32Array(2) } } as const;
    const feed = (id: bigint) => ({
      table: { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } as const,
      ids: { dtype: "int64", shape: [1], data: BigInt64Array.of(id) } as const,
    });
    await expect(session.run(feed(5n), { into })).rejects.toThrow(RunError);
    await expect(session.run(feed(5n), { into })).rejects.toThrow(/Gather.*out of/s);
    await session.run(feed(1n), { into });
    expect(numbers(into)).toEqual({ row: [3, 4] });
  });

  test("still finds the node that makes a NaN", async () => {
    const g = createGraph("nan");
    output(g, "root", o.sqrt(input(g, "x", [3])));
    const session = await ortNode().compile(g, { resultsInto: true, nanCheck: true });
    const run = session.run({ x: vector(-1, 1, 4) }, { into: { root: unset(3) } });
    await expect(run).rejects.toThrow("Sqrt");
  });

  test("keeps nothing of a thousand runs", async () => {
    const g = createGraph("large");
    output(g, "y", o.mul(input(g, "x", [1 << 20]), 2));
    const session = await ortNode().compile(g, { resultsInto: true });
    const feeds = { x: unset(1 << 20) };
    const into = { y: unset(1 << 20) };
    for (let i = 0; i < 20; i++) await session.run(feeds, { into });
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 1000; i++) await session.run(feeds, { into });
    // 4 MiB a run would be 4 GB.
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  });
});
