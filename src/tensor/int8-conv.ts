/** Convolutions in 8 bits: a rewrite for inference, with ranges that a calibration found. Draws no samples itself. */

import type { Tensor, TypedArray } from "../formats/dtype.ts";
import { deriveWeights, isLazy, type LazyTensor, type Weight } from "../formats/lazy.ts";
import {
  type Attrs,
  constant,
  type Graph,
  isConstant,
  type Node,
  output,
  scalar,
  type Value,
} from "./graph.ts";
import { concat, max, min, reshape, transpose } from "./ops.ts";
import { conv2dInt8, dequantize, type Levels, quantize, type Steps } from "./ops-int8.ts";
import { rewrite } from "./rewrite.ts";

/** The least and the largest number that was seen in a place. */
export interface Range {
  readonly low: number;
  readonly high: number;
}

/** What goes into a convolution and what comes out of it. */
export interface ConvRanges {
  readonly x: Range;
  readonly y: Range;
}

/** Output of a calibrating graph. */
export const RANGES = "ranges";

/** A convolution with constant weight and bias, known by the weight's name. */
interface Convolution {
  readonly name: string;
  readonly x: Value;
  readonly y: Value;
  readonly weight: Weight;
  readonly bias: Tensor;
}

function asConvolution(node: Node): Convolution | undefined {
  const [x, weight, bias] = node.inputs;
  if (node.op !== "Conv" || !x || !weight || !bias) return undefined;
  if (!isConstant(weight) || !isConstant(bias) || weight.dtype !== "float32") return undefined;
  const { constants } = weight.graph;
  const held = constants.get(bias)!;
  if (isLazy(held)) return undefined;
  return { name: weight.name, x, y: node.outputs[0]!, weight: constants.get(weight)!, bias: held };
}

const convolutions = (g: Graph): Convolution[] =>
  g.nodes.flatMap((node) => asConvolution(node) ?? []);

/** Names of the weights of all convolutions, in their order. */
export const rangeNames = (g: Graph): string[] => convolutions(g).map(({ name }) => name);

/** The graph with the ranges of all its convolutions as output beside its own; `readRanges` reads them. */
export function withRanges(g: Graph): Graph {
  const known = new Map<Value, Value>();
  const copy = rewrite(g, () => undefined, known);
  // From the last to the first: the runtime then looks at an image while it is there, and holds no more of them than it
  // must. The other way round the decoder of the released models takes 2.3 GB instead of 1.0.
  const ends = convolutions(g)
    .toReversed()
    .flatMap(({ x, y }) =>
      [x, y].flatMap((v) => [min, max].map((end) => reshape(end(known.get(v)!), [1]))),
    );
  output(copy, RANGES, concat(ends, 0));
  return copy;
}

/** The ranges by weight name, each the widest of several runs of `withRanges(g)`. */
export function readRanges(
  g: Graph,
  runs: readonly Readonly<Record<string, Tensor>>[],
): Map<string, ConvRanges> {
  const rows = runs.map((run) => run[RANGES]!.data as Float32Array);
  const low = (i: number) => Math.min(...rows.map((row) => row[i]!));
  const high = (i: number) => Math.max(...rows.map((row) => row[i]!));
  return new Map(
    convolutions(g).map(({ name }, place, { length }) => {
      const i = length - 1 - place;
      const x = { low: low(4 * i), high: high(4 * i + 1) };
      return [name, { x, y: { low: low(4 * i + 2), high: high(4 * i + 3) } }];
    }),
  );
}

export interface Int8ConvOptions {
  /** Whether the convolution with this weight is done in 8 bits; default all that have ranges. */
  choose?: (name: string) => boolean;
}

/**
 * The graph with those convolutions in 8 bits whose ranges are known: images in uint8 with one scale and zero point
 * each, weights in int8 with a scale per output channel, sums exact (Jacob et al. 2018, arXiv 1712.05877, section 2).
 * Numbers beyond a range are cut to it.
 */
