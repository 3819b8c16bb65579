/** Allowed names of PyTorch, and which arguments each may get. Takes notes of storages and views; reads none. */

import { BYTES, type PickleValue } from "../../formats/index.ts";
import { DTYPES, pthScene, reach, STORAGE_TYPES } from "../../formats/pth-rules.ts";
import {
  type Args,
  isBytes,
  isCount,
  isInt,
  isNone,
  isShape,
  isText,
  isTuple,
  Made,
  made,
  refuse,
  type Table,
} from "./names-python.ts";
import { Name, type NameRule } from "./pickle-machine.ts";

/** An element type by torch's name. */
export class TorchType {
  constructor(
    readonly name: string,
    readonly bytes: number,
  ) {}
}

/** A storage that the file names; its bytes are elsewhere in the file. */
export class TorchStorage {
  constructor(
    readonly key: string,
    readonly type: TorchType,
    readonly count: number,
  ) {}
  get bytes(): number {
    return this.count * this.type.bytes;
  }
}

/** A strided window on a storage. */
export class TorchTensor {
  /** Carries a conjugation or sign that is still to be applied. */
  isLazy = false;
  constructor(
    readonly storage: TorchStorage,
    readonly type: TorchType,
    readonly window: {
      readonly offset: number;
      readonly shape: readonly number[];
      readonly strides: readonly number[];
    },
  ) {}
}

/** Bytes an element takes, by torch's name of the type: those of formats/, and those that only torch computes with. */
const TYPES: Readonly<Record<string, number>> = {
  ...BYTES,
  float8_e4m3fn: 1,
  float8_e5m2: 1,
  float8_e4m3fnuz: 1,
  float8_e5m2fnuz: 1,
  float8_e8m0fnu: 1,
  float4_e2m1fn_x2: 1,
  complex128: 16,
  complex64: 8,
  complex32: 4,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  quint8: 1,
  qint8: 1,
  qint32: 4,
  quint4x2: 1,
  quint2x4: 1,
  bits8: 1,
  bits16: 2,
};
/** All names under which torch has a type. */
const NAMES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(TYPES).map((name) => [name, name])),
  ...DTYPES,
  chalf: "complex32",
  cfloat: "complex64",
  cdouble: "complex128",
};
const STORAGES: Readonly<Record<string, string>> = {
  ...STORAGE_TYPES,
  ComplexFloatStorage: "complex64",
  ComplexDoubleStorage: "complex128",
  QUInt8Storage: "quint8",
  QInt8Storage: "qint8",
  QInt32Storage: "qint32",
  QUInt4x2Storage: "quint4x2",
  QUInt2x4Storage: "quint2x4",
};

export const TORCH_TYPES: ReadonlyMap<string, TorchType> = new Map(
  Object.entries(TYPES).map(([name, bytes]) => [name, new TorchType(name, bytes)]),
);

/** Settings that are names only. */
const CONSTANTS =
  "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc contiguous_format channels_last channels_last_3d preserve_format";

/** The notes of one checkpoint. */
export interface TorchScene {
  readonly table: Table;
  readonly storages: ReadonlyMap<string, TorchStorage>;
  readonly persistent: (id: PickleValue) => PickleValue;
}

const isDict = (v: PickleValue | undefined): v is Map<PickleValue, PickleValue> & object =>
  v instanceof Map;
const noHooks = (v: PickleValue | undefined): boolean => isNone(v) || (isDict(v) && v.size === 0);
const isTensor = (v: PickleValue | undefined): v is TorchTensor => v instanceof TorchTensor;

