/** FusedMatMul as Transpose, MatMul and a factor, for runtimes that have no kernel for it. Changes no numbers but by rounding. */

import type { Graph, Node, Value } from "./graph.ts";
import { matmul, mul, swapLast } from "./ops.ts";
import { rewrite } from "./rewrite.ts";

/**
 * Where a product's operands are read transposed, they are transposed before; the runtime folds that for weights.
 * Without this, onnxruntime-web 1.30 runs every product of the transformer in WebAssembly, between copies.
 */
export const plainProducts = (g: Graph): Graph =>
  g.nodes.some(isFused)
    ? rewrite(g, (node, copied) => (isFused(node) ? [plain(node, copied)] : undefined))
    : g;

const isFused = ({ op }: Node): boolean => op === "FusedMatMul";

function plain({ inputs, attrs }: Node, copied: (value: Value) => Value): Value {
  const { transA = 0, transB = 0, alpha = 1 } = attrs;
  const [a, b] = inputs.map((v) => copied(v!));
  const y = matmul(transA ? swapLast(a!) : a!, transB ? swapLast(b!) : b!);
  return alpha === 1 ? y : mul(y, Number(alpha));
}
