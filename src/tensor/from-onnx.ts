/**
 * Networks from ONNX files as nodes of our graph, so that gradients flow through them to what they look at. Reads no
 * files (formats/onnx.ts does) and trains nothing: the file's weights become constants.
 */

import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { OnnxModel, OnnxNode } from "../formats/onnx.ts";
import { addNode, constant, createGraph, type Graph, input, type Value } from "./graph.ts";
import * as o from "./ops.ts";
import { ShapeError, staticShape } from "./shape.ts";

/** What an operator's rule sees: its inputs as values or, where the file holds them, as tensors too. */
interface Call {
  readonly graph: Graph;
  readonly node: OnnxNode;
  /** The i-th input; a weight becomes a constant when it is asked for. */
  x(i: number): Value;
  /** The i-th input's numbers, of the file. Throws where it is computed; undefined where it is left out. */
  numbers(i: number): number[] | undefined;
  has(i: number): boolean;
  int(name: string, otherwise: number): number;
  float(name: string, otherwise: number): number;
  ints(name: string, otherwise: readonly number[]): number[];
  text(name: string): string;
}
type Rule = (c: Call) => Value;

type Quad = readonly [number, number, number, number];

/** Padding of a window as [top, left, bottom, right], `auto_pad` worked out (ONNX operators, Conv). */
function padsOf(c: Call, [kh, kw]: readonly number[], [sy, sx]: readonly number[]): Quad {
  const auto = c.text("auto_pad");
  if (auto !== "SAME_UPPER" && auto !== "SAME_LOWER")
    return c.ints("pads", [0, 0, 0, 0]) as unknown as Quad;
  const dilations = c.ints("dilations", [1, 1]);
  const [, , H, W] = staticShape(c.x(0).shape, c.node.op) as [number, number, number, number];
  const axis = (n: number, k: number, s: number, d: number): [number, number] => {
    const total = Math.max(0, (Math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n);
    const less = Math.floor(total / 2);
    return auto === "SAME_UPPER" ? [less, total - less] : [total - less, less];
  };
  const [top, bottom] = axis(H, kh!, sy!, dilations[0]!);
  const [left, right] = axis(W, kw!, sx!, dilations[1]!);
  return [top, left, bottom, right];
}

const conv: Rule = (c) => {
  const kernel = c.x(1).shape.slice(2) as number[];
  if (kernel.length !== 2) throw new ShapeError("only convolutions of pictures are known");
  const strides = c.ints("strides", [1, 1]);
  return addNode(c.graph, "Conv", c.has(2) ? [c.x(0), c.x(1), c.x(2)] : [c.x(0), c.x(1)], {
    kernel_shape: kernel,
    strides,
    pads: padsOf(c, kernel, strides),
    dilations: c.ints("dilations", [1, 1]),
    group: c.int("group", 1),
  })[0]!;
};

/** Far below what a network computes, and finite: a padded place never wins. */
const NEVER = -3e38;

/** The window's places as one shifted picture each, folded by `join`. */
function window(c: Call, fill: number, join: (a: Value, b: Value) => Value): Value {
  const kernel = c.ints("kernel_shape", [1, 1]) as [number, number];
  const strides = c.ints("strides", [1, 1]) as [number, number];
  const [top, left, bottom, right] = padsOf(c, kernel, strides);
  if (c.ints("dilations", [1, 1]).some((d) => d !== 1) || c.int("ceil_mode", 0))
    throw new ShapeError("pooling with dilations or ceil_mode is not known");
  const [, , H, W] = staticShape(c.x(0).shape, c.node.op) as [number, number, number, number];
  let x = c.x(0);
  if (top || left || bottom || right) {
    const around = [
      [0, 0],
      [0, 0],
      [top, bottom],
      [left, right],
    ] as const;
    x = o.pad(x, around);
    if (fill) x = o.add(x, border(c.graph, [H, W], [top, left, bottom, right], fill));
  }
  const places = ([size, i]: readonly [number, 0 | 1]) =>
    Math.floor((size - kernel[i]) / strides[i]) + 1;
  const [h, w] = [places([H + top + bottom, 0]), places([W + left + right, 1])];
  let out: Value | undefined;
  for (let y = 0; y < kernel[0]; y++)
    for (let z = 0; z < kernel[1]; z++) {
      const rows = o.slice(x, {
        axis: 2,
        start: y,
        end: y + strides[0] * (h - 1) + 1,
        step: strides[0],
      });
      const own = o.slice(rows, {
        axis: 3,
        start: z,
        end: z + strides[1] * (w - 1) + 1,
        step: strides[1],
      });
      out = out ? join(out, own) : own;
    }
  return out!;
}

/** 0 inside, `fill` on what padding added: 1 1 H' W'. */
function border(g: Graph, [H, W]: readonly [number, number], pads: Quad, fill: number): Value {
  const [top, left, bottom, right] = pads;
  const [height, width] = [top + H + bottom, left + W + right];
  const inside = (at: number) => {
    const [y, x] = [Math.floor(at / width) - top, (at % width) - left];
    return y >= 0 && y < H && x >= 0 && x < W;
  };
  const data = Float32Array.from({ length: height * width }, (_, at) => (inside(at) ? 0 : fill));
  return constant(g, { dtype: "float32", shape: [1, 1, height, width], data });
}

const averagePool: Rule = (c) => {
  const [kh, kw] = c.ints("kernel_shape", [1, 1]) as [number, number];
  const pads = padsOf(c, [kh, kw], c.ints("strides", [1, 1]));
  if (pads.some(Boolean) && !c.int("count_include_pad", 0))
    throw new ShapeError("average pooling that leaves its padding out is not known");
  return o.mul(window(c, 0, o.add), 1 / (kh * kw));
};

/** In use, not in training: a scale and a shift per channel. */
const batchNorm: Rule = (c) => {
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => c.numbers(i)!) as [
    number[],
    number[],
    number[],
    number[],
  ];
  const gain = scale.map((s, i) => s / Math.sqrt(variance[i]! + c.float("epsilon", 1e-5)));
  const perChannel = (values: number[]) =>
    constant(c.graph, {
      dtype: "float32",
      shape: [values.length, 1, 1],
      data: Float32Array.from(values),
    });
  const shift = bias.map((b, i) => b - mean[i]! * gain[i]!);
  return o.add(o.mul(c.x(0), perChannel(gain)), perChannel(shift));
};

