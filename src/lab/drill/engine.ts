/** An engine in the saboteur's hands: it spoils what a training step is fed, computes and writes. Only the drill has it. */

import type { Tensor, TypedArray } from "../../formats/dtype.ts";
import type { Backend, Session, Tensors } from "../../tensor/backend.ts";
import { addNode, type Graph, input, type Node, type Value } from "../../tensor/graph.ts";
import { add, mul } from "../../tensor/ops.ts";
import { rewrite } from "../../tensor/rewrite.ts";
import { staticShape } from "../../tensor/shape.ts";

/** What the saboteur does to one run of the training graph; called only where it acts. */
export interface Grip {
  /** Feeds to use instead. */
  feeds?(feeds: Tensors): Tensors;
  /** Factor and noise of a parameter's gradient before it is clipped, by name. */
  gradient?(name: string, size: number): { factor?: number; noise?: Float32Array };
  /** Factors of the betas. */
  betas?: readonly [number, number];
  /** Changes what the engine has written. */
  written?(results: Tensors): void;
}

const DIAL = "spoil.";
const STEP = "var step";

/**
 * The backend with a training graph that can be spoiled: dials for gradients and betas that do nothing at 1 and 0.
 * Everything else it compiles is honest, the loss that the sentinel asks for too.
 * @param grip what happens at this run of the training graph; undefined for nothing
 */
export function spoiledBackend(backend: Backend, grip: () => Grip | undefined): Backend {
  return {
    name: backend.name,
    async compile(graph, options) {
      if (graph.name !== STEP || options?.outputs) return backend.compile(graph, options);
      const spoiled = withDials(graph);
      const session = await backend.compile(spoiled, options);
      return { ...session, run: runWith(session, spoiled, grip) };
    },
  };
}

const runWith =
  (session: Session, graph: Graph, grip: () => Grip | undefined): Session["run"] =>
  async (feeds, options) => {
    const now = grip();
    const fed = now?.feeds?.(feeds) ?? feeds;
    const dials = graph.inputs
      .filter(({ name }) => name.startsWith(DIAL))
      .map(({ name, shape }) => [name, dial(name, staticShape(shape, name), now)]);
    const results = await session.run({ ...fed, ...Object.fromEntries(dials) }, options);
    now?.written?.(options?.into ?? results);
    return results;
  };

const tensor = (shape: readonly number[], data: TypedArray): Tensor => ({
  dtype: "float32",
  shape,
  data,
});

function dial(name: string, shape: readonly number[], grip: Grip | undefined): Tensor {
  const [, kind, of] = /^spoil\.(\w+)\.(.*)$/.exec(name)!;
  const size = shape.reduce((a, b) => a * b, 1);
  if (kind === "beta") return tensor([], Float32Array.of(grip?.betas?.[of === "m" ? 0 : 1] ?? 1));
  const { factor = 1, noise } = grip?.gradient?.(of!, size) ?? {};
  if (kind === "factor") return tensor([], Float32Array.of(factor));
  return tensor(shape, noise ?? new Float32Array(size));
}

/** The training graph with dials in front of the norm, of the clipping and of the moments. */
function withDials(graph: Graph): Graph {
  const uses = new Map<Value, Node[]>();
  for (const node of graph.nodes)
    for (const v of node.inputs) if (v) uses.set(v, [...(uses.get(v) ?? []), node]);
  const only = (value: Value, op: string): Node => uses.get(value)!.find((n) => n.op === op)!;

  /** Nodes whose input is a parameter's gradient, and the factor of each moment. */
  const gradients = new Map<Node, { name: string; gradient: Value }>();
  const decays = new Map<Node, "m" | "v">();
  for (const { name } of graph.inputs.filter((v) => v.name.startsWith("adamw.m."))) {
    const of = name.slice("adamw.m.".length);
    const moment = (kind: "m" | "v") => graph.inputs.find((v) => v.name === `adamw.${kind}.${of}`)!;
    for (const kind of ["m", "v"] as const) decays.set(only(moment(kind), "Mul"), kind);
    const sum = only(only(moment("m"), "Mul").outputs[0]!, "Add");
    const clipping = graph.producer.get(sum.inputs[1]!)!;
    const gradient = clipping.inputs[0]!;
    // A gradient that two parameters share is summed once for each.
    const square = uses
      .get(gradient)!
      .find((n) => n.op === "ReduceSumSquare" && !gradients.has(n))!;
    for (const node of [clipping, square]) gradients.set(node, { name: of, gradient });
  }

  const spoiled = new Map<string, Value>();
  const copy = rewrite(graph, (node, copied) => {
    const kind = decays.get(node);
    const found = gradients.get(node);
    if (!kind && !found) return undefined;
    const g = copied(node.inputs[0]!).graph;
    const again = (inputs: readonly Value[]) =>
      addNode(g, node.op, inputs, node.attrs, { domain: node.domain });
    const inputs = node.inputs.map((v) => copied(v!));
    if (kind) {
      const factor = spoiled.get(kind) ?? input(g, `${DIAL}beta.${kind}`, []);
      spoiled.set(kind, factor);
      return again([inputs[0]!, mul(inputs[1]!, factor)]);
    }
    const { name, gradient } = found!;
    let value = spoiled.get(name);
    if (!value) {
      const factor = input(g, `${DIAL}factor.${name}`, []);
      const noise = input(g, `${DIAL}noise.${name}`, gradient.shape);
      value = add(mul(copied(gradient), factor), noise);
      spoiled.set(name, value);
    }
    return again([value, ...inputs.slice(1)]);
  });
  return copy;
}
