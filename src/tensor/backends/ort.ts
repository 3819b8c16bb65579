/** A backend over any ONNX Runtime that speaks onnxruntime-common. Chooses options; holds no kernels. */

import type { InferenceSession, Tensor as OrtTensor, TypedTensor } from "onnxruntime-common";
import { type DType, HOST, type Tensor, type TypedArray } from "../../formats/dtype.ts";
import type { OnnxInitializer } from "../../formats/onnx.ts";
import {
  type Backend,
  type BackendName,
  type CompileOptions,
  checkAllInto,
  checkFeeds,
  checkInto,
  formatType,
  RunError,
  type RunOptions,
  type Session,
  type Tensors,
} from "../backend.ts";
import { type Graph, type Node, pickOutputs, type Value } from "../graph.ts";
import { nanWatch } from "../nan-check.ts";
import { formatNode } from "../print.ts";
import { neededConstants, neededNodes, toOnnx } from "../to-onnx.ts";
import { type Fetches, runDirect, STOP, stopsBeforeCopying } from "./ort-direct.ts";
import { profileRows } from "./ort-profile.ts";
import { type PlaceWeights, placeInModel } from "./ort-weights.ts";

/** What we use of onnxruntime-node and onnxruntime-web, which share their types. */
export interface OrtModule {
  InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  Tensor: new (type: string, data: TypedArray, dims: readonly number[]) => OrtTensor;
}

/** Where a runtime may write its profile, and how to read it back. */
export interface ProfileSink {
  readonly prefix: string;
  /** The JSON text, once profiling has ended; removes the file. */
  read(): Promise<string>;
}

export interface OrtOptions {
  /** Session options of this runtime on top of ours. */
  session?: InferenceSession.SessionOptions;
  /** The runtime does not write into tensors given for results; copy there instead. */
  copyInto?: boolean;
  /** The binding copies results that were given tensors; try to stop it where a session asks for `resultsInto`. */
  stopCopies?: boolean;
  /** Where constants are put; default: into the model. */
  placeWeights?: PlaceWeights;
  /** Opens a place for a profile; without it `compile` refuses to profile. */
  profileSink?: () => Promise<ProfileSink>;
}

/** Everything one compiled session knows. */
interface Compiled {
  readonly ort: OrtModule;
  readonly graph: Graph;
  readonly session: InferenceSession;
  /** Nodes by the name they have in the runtime. */
  readonly nodes: ReadonlyMap<string, Node>;
  readonly copyInto: boolean;
  readonly resultsInto: boolean;
  /** The model begins with STOP: nothing is copied. */
  readonly direct: boolean;
  readonly sink?: ProfileSink;
  /** The intermediate results that come to the host to be looked at. */
  readonly watched?: readonly Value[];
  /** The constants, where they are looked at too. */
  readonly constants?: ReadonlyMap<Value, OnnxInitializer>;
  /** Removes what was written for this session. */
  readonly clear?: () => Promise<void>;
}

export const ortBackend = (
  name: BackendName,
  module: unknown,
  {
    session: extra = {},
    copyInto = false,
    stopCopies = false,
    placeWeights = placeInModel,
    profileSink,
  }: OrtOptions = {},
): Backend => {
  const ort = module as OrtModule;
  let stops: Promise<boolean> | undefined; // asked once, when first needed
  return {
    name,
    async compile(graph: Graph, options: CompileOptions = {}): Promise<Session> {
      const { outputs, threads = 0, profile = false, nanCheck = false } = options;
      const { resultsInto = false } = options;
      if (profile && !profileSink)
        throw new RunError(
          `compile: ${name} cannot profile, it has no file to write to; use ort-node or reference`,
        );
      const needed = neededNodes(graph, [...pickOutputs(graph, outputs).values()]);
      const nodes = new Map(needed.map((n) => [n.outputs[0]!.name, n]));
      const watched = nanCheck ? needed.flatMap((n) => n.outputs).filter(isFloat) : undefined;
      const sink = profile ? await profileSink!() : undefined;
      // What is looked at on the way has no tensors of the caller's to go to.
      if (resultsInto && stopCopies && !watched) stops ??= stopsBeforeCopying(ort);
      const direct = resultsInto && !watched && ((await stops) ?? false);
      const emptySequence = direct ? STOP : undefined;
      // Who looks at every number needs the constants' as well.
      const place = watched ? placeInModel : placeWeights;
      const { placed, session: found, clear } = await place(neededConstants(graph, outputs));
      const model = toOnnx(graph, { outputs, also: watched, emptySequence, placed });
      try {
        const session = await ort.InferenceSession.create(model, {
          graphOptimizationLevel: "all",
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          // The runtime plans memory for every size it meets and keeps it all: 0.2 GB for VAR d16 and its decoder.
          enableMemPattern: graph.inputs.every(({ shape }) => shape.every(Number.isInteger)),
          logSeverityLevel: 3,
          ...(sink && { enableProfiling: true, profileFilePrefix: sink.prefix }),
          ...extra,
          ...found,
          extra: { ...extra.extra, ...found?.extra },
        });
        const how = { copyInto, resultsInto, direct, clear };
        const constants = watched && placed;
        return ortSession({ ort, graph, session, nodes, ...how, sink, watched, constants });
      } catch (error) {
        throw explain("compile", error, { nodes });
      } finally {
        await clear?.();
      }
    },
  };
};

