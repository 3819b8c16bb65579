/** Plain loops in double precision: the backend that says what is right. Slow; for tests and for looking inside. */

import type { Tensor } from "../../formats/dtype.ts";
import { readWeight } from "../../formats/lazy.ts";
import {
  type Backend,
  type CompileOptions,
  checkAllInto,
  checkFeeds,
  checkInto,
  type ProfileRow,
  RunError,
  type RunOptions,
  type Session,
  type Tensors,
  tallyProfile,
} from "../backend.ts";
import { bindDims, sizeOfDim } from "../dims.ts";
import { type Graph, type Node, pickOutputs, type Value } from "../graph.ts";
import { nanWatch } from "../nan-check.ts";
import { formatNode } from "../print.ts";
import { formatShape, sameShape } from "../shape.ts";
import { neededNodes } from "../to-onnx.ts";
import { type Arr, fromTensor, type Precision, roundTo, toTensor } from "./reference/array.ts";
import { kernels } from "./reference/kernels.ts";

export interface ReferenceOptions {
  /**
   * "float32" (default) rounds after every op; "float64" keeps doubles: float32 inputs are then fed, and outputs
   * given, as float64 tensors.
   */
  precision?: Precision;
}

/** The reference backend. Every op of infer.ts has a kernel here. */
export const reference = ({ precision = "float32" }: ReferenceOptions = {}): Backend => ({
  name: "reference",
  async compile(graph: Graph, options: CompileOptions = {}): Promise<Session> {
    return referenceSession(graph, options, { precision, constants: await readConstants(graph) });
  },
});

async function readConstants(graph: Graph): Promise<Map<Value, Tensor>> {
  const read = new Map<Value, Tensor>();
  for (const [v, weight] of graph.constants) read.set(v, await readWeight(weight));
  return read;
}

function referenceSession(
  graph: Graph,
  { outputs, nanCheck = false, profile = false, resultsInto = false }: CompileOptions,
  { precision, constants: all }: { precision: Precision; constants: ReadonlyMap<Value, Tensor> },
): Session {
  const results = pickOutputs(graph, outputs);
  const nodes = neededNodes(graph, [...results.values()]);
  for (const node of nodes)
    if (!kernels[node.op])
      throw new RunError(`compile: no reference kernel for ${formatNode(node)}; add one line`);
  const used = new Set<Value | undefined>([...results.values(), ...nodes.flatMap((n) => n.inputs)]);
  const inputs = graph.inputs.filter((v) => used.has(v));
  const constants = new Map(
    [...all].filter(([v]) => used.has(v)).map(([v, t]) => [v, fromTensor(t)]),
  );
  const hostType = (v: Value) =>
    v.dtype === "float32" && precision === "float64" ? ({ ...v, dtype: "float64" } as Value) : v;
  const times: ProfileRow[] = [];
  const session: Session = {
    inputs: inputs.map((v) => v.name),
    outputs: [...results.keys()],
    async run(feeds: Tensors, { into, outputs: only }: RunOptions = {}) {
      const bound = checkFeeds(inputs.map(hostType), feeds);
      const wanted = pickOutputs(graph, only ?? [...results.keys()], [...results.keys()]);
      if (resultsInto) checkAllInto([...wanted.keys()], into ?? {});
      for (const [name, v] of wanted) if (into?.[name]) checkInto(name, hostType(v), into[name]);
      const values = new Map<Value, Arr>(constants);
      for (const v of inputs) values.set(v, fromTensor(feeds[v.name]!, v.dtype));
      const watch = nanCheck ? nanWatch() : undefined;
      for (const [v, a] of values) watch?.feed(v, a);
      for (const node of nodes) {
        const start = profile ? performance.now() : 0;
        const ys = runNode(node, values, precision);
        if (profile)
          times.push({ op: node.op, scope: node.scope, calls: 1, ms: performance.now() - start });
        checkShapes(node, ys, bound);
        watch?.node(node, ys);
        ys.forEach((y, i) => {
          values.set(node.outputs[i]!, y);
        });
      }
      return Object.fromEntries(
        [...wanted].map(([name, v]): [string, Tensor] => {
          const tensor = toTensor(values.get(v)!, precision);
          const target = into?.[name];
          if (!target) return [name, tensor];
          if (!sameShape(target.shape, tensor.shape)) checkInto(name, { ...v, ...tensor }, target);
          target.data.set(tensor.data as never);
          return [name, target];
        }),
      );
    },
    async release() {},
  };
  if (profile) session.profile = async () => tallyProfile(times.splice(0));
  return session;
}

function runNode(node: Node, values: ReadonlyMap<Value, Arr>, precision: Precision): Arr[] {
  const x = node.inputs.map((v) => (v ? values.get(v)! : undefined));
  try {
    const context = { x: x as Arr[], attrs: node.attrs, outputs: node.outputs.length };
    const ys = kernels[node.op]!(context).slice(0, node.outputs.length);
    for (const y of ys) if (!x.includes(y)) roundTo(y, precision);
    return ys;
  } catch (error) {
    const shapes = x.map((a) => (a ? `${a.dtype}${formatShape(a.shape)}` : "-")).join(", ");
    throw new RunError(
      `run: ${formatNode(node)} failed on ${shapes}: ${(error as Error).message}; check the data fed`,
      { op: node.op, scope: node.scope, cause: error },
    );
  }
}

/** The shapes promised by infer.ts and those that came must be the same; new names are bound as they appear. */
function checkShapes(node: Node, ys: readonly Arr[], bound: Map<string, number>): void {
  node.outputs.forEach((v, k) => {
    const got = ys[k]!;
    bindDims(v.shape, got.shape, bound);
    const promised = v.shape.map((d) => sizeOfDim(d, bound));
    if (got.dtype !== v.dtype || !sameShape(promised as number[], got.shape))
      throw new RunError(
        `run: ${formatNode(node)} gave ${got.dtype}${formatShape(got.shape)}; this is a bug in infer.ts or in the kernel`,
        { op: node.op, scope: node.scope },
      );
  });
}
