/** Bytes <-> typed arrays, and sources that are read by range. Knows no file format. */

import { BYTES, type DType, HOST, type Tensor, type TypedArray } from "./dtype.ts";
import { InputError } from "./errors.ts";

/** Something that can be read by range: a file, a blob, an array. Node's file is in node.ts. */
export interface ByteSource {
  /** Bytes in all. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; the caller keeps inside `size`. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Where it lies on disk, when it does. */
  readonly path?: string;
  /** Names the content for caches: changes when the file does. */
  readonly key?: string;
}

/** A source over bytes in memory; ranges are views, not copies. */
export const memorySource = (bytes: Uint8Array): ByteSource => ({
  size: bytes.byteLength,
  read: async (offset, length) => bytes.subarray(offset, offset + length),
});

/** A source over a browser Blob or File. */
export const blobSource = (blob: Blob): ByteSource => ({
  size: blob.size,
  read: async (offset, length) =>
    new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
});

/** Reads a range after checking that the source has it. `what` opens the error sentence. */
export async function readRange(
  source: ByteSource,
  what: string,
  { offset, length }: { offset: number; length: number },
): Promise<Uint8Array> {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
    throw new InputError(`${what}: bytes ${offset} + ${length} are no range`, { offset, length });
  if (length > source.size - offset)
    throw new InputError(
      `${what}: needs ${length} bytes at ${offset}, the file ends at ${source.size}; it is truncated or damaged`,
      { offset, length, size: source.size },
    );
  const bytes = await source.read(offset, length);
  if (bytes.byteLength !== length)
    throw new InputError(
      `${what}: got ${bytes.byteLength} of ${length} bytes at ${offset}; the file changed while it was read`,
      { offset, length },
    );
  return bytes;
}

/** The bytes of an array, as a view. Typed arrays are little-endian on every platform we run on. */
export const bytesOf = (data: ArrayBufferView): Uint8Array =>
  data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** The bytes as a DataView. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** One after the other, as one array. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Little-endian bytes as the host array of a dtype: a view where aligned, else a copy. */
export function typedView(dtype: DType, bytes: Uint8Array): TypedArray {
  const width = BYTES[dtype];
  // Not bytes.slice(): that of a Node Buffer is a view.
  const at = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  return new HOST[dtype](
    at.buffer as ArrayBuffer,
    at.byteOffset,
    bytes.byteLength / width,
  ) as TypedArray;
}

/** Elements of a shape that came from outside; `what` opens the error sentence. Exact below 2^53. */
export function checkedSize(what: string, shape: readonly number[]): number {
  let size = 1;
  let empty = false;
  for (const d of shape) {
    if (!Number.isSafeInteger(d) || d < 0)
      throw new InputError(
        `${what}: shape [${shape}] has the size ${d}; sizes are whole and >= 0`,
        {
          shape,
        },
      );
    if (d === 0) empty = true;
    else size *= d;
    // Zeros are left out of the product, so [0, 2^60, 2^60] is refused like its non-empty sisters.
    if (!Number.isSafeInteger(size))
      throw new InputError(`${what}: shape [${shape}] has more than 2^53 elements`, { shape });
  }
  return empty ? 0 : size;
}

/** A tensor over bytes that came from outside: the length must be exactly that of the shape. */
export function tensorFromBytes(
  what: string,
  { dtype, shape, bytes }: { dtype: DType; shape: readonly number[]; bytes: Uint8Array },
): Tensor {
  const wanted = checkedSize(what, shape) * BYTES[dtype];
  if (bytes.byteLength !== wanted)
    throw new InputError(
      `${what}: ${dtype} [${shape}] takes ${wanted} bytes, the file holds ${bytes.byteLength}`,
      { dtype, shape, wanted, got: bytes.byteLength },
    );
  const data = typedView(dtype, bytes);
  if (dtype === "bool") checkBools(what, data as Uint8Array);
  return { dtype, shape, data };
}

function checkBools(what: string, data: Uint8Array): void {
  const at = data.findIndex((b) => b > 1);
  if (at >= 0)
    throw new InputError(
      `${what}: bool element ${at} is ${data[at]}, only 0 and 1 are truth values`,
      {
        at,
      },
    );
}

/** UTF-8 text from outside; `what` opens the error sentence. */
export function checkedUtf8(what: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InputError(`${what}: the text is not valid UTF-8`);
  }
}
