/** NumPy's .npy: one plain array. Objects (which are pickles), structures and Fortran order are refused. */

import { bytesOf, checkedSize, typedView, viewOf } from "./bytes.ts";
import { BYTES, type DType, sizeOf, type Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";

const CODE: Readonly<Partial<Record<DType, string>>> = {
  float64: "<f8",
  float32: "<f4",
  float16: "<f2",
  int64: "<i8",
  int32: "<i4",
  int16: "<i2",
  int8: "|i1",
  uint8: "|u1",
  bool: "|b1",
};
const DTYPE_OF = new Map(Object.entries(CODE).map(([dtype, code]) => [code, dtype as DType]));

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
const ALIGN = 64;
/** Longer headers than NumPy ever writes for a plain array. */
export const NPY_HEADER_MOST = 4096;

export interface NpyHeader {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Bytes before the elements. */
  readonly length: number;
}

const HEADER =
  /^\{\s*'descr':\s*'([^']*)',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([\d\s,]*)\),?\s*\}\s*$/;

/** The header of a .npy from its first bytes. @throws InputError unless it is a plain array in C order */
export function readNpyHeader(bytes: Uint8Array, what: string): NpyHeader {
  if (bytes.length < 12 || MAGIC.some((b, i) => bytes[i] !== b))
    throw new InputError(`${what}: not a NumPy array (.npy)`);
  const wide = bytes[6]! > 1;
  const view = viewOf(bytes);
  const start = wide ? 12 : 10;
  const length = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  if (bytes[6]! > 3 || length > Math.min(bytes.length, NPY_HEADER_MOST))
    throw new InputError(`${what}: a NumPy header of ${length} bytes, version ${bytes[6]}`);
  const text = new TextDecoder("latin1").decode(bytes.subarray(start, length));
  const [, descr, fortran, sizes] = HEADER.exec(text) ?? [];
  const dtype = DTYPE_OF.get(descr === "<b1" ? "|b1" : (descr ?? ""));
  if (!dtype || fortran === "True")
    throw new InputError(
      `${what}: want a plain array in C order of ${[...DTYPE_OF.keys()].join(", ")}, got ${text.trim().slice(0, 120)}`,
      { what },
    );
  const shape = sizes!.split(",").flatMap((part) => (part.trim() === "" ? [] : [Number(part)]));
  checkedSize(what, shape);
  return { dtype, shape, length };
}

/** A .npy as a tensor: a view where aligned. @throws InputError */
export function readNpy(bytes: Uint8Array, what: string): Tensor {
  const { dtype, shape, length } = readNpyHeader(bytes, what);
  const wanted = checkedSize(what, shape) * BYTES[dtype];
  if (bytes.length - length !== wanted)
    throw new InputError(
      `${what}: ${dtype} [${shape}] takes ${wanted} bytes, the array has ${bytes.length - length}`,
    );
  return { dtype, shape, data: typedView(dtype, bytes.subarray(length)) };
}

/** The bytes before the elements, version 1.0, padded to a multiple of 64 as NumPy does. */
export function npyHeader({ dtype, shape }: Pick<Tensor, "dtype" | "shape">): Uint8Array {
  const code = CODE[dtype];
  if (!code) throw new RangeError(`npy: NumPy has no type for ${dtype}`);
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '${code}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const total = Math.ceil((10 + dict.length + 1) / ALIGN) * ALIGN;
  const bytes = new Uint8Array(total).fill(0x20);
  bytes.set([...MAGIC, 1, 0]);
  viewOf(bytes).setUint16(8, total - 10, true);
  bytes.set(new TextEncoder().encode(dict), 10);
  bytes[total - 1] = 0x0a;
  return bytes;
}

/** A whole .npy. */
export function writeNpy(tensor: Tensor): Uint8Array {
  const header = npyHeader(tensor);
  const data = bytesOf(tensor.data);
  if (data.length !== sizeOf(tensor.shape) * BYTES[tensor.dtype])
    throw new RangeError(`npy: ${tensor.dtype} [${tensor.shape}] in ${data.length} bytes`);
  const out = new Uint8Array(header.length + data.length);
  out.set(header);
  out.set(data, header.length);
  return out;
}
