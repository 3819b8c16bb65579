/** An ONNX model file -> plain data. Runs nothing, and follows no path that the file names. */

import { checkedSize, tensorFromBytes } from "./bytes.ts";
import { BYTES, type DType, HOST, type Tensor, type TypedArray } from "./dtype.ts";
import { InputError } from "./errors.ts";
import {
  ATTR_TYPE,
  EXTERNAL,
  MODEL,
  ONNX_DTYPE,
  type OnnxAttr,
  type OnnxExternal,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxValue,
  type TENSOR,
} from "./onnx-schema.ts";
import { decodeMessage, type Int, type MessageOf } from "./protobuf.ts";

type TensorMessage = MessageOf<typeof TENSOR>;
type GraphMessage = NonNullable<MessageOf<typeof MODEL>["graph"]>;
type NodeMessage = NonNullable<GraphMessage["nodes"]>[number];
type AttrMessage = NonNullable<NodeMessage["attrs"]>[number];
type ValueMessage = NonNullable<GraphMessage["inputs"]>[number];

const DTYPE_OF = new Map(Object.entries(ONNX_DTYPE).map(([dtype, code]) => [code, dtype as DType]));
const KIND_OF = new Map(
  Object.entries(ATTR_TYPE).map(([kind, code]) => [code, kind as OnnxAttr["kind"]]),
);

function dtypeOf(what: string, code: Int = 0): DType {
  const dtype = DTYPE_OF.get(Number(code));
  if (!dtype)
    throw new InputError(
      `${what}: element type ${code} is not one we hold; known: ${[...DTYPE_OF.values()].join(", ")}`,
      { code },
    );
  return dtype;
}

// ---- tensors ----------------------------------------------------------------------------------

type DataField = "floatData" | "int32Data" | "int64Data" | "doubleData";

/** Where a tensor that is not raw keeps its elements (onnx.proto3, TensorProto). */
const DATA_FIELD: Readonly<Record<DType, DataField>> = {
  float32: "floatData",
  float64: "doubleData",
  int64: "int64Data",
  int32: "int32Data",
  int16: "int32Data",
  int8: "int32Data",
  uint8: "int32Data",
  bool: "int32Data",
  float16: "int32Data",
  bfloat16: "int32Data",
};

const RANGE: Partial<Record<DType, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  int8: [-128, 127],
  uint8: [0, 255],
  bool: [0, 1],
  float16: [0, 65535],
  bfloat16: [0, 65535],
};

function shapeOf(t: TensorMessage): number[] {
  return (t.dims ?? []).map(Number);
}

function readTensor(what: string, t: TensorMessage): Tensor {
  const dtype = dtypeOf(what, t.dataType);
  const shape = shapeOf(t);
  if (t.segment || t.stringData)
    throw new InputError(`${what}: segments and string data are not supported`);
  if (t.dataLocation === EXTERNAL || t.externalData)
    throw new InputError(`${what}: only weights may lie outside the model file`);
  if (t.rawData) return tensorFromBytes(what, { dtype, shape, bytes: t.rawData });
  const values: readonly Int[] = t[DATA_FIELD[dtype]] ?? [];
  const size = checkedSize(what, shape);
  if (values.length !== size)
    throw new InputError(`${what}: [${shape}] has ${size} elements, the file ${values.length}`, {
      shape,
      got: values.length,
    });
  return { dtype, shape, data: fromList(what, dtype, values) };
}

function fromList(what: string, dtype: DType, values: readonly Int[]): TypedArray {
  const [low, high] = RANGE[dtype] ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const wrong = values.find((v) => v < low || v > high);
  if (wrong !== undefined)
    throw new InputError(`${what}: the element ${wrong} does not fit ${dtype}`, { wrong, dtype });
  if (dtype === "int64") return BigInt64Array.from(values, BigInt);
  return (HOST[dtype] as Float32ArrayConstructor).from(values, Number) as TypedArray;
}

/** A path inside the model's own folder: nothing absolute, upward, or with a scheme. */
function isLocalPath(path: string): boolean {
  const parts = path.split("/");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are the point
  return !/[\\:\u0000-\u001f]/.test(path) && !parts.some((p) => /^\.{0,2}$/.test(p));
}

function readExternal(what: string, t: TensorMessage): OnnxExternal {
  const pairs = t.externalData ?? [];
  const fields = new Map(pairs.map(({ key = "", value = "" }) => [key, value]));
  if (fields.size !== pairs.length)
    throw new InputError(`${what}: the external data names a key twice`);
  if (t.rawData) throw new InputError(`${what}: has both raw and external data`);
  const location = fields.get("location") ?? "";
  if (!isLocalPath(location))
    throw new InputError(
      `${what}: external data at ${JSON.stringify(location)} is not a path inside the model's folder`,
      { location },
    );
  const wanted = checkedSize(what, shapeOf(t)) * BYTES[dtypeOf(what, t.dataType)];
  const number = (key: string, missing: number) => {
    const text = fields.get(key);
    if (text !== undefined && !/^\d{1,15}$/.test(text))
      throw new InputError(`${what}: external ${key} ${JSON.stringify(text)} is not a byte count`);
    return text === undefined ? missing : Number(text);
  };
  const external = { location, offset: number("offset", 0), length: number("length", wanted) };
  if (external.length !== wanted)
    throw new InputError(`${what}: external length ${external.length}, the shape takes ${wanted}`);
  return external;
}

