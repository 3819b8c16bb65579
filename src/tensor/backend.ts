/** What a backend is: it compiles a graph and runs it. Not how: see backends/. */

import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { bindDims, sizeOfDim } from "./dims.ts";
import { type Graph, nameList, type Value } from "./graph.ts";
import { formatShape, ShapeError } from "./shape.ts";

export type BackendName = "ort-node" | "ort-web" | "ort-webgpu" | "reference";
export type Tensors = Readonly<Record<string, Tensor>>;

export interface CompileOptions {
  /** Which outputs of the graph are wanted; all by default. */
  outputs?: readonly string[];
  /** Threads inside one op. Default: every core. */
  threads?: number;
  /** Records the time of every op; read it with `profile()`. */
  profile?: boolean;
  /**
   * Looks at what every node gives and throws NonFiniteError naming the first that makes a NaN, or an infinity
   * from finite inputs. Slow and hungry: every intermediate comes to the host.
   */
  nanCheck?: boolean;
  /**
   * Every result is written into tensors given at run, which must then name them all. Where the runtime allows,
   * nothing is copied: a training step gives three arrays per parameter.
   */
  resultsInto?: boolean;
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

export interface BackendOptions {
  /** Called before work whose result is kept on disk for later starts; it may be called more than once. */
  firstUse?: () => void;
}

type OpenBackend = (options: BackendOptions) => Promise<Backend>;
const BACKENDS: Readonly<Record<BackendName, OpenBackend>> = {
  "ort-node": async ({ firstUse }) =>
    (await import("./backends/ort-node.ts")).ortNode({ weights: { making: firstUse } }),
  "ort-web": async () => (await import("./backends/ort-web.ts")).ortWeb(),
  "ort-webgpu": async () => (await import("./backends/ort-webgpu.ts")).ortWebGpu(),
  reference: async () => (await import("./backends/reference.ts")).reference(),
};

/**
 * Opens a backend by name, or the fastest that works here: the native runtime in Node, WebAssembly elsewhere and
 * where the native package is missing.
 */
export async function openBackend(
  name?: BackendName,
  options: BackendOptions = {},
): Promise<Backend> {
  if (name) {
    const make = BACKENDS[name];
    if (!make)
      throw new InputError(
        `backend "${name}" is unknown; use one of ${Object.keys(BACKENDS).join(", ")}`,
      );
    return make(options);
  }
  if (!inNode()) return BACKENDS["ort-web"](options);
  try {
    return await BACKENDS["ort-node"](options);
  } catch (error) {
    // The package or its binary for this platform is not installed; whatever it is, wasm needs neither.
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    process.emitWarning(`no native kernels (${why}); WebAssembly goes on, several times slower`, {
      type: "Underpaint",
      detail: "underpaint doctor tells what is missing",
    });
    return BACKENDS["ort-web"](options);
  }
}

/** True in Node and what mimics it; false in browsers and their workers. */
export const inNode = (): boolean =>
  typeof process !== "undefined" && Boolean(process.versions?.node);

/** A graph that was built well failed while compiling or running. Says where; carries op and scope. */
export class RunError extends Error {
  override readonly name = "RunError";
  constructor(
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

/** A tensor's type as it stands in messages: "float32[2, 3]". */
export const formatType = ({ dtype, shape }: Pick<Value, "dtype" | "shape">): string =>
  `${dtype}${formatShape(shape)}`;

/**
 * Binds the names of dimensions and checks feeds against the graph's inputs before anything runs.
 * Tensors that no input asks for are ignored. Throws ShapeError.
 */
export function checkFeeds(inputs: readonly Value[], feeds: Tensors): Map<string, number> {
  const bound = new Map<string, number>();
  for (const v of inputs) {
    const fed = feeds[v.name];
    if (!fed)
      throw new ShapeError(
        `run: input "${v.name}" (${formatType(v)}) is missing among ${nameList(Object.keys(feeds))}; feed it`,
      );
    if (fed.dtype === v.dtype) bindDims(v.shape, fed.shape, bound);
  }
  // Compound names ("P+L") are checked once the plain ones are bound, whatever the order of the inputs.
  for (const v of inputs) checkFit(`input "${v.name}"`, v, { tensor: feeds[v.name]!, bound });
  return bound;
}

/** Checks a tensor that a result is to be written into. Throws ShapeError. */
export const checkInto = (name: string, v: Value, tensor: Tensor): void =>
  checkFit(`into "${name}"`, v, { tensor, bound: new Map() });

/** Checks that there is a tensor for every result of a session compiled with `resultsInto`. Throws ShapeError. */
export function checkAllInto(names: readonly string[], into: Tensors): void {
  const missing = names.filter((name) => !into[name]);
  if (missing.length)
    throw new ShapeError(
      `run: the session was compiled with resultsInto, and into lacks ${nameList(missing)}; give a tensor for each, or ask for fewer outputs`,
      { missing },
    );
}

function checkFit(
  what: string,
  v: Value,
  { tensor, bound }: { tensor: Tensor; bound: Map<string, number> },
): void {
  bindDims(v.shape, tensor.shape, bound);
  const fits =
    tensor.dtype === v.dtype &&
    tensor.shape.length === v.shape.length &&
    v.shape.every((d, i) => sizeOfDim(d, bound) === tensor.shape[i]);
  const sizes = Object.fromEntries(bound);
  const known = bound.size ? ` where ${JSON.stringify(sizes)}` : "";
  if (!fits)
    throw new ShapeError(
      `run: ${what} is ${formatType(tensor)}, wanted ${formatType(v)}${known}; reshape or cast it`,
      { got: tensor.shape, wanted: v.shape, bound: sizes },
    );
  const size = tensor.shape.reduce((n, d) => n * d, 1);
  if (tensor.data.length !== size)
    throw new ShapeError(
      `run: ${what} holds ${tensor.data.length} elements, ${formatType(tensor)} has ${size}; pass data of the shape's size`,
    );
}

/** Adds up rows of the same op and scope, slowest first. */
export function tallyProfile(rows: readonly ProfileRow[]): ProfileRow[] {
  const total = new Map<string, ProfileRow>();
  for (const row of rows) {
    const key = `${row.scope}/${row.op}`;
    const { calls = 0, ms = 0 } = total.get(key) ?? {};
    total.set(key, { ...row, calls: calls + row.calls, ms: ms + row.ms });
  }
  return [...total.values()].sort((a, b) => b.ms - a.ms);
}
