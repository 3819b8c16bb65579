/** Compares gradients of a graph with central differences in double precision. Picks no ops and no shapes. */

import { expect } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { reference } from "../../src/tensor/backends/reference.ts";
import { grad } from "../../src/tensor/grad.ts";
import { createGraph, type Graph, input, output, type Value } from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import type { Rng } from "../../src/tensor/rng.ts";
import { staticShape } from "../../src/tensor/shape.ts";
import { floats } from "../conformance/tensors.ts";

export interface Subject {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly build: (v: Readonly<Record<string, Value>>) => Value | readonly Value[];
}

/** Step of the differences: their own error is about step²·f‴/6, far below the tolerance. */
const STEP = 1e-4;
/**
 * Of |got − wanted| / max(1, |wanted|). Constants in the graph (1/n, √(2/π)) are float32, so agreement ends at
 * about 1e-7 times a few terms.
 */
const TOLERANCE = 2e-6;

const double = (t: Tensor): Tensor =>
  t.dtype === "float32" ? { ...t, dtype: "float64", data: Float64Array.from(t.data as never) } : t;

/** Loss = Σ results ⊙ random weights, so that no gradient hides behind a symmetry; and the gradients of all floats. */
export function lossGraph({ feeds, build }: Subject, rng: Rng) {
  const g = createGraph("check");
  const values = Object.fromEntries(
    Object.entries(feeds).map(([k, t]) => [k, input(g, k, t.shape, t.dtype)]),
  );
  const built = build(values);
  const results: readonly Value[] = Array.isArray(built) ? built : [built];
  const weights: Record<string, Tensor> = {};
  const terms = results.map((y, i) => {
    const name = `weights${i}`;
    weights[name] = floats(rng.child(name), staticShape(y.shape, "result"));
    return o.sum(o.mul(y, input(g, name, y.shape)));
  });
  const loss = terms.reduce(o.add);
  const wrt = Object.keys(feeds).filter((k) => feeds[k]!.dtype === "float32");
  const grads = grad(
    loss,
    wrt.map((k) => values[k]!),
  );
  output(g, "loss", loss);
  grads.forEach((v, i) => {
    output(g, `d ${wrt[i]}`, v);
  });
  return { g, wrt, weights };
}

/** Fails when a gradient differs from finite differences. Gives the graph, for what else is to be seen there. */
export async function checkGradients(subject: Subject, rng: Rng): Promise<Graph> {
  const { g, wrt, weights } = lossGraph(subject, rng);
  const backend = reference({ precision: "float64" });
  const all = await backend.compile(g);
  const forward = await backend.compile(g, { outputs: ["loss"] });
  const feeds: Record<string, Tensor> = Object.fromEntries(
    Object.entries({ ...subject.feeds, ...weights }).map(([k, t]) => [k, double(t)]),
  );
  const got = await all.run(feeds);
  const lossAt = async () => (await forward.run(feeds)).loss!.data[0] as number;
  for (const name of wrt) {
    const x = feeds[name]!.data as Float64Array;
    const dx = got[`d ${name}`]!;
    expect(dx.shape, `shape of the gradient of ${name}`).toEqual(feeds[name]!.shape);
    for (let i = 0; i < x.length; i++) {
      const before = x[i]!;
      x[i] = before + STEP;
      const above = await lossAt();
      x[i] = before - STEP;
      const below = await lossAt();
      x[i] = before;
      const wanted = (above - below) / (2 * STEP);
      const found = dx.data[i] as number;
      if (!(Math.abs(found - wanted) <= TOLERANCE * Math.max(1, Math.abs(wanted))))
        expect.fail(`d loss / d ${name}[${i}] is ${found}, differences say ${wanted}`);
    }
  }
  return g;
}
