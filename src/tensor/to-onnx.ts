/** From our graph to an ONNX model: keeps what the outputs need, names results, types attributes. Runs nothing. */

import { isLazy, type Weight } from "../formats/lazy.ts";
import {
  ONNX_DTYPE,
  type OnnxAttr,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  writeOnnx,
} from "../formats/onnx.ts";
import { type Attr, type Graph, type Node, pickOutputs, type Value } from "./graph.ts";
import { ShapeError } from "./shape.ts";

/** Attributes that ONNX declares as floats; a whole number does not tell by itself. */
const FLOAT_ATTRS: ReadonlySet<string> = new Set(["alpha", "beta", "epsilon", "scale", "softcap"]);

/** Ops of ours that ONNX calls by another name. */
const ONNX_NAME: Readonly<Record<string, string>> = { StopGradient: "Identity" };

/** Every op of ours is in opset 21; these came later, and raise a model that holds them. */
const OPSET = 21;
const NEWER: Readonly<Record<string, number>> = { Attention: 23 };

const attrOf = (name: string, value: Attr): OnnxAttr =>
  typeof value === "string"
    ? { kind: "string", value }
    : typeof value === "number"
      ? { kind: FLOAT_ATTRS.has(name) ? "float" : "int", value }
      : { kind: "ints", value: [...value] };

export interface OnnxOptions {
  /** Which of the graph's outputs are wanted; all of them by default. */
  outputs?: readonly string[];
  /** Values inside the graph that are given besides, under their own names. */
  also?: readonly Value[];
  /** Name of an empty sequence of tensors that is given before all results; what for: backends/ort-direct.ts. */
  emptySequence?: string;
  /** Where constants lie that do not lie in the model, or have been read since. */
  placed?: ReadonlyMap<Value, OnnxInitializer>;
}

/** The nodes that `roots` depend on, in the order they can run. */
export function neededNodes(g: Graph, roots: readonly Value[]): Node[] {
  const wanted = new Set<Value>(roots);
  const kept: Node[] = [];
  for (let i = g.nodes.length - 1; i >= 0; i--) {
    const node = g.nodes[i]!;
    if (!node.outputs.some((v) => wanted.has(v))) continue;
    for (const v of node.inputs) if (v) wanted.add(v);
    kept.push(node);
  }
  return kept.reverse();
}

/** The constants that a model of these outputs holds. Throws ShapeError when the graph has no outputs. */
export function neededConstants(g: Graph, outputs?: readonly string[]): Map<Value, Weight> {
  const results = [...pickOutputs(g, outputs).values()];
  const used = new Set([...neededNodes(g, results).flatMap((n) => n.inputs), ...results]);
  return new Map([...g.constants].filter(([v]) => used.has(v)));
}

const inModel = ({ name }: Value, weight: Weight): OnnxInitializer => {
  if (!isLazy(weight)) return { name, tensor: weight };
  throw new ShapeError(
    `constant "${name}" has not been read; read it (readWeight) or compile the graph`,
  );
};

/** The model as plain data. Throws ShapeError when the graph has no outputs. */
export function toOnnxModel(
  g: Graph,
  { outputs, also = [], emptySequence, placed }: OnnxOptions = {},
): OnnxModel {
  const results = [...pickOutputs(g, outputs)].map(([name, value]) => ({ name, value }));
  const nodes = neededNodes(
    g,
    results.map((r) => r.value),
  );
  const used = new Set(nodes.flatMap((n) => n.inputs));
  const produced = new Set(nodes.flatMap((n) => n.outputs));
  // A result that a node makes takes the result's name; inputs, constants and second names get a copy.
  const renamed = new Map<Value, string>();
  const copies: typeof results = [];
  for (const result of results)
    if (produced.has(result.value) && !renamed.has(result.value))
      renamed.set(result.value, result.name);
    else copies.push(result);
  const inside = also.filter((v) => produced.has(v));
  const nameOf = (v: Value | undefined) => (v ? (renamed.get(v) ?? v.name) : "");
  // A value that is both a result and looked at goes out twice: the second time as a copy.
  for (const v of inside) if (renamed.has(v)) copies.push({ name: v.name, value: v });
  const body = nodes.map(
    (n): OnnxNode => ({
      op: ONNX_NAME[n.op] ?? n.op,
      domain: n.domain,
      name: n.outputs[0]!.name,
      inputs: n.inputs.map(nameOf),
      outputs: n.outputs.map(nameOf),
      attrs: Object.fromEntries(Object.entries(n.attrs).map(([k, v]) => [k, attrOf(k, v)])),
    }),
  );
  const copying = copies.map(
    ({ name, value }): OnnxNode => ({
      op: "Identity",
      domain: "",
      name: `copy ${name}`,
      inputs: [nameOf(value)],
      outputs: [name],
      attrs: {},
    }),
  );
  const leading = emptySequence
    ? [{ name: emptySequence, dtype: "float32", sequence: true } as const]
    : [];
  const sequences = leading.map(
    ({ name, dtype }): OnnxNode => ({
      op: "SequenceEmpty",
      domain: "",
      name,
      inputs: [],
      outputs: [name],
      attrs: { dtype: { kind: "int", value: ONNX_DTYPE[dtype] } },
    }),
  );
  const copied = new Set(results.map((r) => r.value));
  const constants = [...neededConstants(g, outputs)];
  const inputs = g.inputs.filter((v) => used.has(v) || copied.has(v));
  const info = (v: Value, name = v.name) => ({ name, dtype: v.dtype, shape: [...v.shape] });
  return {
    irVersion: 10,
    opsets: { "": Math.max(OPSET, ...nodes.map((n) => NEWER[n.op] ?? 0)), "com.microsoft": 1 },
    producer: "underpaint",
    graph: {
      name: g.name,
      nodes: [...sequences, ...body, ...copying],
      inputs: inputs.map((v) => info(v)),
      outputs: [
        ...leading,
        ...results.map((r) => info(r.value, r.name)),
        ...inside.map((v) => info(v)),
      ],
      initializers: constants.map(([v, weight]) => placed?.get(v) ?? inModel(v, weight)),
    },
  };
}

/** The model as the bytes a runtime reads. */
export const toOnnx = (g: Graph, options: OnnxOptions = {}): Uint8Array =>
  writeOnnx(toOnnxModel(g, options));
