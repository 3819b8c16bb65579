/** Graphs as text, one line a node: for eyes and error messages. Nothing parses this. */

import { isLazy } from "../formats/lazy.ts";
import type { Graph, Node, Value } from "./graph.ts";
import { formatShape } from "./shape.ts";

const SHOWN = 8; // entries of a constant worth reading in a line

/** "Conv in blocks.3.attn (node blocks.3.attn/Conv_17)". */
export const formatNode = (node: Node): string =>
  `${node.op}${node.scope ? ` in ${node.scope}` : ""} (node ${node.outputs[0]!.name})`;

const typed = (v: Value): string => `${v.name} ${v.dtype}${formatShape(v.shape)}`;

function operand(g: Graph, v: Value | undefined): string {
  if (!v) return "-";
  const weight = g.constants.get(v);
  const data = weight && !isLazy(weight) ? weight.data : undefined;
  if (!data || data.length > SHOWN) return typed(v);
  return `${v.dtype}${formatShape(v.shape)}{${Array.from(data as ArrayLike<number>, String).join(" ")}}`;
}

export interface PrintOptions {
  /** Only nodes of this scope and of those inside it, wherever it stands in the path. */
  scope?: string;
}

/**
 * The graph as text: its inputs, then one line a node (scope, result, op, operands with dtype and shape,
 * attributes), then its outputs. Small constants show their numbers.
 */
export function printGraph(g: Graph, { scope }: PrintOptions = {}): string {
  const inside = (path: string) => !scope || `.${path}.`.includes(`.${scope}.`);
  const lines = g.nodes
    .filter((n) => inside(n.scope))
    .map((n) => {
      const attrs = Object.entries(n.attrs).map(([k, v]) => ` ${k}=${v}`);
      const inputs = n.inputs.map((v) => operand(g, v)).join(", ");
      return `${n.scope || "."}: ${n.outputs.map(typed).join(", ")} = ${n.op}(${inputs})${attrs.join("")}`;
    });
  if (scope) return lines.join("\n");
  const inputs = g.inputs.map((v) => `input ${typed(v)}`);
  const outputs = [...g.outputs].map(([name, v]) => `output ${name} = ${typed(v)}`);
  return [`graph ${g.name}`, ...inputs, ...lines, ...outputs].join("\n");
}
