/** Ops on numbers in 8 bits, for inference. Which parts of a graph use them: int8.ts, int8-conv.ts. */

import { type Attrs, addNode, type Value } from "./graph.ts";

const MS = { domain: "com.microsoft" } as const;

/** What levels stand for: (level - zero)·scale. */
export interface Steps {
  readonly scale: Value;
  readonly zero: Value;
}

/** A value in 8 bits. */
export interface Levels extends Steps {
  readonly levels: Value;
}

/** Nearest level of each number, kept in range. x float32, scale and zero point scalars. */
export const quantize = (x: Value, { scale, zero }: Steps): Levels => ({
  levels: addNode(x.graph, "QuantizeLinear", [x, scale, zero])[0]!,
  scale,
  zero,
});

/** Numbers from levels. */
export const dequantize = ({ levels, scale, zero }: Levels): Value =>
  addNode(levels.graph, "DequantizeLinear", [levels, scale, zero])[0]!;

/**
 * 2-D convolution of levels, summed exactly in 32 bits and brought to the levels `to`; for inference.
 * x B H W C uint8 (channels last: the kernels want it so), weight O C kh kw int8 with a scale per output channel, bias
 * int32 in units of both scales -> B H W O.
 */
export function conv2dInt8(
  x: Levels,
  { levels: weight, scale, zero }: Levels,
  { bias, to, attrs }: { bias: Value; to: Steps; attrs: Attrs },
): Levels {
  const inputs = [x.levels, x.scale, x.zero, weight, scale, zero, to.scale, to.zero, bias];
  const how = { ...attrs, channels_last: 1 };
  return { ...to, levels: addNode(weight.graph, "QLinearConv", inputs, how, MS)[0]! };
}

/**
 * x·W with x in unsigned and W in signed 8 bits, summed exactly in 32, given back as float32; for inference.
 * x (..., M, K) uint8, weight K N int8, scales N -> (..., M, N).
 */
export function matmulInt8(x: Levels, weight: Value, scales: Value): Value {
  const inputs = [x.levels, weight, x.scale, scales, x.zero];
  return addNode(weight.graph, "MatMulIntegerToFloat", inputs, {}, MS)[0]!;
}
