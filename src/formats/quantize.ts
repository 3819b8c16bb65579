/** Weights stored small, float16 or int8 with a scale per row, and back to float32. Knows no model and no file. */

import { type DType, sizeOf, type Tensor, type TensorMap } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from "./float16.ts";
import { deriveWeights, isLazy, readWeight, type Weight, type WeightMap } from "./lazy.ts";

/** How a float32 tensor is stored. */
export type Storage = "float32" | "float16" | "int8";

const SCALE = ".scale";
/** Smaller tensors are biases, gates and temperatures: they hardly count in bytes, and much in pictures. */
const SMALL = 4096;

/**
 * What a tensor is stored as when int8 is wanted: matrices and convolutions as int8, other large tensors as float16,
 * small ones as they are.
 */
export function storageFor({ dtype, shape }: Tensor, wanted: Storage): Storage {
  if (dtype !== "float32" || wanted === "float32" || sizeOf(shape) < SMALL) return "float32";
  return wanted === "int8" && (shape.length < 2 || shape[0] === 1) ? "float16" : wanted;
}

/**
 * Tensors in smaller storage. int8: q = round(w / s) with s = max|w| / 127 for each row (index of the first axis);
 * tensor `name` becomes int8 and is followed by `name.scale`, float32 [rows].
 * @param options.to storage of large float32 tensors; default "int8"
 * @param options.storage overrides the choice for a tensor by its name
 */
export function quantizeWeights(
  tensors: TensorMap,
  {
    to = "int8",
    storage = (_, tensor) => storageFor(tensor, to),
  }: { to?: Storage; storage?: (name: string, tensor: Tensor) => Storage } = {},
): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    const kind = tensor.dtype === "float32" ? storage(name, tensor) : "float32";
    if (kind === "int8") {
      const { values, scale } = quantizeRows(tensor);
      out.set(name, values);
      out.set(name + SCALE, scale);
    } else if (kind === "float16") {
      out.set(name, {
        dtype: "float16",
        shape: tensor.shape,
        data: float32ToFloat16(tensor.data as Float32Array),
      });
    } else out.set(name, tensor);
  }
  return out;
}

function quantizeRows({ shape, data }: Tensor): { values: Tensor; scale: Tensor } {
  const rows = shape[0] ?? 1;
  const width = sizeOf(shape) / Math.max(1, rows);
  const values = new Int8Array(data.length);
  const scale = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    let most = 0;
    for (let i = r * width; i < (r + 1) * width; i++)
      most = Math.max(most, Math.abs(Number(data[i])));
    scale[r] = most / 127;
    const s = scale[r] || 1; // a row of zeros
    for (let i = r * width; i < (r + 1) * width; i++) values[i] = Math.round(Number(data[i]) / s);
  }
  return {
    values: { dtype: "int8", shape, data: values },
    scale: { dtype: "float32", shape: [rows], data: scale },
  };
}

/** Halves and doubles as float32; float32 shares its data. */
const TO_FLOAT32: Readonly<Partial<Record<DType, (t: Tensor) => Float32Array>>> = {
  float16: ({ data }) => float16ToFloat32(data as Uint16Array),
  bfloat16: ({ data }) => bfloat16ToFloat32(data as Uint16Array),
  float64: ({ data }) => Float32Array.from(data as Float64Array),
};

/**
 * All float tensors as float32, whatever their storage; integers stay, and float32 shares its data.
 * @throws InputError when an int8 tensor lacks its scales or they do not fit its rows
 */
export function dequantizeWeights(tensors: TensorMap): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    if (name.endsWith(SCALE) && tensors.get(name.slice(0, -SCALE.length))?.dtype === "int8")
      continue;
    const convert = TO_FLOAT32[tensor.dtype];
    if (tensor.dtype === "int8")
      out.set(name, dequantizeRows(name, tensor, tensors.get(name + SCALE)));
    else if (convert)
      out.set(name, { dtype: "float32", shape: tensor.shape, data: convert(tensor) });
    else out.set(name, tensor);
  }
  return out;
}

/**
 * `dequantizeWeights` for tensors some of which are read later: those are converted when they are read.
 * @throws InputError when an int8 tensor lacks its scales; what the scales hold is checked when they are read
 */
export function dequantizeLazily(weights: WeightMap): Map<string, Weight> {
  const out = new Map<string, Weight>();
  for (const [name, weight] of weights) {
    const { dtype, shape } = weight;
    const convert = TO_FLOAT32[dtype];
    const scale = weights.get(name + SCALE);
    if (name.endsWith(SCALE) && weights.get(name.slice(0, -SCALE.length))?.dtype === "int8")
      continue;
    if (dtype === "int8") {
      if (!scale) throw noScales(name, weight, scale);
      out.set(name, lazyRows(name, weight, scale));
    } else if (convert && isLazy(weight)) {
      const outputs = { float32: { dtype: "float32" as const, shape } };
      const make = (data: Tensor["data"]) => ({ float32: convert({ dtype, shape, data }) });
      out.set(name, deriveWeights(weight, { name: `from ${dtype}`, outputs, make }).float32);
    } else
      out.set(
        name,
        convert ? { dtype: "float32", shape, data: convert(weight as Tensor) } : weight,
      );
  }
  return out;
}

function lazyRows(name: string, weight: Weight, scale: Weight): Weight {
  if (!isLazy(weight) && !isLazy(scale)) return dequantizeRows(name, weight, scale);
  const keys = [weight, scale].map((w) => (isLazy(w) ? w.key : undefined));
  return {
    dtype: "float32",
    shape: weight.shape,
    read: async () => dequantizeRows(name, await readWeight(weight), await readWeight(scale)).data,
    ...(!keys.includes(undefined) && { key: `${keys.join(" * ")} -> rows` }),
  };
}

function noScales(name: string, { shape }: Weight, scale: Weight | undefined): InputError {
  const found = scale ? `${scale.dtype} [${scale.shape.join(", ")}]` : "nothing";
  return new InputError(
    `tensor "${name}" is int8 and needs "${name}${SCALE}" as float32 [${shape[0] ?? 1}] of finite numbers, found ${found}; the file was not written by quantizeWeights`,
    { name, shape },
  );
}

function dequantizeRows(name: string, weight: Tensor, scale: Tensor | undefined): Tensor {
  const { shape, data } = weight;
  const rows = shape[0] ?? 1;
  const good =
    scale?.dtype === "float32" &&
    scale.data.length === rows &&
    (scale.data as Float32Array).every((s) => s >= 0 && s < Number.POSITIVE_INFINITY);
  if (!good) throw noScales(name, weight, scale);
  const width = sizeOf(shape) / Math.max(1, rows);
  const values = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) {
    const s = scale.data[r] as number;
    for (let i = r * width; i < (r + 1) * width; i++) values[i] = (data[i] as number) * s;
  }
  return { dtype: "float32", shape, data: values };
}
