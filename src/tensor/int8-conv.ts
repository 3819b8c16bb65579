/** Convolutions in 8 bits: a rewrite for inference, with ranges that a calibration found. Draws no samples itself. */

import type { Tensor, TypedArray } from "../formats/dtype.ts";
import { deriveWeights, isLazy, type Weight } from "../formats/lazy.ts";
import {
  constant,
  type Graph,
  isConstant,
  type Node,
  output,
  scalar,
  type Value,
} from "./graph.ts";
import { concat, max, min, reshape } from "./ops.ts";
import { conv2dInt8, dequantize, type Levels, quantize } from "./ops-int8.ts";
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
const RANGES = "ranges";

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

/** The graph with the ranges of all its convolutions as output beside its own; `readRanges` reads them. */
export function withRanges(g: Graph): Graph {
  const known = new Map<Value, Value>();
  const copy = rewrite(g, () => undefined, known);
  const ends = convolutions(g).flatMap(({ x, y }) =>
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
    convolutions(g).map(({ name }, i) => [
      name,
      {
        x: { low: low(4 * i), high: high(4 * i + 1) },
        y: { low: low(4 * i + 2), high: high(4 * i + 3) },
      },
    ]),
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
    const from = steps(known.x);
    const weight = int8Weight(x.graph, found, from.scale);
    const y = conv2dInt8(quantize(x, on(x.graph, from)), weight, {
      bias: weight.bias,
      to: on(x.graph, steps(known.y)),
      attrs: node.attrs,
    });
    return [dequantize(y)];
  });
}

interface Steps {
  readonly scale: number;
  readonly zero: number;
}

/** 256 levels from the least to the largest number, one of them exactly zero: padding is zeros. */
function steps({ low, high }: Range): Steps {
  const [least, most] = [Math.min(low, 0), Math.max(high, 0)];
  const scale = Math.fround(Math.max((most - least) / 255, 1e-30));
  return { scale, zero: Math.round(-least / scale) };
}

const on = (g: Graph, { scale, zero }: Steps) => ({
  scale: scalar(g, scale),
  zero: scalar(g, zero, "uint8"),
});

/** Weight and bias in whole numbers. O C kh kw, O. */
function int8Weight(
  g: Graph,
  { name, weight, bias }: Convolution,
  xScale: number,
): Levels & { bias: Value } {
  const shape = weight.shape as number[];
  const O = shape[0]!;
  const { q, scale, units } = deriveWeights(weight, {
    name: `int8 channels, 1, of ${xScale}`,
    outputs: {
      q: { dtype: "int8", shape },
      scale: { dtype: "float32", shape: [O] },
      units: { dtype: "int32", shape: [O] },
    },
    make: (data) => int8Channels(data, bias.data, xScale),
  });
  return {
    levels: constant(g, q, `${name} int8`),
    scale: constant(g, scale, `${name} scales`),
    zero: zeros(g, O),
    bias: constant(g, units, `${name} bias`),
  };
}

const zeros = (g: Graph, O: number): Value =>
  constant(g, { dtype: "int8", shape: [O], data: new Int8Array(O) });

/** Each output channel to the scale that makes its largest weight 127; the bias in units of both scales. */
function int8Channels(data: TypedArray, bias: TypedArray, xScale: number) {
  const O = bias.length;
  const own = data.length / O;
  const from = data as Float32Array;
  const [q, scale, units] = [new Int8Array(data.length), new Float32Array(O), new Int32Array(O)];
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
