/** Where a graph takes its weights from: inputs in training, constants in inference. Holds no weights of its own. */

import type { DType } from "../formats/dtype.ts";
import type { WeightMap } from "../formats/lazy.ts";
import { constant, type Graph, input, type Value } from "../tensor/graph.ts";

/** Gives the weight of a state_dict name. */
export type Bind = (name: string) => Value;

/** The same weights under a shorter path: `under(p, "blocks.3")("attn.proj.weight")`. */
export const under =
  (p: Bind, prefix: string): Bind =>
  (name) =>
    p(`${prefix}.${name}`);

interface Named {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/**
 * Weights as graph inputs, made when first asked for; `bound` lists those, in order of use.
 * @param options.fixed weights that are constants instead: they are not trained
 */
export function bindInputs(
  g: Graph,
  specs: readonly Named[],
  { fixed = new Map() }: { fixed?: WeightMap } = {},
): Bind & { readonly bound: Map<string, Value> } {
  const byName = new Map(specs.map((s) => [s.name, s]));
  const bound = new Map<string, Value>();
  const constants = bindConstants(g, fixed);
  const bind = (name: string) => {
    if (fixed.has(name)) return constants(name);
    let value = bound.get(name);
    if (!value) {
      const spec = byName.get(name);
      if (!spec) throw new Error(`the model asks for weight "${name}", which its layout lacks`);
      value = input(g, name, spec.shape, spec.dtype);
      bound.set(name, value);
    }
    return value;
  };
  return Object.assign(bind, { bound });
}

/** Weights as constants of the graph, which the runtime may repack for speed. */
export function bindConstants(g: Graph, weights: WeightMap): Bind {
  const bound = new Map<string, Value>();
  return (name) => {
    let value = bound.get(name);
    if (!value) {
      const weight = weights.get(name);
      if (!weight) throw new Error(`the model asks for weight "${name}", which is not there`);
      value = constant(g, weight, name);
      bound.set(name, value);
    }
    return value;
  };
}
