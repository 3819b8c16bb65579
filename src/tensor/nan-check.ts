/** Names the first node that turns finite numbers into NaN or infinity. Does not run graphs. */

import type { Tensor } from "../formats/dtype.ts";
import { float16Value } from "../formats/float16.ts";
import type { Node, Value } from "./graph.ts";
import { formatNode } from "./print.ts";

/** A run gave NaN or an infinity. Says which node, in which scope, from what. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  constructor(
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

/** What a tensor holds besides finite numbers. */
export interface Finiteness {
  readonly nan: boolean;
  readonly infinite: boolean;
}
const FINITE: Finiteness = { nan: false, infinite: false };

export function finitenessOf({ dtype, data }: Pick<Tensor, "dtype" | "data">): Finiteness {
  if (!dtype.startsWith("float")) return FINITE;
  let [nan, infinite] = [false, false];
  for (let i = 0; i < data.length; i++) {
    const x = dtype === "float16" ? float16Value(data[i] as number) : (data[i] as number);
    if (Number.isNaN(x)) nan = true;
    else if (!Number.isFinite(x)) infinite = true;
  }
  return { nan, infinite };
}

/**
 * Follows finiteness through nodes in running order. An infinity is only blamed on a node whose inputs were all
 * finite, so that masks of -Infinity may pass; a NaN on the first node that gives one.
 */
export function nanWatch() {
  const known = new Map<Value, Finiteness>();
  return {
    /** An input or a constant. Throws NonFiniteError when a fed tensor already holds NaN. */
    feed(v: Value, tensor: Pick<Tensor, "dtype" | "data">): void {
      const found = finitenessOf(tensor);
      if (found.nan)
        throw new NonFiniteError(
          `run: input "${v.name}" already holds NaN; look at what was fed or stored`,
          { input: v.name },
        );
      known.set(v, found);
    },
    /** What a node gave. Throws NonFiniteError when it is the first to break. */
    node(node: Node, results: readonly (Pick<Tensor, "dtype" | "data"> | undefined)[]): void {
      const before = node.inputs.map((v) => (v && known.get(v)) ?? FINITE);
      results.forEach((tensor, i) => {
        if (!tensor) return;
        const found = finitenessOf(tensor);
        known.set(node.outputs[i]!, found);
        const blame = found.nan || (found.infinite && !before.some((f) => f.infinite));
        if (blame)
          throw new NonFiniteError(
            `run: ${formatNode(node)} gives ${found.nan ? "NaN" : "infinity"} from ${
              before.some((f) => f.infinite) ? "infinite" : "finite"
            } inputs; look at what flows into it`,
            { op: node.op, scope: node.scope, node: node.outputs[0]!.name },
          );
      });
    },
  };
}
