/** The IDX files of MNIST and its relatives: unsigned bytes with up to four axes. Knows nothing of gzip or labels. */

import type { Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";

const UNSIGNED_BYTE = 0x08;
const MAX_AXES = 4;

/**
 * Reads an IDX file of unsigned bytes: two zero bytes, a type byte, the number of axes, big-endian sizes, the data.
 * Throws InputError when it is another kind of file, of another type, or has not exactly the promised length.
 * The tensor is a view into `bytes`.
 */
export function readIdx(bytes: Uint8Array, name = "IDX file"): Tensor {
  const axes = bytes[3] ?? 0;
  if (bytes[0] !== 0 || bytes[1] !== 0 || axes < 1 || axes > MAX_AXES) {
    throw new InputError(
      `${name}: the first bytes are not those of an IDX file; download it again`,
    );
  }
  if (bytes[2] !== UNSIGNED_BYTE) {
    throw new InputError(
      `${name}: element type 0x${bytes[2]!.toString(16)}, want 0x08 (unsigned bytes)`,
    );
  }
  const start = 4 + 4 * axes;
  if (bytes.length < start) throw new InputError(`${name}: ends inside its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: axes }, (_, i) => view.getUint32(4 + 4 * i));
  const wanted = shape.reduce((n, d) => n * d, 1);
  if (wanted !== bytes.length - start) {
    throw new InputError(
      `${name}: the header promises ${shape.join("x")} = ${wanted} bytes, ${bytes.length - start} are there; download it again`,
      { shape, bytes: bytes.length - start },
    );
  }
  return { dtype: "uint8", shape, data: bytes.subarray(start) };
}
