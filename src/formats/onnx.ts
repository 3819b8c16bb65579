/** ONNX models as plain data, written and read. Builds no graphs and runs none: that is tensor/. */

export { readOnnx } from "./onnx-read.ts";
export {
  ONNX_DEFAULTS,
  ONNX_DTYPE,
  type OnnxAttr,
  type OnnxDim,
  type OnnxExternal,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxValue,
} from "./onnx-schema.ts";
export { type ExternalPart, withExternalWeights, writeOnnx } from "./onnx-write.ts";
