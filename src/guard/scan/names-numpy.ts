/** Allowed names of NumPy and joblib, and which arguments each may get. Arrays stay bytes until somebody loads them. */

import type { PickleValue } from "../../formats/index.ts";
import {
  type Args,
  isBytes,
  isCount,
  isInt,
  isNone,
  isShape,
  isText,
  isTuple,
  refuse,
  type Table,
} from "./names-python.ts";
import { type Inline, Name, type NameRule } from "./pickle-machine.ts";

/** A NumPy dtype. */
export class NumpyType {
  /** ">" or "<" or "|". */
  order: string;
  /** Of structured types: field by name. */
  fields: ReadonlyMap<string, { type: NumpyType; offset: number }> | undefined;
  sub: { type: NumpyType; shape: readonly number[] } | undefined;
  constructor(
    /** Letter of the kind: f i u b c S U V O M m. */
    readonly kind: string,
    /** Bytes of an element. */
    public itemsize: number,
  ) {
    this.order = itemsize > 1 && "iufcUMm".includes(kind) ? "<" : "|";
  }
  /** Elements are Python objects, which NumPy stores as one more pickle. */
  get hasObjects(): boolean {
    if (this.kind === "O") return true;
    if (this.sub) return this.sub.type.hasObjects;
    for (const { type } of this.fields?.values() ?? []) if (type.hasObjects) return true;
    return false;
  }
  /** As NumPy's dtype.str. */
  get text(): string {
    const unit = this.kind === "U" ? this.itemsize / 4 : this.itemsize;
    return `${this.order}${this.kind}${unit}`;
  }
}

/** An array: what it is, and its bytes where they are at hand. */
export class NumpyArray {
  type: NumpyType | undefined;
  shape: readonly number[] = [];
  fortran = false;
  bytes: Uint8Array | undefined;
}

const SIZES: Readonly<Record<string, readonly number[]>> = {
  f: [2, 4, 8, 12, 16],
  i: [1, 2, 4, 8],
  u: [1, 2, 4, 8],
  b: [1],
  c: [8, 16, 24, 32],
  O: [4, 8],
  M: [8],
  m: [8],
};

/** One-letter and old names of types. */
const ALIASES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "?": "b1",
    b: "i1",
    B: "u1",
    h: "i2",
    H: "u2",
    i: "i4",
    I: "u4",
    l: "i8",
    L: "u8",
    q: "i8",
    Q: "u8",
    e: "f2",
    f: "f4",
    d: "f8",
    F: "c8",
    D: "c16",
    O: "O8",
    object: "O8",
    bool: "b1",
    int8: "i1",
    uint8: "u1",
    int16: "i2",
    uint16: "u2",
    int32: "i4",
    uint32: "u4",
    int64: "i8",
    uint64: "u8",
    float16: "f2",
    float32: "f4",
    float64: "f8",
    complex64: "c8",
    complex128: "c16",
  }),
);

/** Reads "<f4", "|S10", "U3", "M8[ns]"; undefined when it is none of NumPy's. */
export function numpyType(text: string): NumpyType | undefined {
  const parts = /^([<>|=]?)(.*)$/s.exec(text)!;
  const body = ALIASES.get(parts[2]!) ?? parts[2]!;
  const known = /^([fiubcOMmSaUV])(\d{0,10})(\[[\w/]{1,16}\])?$/.exec(body);
  if (!known) return undefined;
  const kind = known[1] === "a" ? "S" : known[1]!;
  const count = Number(known[2] || (SIZES[kind]?.at(-1) ?? 0));
  const itemsize = kind === "U" ? count * 4 : count;
  if (itemsize > 2 ** 31 || (SIZES[kind] && !SIZES[kind].includes(count))) return undefined;
  if (known[3] && kind !== "M" && kind !== "m") return undefined;
  const type = new NumpyType(kind, itemsize);
  if ((parts[1] === "<" || parts[1] === ">") && type.order !== "|") type.order = parts[1];
  return type;
}

