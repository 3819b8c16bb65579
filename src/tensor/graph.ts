/** The typed graph: values, nodes, constants, scopes. Nodes are ONNX nodes; it neither differentiates nor runs them. */

import { type DType, HOST, sizeOf, type TypedArray } from "../formats/dtype.ts";
import { isLazy, type Weight } from "../formats/lazy.ts";
import { infer } from "./infer.ts";
import { type Dim, formatShape, type Shape, ShapeError } from "./shape.ts";

export type Attr = number | string | readonly number[];
export type Attrs = Readonly<Record<string, Attr>>;
export type Domain = "" | "com.microsoft";

/** An edge of the graph: what a node gives, an input, or a constant. */
export interface Value {
  readonly graph: Graph;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Position in the order of creation; a node only sees smaller ones. */
  readonly id: number;
}

export interface Node {
  readonly op: string;
  readonly domain: Domain;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  readonly attrs: Attrs;
  readonly scope: string;
}

/** A graph under construction. Append-only: nodes stand in an order in which they can run. */
export interface Graph {
  readonly name: string;
  readonly nodes: Node[];
  readonly inputs: Value[];
  readonly outputs: Map<string, Value>;
  readonly constants: Map<Value, Weight>;
  /** Node that gives a value; inputs and constants have none. */
  readonly producer: Map<Value, Node>;
  readonly shared: Map<string, Value>;
  readonly scopes: string[];
  readonly names: Set<string>;
  counter: number;
}

export const createGraph = (name = "graph"): Graph => ({
  name,
  nodes: [],
  inputs: [],
  outputs: new Map(),
  constants: new Map(),
  producer: new Map(),
  shared: new Map(),
  scopes: [],
  names: new Set(),
  counter: 0,
});

function newValue(g: Graph, name: string, type: { dtype: DType; shape: Shape }): Value {
  if (g.names.has(name))
    throw new ShapeError(`graph ${g.name}: the name "${name}" is already taken; choose another`);
  g.names.add(name);
  return Object.freeze({ graph: g, name, dtype: type.dtype, shape: type.shape, id: g.counter++ });
}

/** Runs `body` with `name` added to the path under which its nodes are listed ("blocks.3.attn"). */
export function withScope<T>(g: Graph, name: string, body: () => T): T {
  g.scopes.push(name);
  try {
    return body();
  } finally {
    g.scopes.pop();
  }
}

/** A value that is given at every run. */
export function input(g: Graph, name: string, shape: Shape, dtype: DType = "float32"): Value {
  const value = newValue(g, name, { dtype, shape: Object.freeze([...shape]) });
  g.inputs.push(value);
  return value;
}

/** A tensor that is part of the model; the runtime may repack it for speed. One to be read is read by `compile`. */
export function constant(g: Graph, weight: Weight, name?: string): Value {
  if (!isLazy(weight) && weight.data.length !== sizeOf(weight.shape))
    throw new ShapeError(
      `constant ${name ?? ""}: ${weight.data.length} elements do not fill ${formatShape(weight.shape)}; pass data of the shape's size`,
    );
  const value = newValue(g, name ?? `const_${g.counter}`, weight);
  g.constants.set(value, weight);
  return value;
}

/** A constant made once per graph and content: scalars, axes, vectors of ones. With a name where others look for it. */
export function sharedConstant(g: Graph, key: string, make: () => Weight, name?: string): Value {
  let value = g.shared.get(key);
  if (!value) {
    value = constant(g, make(), name);
    g.shared.set(key, value);
  }
  return value;
}

/** A scalar constant of the given dtype. */
export function scalar(g: Graph, x: number, dtype: DType = "float32"): Value {
  if (!dtype.startsWith("float") && !Number.isInteger(x))
    throw new ShapeError(`scalar: ${x} is no ${dtype}; cast the other operand to float32 first`);
  return sharedConstant(g, `scalar ${dtype} ${Object.is(x, -0) ? "-0" : x}`, () => {
    const data = dtype === "int64" ? BigInt64Array.of(BigInt(x)) : HOST[dtype].from([x] as never);
    return { dtype, shape: [], data: data as TypedArray };
  });
}

