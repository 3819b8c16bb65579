/** NumPy's .npy: the header as a literal, and the pickle inside arrays of objects. Elements are not read. */

import { InputError, viewOf } from "./bytes.ts";
import { NumpyType, numpyType } from "./names-numpy.ts";
import { found, member, type Part, peek, slice, unreadable } from "./part.ts";
import { scanPickle } from "./pickle.ts";
import { type Literal, parseLiteral } from "./py-literal.ts";

export interface NpyHeader {
  readonly type: NumpyType;
  readonly shape: readonly number[];
  readonly fortran: boolean;
  /** Where the elements start. */
  readonly data: number;
}

const MAX_HEADER = 1 << 20;
const fail = (why: string): never => {
  throw new InputError(`npy: ${why}`);
};

/** Reads the header from the first bytes of a file. @throws InputError for everything NumPy would not write */
export function readNpyHeader(bytes: Uint8Array): NpyHeader {
  const [major, minor] = [bytes[6]!, bytes[7]!];
  if (!(major >= 1 && major <= 3) || minor !== 0) return fail(`version ${major}.${minor}`);
  const wide = major > 1 ? 4 : 2;
  if (bytes.length < 8 + wide) return fail("the header is cut off");
  const view = viewOf(bytes);
  const length = major > 1 ? view.getUint32(8, true) : view.getUint16(8, true);
  const data = 8 + wide + length;
  if (length > MAX_HEADER || data > bytes.length) return fail(`a header of ${length} bytes`);
  const raw = bytes.subarray(8 + wide, data);
  const text = new TextDecoder(major === 3 ? "utf-8" : "latin1").decode(raw);
  const header = parseLiteral(text);
  if (!(header instanceof Map) || header.size !== 3) return fail("the header is no dict of three");
  const [descr, fortran, shape] = ["descr", "fortran_order", "shape"].map((key) => header.get(key));
  if (typeof fortran !== "boolean") return fail("fortran_order is no truth value");
  if (
    !Array.isArray(shape) ||
    shape.length > 64 ||
    !shape.every((d) => Number.isSafeInteger(d) && (d as number) >= 0)
  )
    return fail("the shape is no tuple of sizes");
  return { type: typeOf(descr!, 0), shape: shape as number[], fortran, data };
}

/** "<f4", or a list of (name, type[, shape]). */
function typeOf(descr: Literal, depth: number): NumpyType {
  if (typeof descr === "string")
    return numpyType(descr) ?? fail(`type ${JSON.stringify(descr.slice(0, 40))}`);
  if (
    Array.isArray(descr) &&
    descr.length === 2 &&
    typeof descr[0] === "string" &&
    Array.isArray(descr[1])
  )
    return subOf(typeOf(descr[0], depth + 1), descr[1]);
  if (!Array.isArray(descr) || depth > 16)
    return fail("the type is neither text nor a list of fields");
  const fields = new Map<string, { type: NumpyType; offset: number }>();
  let offset = 0;
  for (const field of descr) {
    if (!Array.isArray(field) || field.length < 2) return fail("a field is no pair");
    const name = Array.isArray(field[0]) ? field[0][1] : field[0];
    if (typeof name !== "string") return fail("a field has no name");
    const plain = typeOf(field[1]!, depth + 1);
    const type = field[2] === undefined ? plain : subOf(plain, field[2]);
    fields.set(`${name}#${fields.size}`, { type, offset });
    offset += type.itemsize;
  }
  const type = new NumpyType("V", offset);
  type.fields = fields;
  return type;
}

function subOf(type: NumpyType, shape: Literal): NumpyType {
  const sizes = typeof shape === "number" ? [shape] : shape;
  if (!Array.isArray(sizes) || !sizes.every((d) => Number.isSafeInteger(d) && (d as number) >= 0))
    return fail("a field's shape is no tuple of sizes");
  const sub = new NumpyType("V", type.itemsize * (sizes as number[]).reduce((n, d) => n * d, 1));
  sub.sub = { type, shape: sizes as number[] };
  return sub;
}

export async function scanNpy(part: Part): Promise<void> {
  const { source } = part;
  let header: NpyHeader;
  try {
    header = readNpyHeader(await peek(source, 0, MAX_HEADER + 12));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    // Old NumPy evaluated headers; what is no literal is not for data.
    const odd = /literal/.test(error.message);
    if (odd)
      found(part, "npy-header", {
        severity: "suspicious",
        effect: "holds an expression where NumPy wants a plain description",
        why: error.message,
      });
    else unreadable(part, error.message);
    return searchPickle(part);
  }
  const { type, shape, data } = header;
  if (type.hasObjects) {
    part.scan.formats.add("npy of objects");
    const inner = member(part, "objects", slice(source, data, source.size - data));
    if (inner) await scanPickle(inner);
    return;
  }
  const wanted = shape.reduce((n, d) => n * d, type.itemsize);
  if (!Number.isSafeInteger(wanted))
    return void unreadable(part, "npy: more elements than fit a file");
  const left = source.size - data;
  if (left < wanted) unreadable(part, `npy: ${wanted} bytes of elements, ${left} are left`, data);
  else if (left > wanted) {
    found(part, "npy-rest", {
      severity: "suspicious",
      at: data + wanted,
      effect: "carries bytes that NumPy never reads",
      why: `${left - wanted} bytes follow the array`,
    });
    const inner = member(part, "rest", slice(source, data + wanted, left - wanted));
    if (inner) await scanPickle(inner);
  }
}

/** Behind a broken header a pickle may still lie. */
async function searchPickle(part: Part): Promise<void> {
  const { source } = part;
  const view = await peek(source, 0, 4096);
  const line = view.indexOf(10);
  if (line < 0 || line + 1 >= source.size) return;
  const inner = member(part, "after the header", slice(source, line + 1, source.size - line - 1));
  if (inner) await scanPickle(inner);
}