/** Makes the rules of one checkpoint. @param shares names that formats/ loads, so that both lists are one. */
export function torchScene(): TorchScene {
  const storages = new Map<string, TorchStorage>();

  function persistent(id: PickleValue): PickleValue {
    if (!isTuple(id) || (id.length !== 5 && id.length !== 6) || id[0] !== "storage")
      return refuse("wanted a storage of five or six parts");
    const [, type, key, location, count, view] = id;
    if (!(type instanceof TorchType)) return refuse("the type of a storage is no storage class");
    if (!isText(key) || !isText(location)) return refuse("wanted the key and place of a storage");
    if (!isCount(count)) return refuse(`a storage of ${String(count)} elements`);
    if (!/^[0-9]{1,20}$/.test(key) && !/^[\w.-]{1,200}$/.test(key))
      return refuse(`the key ${JSON.stringify(key.slice(0, 80))} leaves the checkpoint`);
    if (!isNone(view) && !(isTuple(view) && view.length === 3 && isText(view[0])))
      return refuse("wanted a view of a storage");
    const before = storages.get(key);
    if (before) {
      if (before.type !== type || before.count !== count)
        return refuse(`storage ${key} is described in two ways`);
      return before;
    }
    const storage = new TorchStorage(key, type, count);
    storages.set(key, storage);
    return storage;
  }

  function window(args: Args, type?: TorchType): TorchTensor {
    const [storage, offset, shape, strides] = args;
    if (
      !(storage instanceof TorchStorage) ||
      !isCount(offset) ||
      !isShape(shape) ||
      !isShape(strides)
    )
      return refuse("wanted a storage, an offset, sizes and strides");
    if (strides.length !== shape.length) return refuse("wanted as many strides as sizes");
    const as = type ?? storage.type;
    const count = Math.floor(storage.bytes / as.bytes);
    const end = offset + reach(shape, strides);
    if (!Number.isSafeInteger(end) || end > count)
      return refuse(
        `sizes [${shape}] and strides [${strides}] from ${offset} reach element ${end} of ${count}`,
      );
    if (!Number.isSafeInteger(shape.reduce((n, d) => n * (d || 1), 1)))
      return refuse(`sizes [${shape}] make more than 2^53 elements`);
    return new TorchTensor(storage, as, { offset, shape, strides });
  }

  const tensor: NameRule = {
    reduce: (args) => {
      if (args.length < 4 || args.length > 7) return refuse(`got ${args.length} arguments`);
      if (args[4] !== undefined && typeof args[4] !== "boolean") return refuse("wanted a flag");
      if (!noHooks(args[5])) return refuse("has backward hooks, which are functions");
      if (!isNone(args[6]) && !isDict(args[6])) return refuse("wanted metadata");
      const made = window(args);
      made.isLazy = isDict(args[6]) && args[6].size > 0;
      return made;
    },
  };
  const typed: NameRule = {
    reduce: (args) => {
      const type = args[6];
      if (args.length < 7 || args.length > 8 || !(type instanceof TorchType))
        return refuse("wanted a storage, a window, flags and a type");
      if (!noHooks(args[5])) return refuse("has backward hooks, which are functions");
      return window(args, type);
    },
  };
  const parameter: NameRule = {
    reduce: ([data, grad, hooks, state, ...rest]) => {
      if (!(data instanceof TorchTensor || data instanceof Made) || typeof grad !== "boolean")
        return refuse("wanted a tensor and a flag");
      if (!noHooks(hooks) || rest.length > 0) return refuse("has hooks, which are functions");
      if (!isNone(state) && !isDict(state) && !isTuple(state)) return refuse("wanted a state");
      return data;
    },
    build: (_, state) => (noHooks(state) ? undefined : refuse("a parameter has no state")),
  };
  const plain = (v: PickleValue | undefined): boolean =>
    isNone(v) ||
    isText(v) ||
    typeof v === "boolean" ||
    isShape(v) ||
    v instanceof Made ||
    v instanceof TorchType ||
    isTensor(v) ||
    isInt(v);
  const some = (type: string, min: number, max: number): NameRule => ({
    reduce: made(
      type,
      (args) =>
        args.length >= min &&
        args.length <= max &&
        args.every(
          (v) =>
            plain(v) ||
            isDict(v) ||
            (Array.isArray(v) && v.every((x) => plain(x) || (Array.isArray(x) && x.every(plain)))),
        ),
      "tensors, sizes and settings",
    ),
  });
  const quantized: NameRule = {
    reduce: (args) => {
      if (args.length < 6 || args.length > 7 || !noHooks(args[6])) return refuse("wanted a window");
      const settings = args[4];
      if (!isTuple(settings) || !settings.every((v) => plain(v) || typeof v === "number"))
        return refuse("wanted settings of quantization");
      const made = new Made("torch.quantized", settings);
      made.state = window(args);
      return made;
    },
  };
  /** Tensor with a Python class and attributes: only torch's own two. */
  const fromType: NameRule = {
    reduce: ([rebuild, type, args, state, ...rest]) => {
      const own =
        type instanceof Name &&
        (type.path === "torch.Tensor" || type.path === "torch.nn.parameter.Parameter");
      if (!own || !(rebuild instanceof Name) || !rebuild.rule?.reduce || rest.length > 0)
        return refuse("wanted one of torch's own rebuild functions and classes");
      if (!isTuple(args)) return refuse("wanted arguments");
      if (!isNone(state) && !isDict(state) && !isTuple(state)) return refuse("wanted a state");
      return rebuild.rule.reduce(args);
    },
  };
  const size: NameRule = {
    reduce: ([shape, ...rest]) =>
      Array.isArray(shape) && shape.every(isInt) && rest.length === 0
        ? (Object.freeze([...shape]) as PickleValue)
        : refuse("wanted one tuple of sizes"),
  };
  const device: NameRule = {
    reduce: made(
      "torch.device",
      ([type, index, ...rest]) =>
        isText(type) &&
        /^[a-z]{1,16}(:\d{1,4})?$/.test(type) &&
        (isNone(index) || isInt(index)) &&
        rest.length === 0,
      "a device type and perhaps a number",
    ),
  };
  const layout: NameRule = {
    reduce: made(
      "torch.layout",
      (args) => args.length === 1 && isText(args[0]) && /^torch\.[a-z_]{1,32}$/.test(args[0]),
      "the name of a layout",
    ),
  };

  const own: [string, NameRule][] = [
    ["torch Size", size],
    ["torch device", device],
    ["torch Tensor", {}],
    ["torch.nn.parameter Parameter", {}],
    ["torch.serialization _get_layout", layout],
    ["torch._utils _rebuild_tensor", tensor],
    ["torch._utils _rebuild_tensor_v2", tensor],
    ["torch._utils _rebuild_tensor_v3", typed],
    ["torch._utils _rebuild_parameter", parameter],
    ["torch._utils _rebuild_parameter_with_state", parameter],
    ["torch._utils _rebuild_qtensor", quantized],
    ["torch._utils _rebuild_sparse_tensor", some("torch.sparse", 2, 2)],
    ["torch._utils _rebuild_sparse_csr_tensor", some("torch.sparse", 2, 2)],
    ["torch._utils _rebuild_meta_tensor_no_storage", some("torch.meta", 4, 4)],
    ["torch._utils _rebuild_nested_tensor", some("torch.nested", 1, 4)],
    ["torch._utils _rebuild_device_tensor_from_numpy", arrayTensor],
    ["torch._tensor _rebuild_from_type_v2", fromType],
    ["torch.storage UntypedStorage", { value: TORCH_TYPES.get("uint8")! }],
  ];
  for (const [name, type] of Object.entries({ ...STORAGES, ...NAMES }))
    own.push([`torch ${name}`, { value: TORCH_TYPES.get(type)! }]);
  for (const name of CONSTANTS.split(" "))
    own.push([`torch ${name}`, { value: new Made(`torch.${name}`, []) }]);
  return { table: own, storages, persistent };
}

/** A tensor of a device that cannot be stored: its NumPy array and settings. */
const arrayTensor: NameRule = {
  reduce: made(
    "torch.array",
    (args) => args.length === 4 && typeof args[3] === "boolean" && !isBytes(args[0]),
    "an array, a type, a device and a flag",
  ),
};

/** Names that formats/ loads: they are on this list too, with the rules of formats/ where we have no wider one. */
export const LOADED_NAMES: Table = [...pthScene().rules.globals].map(([path, rule]) => [
  path,
  rule as NameRule, // its rules take no bytes behind the machine's back
]);