const dtype: NameRule = {
  reduce: ([text, align, copy, ...rest]) => {
    const known = isText(text) ? numpyType(text) : undefined;
    const flag = (v: PickleValue | undefined) =>
      v === undefined || typeof v === "boolean" || v === 0 || v === 1;
    if (!known || !flag(align) || !flag(copy) || rest.length > 0)
      return refuse("wanted the text of a type and two flags");
    return known;
  },
  // (version, order, subtype, names, fields, itemsize, alignment, flags[, metadata])
  build: (object, state) => {
    const type = object as NumpyType;
    if (!isTuple(state) || state.length < 5 || state.length > 9)
      return refuse("wanted a type's state");
    const [version, order, sub, names, fields, itemsize, , , metadata] = state;
    if (!isInt(version) || !isText(order) || !/^[<>|=]$/.test(order))
      return refuse("wanted a version and a byte order");
    if (type.order !== "|" && order !== "|") type.order = order === "=" ? "<" : order;
    if (!isNone(metadata) && !isTimeUnit(metadata))
      return refuse("a type may carry a time unit only");
    if (!isNone(sub)) readSubtype(type, sub!);
    if (!isNone(names) || !isNone(fields)) readFields(type, names!, fields!);
    if (isCount(itemsize) && "SUV".includes(type.kind)) type.itemsize = itemsize;
    return undefined;
  },
};

/** ({}, (b'ns', 1, 1, 1)) */
const isTimeUnit = (v: PickleValue | undefined): boolean =>
  isTuple(v) && v.length === 2 && v[0] instanceof Map && v[0].size === 0 && isTuple(v[1]);

function readSubtype(type: NumpyType, sub: PickleValue): undefined {
  if (!isTuple(sub) || sub.length !== 2 || !(sub[0] instanceof NumpyType))
    return refuse("wanted a type and a shape");
  const shape = isCount(sub[1]) ? [sub[1]] : sub[1];
  if (!Array.isArray(shape) || !shape.every(isCount)) return refuse("wanted a type and a shape");
  type.sub = { type: sub[0], shape };
  type.itemsize = sub[0].itemsize * shape.reduce((n, d) => n * d, 1);
  return undefined;
}

function readFields(type: NumpyType, names: PickleValue, fields: PickleValue): undefined {
  if (!isTuple(names) || !(fields instanceof Map)) return refuse("wanted names and fields");
  const read = new Map<string, { type: NumpyType; offset: number }>();
  for (const name of names) {
    const field = fields.get(name);
    if (!isText(name) || !isTuple(field) || !(field[0] instanceof NumpyType) || !isCount(field[1]))
      return refuse("wanted a type and an offset for each field");
    read.set(name, { type: field[0], offset: field[1] });
  }
  type.fields = read;
  return undefined;
}

const isClass = (v: PickleValue | undefined, path: string): boolean =>
  v instanceof Name && v.path === path && v.rule !== undefined;

const reconstruct: NameRule = {
  reduce: ([type, shape, code, ...rest]) => {
    const fine =
      (isClass(type, "numpy.ndarray") || isClass(type, "numpy.matrix")) &&
      isShape(shape) &&
      (isText(code) || isBytes(code)) &&
      code.length === 1 &&
      rest.length === 0;
    return fine ? new NumpyArray() : refuse("wanted numpy.ndarray, a shape and a letter");
  },
  // (version, shape, type, fortran, data)
  build: (object, state) => {
    const array = object as NumpyArray;
    if (!isTuple(state) || state.length !== 5) return refuse("wanted an array's state");
    const [version, shape, type, fortran, data] = state;
    if (!isInt(version) || !isShape(shape) || !(type instanceof NumpyType))
      return refuse("wanted a version, a shape and a type");
    if (typeof fortran !== "boolean" && !isInt(fortran)) return refuse("wanted an order");
    array.type = type;
    array.shape = shape;
    array.fortran = Boolean(fortran);
    if (type.hasObjects)
      return Array.isArray(data) ? undefined : refuse("wanted a list of objects");
    const bytes = isText(data) ? latin1(data) : data;
    const size = shape.reduce((n, d) => n * d, type.itemsize);
    // Bytes too long for the window are no Uint8Array; their length is checked where they are loaded.
    if (isBytes(bytes) && bytes.length !== size)
      return refuse(`${type.text} [${shape}] takes ${size} bytes, the file holds ${bytes.length}`);
    if (isBytes(bytes)) array.bytes = bytes;
    return undefined;
  },
};

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

