/** A batch in parts: gradients are summed over them and one update follows, in the memory of one part. Builds no loss. */

import { sizeOf, type Tensor, type TypedArray } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Backend, RunOptions, Session, Tensors } from "../tensor/backend.ts";
import { grad } from "../tensor/grad.ts";
import { createGraph, type Graph, input, output, type Value } from "../tensor/graph.ts";
import { add, mul } from "../tensor/ops.ts";
import { staticShape } from "../tensor/shape.ts";

/** Inputs and outputs of the sums, beside the parameters' own names. */
const SUM = "sum.";
const ADDED = "added.";

/** Axis along which `fed` is `parts` times as long as the graph's own input; undefined where it is the same for all. */
function partAxis(own: Value, fed: Tensor, parts: number): number | undefined {
  const shape = staticShape(own.shape, own.name);
  const axes = shape.flatMap((d, i) => (fed.shape[i] === d ? [] : [i]));
  const [axis] = axes;
  if (axes.length === 0 && fed.shape.length === shape.length) return undefined;
  if (
    axes.length === 1 &&
    fed.shape.length === shape.length &&
    fed.shape[axis!] === shape[axis!]! * parts
  )
    return axis;
  throw new InputError(
    `batch: "${own.name}" is [${fed.shape.join(", ")}], want [${shape.join(", ")}] with one axis ${parts} times as long; feed the whole batch`,
    { name: own.name, found: fed.shape, wanted: shape, parts },
  );
}

/** Part `i` of `parts` of a tensor along an axis. */
function partOf(
  { dtype, shape, data }: Tensor,
  axis: number,
  [i, parts]: [number, number],
): Tensor {
  const own = shape.map((d, a) => (a === axis ? d / parts : d));
  const run = sizeOf(own.slice(axis)); // values that lie together
  const out = (data as Float32Array).slice(0, sizeOf(own)) as TypedArray;
  for (let outer = 0; outer < sizeOf(shape.slice(0, axis)); outer++) {
    const from = (outer * parts + i) * run;
    (out as Float32Array).set((data as Float32Array).subarray(from, from + run), outer * run);
  }
  return { dtype, shape: own, data: out };
}

/** The inputs of a batch, cut; `same` are none of it. What is as long as the graph's own input is given to each part. */
function batchParts(
  graph: Graph,
  feeds: Tensors,
  { parts, same }: { parts: number; same: (name: string) => boolean },
): Tensors[] {
  const fed = graph.inputs.filter(({ name }) => feeds[name] && !same(name));
  const axes = fed.map((own) => partAxis(own, feeds[own.name]!, parts));
  return Array.from({ length: parts }, (_, i) =>
    Object.fromEntries(
      fed.map(({ name }, n) => {
        const axis = axes[n];
        return [name, axis === undefined ? feeds[name]! : partOf(feeds[name]!, axis, [i, parts])];
      }),
    ),
  );
}

export interface Accumulated {
  /** Gradients, mean over the parts, in a graph of their own, for the update to be built on. */
  readonly gradients: readonly Value[];
  /** The parameters in that graph. */
  readonly params: ReadonlyMap<string, Value>;
  /** A whole batch cut into what the graph of the loss takes at once. */
  batches(batch: Tensors): Tensors[];
  /** Sums before the first part, as that graph is fed them. */
  noSums(): Tensors;
  /** Compiles both graphs, once the update has been built and its results named. */
  compile(backend: Backend): Promise<Session>;
}

/**
 * Cuts the step in two: gradients of one part added to those before, and the update on their mean. The session that
 * comes of it takes the whole batch and gives what one graph for the whole batch would give, but for rounding; what
 * is reported (scalars) is the mean over the parts.
 */
export function accumulated(
  loss: Value,
  trained: ReadonlyMap<string, Value>,
  { parts, reported }: { parts: number; reported: readonly string[] },
): Accumulated {
  const g = loss.graph;
  const names = [...trained.keys()];
  const gradients = grad(loss, [...trained.values()]);
  const shapes = new Map(names.map((name) => [name, staticShape(trained.get(name)!.shape, name)]));
  for (const [i, name] of names.entries())
    output(g, ADDED + name, add(input(g, SUM + name, shapes.get(name)!), gradients[i]!));
  const u = createGraph(`${g.name} update`);
  const inputOf = (prefix: string) => (name: string) => input(u, prefix + name, shapes.get(name)!);
  const params = new Map(names.map((name) => [name, inputOf("")(name)]));
  const means = names.map((name) => mul(inputOf(SUM)(name), 1 / parts));
  return {
    gradients: means,
    params,
    batches: (batch) => batchParts(g, batch, { parts, same: (name) => trained.has(name) }),
    noSums: () => named(SUM, names, zeros(shapes)),
    async compile(backend) {
      const added = await backend.compile(g, { resultsInto: true });
      const update = await backend.compile(u, { resultsInto: true });
      return partsSession({ added, update }, { graph: g, parts, shapes, reported });
    },
  };
}

const zeros = (shapes: ReadonlyMap<string, readonly number[]>): Tensor[] =>
  [...shapes.values()].map((shape) => ({
    dtype: "float32",
    shape,
    data: new Float32Array(sizeOf(shape)),
  }));
const named = (prefix: string, names: Iterable<string>, tensors: readonly Tensor[]): Tensors =>
  Object.fromEntries([...names].map((name, i) => [prefix + name, tensors[i]!]));
const pick = (tensors: Tensors, names: readonly string[]): Record<string, Tensor> =>
  Object.fromEntries(names.flatMap((name) => (tensors[name] ? [[name, tensors[name]]] : [])));

/** Two sessions as one. */
function partsSession(
  { added, update }: { added: Session; update: Session },
  about: {
    graph: Graph;
    parts: number;
    shapes: ReadonlyMap<string, readonly number[]>;
    reported: readonly string[];
  },
): Session {
  const { graph, parts, shapes, reported } = about;
  const names = [...shapes.keys()];
  let [sums, next] = [zeros(shapes), zeros(shapes)];
  const scalarsIn = (into: Tensors, session: Session) =>
    pick(
      into,
      reported.filter((name) => session.outputs.includes(name)),
    );
  return {
    inputs: [...new Set([...added.inputs, ...update.inputs])],
    outputs: [...reported, ...update.outputs],
    async run(feeds: Tensors, { into = {} }: RunOptions = {}) {
      for (const sum of sums) (sum.data as Float32Array).fill(0);
      const lasting = pick(feeds, names);
      const said = scalarsIn(into, added);
      const totals = new Map(Object.keys(said).map((name) => [name, 0]));
      for (const part of batchParts(graph, feeds, { parts, same: (name) => shapes.has(name) })) {
        const results = { ...named(ADDED, names, next), ...said };
        await added.run({ ...part, ...lasting, ...named(SUM, names, sums) }, { into: results });
        [sums, next] = [next, sums];
        for (const [name, { data }] of Object.entries(said))
          totals.set(name, totals.get(name)! + Number(data[0]) / parts);
      }
      for (const [name, total] of totals) (said[name]!.data as Float32Array)[0] = total;
      const rest = pick(feeds, update.inputs);
      const wanted = pick(into, update.outputs);
      await update.run({ ...rest, ...named(SUM, names, sums) }, { into: wanted });
      return { ...into };
    },
    async release() {
      await added.release();
      await update.release();
    },
  };
}