/** A constant vector of int64, as ONNX wants axes, shapes and bounds. */
export function ints(g: Graph, values: readonly number[]): Value {
  return sharedConstant(g, `ints ${values.join()}`, () => ({
    dtype: "int64",
    shape: [values.length],
    data: BigInt64Array.from(values, BigInt),
  }));
}

/** A float32 constant of one repeated number. */
export function filled(g: Graph, shape: readonly number[], x: number): Value {
  return sharedConstant(g, `filled ${x} ${shape.join()}`, () => ({
    dtype: "float32",
    shape,
    data: new Float32Array(sizeOf(shape)).fill(x),
  }));
}

export const isConstant = (v: Value): boolean => v.graph.constants.has(v);

/** The numbers of an int64 constant, or undefined when the value is not constant or not read yet. */
export function constantInts(value: Value | undefined): number[] | undefined {
  const weight = value?.graph.constants.get(value);
  if (!weight || isLazy(weight)) return undefined;
  return Array.from(weight.data as ArrayLike<number | bigint>, Number);
}

export interface NodeOptions {
  domain?: Domain;
  /** How many of the op's outputs are wanted. */
  outputs?: number;
}

/**
 * Appends a node; shapes and dtypes of its outputs are inferred and checked here.
 * Throws ShapeError with the op, the scope and the shapes when they do not fit.
 */
export function addNode(
  g: Graph,
  op: string,
  inputs: readonly (Value | undefined)[],
  attrs: Attrs = {},
  { domain = "", outputs = 1 }: NodeOptions = {},
): Value[] {
  for (const v of inputs)
    if (v && v.graph !== g)
      throw new ShapeError(
        `${op}: "${v.name}" belongs to graph ${v.graph.name}, not ${g.name}; build both in one graph`,
      );
  const scope = g.scopes.filter(Boolean).join(".");
  const rule = infer[op];
  if (!rule) throw new ShapeError(`${op}: no shape rule for this op; add one line to infer.ts`);
  let types: { dtype: DType; shape: Dim[] }[];
  try {
    types = rule({ op, inputs, attrs, outputs, ints: (i) => constantInts(inputs[i]) });
  } catch (error) {
    if (scope && error instanceof ShapeError) error.message = `${scope}: ${error.message}`;
    throw error;
  }
  const base = scope ? `${scope}/${op}` : op;
  const values = types.slice(0, outputs).map((type) => newValue(g, `${base}_${g.counter}`, type));
  const node: Node = Object.freeze({
    op,
    domain,
    inputs: Object.freeze([...inputs]),
    outputs: values,
    attrs: Object.freeze({ ...attrs }),
    scope,
  });
  g.nodes.push(node);
  for (const v of values) g.producer.set(v, node);
  return values;
}

/**
 * Names a value as a result of every run. The name must be free: in ONNX, inputs, constants and results share one
 * space of names. Throws ShapeError.
 */
export function output(g: Graph, name: string, value: Value): void {
  if (value.graph !== g)
    throw new ShapeError(`output "${name}": "${value.name}" belongs to graph ${value.graph.name}`);
  if (g.outputs.has(name) || g.names.has(name))
    throw new ShapeError(`graph ${g.name}: the name "${name}" is already taken; choose another`);
  g.names.add(name);
  g.outputs.set(name, value);
}

/**
 * The named outputs, in the order asked for; `compiled` limits them to those a session was made for.
 * Throws ShapeError for a name that is not there.
 */
export function pickOutputs(
  g: Graph,
  names: readonly string[] = [...g.outputs.keys()],
  compiled: readonly string[] = [...g.outputs.keys()],
): Map<string, Value> {
  if (names.length === 0)
    throw new ShapeError(`graph ${g.name} has no outputs; name at least one with output()`);
  return new Map(
    names.map((name) => {
      const value = g.outputs.get(name);
      if (value && compiled.includes(name)) return [name, value];
      throw new ShapeError(
        value
          ? `run: output "${name}" was left out when this session was compiled; compile it too`
          : `graph ${g.name} has no output "${name}"; it has ${nameList([...g.outputs.keys()])}`,
      );
    }),
  );
}

/** Names for a message: the first few, and how many more. */
export const nameList = (names: readonly string[]): string =>
  names.length === 0
    ? "none"
    : names.slice(0, 8).join(", ") + (names.length > 8 ? `, and ${names.length - 8} more` : "");