export function int8Convs(
  g: Graph,
  ranges: ReadonlyMap<string, ConvRanges>,
  { choose = () => true }: Int8ConvOptions = {},
): Graph {
  return rewrite(g, (node, copied) => {
    const found = asConvolution(node);
    const known = found && ranges.get(found.name);
    if (!found || !known || !choose(found.name)) return undefined;
    const x = copied(found.x);
    const [from, to] = [steps(known.x), steps(known.y)];
    const flat = quantize(x, on(x.graph, from));
    const image = { ...flat, levels: transpose(flat.levels, [0, 2, 3, 1]) }; // B H W C
    const y = convolve(image, found, {
      xScale: from.scale,
      to: on(x.graph, to),
      attrs: node.attrs,
    });
    return [dequantize({ ...y, levels: transpose(y.levels, [0, 3, 1, 2]) })];
  });
}

interface Grid {
  readonly scale: number;
  readonly zero: number;
}

/** 256 levels from the least to the largest number, one of them exactly zero: padding is zeros. */
function steps({ low, high }: Range): Grid {
  const [least, most] = [Math.min(low, 0), Math.max(high, 0)];
  const scale = Math.fround(Math.max((most - least) / 255, 1e-30));
  return { scale, zero: Math.round(-least / scale) };
}

const on = (g: Graph, { scale, zero }: Grid): Steps => ({
  scale: scalar(g, scale),
  zero: scalar(g, zero, "uint8"),
});

interface Site {
  readonly xScale: number;
  readonly to: Steps;
  readonly attrs: Attrs;
}

/** x B H W C -> B H' W' O. */
function convolve(x: Levels, layer: Convolution, { xScale, to, attrs }: Site): Levels {
  const shape = layer.weight.shape as number[];
  const derived = deriveWeights(layer.weight, {
    name: `int8 channels, 1, of ${xScale}`,
    outputs: outputsOf(shape),
    make: (data) => int8Channels(data as Float32Array, layer.bias.data, xScale),
  });
  return conv2dInt8(x, ...asLevels(layer.name, derived, { x, to, attrs }));
}

/** Weights in int8 with their scales, the bias in units of both scales. */
const outputsOf = (shape: readonly number[]) =>
  ({
    q: { dtype: "int8", shape },
    scale: { dtype: "float32", shape: [shape[0]!] },
    units: { dtype: "int32", shape: [shape[0]!] },
  }) as const;

/** What `conv2dInt8` takes besides the image. */
function asLevels(
  name: string,
  { q, scale, units }: Readonly<Record<"q" | "scale" | "units", LazyTensor>>,
  { x, to, attrs }: { x: Levels; to: Steps; attrs: Attrs },
): [Levels, { bias: Value; to: Steps; attrs: Attrs }] {
  const g = x.levels.graph;
  const O = q.shape[0]!;
  const zero = constant(g, { dtype: "int8", shape: [O], data: new Int8Array(O) });
  const levels = constant(g, q, `${name} int8`);
  const weight = { levels, scale: constant(g, scale, `${name} scales`), zero };
  return [weight, { bias: constant(g, units, `${name} bias`), to, attrs }];
}

/** Each output channel to the scale that makes its largest weight 127; the bias in units of both scales. */
function int8Channels(from: Float32Array, bias: TypedArray, xScale: number) {
  const O = bias.length;
  const own = from.length / O;
  const [q, scale, units] = [new Int8Array(from.length), new Float32Array(O), new Int32Array(O)];
  for (let o = 0; o < O; o++) {
    let most = 0;
    for (let i = o * own; i < (o + 1) * own; i++) most = Math.max(most, Math.abs(from[i]!));
    scale[o] = Math.max(most / 127, 1e-12);
    for (let i = o * own; i < (o + 1) * own; i++) q[i] = Math.round(from[i]! / scale[o]!);
    const unit = Math.round((bias[o] as number) / (scale[o]! * xScale));
    units[o] = Math.min(2 ** 30, Math.max(-(2 ** 30), unit)); // a channel of zeros has no unit
  }
  return { q, scale, units };
}