const gemm: Rule = (c) => {
  const product = o.gemm(c.x(0), c.x(1), {
    transA: c.int("transA", 0) === 1,
    transB: c.int("transB", 0) === 1,
    alpha: c.float("alpha", 1),
  });
  return c.has(2) ? o.add(product, o.mul(c.x(2), c.float("beta", 1))) : product;
};

const flatten: Rule = (c) => {
  const shape = staticShape(c.x(0).shape, "Flatten");
  const axis = c.int("axis", 1);
  const product = (part: number[]) => part.reduce((a, b) => a * b, 1);
  const at = axis < 0 ? axis + shape.length : axis;
  return o.reshape(c.x(0), [product(shape.slice(0, at)), product(shape.slice(at))]);
};

const reshape: Rule = (c) => {
  const from = staticShape(c.x(0).shape, "Reshape");
  const to = c.numbers(1)!.map((d, i) => (d === 0 ? from[i]! : d));
  const known = to.filter((d) => d > 0).reduce((a, b) => a * b, 1);
  const all = from.reduce((a, b) => a * b, 1);
  return o.reshape(
    c.x(0),
    to.map((d) => (d < 0 ? all / known : d)),
  );
};

const hardSigmoid = (x: Value, slope: number, shift: number): Value =>
  o.clip(o.add(o.mul(x, slope), shift), 0, 1);

const one =
  (op: (x: Value) => Value): Rule =>
  (c) =>
    op(c.x(0));
const two =
  (op: (a: Value, b: Value) => Value): Rule =>
  (c) =>
    op(c.x(0), c.x(1));