const isFloat = (v: Value): boolean => v.dtype === "float32" || v.dtype === "float16";

function ortSession(compiled: Compiled): Session {
  const { ort, graph, session, nodes, copyInto, resultsInto, direct, sink, watched } = compiled;
  const inputs = graph.inputs.filter((v) => session.inputNames.includes(v.name));
  const watchedNames = new Set(watched?.map((v) => v.name));
  const names = session.outputNames.filter((name) => name !== STOP && !watchedNames.has(name));
  const wrap = (t: Tensor) => new ort.Tensor(t.dtype, t.data, t.shape);
  const self: Session = {
    inputs: session.inputNames,
    outputs: names,
    async run(feeds: Tensors, { into = {}, outputs = names }: RunOptions = {}) {
      checkFeeds(inputs, feeds);
      if (resultsInto) checkAllInto(outputs, into);
      for (const [name, v] of pickOutputs(graph, outputs, names))
        if (into[name]) checkInto(name, v, into[name]);
      const given = Object.fromEntries(inputs.map((v) => [v.name, wrap(feeds[v.name]!)]));
      const fetches: Record<string, OrtTensor | null> = {};
      for (const name of outputs) fetches[name] = into[name] && !copyInto ? wrap(into[name]) : null;
      for (const name of watchedNames) fetches[name] = null;
      let results: Readonly<Record<string, OrtTensor>>;
      try {
        if (direct) await runDirect(session, given, fetches as Fetches);
        results = direct
          ? (fetches as Fetches)
          : await session.run(given, fetches as InferenceSession.FetchesType);
      } catch (error) {
        throw explain("run", error, { nodes, inputs, feeds });
      }
      if (watched) inspect(compiled, feeds, (v) => results[v.name]);
      return Object.fromEntries(
        outputs.map((name) => [name, deliver(results[name]!, into[name], copyInto)]),
      );
    },
    release: async () => {
      await session.release();
      await compiled.clear?.();
      await sink?.read().catch(() => undefined);
    },
  };
  if (sink)
    self.profile = async () => {
      session.endProfiling();
      return profileRows(await sink.read(), nodes);
    };
  return self;
}

/** The result as our tensor; in the caller's memory where that was given. */
function deliver(result: OrtTensor, target: Tensor | undefined, copy: boolean): Tensor {
  const { dtype, data, shape } = unwrap(result);
  if (!target) return { dtype, shape, data };
  if (copy) target.data.set(data as never);
  return target;
}

function unwrap(t: OrtTensor): Tensor {
  const dtype = t.type as DType;
  const data = (t as TypedTensor<"float32">).data as TypedArray;
  // Engines with a native Float16Array give one; our tensors hold the bits.
  if (dtype === "float16" && !(data instanceof HOST.float16)) {
    const { buffer, byteOffset, length } = data as TypedArray;
    return { dtype, shape: t.dims, data: new HOST.float16(buffer, byteOffset, length) };
  }
  return { dtype, shape: t.dims, data };
}

/** Throws NonFiniteError for the first node that broke. */
function inspect(
  { graph, nodes, watched, constants = new Map() }: Compiled,
  feeds: Tensors,
  result: (v: Value) => OrtTensor | undefined,
): void {
  const watch = nanWatch();
  for (const v of graph.inputs) if (feeds[v.name]) watch.feed(v, feeds[v.name]!);
  for (const [v, init] of constants) if ("tensor" in init) watch.feed(v, init.tensor);
  const seen = new Set(watched);
  for (const node of nodes.values())
    watch.node(
      node,
      node.outputs.map((v) => {
        const t = seen.has(v) ? result(v) : undefined;
        return t && unwrap(t);
      }),
    );
}

/** The runtime's complaint in our words: which node, which scope, what was fed. */
function explain(
  when: "compile" | "run",
  error: unknown,
  facts: { nodes: ReadonlyMap<string, Node>; inputs?: readonly Value[]; feeds?: Tensors },
): RunError {
  const raw = error instanceof Error ? error.message : String(error);
  const name = /Name:\s*'([^']*)'|Node[:, ]*\("?([^")]*)"?[,)]/.exec(raw);
  const node = facts.nodes.get(name?.[1] ?? name?.[2] ?? "");
  const where = node
    ? `${formatNode(node)} on ${node.inputs.map((v) => (v ? formatType(v) : "-")).join(", ")}`
    : "the graph";
  const fed = (facts.inputs ?? [])
    .slice(0, 16)
    .map((v) => `${v.name} ${formatType(facts.feeds![v.name]!)}`);
  return new RunError(
    `${when}: ${where} failed: ${raw.trim()}${fed.length ? `; fed ${fed.join(", ")}` : ""}; printGraph(graph) shows what surrounds it`,
    { op: node?.op, scope: node?.scope, fed, cause: error },
  );
}
