/** Reads ONNX Runtime's profile: time per op and scope. Opens no files. */

import { type ProfileRow, RunError, tallyProfile } from "../backend.ts";
import type { Node } from "../graph.ts";

interface Event {
  readonly cat?: string;
  readonly name?: string;
  /** Microseconds. */
  readonly dur?: number;
  readonly args?: { readonly op_name?: string };
}

const KERNEL = "_kernel_time";

/**
 * Rows from the trace-event JSON that a session with profiling wrote. Nodes that the runtime fused keep the scope
 * that their new name begins with, where it has one.
 */
export function profileRows(json: string, nodes: ReadonlyMap<string, Node>): ProfileRow[] {
  let events: Event[];
  try {
    events = JSON.parse(json) as Event[];
  } catch (cause) {
    throw new RunError("profile: the runtime's profile is not JSON; run the graph once first", {
      cause,
    });
  }
  const rows = events
    .filter((e) => e.cat === "Node" && e.name?.endsWith(KERNEL))
    .map((e): ProfileRow => {
      const name = e.name!.slice(0, -KERNEL.length);
      const node = nodes.get(name);
      const op = e.args?.op_name ?? node?.op ?? name;
      return { op, scope: node?.scope ?? scopeIn(name, nodes), calls: 1, ms: (e.dur ?? 0) / 1000 };
    });
  return tallyProfile(rows);
}

/** Scope of the node whose name a fused node's name carries on. */
function scopeIn(name: string, nodes: ReadonlyMap<string, Node>): string {
  for (const part of name.split(/(?<=_\d+)(?=[^\d])/))
    if (nodes.has(part)) return nodes.get(part)!.scope;
  return "";
}