/** The operators of picture networks in use. One line each; what is not here is refused by name. */
const RULES: Readonly<Record<string, Rule>> = {
  Conv: conv,
  Gemm: gemm,
  MatMul: two((a, b) => o.matmul(a, b)),
  Add: two(o.add),
  Sub: two(o.sub),
  Mul: two(o.mul),
  Div: two(o.div),
  Relu: one(o.relu),
  Sigmoid: one(o.sigmoid),
  Tanh: one(o.tanh),
  Exp: one(o.exp),
  Sqrt: one(o.sqrt),
  Identity: one((x) => x),
  Dropout: one((x) => x),
  LeakyRelu: (c) => o.leakyRelu(c.x(0), c.float("alpha", 0.01)),
  HardSigmoid: (c) => hardSigmoid(c.x(0), c.float("alpha", 0.2), c.float("beta", 0.5)),
  HardSwish: one((x) => o.mul(x, hardSigmoid(x, 1 / 6, 0.5))),
  Clip: (c) => {
    const [low, high] = [c.numbers(1)?.[0], c.numbers(2)?.[0]];
    return o.clip(c.x(0), low ?? c.float("min", NEVER), high ?? c.float("max", -NEVER));
  },
  MaxPool: (c) => window(c, NEVER, o.maximum),
  AveragePool: averagePool,
  GlobalAveragePool: one((x) => o.mean(x, { axes: [2, 3], keepDims: true })),
  ReduceMean: (c) => {
    const axes = c.ints("axes", c.numbers(1) ?? []);
    return o.mean(c.x(0), {
      axes: axes.length ? axes : undefined,
      keepDims: c.int("keepdims", 1) === 1,
    });
  },
  BatchNormalization: batchNorm,
  Flatten: flatten,
  Reshape: reshape,
  Transpose: (c) => o.transpose(c.x(0), c.ints("perm", [])),
  Concat: (c) =>
    o.concat(
      c.node.inputs.map((_, i) => c.x(i)),
      c.int("axis", 0),
    ),
  Softmax: (c) => o.softmax(c.x(0), c.int("axis", -1)),
};

/** The name of the one input of a network that looks at pictures. @throws InputError where it has others */
function pictureInput({ graph }: OnnxModel, what: string): string {
  const weights = new Set(graph.initializers.map(({ name }) => name));
  const inputs = graph.inputs.filter(({ name }) => !weights.has(name));
  const shape = inputs[0]?.shape ?? [];
  if (inputs.length === 1 && inputs[0]!.dtype === "float32" && shape.length === 4 && shape[1] === 3)
    return inputs[0]!.name;
  const found = inputs.map((v) => `${v.name} ${v.dtype}[${v.shape ?? "?"}]`).join(", ");
  throw new InputError(`${what} takes ${found || "nothing"}; want one input, float32 [B, 3, H, W]`);
}

/**
 * Appends the network to the graph of `images` as far as the wanted values need it, and gives these in order.
 * @param images B 3 H W, as the network wants its numbers; other sizes than the file says are fine while no layer
 *   minds @throws InputError naming the value that is not there, or the operator that is not known here
 */
export function onnxValues(
  model: OnnxModel,
  images: Value,
  { wanted, what = "the network" }: { wanted: readonly string[]; what?: string },
): Value[] {
  const needed = nodesFor(model, wanted, what);
  const values = new Map([[pictureInput(model, what), images]]);
  const tensors = tensorsOf(model, what);
  for (const node of needed) append(node, { graph: images.graph, values, tensors, what });
  return wanted.map((name) => values.get(name)!);
}

function nodesFor({ graph }: OnnxModel, wanted: readonly string[], what: string): OnnxNode[] {
  const made = new Set(graph.nodes.flatMap((node) => node.outputs));
  const missing = wanted.find((name) => !made.has(name));
  if (missing !== undefined)
    throw new InputError(
      `${what} computes no value "${missing}"; its last are ${[...made].slice(-5).join(", ")}`,
      { missing },
    );
  const open = new Set(wanted);
  const needed = graph.nodes.toReversed().filter((node) => {
    if (!node.outputs.some((name) => open.has(name))) return false;
    for (const name of node.inputs) open.add(name);
    return true;
  });
  return needed.reverse();
}

