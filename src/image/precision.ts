/** Which parts of a model run in 8 bits, and how their graphs change for it. What that costs in quality: docs and bench. */

import type { Graph } from "../tensor/graph.ts";
import { int8Products } from "../tensor/int8.ts";
import { type ConvRanges, int8Convs } from "../tensor/int8-conv.ts";

/** float32 throughout, or 8 bits where the work is: the transformer's matrices and the decoder's convolutions. */
export type Precision = "fp32" | "int8";
export const PRECISIONS: readonly Precision[] = ["fp32", "int8"];

/** Ranges of the decoder's images by the name of the convolution's weight; see `decoderRanges`. */
export type DecoderRanges = ReadonlyMap<string, ConvRanges>;

/** Logits choose codes, so their matrix stays as it is; it is a small part of the work. */
const KEPT = new Set(["head.weight"]);

/** How a graph of sampling is brought to 8 bits, by its name; the others stay as they are. */
const INT8: Readonly<Record<string, (g: Graph, ranges: DecoderRanges) => Graph>> = {
  class: (g) => int8Products(g),
  scale: (g) => int8Products(g, { choose: (weight) => !KEPT.has(weight) }),
  decode: (g, ranges) => int8Convs(g, ranges),
};

/** Whether the graph of this name needs the decoder's ranges. */
export const needsRanges = (name: string, precision: Precision): boolean =>
  precision === "int8" && name === "decode";

/** The graph of this name as it runs at this precision. */
export const atPrecision = (
  name: string,
  g: Graph,
  { precision, ranges }: { precision: Precision; ranges: DecoderRanges },
): Graph => (precision === "int8" ? (INT8[name]?.(g, ranges) ?? g) : g);