function readInitializer(t: TensorMessage): OnnxInitializer {
  const name = t.name ?? "";
  const what = `onnx: initializer "${name}"`;
  if (t.dataLocation === EXTERNAL) {
    const external = readExternal(what, t);
    return { name, dtype: dtypeOf(what, t.dataType), shape: shapeOf(t), external };
  }
  return { name, tensor: readTensor(what, t) };
}

// ---- graph ------------------------------------------------------------------------------------

function readAttr(what: string, a: AttrMessage): OnnxAttr {
  const kind = KIND_OF.get(Number(a.type));
  if (!kind || a.refAttrName)
    throw new InputError(
      `${what}: attribute "${a.name}" of type ${a.type} is not supported (graphs, functions and sparse tensors are not)`,
      { type: a.type },
    );
  if (kind === "tensor")
    return { kind, value: readTensor(`${what}: attribute "${a.name}"`, a.tensor ?? {}) };
  // An absent field is the kind's zero, as in proto3.
  const zero = { int: 0, float: 0, string: "", ints: [], floats: [], strings: [] }[kind];
  return { kind, value: a[kind] ?? zero } as OnnxAttr;
}

/** Operators that run code named by the model; no reader of data has a use for them. */
const RUNS_CODE = new Set(["PyOp", "PythonOp"]);

function readNode(n: NodeMessage, domains: ReadonlySet<string>): OnnxNode {
  const { op = "", domain = "", name = "", inputs = [], outputs = [] } = n;
  const what = `onnx: node "${name || outputs[0] || op}"`;
  if (RUNS_CODE.has(op))
    throw new InputError(`${what}: operator ${op} runs code; it is not read`, { op, domain });
  if (!domains.has(domain === "ai.onnx" ? "" : domain))
    throw new InputError(`${what}: domain "${domain}" has no operator set in this model`, {
      op,
      domain,
    });
  const attrs = new Map<string, OnnxAttr>();
  for (const a of n.attrs ?? []) {
    if (!a.name || attrs.has(a.name) || a.name === "__proto__")
      throw new InputError(
        `${what}: attribute name "${a.name ?? ""}" is empty, reserved or double`,
      );
    attrs.set(a.name, readAttr(what, a));
  }
  return { op, domain, name, inputs, outputs, attrs: Object.fromEntries(attrs) };
}

function readValue(v: ValueMessage): OnnxValue {
  const what = `onnx: value "${v.name ?? ""}"`;
  const sequence = v.type?.sequence;
  const tensor = sequence ? sequence.element?.tensor : v.type?.tensor;
  if (!tensor || (sequence && v.type?.tensor))
    throw new InputError(
      `${what}: is no tensor and no sequence of tensors; maps and nested sequences are not supported`,
    );
  const shape = tensor.shape?.dims ?? (tensor.shape && []);
  return {
    name: v.name ?? "",
    dtype: dtypeOf(what, tensor.elemType),
    shape: shape?.map(({ value, param = "" }) => (value === undefined ? param : Number(value))),
    ...(sequence && { sequence: true as const }),
  };
}

/**
 * Reads a model. Weights are views into `bytes` where aligned; external ones stay descriptions, and
 * the caller opens the file (paths are checked to stay in the model's folder).
 * @throws InputError for damage, for element types and constructs we do not hold (subgraphs, local
 * functions, sparse weights), for paths that leave the folder, and for operators that run code.
 */
export function readOnnx(bytes: Uint8Array): OnnxModel & Required<Omit<OnnxModel, "graph">> {
  const model = decodeMessage(MODEL, bytes, "onnx");
  const { graph } = model;
  if (!graph) throw new InputError("onnx: the file has no graph; it is no ONNX model");
  for (const [what, there] of [
    ["local functions", model.functions],
    ["training graphs", model.trainingInfo],
    ["sparse weights", graph.sparseInitializers],
  ] as const)
    if (there) throw new InputError(`onnx: the model has ${what}; they are not supported`);
  const opsets = new Map<string, number>();
  for (const { domain = "", version = 0 } of model.opsets ?? []) {
    const key = domain === "ai.onnx" ? "" : domain;
    if (opsets.has(key) || key === "__proto__")
      throw new InputError(`onnx: operator set "${domain}" is named twice or reserved`, { domain });
    opsets.set(key, Number(version));
  }
  const domains = new Set(opsets.keys());
  const initializers = (graph.initializers ?? []).map(readInitializer);
  const names = new Set(initializers.map((init) => init.name));
  if (names.size !== initializers.length)
    throw new InputError("onnx: two weights have the same name");
  return {
    irVersion: Number(model.irVersion ?? 0),
    opsets: Object.fromEntries(opsets),
    producer: model.producer ?? "",
    graph: {
      name: graph.name ?? "",
      nodes: (graph.nodes ?? []).map((n) => readNode(n, domains)),
      inputs: (graph.inputs ?? []).map(readValue),
      outputs: (graph.outputs ?? []).map(readValue),
      initializers,
    },
  };
}