function tensorsOf({ graph }: OnnxModel, what: string): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const init of graph.initializers) {
    if (!("tensor" in init))
      throw new InputError(
        `${what}: weight "${init.name}" lies in another file; save it as one file`,
      );
    tensors.set(init.name, init.tensor);
  }
  return tensors;
}

interface Place {
  readonly graph: Graph;
  readonly values: Map<string, Value>;
  readonly tensors: Map<string, Tensor>;
  readonly what: string;
}

function append(node: OnnxNode, { graph, values, tensors, what }: Place): void {
  if (node.op === "Constant" && node.attrs.value?.kind === "tensor") {
    tensors.set(node.outputs[0]!, node.attrs.value.value);
    return;
  }
  const rule = node.domain === "" || node.domain === "ai.onnx" ? RULES[node.op] : undefined;
  if (!rule)
    throw new InputError(
      `${what}: operator ${node.op} (at "${node.outputs[0]}") has no gradient here; name a layer before it, or use another network`,
      { op: node.op },
    );
  const name = (i: number) => node.inputs[i] ?? "";
  const call: Call = {
    graph,
    node,
    has: (i) => name(i) !== "",
    x(i) {
      let value = values.get(name(i));
      const tensor = tensors.get(name(i));
      if (!value && tensor?.dtype === "float32") {
        value = constant(graph, tensor);
        values.set(name(i), value);
      }
      if (!value) throw new ShapeError(`input ${i} is no float32 that we have`);
      return value;
    },
    numbers(i) {
      if (name(i) === "") return undefined;
      const tensor = tensors.get(name(i));
      if (!tensor) throw new ShapeError(`input ${i} is computed; only constants are known there`);
      return Array.from(tensor.data as ArrayLike<number | bigint>, Number);
    },
    int: (key, otherwise) => {
      const attr = node.attrs[key];
      return attr?.kind === "int" ? Number(attr.value) : otherwise;
    },
    float: (key, otherwise) => {
      const attr = node.attrs[key];
      return attr?.kind === "float" ? attr.value : otherwise;
    },
    ints: (key, otherwise) => {
      const attr = node.attrs[key];
      return attr?.kind === "ints" ? attr.value.map(Number) : [...otherwise];
    },
    text: (key) => {
      const attr = node.attrs[key];
      return attr?.kind === "string" ? attr.value : "";
    },
  };
  try {
    values.set(node.outputs[0]!, rule(call));
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new InputError(
      `${what}: ${node.op} at "${node.outputs[0]}" does not fit: ${error.message}`,
      { op: node.op },
    );
  }
}

/**
 * The feature maps a network is best known by: the last value at each resolution it works at, fine to coarse, single
 * places left out. Tried out on pictures of `size` (H W); layers behind the maps may be unknown here.
 */
export function featureLayers(
  model: OnnxModel,
  size: readonly [number, number],
  { what = "the network" }: { what?: string } = {},
): string[] {
  const graph = createGraph("layers");
  const images = input(graph, "images", [1, 3, ...size]);
  const values = new Map([[pictureInput(model, what), images]]);
  const tensors = tensorsOf(model, what);
  const last = new Map<string, string>();
  try {
    for (const node of model.graph.nodes) {
      append(node, { graph, values, tensors, what });
      const [, , H = 1, W = 1] = values.get(node.outputs[0]!)?.shape ?? [];
      if (Number(H) * Number(W) > 1) last.set(`${H}x${W}`, node.outputs[0]!);
    }
  } catch (error) {
    // Its head may want the size it was made for; the maps before it are what counts.
    if (!(error instanceof InputError) || last.size === 0) throw error;
  }
  return [...last.values()];
}
