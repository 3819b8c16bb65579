/** What a backend is: it compiles a graph and runs it. Not how: see backends/. */

import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Graph, Value } from "./graph.ts";

export type BackendName = "ort-node" | "ort-web" | "reference";
export type Tensors = Readonly<Record<string, Tensor>>;

export interface CompileOptions {
  /** Which outputs of the graph are wanted; all by default. */
  outputs?: readonly string[];
  /** Threads inside one op. Default: every core. */
  threads?: number;
  /** Records the time of every op; read it with `profile()`. */
  profile?: boolean;
}

export interface RunOptions {
  /** Tensors of the right shape that results are written into, instead of new memory. */
  into?: Tensors;
  /** Only these outputs. */
  outputs?: readonly string[];
}

/** A compiled graph. Has a life: release it. */
export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Runs once. Throws ShapeError naming the input that is missing or has another shape or dtype. */
  run(feeds: Tensors, options?: RunOptions): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
  /** Time per op of all runs so far; stops recording. Only when compiled with `profile`. */
  profile?(): Promise<ProfileRow[]>;
}

/** Time spent in one kind of op, most first. */
export interface ProfileRow {
  readonly op: string;
  readonly scope: string;
  readonly calls: number;
  /** Milliseconds, all calls together. */
  readonly ms: number;
}

export interface Backend {
  readonly name: BackendName;
  compile(graph: Graph, options?: CompileOptions): Promise<Session>;
}

const BACKENDS: Readonly<Record<BackendName, () => Promise<Backend>>> = {
  "ort-node": async () => (await import("./backends/ort-node.ts")).ortNode(),
  "ort-web": async () => (await import("./backends/ort-web.ts")).ortWeb(),
  reference: async () => (await import("./backends/reference.ts")).reference(),
};

/**
 * Opens a backend by name, or the fastest that works here: the native runtime in Node, WebAssembly elsewhere and
 * where the native package is missing.
 */
export async function openBackend(name?: BackendName): Promise<Backend> {
  if (name) {
    const make = BACKENDS[name];
    if (!make)
      throw new InputError(
        `backend "${name}" is unknown; use one of ${Object.keys(BACKENDS).join(", ")}`,
      );
    return make();
  }
  const inNode = typeof process !== "undefined" && Boolean(process.versions?.node);
  if (!inNode) return BACKENDS["ort-web"]();
  try {
    return await BACKENDS["ort-node"]();
  } catch {
    return BACKENDS["ort-web"]();
  }
}

/** Binds the names of dimensions and checks feeds against the graph's inputs before anything runs. */
export function checkFeeds(inputs: readonly Value[], feeds: Tensors): Map<string, number> {
  const bound = new Map<string, number>();
  for (const v of inputs) {
    const fed = feeds[v.name];
    const want = `${v.dtype}[${v.shape.join(", ")}]`;
    if (!fed) throw new InputError(`run: input "${v.name}" (${want}) is missing; feed it`);
    const got = `${fed.dtype}[${fed.shape.join(", ")}]`;
    const fits =
      fed.dtype === v.dtype &&
      fed.shape.length === v.shape.length &&
      v.shape.every((d, i) => {
        const n = fed.shape[i]!;
        if (typeof d === "number") return d === n;
        const known = bound.get(d);
        if (known === undefined) bound.set(d, n);
        return known === undefined || known === n;
      });
    if (!fits)
      throw new InputError(`run: input "${v.name}" is ${got}, wanted ${want}; reshape or cast it`, {
        bound: Object.fromEntries(bound),
      });
  }
  return bound;
}
