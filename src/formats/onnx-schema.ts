/** What an ONNX model is: our plain data, and the protobuf tables. Writing and reading are beside. */

import type { DType, Tensor } from "./dtype.ts";
import type { Int, Schema } from "./protobuf.ts";

/** An operator attribute, tagged by its kind. */
export type OnnxAttr =
  | { readonly kind: "int"; readonly value: Int }
  | { readonly kind: "ints"; readonly value: readonly Int[] }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensor"; readonly value: Tensor };

/** One operator call. An empty input name is an optional input left out. */
export interface OnnxNode {
  readonly op: string;
  /** "" is the standard domain. */
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: Readonly<Record<string, OnnxAttr>>;
}

/** A number, the name of a symbolic dimension, or "" for one of which nothing is known. */
export type OnnxDim = number | string;

/** A graph input or output. */
export interface OnnxValue {
  readonly name: string;
  readonly dtype: DType;
  /** Absent when even the rank is unknown. */
  readonly shape?: readonly OnnxDim[];
  /** Not one tensor but a sequence of them, all of this dtype and shape. */
  readonly sequence?: true;
}

/** Where the bytes of an initializer lie outside the model file: a relative path and a range. */
export interface OnnxExternal {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** A weight: in the model, or beside it. */
export type OnnxInitializer =
  | { readonly name: string; readonly tensor: Tensor }
  | {
      readonly name: string;
      readonly dtype: DType;
      readonly shape: readonly number[];
      readonly external: OnnxExternal;
    };

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxInitializer[];
}

export interface OnnxModel {
  /** Default 10. */
  readonly irVersion?: number;
  /** Operator set version per domain. Default: "" 21 and com.microsoft 1. */
  readonly opsets?: Readonly<Record<string, number>>;
  /** Default "underpaint". */
  readonly producer?: string;
  readonly graph: OnnxGraph;
}

export const ONNX_DEFAULTS = {
  irVersion: 10,
  opsets: { "": 21, "com.microsoft": 1 },
  producer: "underpaint",
} as const;

/** TensorProto.DataType of each dtype (onnx.proto3). */
export const ONNX_DTYPE: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

/** AttributeProto.AttributeType of each kind of attribute. */
export const ATTR_TYPE: Readonly<Record<OnnxAttr["kind"], number>> = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  floats: 6,
  ints: 7,
  strings: 8,
};

export const EXTERNAL = 1; // TensorProto.DataLocation

// Fields we do not support but must not overlook are named here as well: the reader refuses them.

const STRING_PAIR = { key: [1, "string"], value: [2, "string"] } as const satisfies Schema;

export const TENSOR = {
  dims: [1, "ints"],
  dataType: [2, "int"],
  segment: [3, "bytes"],
  floatData: [4, "floats"],
  int32Data: [5, "ints"],
  stringData: [6, "strings"],
  int64Data: [7, "ints"],
  name: [8, "string"],
  rawData: [9, "bytes"],
  doubleData: [10, "doubles"],
  externalData: [13, "messages", STRING_PAIR],
  dataLocation: [14, "int"],
} as const satisfies Schema;

const ATTRIBUTE = {
  name: [1, "string"],
  float: [2, "float"],
  int: [3, "int"],
  string: [4, "string"],
  tensor: [5, "message", TENSOR],
  floats: [7, "floats"],
  ints: [8, "ints"],
  strings: [9, "strings"],
  type: [20, "int"],
  refAttrName: [21, "string"],
} as const satisfies Schema;

const NODE = {
  inputs: [1, "strings"],
  outputs: [2, "strings"],
  name: [3, "string"],
  op: [4, "string"],
  attrs: [5, "messages", ATTRIBUTE],
  domain: [7, "string"],
} as const satisfies Schema;

const DIMENSION = { value: [1, "int"], param: [2, "string"] } as const satisfies Schema;
const SHAPE = { dims: [1, "messages", DIMENSION] } as const satisfies Schema;
const TENSOR_TYPE = {
  elemType: [1, "int"],
  shape: [2, "message", SHAPE],
} as const satisfies Schema;
const ELEMENT_TYPE = { tensor: [1, "message", TENSOR_TYPE] } as const satisfies Schema;
const SEQUENCE_TYPE = { element: [1, "message", ELEMENT_TYPE] } as const satisfies Schema;
const TYPE = {
  tensor: [1, "message", TENSOR_TYPE],
  sequence: [4, "message", SEQUENCE_TYPE],
} as const satisfies Schema;

const VALUE_INFO = {
  name: [1, "string"],
  type: [2, "message", TYPE],
} as const satisfies Schema;

const GRAPH = {
  nodes: [1, "messages", NODE],
  name: [2, "string"],
  initializers: [5, "messages", TENSOR],
  inputs: [11, "messages", VALUE_INFO],
  outputs: [12, "messages", VALUE_INFO],
  sparseInitializers: [15, "messages", {}],
} as const satisfies Schema;

const OPSET = { domain: [1, "string"], version: [2, "int"] } as const satisfies Schema;

export const MODEL = {
  irVersion: [1, "int"],
  producer: [2, "string"],
  graph: [7, "message", GRAPH],
  opsets: [8, "messages", OPSET],
  trainingInfo: [20, "messages", {}],
  functions: [25, "messages", {}],
} as const satisfies Schema;