const fromBuffer: NameRule = {
  reduce: ([data, type, shape, order, ...rest]) => {
    const fine =
      type instanceof NumpyType &&
      !type.hasObjects &&
      isShape(shape) &&
      (order === "C" || order === "F" || isNone(order)) &&
      rest.length === 0;
    if (!fine) return refuse("wanted bytes, a type without objects, a shape and an order");
    const array = new NumpyArray();
    Object.assign(array, { type, shape, fortran: order === "F" });
    if (isBytes(data)) array.bytes = data;
    else if (isText(data) || isNone(data)) return refuse("wanted bytes");
    return array;
  },
};

const scalar: NameRule = {
  reduce: ([type, data, ...rest]) => {
    if (!(type instanceof NumpyType) || type.hasObjects || rest.length > 0)
      return refuse("wanted a type without objects and its bytes");
    const bytes = isText(data) ? latin1(data) : data;
    if (!isBytes(bytes) || bytes.length !== type.itemsize)
      return refuse(`wanted ${type.itemsize} bytes`);
    const array = new NumpyArray();
    Object.assign(array, { type, bytes });
    return array;
  },
};

/** joblib's note that an array's bytes follow the opcode. */
class JoblibArray extends NumpyArray {}

const wrapper: NameRule = {
  make: (args: Args) => (args.length === 0 ? new JoblibArray() : refuse("wanted no arguments")),
  build: (object, state): Inline => {
    if (!(state instanceof Map)) return refuse("wanted the state of a wrapper");
    const [type, shape] = [state.get("dtype"), state.get("shape")];
    const subclass = state.get("subclass");
    if (!(type instanceof NumpyType) || !isShape(shape)) return refuse("wanted a type and a shape");
    if (!isClass(subclass, "numpy.ndarray") && !isClass(subclass, "numpy.matrix"))
      return refuse("wanted the class numpy.ndarray");
    Object.assign(object, { type, shape, fortran: state.get("order") === "F" });
    if (type.hasObjects) return { skip: "pickle" };
    const size = shape.reduce((n, d) => n * d, type.itemsize);
    const aligned = isCount(state.get("numpy_array_alignment_bytes"));
    return { skip: (_at, padding) => (aligned ? 1 + padding : 0) + size };
  },
};

/** Types and scalar classes as data. */
const SCALARS =
  "bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128 str_ bytes_ object_ void datetime64 timedelta64 intc intp longlong ulonglong longdouble";

/** NumPy 2 moved its core; checkpoints name either place. */
const CORES = ["numpy.core", "numpy._core"];

export const NUMPY: Table = [
  ["numpy dtype", dtype],
  ["numpy ndarray", {}],
  ["numpy matrix", {}],
  ["numpy.matrixlib.defmatrix matrix", {}],
  ...SCALARS.split(" ").map((name): [string, NameRule] => [`numpy ${name}`, {}]),
  ...CORES.flatMap((core): [string, NameRule][] => [
    [`${core}.multiarray _reconstruct`, reconstruct],
    [`${core}.multiarray scalar`, scalar],
    [`${core}.numeric _frombuffer`, fromBuffer],
  ]),
  ["joblib.numpy_pickle NumpyArrayWrapper", wrapper],
];
