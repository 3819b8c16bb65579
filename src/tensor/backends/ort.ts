/** A backend over any ONNX Runtime that speaks onnxruntime-common. Chooses options; holds no kernels. */

import type { InferenceSession, Tensor as OrtTensor, TypedTensor } from "onnxruntime-common";
import type { DType, Tensor, TypedArray } from "../../formats/dtype.ts";
import {
  type Backend,
  type BackendName,
  type CompileOptions,
  checkFeeds,
  type RunOptions,
  type Session,
  type Tensors,
} from "../backend.ts";
import type { Graph } from "../graph.ts";
import { toOnnx } from "../to-onnx.ts";

/** What we use of onnxruntime-node and onnxruntime-web, which share their types. */
export interface OrtModule {
  InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  Tensor: new (type: string, data: TypedArray, dims: readonly number[]) => OrtTensor;
}

export interface OrtOptions {
  /** Session options of this runtime on top of ours. */
  session?: InferenceSession.SessionOptions;
  /** The runtime does not write into tensors given for results; copy there instead. */
  copyInto?: boolean;
}

export const ortBackend = (
  name: BackendName,
  module: unknown,
  { session: extra = {} }: OrtOptions = {},
): Backend => {
  const ort = module as OrtModule;
  return {
    name,
    async compile(graph: Graph, { outputs, threads = 0 }: CompileOptions = {}): Promise<Session> {
      const session = await ort.InferenceSession.create(toOnnx(graph, { outputs }), {
        graphOptimizationLevel: "all",
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
        ...extra,
      });
      return ortSession(ort, graph, session);
    },
  };
};

function ortSession(ort: OrtModule, graph: Graph, session: InferenceSession): Session {
  const inputs = graph.inputs.filter((v) => session.inputNames.includes(v.name));
  const wrap = (t: Tensor) => new ort.Tensor(t.dtype, t.data, t.shape);
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(feeds: Tensors, { into, outputs }: RunOptions = {}) {
      checkFeeds(inputs, feeds);
      const given = Object.fromEntries(inputs.map((v) => [v.name, wrap(feeds[v.name]!)]));
      const wanted = outputs ?? session.outputNames;
      const fetches = Object.fromEntries(
        wanted.map((name) => [name, into?.[name] ? wrap(into[name]) : null]),
      );
      const results = await session.run(given, fetches as InferenceSession.FetchesType);
      return Object.fromEntries(
        wanted.map((name) => [name, into?.[name] ?? unwrap(results[name]!)]),
      );
    },
    release: () => session.release(),
  };
}

const unwrap = (t: OrtTensor): Tensor => ({
  dtype: t.type as DType,
  shape: t.dims,
  data: (t as TypedTensor<"float32">).data as TypedArray,
});
