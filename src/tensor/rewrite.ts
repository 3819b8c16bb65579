/** A graph copied node by node, some nodes replaced by others. Knows no op. */

import {
  addNode,
  constant,
  createGraph,
  type Graph,
  input,
  type Node,
  output,
  type Value,
  withScope,
} from "./graph.ts";

/** What stands for a node in the copy: values for its outputs, or nothing for the node as it is. */
export type Replace = (node: Node, copied: (value: Value) => Value) => readonly Value[] | undefined;

/**
 * The same graph with some nodes replaced. Names of inputs, outputs and of the constants still used stay.
 * @param replace builds into the copy, from copies of the old node's inputs: `copied(node.inputs[0]!)`
 * @param known receives what stands for each old value
 */
export function rewrite(g: Graph, replace: Replace, known = new Map<Value, Value>()): Graph {
  const copy = createGraph(g.name);
  for (const v of g.inputs) known.set(v, input(copy, v.name, v.shape, v.dtype));
  const copied = (v: Value): Value => {
    let twin = known.get(v);
    if (!twin) {
      // Only those that are asked for; names that were not given by anybody are made anew.
      const name = v.name.startsWith("const_") ? undefined : v.name;
      twin = constant(copy, g.constants.get(v)!, name);
      known.set(v, twin);
    }
    return twin;
  };
  for (const node of g.nodes) {
    const results = withScope(copy, node.scope, () => {
      const { op, inputs, attrs, domain, outputs } = node;
      return (
        replace(node, copied) ??
        addNode(
          copy,
          op,
          inputs.map((v) => v && copied(v)),
          attrs,
          { domain, outputs: outputs.length },
        )
      );
    });
    node.outputs.forEach((v, i) => {
      if (results[i]) known.set(v, results[i]);
    });
  }
  for (const [name, v] of g.outputs) output(copy, name, copied(v));
  return copy;
}
