/** float16 and bfloat16 as raw bits <-> float32, to nearest even. The engine's own fp16 is not here. */

import type { DType, Tensor, TypedArray } from "./dtype.ts";

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The 16 bits of the float16 nearest to a float32, ties to even (IEEE 754-2008, binary16). */
export function float16Bits(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return sign | 0x7e00 | ((rest >>> 13) & 0x1ff); // NaN stays NaN, quiet
  if (rest >= 0x477ff000) return sign | 0x7c00; // 65520 and up round to infinity
  if (rest < 0x33000000) return sign; // below 2^-25, half of the smallest subnormal
  const exponent = rest >>> 23;
  const isNormal = exponent >= 113; // 2^-14
  const mantissa = isNormal ? rest - 0x38000000 : (rest & 0x7fffff) | 0x800000;
  const drop = isNormal ? 13 : 126 - exponent;
  const kept = mantissa >>> drop;
  const lost = mantissa & ((1 << drop) - 1);
  const half = 1 << (drop - 1);
  // A carry out of the mantissa raises the exponent by one, which is what rounding up means.
  return sign | (kept + (lost > half || (lost === half && kept & 1) ? 1 : 0));
}

/** The value of 16 float16 bits; exact. */
export function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The 16 bits of the bfloat16 nearest to a float32, ties to even. */
export function bfloat16Bits(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

let float16Table: Float32Array | undefined;

/** float16 bits to float32; exact. 256 kB of table are made on first use. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  float16Table ??= Float32Array.from({ length: 65536 }, (_, b) => float16Value(b));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = float16Table[bits[i]!]!;
  return out;
}

/** float32 to float16 bits, to nearest even; beyond 65504 infinity, subnormals kept. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = float16Bits(values[i]!);
  return out;
}

/** bfloat16 bits to float32; exact. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

/** float32 to bfloat16 bits, to nearest even. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = bfloat16Bits(values[i]!);
  return out;
}

const WIDEN: Partial<Record<DType, (data: TypedArray) => Float32Array>> = {
  float32: (data) => data as Float32Array,
  float16: (data) => float16ToFloat32(data as Uint16Array),
  bfloat16: (data) => bfloat16ToFloat32(data as Uint16Array),
  int64: (data) => Float32Array.from(data as BigInt64Array, Number),
};

/** The elements of any tensor as float32: a view of float32, a rounded copy of everything else. */
export const toFloat32 = ({ dtype, data }: Tensor): Float32Array =>
  (WIDEN[dtype] ?? ((d) => Float32Array.from(d as Int32Array)))(data);
