/** Public names of the file formats. Bytes in, data out; runs in the browser (files on disk: node.ts). */

export {
  type ByteSource,
  blobSource,
  bytesOf,
  memorySource,
  tensorFromBytes,
} from "./bytes.ts";
export { crc32 } from "./crc32.ts";
export { deflate, inflate } from "./deflate.ts";
export {
  BYTES,
  type DType,
  HOST,
  sizeOf,
  type Tensor,
  type TensorMap,
  type TypedArray,
} from "./dtype.ts";
export { InputError } from "./errors.ts";
export {
  bfloat16Bits,
  bfloat16ToFloat32,
  float16Bits,
  float16ToFloat32,
  float16Value,
  float32ToBfloat16,
  float32ToFloat16,
  toFloat32,
} from "./float16.ts";
export { readIdx } from "./idx.ts";
export { type Json, parseJson } from "./json.ts";
export {
  type Derivation,
  deriveWeights,
  type FileRange,
  isLazy,
  type LazyTensor,
  readWeight,
  readWeights,
  type Weight,
  type WeightMap,
  weightBytes,
} from "./lazy.ts";
export { type NpyHeader, npyHeader, readNpy, readNpyHeader, writeNpy } from "./npy.ts";
export { checkNpz, type NpzArray, type NpzPart, npzPieces, readNpz } from "./npz.ts";
export {
  type ExternalPart,
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
  readOnnx,
  withExternalWeights,
  writeOnnx,
} from "./onnx.ts";
export {
  type GlobalRule,
  type PickleLimits,
  type PickleRules,
  type PickleValue,
  readPickle,
} from "./pickle.ts";
export { decodePng, encodePng, type PngImage, type PngText } from "./png.ts";
export { collectTensors, type LazyPth, lazyPth, type PthFile, readPth } from "./pth.ts";
export { dequantizeWeights, quantizeWeights, type Storage, storageFor } from "./quantize.ts";
export {
  lazySafetensors,
  readSafetensors,
  readSafetensorsHeader,
  readSafetensorsTensor,
  type Safetensors,
  type SafetensorsEntry,
  type SafetensorsHeader,
  safetensorsHeader,
  safetensorsParts,
  writeSafetensors,
} from "./safetensors.ts";
export {
  lazyShardedSafetensors,
  readSafetensorsIndex,
  readShardedSafetensors,
  type SafetensorsIndex,
} from "./safetensors-index.ts";
export {
  type Crc32,
  checkZipEntry,
  readZip,
  readZipEntry,
  type ZipEntries,
  type ZipEntry,
} from "./zip.ts";
export { type ZipFile, zipStored } from "./zip-write.ts";
