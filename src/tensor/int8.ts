/** Products with large constant matrices in 8 bits: a rewrite for inference. Which layers bear it, the caller measures. */

import type { TypedArray } from "../formats/dtype.ts";
import { deriveWeights, type Weight, weightBytes } from "../formats/lazy.ts";
import { constant, type Graph, isConstant, type Node, scalar, type Value } from "./graph.ts";
import { add, div, max, maximum, min, mul, neg } from "./ops.ts";
import { matmulInt8, quantize } from "./ops-int8.ts";
import { rewrite } from "./rewrite.ts";

/** x·Wᵀ (+ bias) as `linear` builds it, W being a float32 constant. */
interface Product {
  readonly x: Value;
  readonly weight: Value;
  readonly bias: Value | undefined;
}

/** Smaller matrices gain nothing. */
const LEAST_BYTES = 2 ** 18;

export interface Int8Options {
  /** Whether the product with this weight is done in 8 bits; default all large ones. */
  choose?: (name: string) => boolean;
}

/**
 * The graph with its large constant matrices in int8, one scale per row of W, and what they are multiplied with in
 * uint8, one scale per row of x found at every run: the largest absolute value becomes 127 (Dettmers et al. 2022,
 * arXiv 2208.07339, section 2.1, "vector-wise quantization"). Sums are exact, so the error is that of rounding alone.
 */
export function int8Products(g: Graph, { choose = () => true }: Int8Options = {}): Graph {
  return rewrite(g, (node, copied) => {
    const product = asProduct(node);
    if (!product || !choose(product.weight.name)) return undefined;
    const { x, weight, bias } = product;
    const y = int8Product(copied(x), g.constants.get(weight)!, weight.name);
    return [bias ? add(y, copied(bias)) : y];
  });
}

function asProduct(node: Node): Product | undefined {
  const { op, inputs, attrs } = node;
  const [x, weight, bias] = inputs;
  const isLinear = op === "FusedMatMul" || op === "Gemm";
  if (!isLinear || attrs.transA || !attrs.transB || attrs.alpha !== 1 || attrs.beta !== undefined)
    return undefined;
  if (!x || !weight || !isConstant(weight) || weight.dtype !== "float32") return undefined;
  const held = weight.graph.constants.get(weight)!;
  const isLarge = weight.shape.length === 2 && weightBytes(held) >= LEAST_BYTES;
  return isLarge ? { x, weight, bias } : undefined;
}

/** Levels of x are unsigned: -127 to 127 moved up. */
const ZERO = 128;
const MOST = 127;

/** x (..., K), W N K -> x·Wᵀ (..., N). */
function int8Product(x: Value, source: Weight, name: string): Value {
  const g = x.graph;
  const [N, K] = source.shape as [number, number];
  const { q, scale: columns } = deriveWeights(source, {
    name: "int8 columns, 1",
    outputs: {
      q: { dtype: "int8", shape: [K, N] },
      scale: { dtype: "float32", shape: [N] },
    },
    make: (data) => int8Columns(data, N),
  });
  const [low, high] = [min, max].map((end) => end(x, { axes: [-1], keepDims: true })); // ... 1
  // A row of zeros has no largest value to divide by.
  const step = mul(maximum(maximum(high!, neg(low!)), 1e-30), 1 / MOST); // ... 1
  const levels = quantize(div(x, step), { scale: scalar(g, 1), zero: scalar(g, ZERO, "uint8") });
  const weight = constant(g, q, `${name} int8`);
  return mul(matmulInt8(levels, weight, constant(g, columns, `${name} scales`)), step);
}

/** Rows that are turned together: their 16 bytes of a column stand in one line of the cache. */
const TOGETHER = 16;

/** Rows of W become columns in int8, each with the scale that makes its largest value 127. N K -> K N, N. */
export function int8Columns(data: TypedArray, N: number): { q: Int8Array; scale: Float32Array } {
  const K = data.length / N;
  const from = data as Float32Array;
  const [q, scale] = [new Int8Array(data.length), new Float32Array(N)];
  const levels = new Float64Array(N);
  for (let n = 0; n < N; n++) {
    let most = 0;
    for (let i = n * K; i < (n + 1) * K; i++) {
      const size = Math.abs(from[i]!);
      if (size > most) most = size;
    }
    scale[n] = most / MOST;
    levels[n] = most > 0 ? MOST / most : 0;
  }
  for (let start = 0; start < N; start += TOGETHER) {
    const end = Math.min(start + TOGETHER, N);
    for (let k = 0; k < K; k++)
      for (let n = start; n < end; n++) q[k * N + n] = Math.round(from[n * K + k]! * levels[n]!);
  }
  return { q, scale };
}
