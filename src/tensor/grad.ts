/** Reverse-mode differentiation: walks the graph backwards and appends gradient nodes to it. Rules: vjp.ts. */

import { filled, type Node, scalar, type Value, withScope } from "./graph.ts";
import { add } from "./ops.ts";
import { formatNode } from "./print.ts";
import { elements, formatShape, ShapeError, staticShape } from "./shape.ts";
import { NO_GRADIENT, vjp } from "./vjp.ts";

/**
 * Gradients of a scalar with respect to `wrt`, in that order, appended to the same graph.
 * A value that does not influence the loss gets zeros. Throws ShapeError when the loss is not a
 * scalar, or an op on the way has no rule (stopGradient says "none wanted").
 */
export function grad(loss: Value, wrt: readonly Value[]): Value[] {
  const g = loss.graph;
  if (elements(loss.shape, "loss") !== 1)
    throw new ShapeError(
      `grad: the loss has shape ${formatShape(loss.shape)}; take a mean or a sum`,
    );
  const odd = [loss, ...wrt].find((v) => v.dtype !== "float32");
  if (odd)
    throw new ShapeError(`grad: ${odd.name} is ${odd.dtype}; gradients are taken of float32 only`);
  const active = activeValues(g.nodes, wrt);
  const grads = new Map<Value, Value>();
  const seed = loss.shape.length ? filled(g, staticShape(loss.shape, "loss"), 1) : scalar(g, 1);
  grads.set(loss, seed);
  const forward = g.nodes.slice();
  withScope(g, "grad", () => {
    for (let i = forward.length - 1; i >= 0; i--) pullBack(forward[i]!, grads, active);
  });
  return wrt.map((v) => grads.get(v) ?? filled(g, staticShape(v.shape, v.name), 0));
}

/** Every float that depends on one of `wrt`; integers and truths carry no gradient on. */
function activeValues(nodes: readonly Node[], wrt: readonly Value[]): Set<Value> {
  const active = new Set(wrt);
  for (const node of nodes)
    if (node.op !== "StopGradient" && node.inputs.some((v) => v && active.has(v)))
      for (const y of node.outputs) if (y.dtype.startsWith("float")) active.add(y);
  return active;
}

function pullBack(node: Node, grads: Map<Value, Value>, active: ReadonlySet<Value>): void {
  const gs = node.outputs.map((y) => grads.get(y));
  if (!gs.some(Boolean) || !node.inputs.some((v) => v && active.has(v))) return;
  const rule = vjp[node.op];
  if (!rule)
    throw new ShapeError(
      `grad: no rule for ${formatNode(node)}; ${NO_GRADIENT[node.op] ?? "add one to vjp.ts or stop the gradient before it"}`,
      { op: node.op, scope: node.scope },
    );
  const context = { node, attrs: node.attrs, x: node.inputs as Value[], y: node.outputs[0]! };
  withScope(context.y.graph, node.scope, () => {
    // Ops with several outputs may get gradients on any of them; the first is undefined where nothing flowed.
    const pullback = rule(context, gs[0]!, gs);
    node.inputs.forEach((x, i) => {
      if (!x || !active.has(x)) return;
      const dx = pullback[i]?.();
      if (!dx) return;
      const before = grads.get(x);
      grads.set(x, before ? add(before, dx) : dx);
    });
  });
}
