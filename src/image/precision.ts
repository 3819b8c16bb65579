/** Which parts of a model run in 8 bits, and how their graphs change for it. What that costs in quality: docs and bench. */

import type { Graph } from "../tensor/graph.ts";
import { int8Products } from "../tensor/int8.ts";
import { type ConvRanges, int8Convs } from "../tensor/int8-conv.ts";

/** float32 throughout, or 8 bits where the work is: the transformer's matrices and the decoder's convolutions. */
export type Precision = "fp32" | "int8";
export const PRECISIONS: readonly Precision[] = ["fp32", "int8"];

/** What may be asked for: "auto" is 8 bits where they are faster, see `resolvePrecision`. */
export type PrecisionChoice = Precision | "auto";
export const PRECISION_CHOICES: readonly PrecisionChoice[] = [...PRECISIONS, "auto"];

/**
 * Where "auto" means 8 bits: backends whose kernels for them are faster, and how many parameters a model needs there for
 * that to be worth its quality: 10 M gained a fifth, 419 M more than half (bench/results/precision.md).
 */
const INT8_PAYS: Readonly<Record<string, number>> = { "ort-node": 50e6 };

/** The precision that a choice means for a model of so many parameters on that backend. */
export const resolvePrecision = (
  choice: PrecisionChoice,
  { backend, parameters }: { backend: string; parameters: number },
): Precision => {
  if (choice !== "auto") return choice;
  return parameters >= (INT8_PAYS[backend] ?? Number.POSITIVE_INFINITY) ? "int8" : "fp32";
};

/** Ranges of the decoder's images by the name of the convolution's weight; see `decoderRanges`. */
export type DecoderRanges = ReadonlyMap<string, ConvRanges>;

/**
 * Logits choose codes, and the last convolution draws the picture (0.9 dB on the embedded model), so their weights stay
 * as they are; they are a small part of the work.
 */
const KEPT = new Set(["head.weight", "decoder.conv_out.weight"]);
const choose = (weight: string) => !KEPT.has(weight);

/** How a graph of sampling is brought to 8 bits, by its name; the others stay as they are. */
const INT8: Readonly<Record<string, (g: Graph, ranges: DecoderRanges) => Graph>> = {
  class: (g) => int8Products(g),
  scale: (g) => int8Products(g, { choose }),
  decode: (g, ranges) => int8Convs(g, ranges, { choose }),
};

/** The graph of this name as it runs at this precision. */
export const atPrecision = (
  name: string,
  g: Graph,
  { precision, ranges }: { precision: Precision; ranges: DecoderRanges },
): Graph => (precision === "int8" ? (INT8[name]?.(g, ranges) ?? g) : g);
