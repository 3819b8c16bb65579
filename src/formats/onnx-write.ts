/** Plain data -> an ONNX model file. Checks nothing that the engine checks: names, types, shapes. */

import { bytesOf } from "./bytes.ts";
import { BYTES, sizeOf, type Tensor } from "./dtype.ts";
import {
  ATTR_TYPE,
  EXTERNAL,
  MODEL,
  ONNX_DEFAULTS,
  ONNX_DTYPE,
  type OnnxAttr,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxValue,
  type TENSOR,
} from "./onnx-schema.ts";
import { encodeMessage, type MessageOf } from "./protobuf.ts";

/** A protobuf message must stay below 2 GiB; larger weights live beside it. */
const MAX_BYTES = 2 ** 31 - 1;

const tensorMessage = (name: string, t: Tensor): MessageOf<typeof TENSOR> => {
  if (t.data.byteLength !== sizeOf(t.shape) * BYTES[t.dtype])
    throw new RangeError(
      `onnx: tensor "${name}" is ${t.dtype} [${t.shape}] but holds ${t.data.byteLength} bytes`,
    );
  return {
    dims: t.shape,
    dataType: ONNX_DTYPE[t.dtype],
    name: name || undefined,
    rawData: bytesOf(t.data),
  };
};

const initializerMessage = (init: OnnxInitializer): MessageOf<typeof TENSOR> =>
  "tensor" in init
    ? tensorMessage(init.name, init.tensor)
    : {
        dims: init.shape,
        dataType: ONNX_DTYPE[init.dtype],
        name: init.name,
        externalData: Object.entries(init.external).map(([key, v]) => ({ key, value: `${v}` })),
        dataLocation: EXTERNAL,
      };

const attrMessage = ([name, attr]: [string, OnnxAttr]) => ({
  name,
  type: ATTR_TYPE[attr.kind],
  [attr.kind]: attr.kind === "tensor" ? tensorMessage("", attr.value) : attr.value,
});

const nodeMessage = (node: OnnxNode) => ({
  inputs: node.inputs,
  outputs: node.outputs,
  name: node.name || undefined,
  op: node.op,
  attrs: Object.entries(node.attrs).map(attrMessage),
  domain: node.domain || undefined,
});

const dimMessage = (dim: number | string) =>
  typeof dim === "number" ? { value: dim } : { param: dim || undefined };

const valueMessage = ({ name, dtype, shape, sequence }: OnnxValue) => {
  const tensor = {
    elemType: ONNX_DTYPE[dtype],
    shape: shape && { dims: shape.map(dimMessage) },
  };
  return { name, type: sequence ? { sequence: { element: { tensor } } } : { tensor } };
};

/**
 * The bytes of a model, the same for the same data. One allocation of the exact size, so the peak is
 * the weights plus the file. Defaults: IR 10, opset 21 and com.microsoft 1.
 * @throws RangeError from 2 GiB on: move the weights out first (`withExternalWeights`).
 */
export function writeOnnx({
  irVersion = ONNX_DEFAULTS.irVersion,
  opsets = ONNX_DEFAULTS.opsets,
  producer = ONNX_DEFAULTS.producer,
  graph,
}: OnnxModel): Uint8Array {
  const weights = graph.initializers.reduce(
    (n, init) => n + ("tensor" in init ? init.tensor.data.byteLength : 0),
    0,
  );
  if (weights > MAX_BYTES)
    throw new RangeError(
      `onnx: the weights take ${weights} bytes, a model file holds ${MAX_BYTES}; use withExternalWeights`,
    );
  return encodeMessage(MODEL, {
    irVersion,
    producer,
    graph: {
      nodes: graph.nodes.map(nodeMessage),
      name: graph.name,
      initializers: graph.initializers.map(initializerMessage),
      inputs: graph.inputs.map(valueMessage),
      outputs: graph.outputs.map(valueMessage),
    },
    opsets: Object.entries(opsets).map(([domain, version]) => ({ domain, version })),
  });
}

/** A piece of the weight file: these bytes belong at this offset; gaps between pieces are zero. */
export interface ExternalPart {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * Moves the weights of at least `minBytes` out of the model into one file, each at a multiple of
 * `align` bytes (a page, so that the file can be memory-mapped).
 * @returns the model that points at `location`, and the pieces of that file in order, as views.
 */
export function withExternalWeights(
  model: OnnxModel,
  { location = "weights.bin", minBytes = 1024, align = 4096 } = {},
): { model: OnnxModel; parts: ExternalPart[]; size: number } {
  const parts: ExternalPart[] = [];
  let size = 0;
  const initializers = model.graph.initializers.map((init): OnnxInitializer => {
    if (!("tensor" in init) || init.tensor.data.byteLength < minBytes) return init;
    const { dtype, shape, data } = init.tensor;
    const offset = Math.ceil(size / align) * align;
    parts.push({ offset, bytes: bytesOf(data) });
    size = offset + data.byteLength;
    const external = { location, offset, length: data.byteLength };
    return { name: init.name, dtype, shape, external };
  });
  return { model: { ...model, graph: { ...model.graph, initializers } }, parts, size };
}
