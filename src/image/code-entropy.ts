/** The entropy term that keeps a codebook in use at every scale. Changes no quantizer: it reads z and the codes. */

import type { Bind } from "../nn/bind.ts";
import type { Value } from "../tensor/graph.ts";
import {
  add,
  div,
  exp,
  gemm,
  l2Normalize,
  log,
  logSoftmax,
  mean,
  mul,
  neg,
  square,
  stopGradient,
  sub,
  sum,
} from "../tensor/ops.ts";
import type { VqvaeConfig } from "./config.ts";

/** Width of the soft choice, as a share of the mean distance between vectors and codes. */
const TEMPERATURE = 0.02;

/**
 * Mean over scales of (mean entropy of a vector's soft choice of a code - entropy of the mean choice) / log V: least
 * where every choice is sure and all codes are chosen equally often. After the entropy loss of MAGVIT-v2 (Yu et al.
 * 2023, section 3.1). Differs: taken per scale, so that coarse scales cannot hide behind fine ones, and with
 * distances over their mean, so that it needs no tuning to the size of the vectors. The vectors are taken as they
 * are: the term moves codes to vectors, and never the encoder.
 * @param z what is quantized at each scale: N C @returns a scalar from -1 to 0
 */
export function codeEntropy(z: readonly Value[], p: Bind, config: VqvaeConfig): Value {
  const { codes: V, usingZnorm } = config;
  const table = p("quantize.embedding.weight"); // V C
  const codes = usingZnorm ? l2Normalize(table) : table;
  const lengths = sum(square(codes), { axes: [1] }); // V
  const terms = z.map((rows) => {
    const fixed = stopGradient(rows);
    const vectors = usingZnorm ? l2Normalize(fixed) : fixed;
    const own = sum(square(vectors), { axes: [1], keepDims: true }); // N 1
    const distances = add(gemm(vectors, codes, { bias: lengths, transB: true, alpha: -2 }), own); // N V
    const width = add(mul(stopGradient(mean(distances)), TEMPERATURE), 1e-12);
    const logP = logSoftmax(neg(div(distances, width)));
    const P = exp(logP);
    const sure = neg(mean(sum(mul(P, logP), { axes: [1] })));
    const average = mean(P, { axes: [0] }); // V
    const spread = neg(sum(mul(average, logOf(average))));
    return sub(sure, spread);
  });
  return mul(terms.reduce(add), 1 / (terms.length * Math.log(V)));
}

/** A code that nothing comes near has no share at all: its logarithm is kept finite. */
const logOf = (x: Value): Value => log(add(x, 1e-12));
