/** The names a PyTorch checkpoint may use, and what they stand for. The containers are in pth.ts. */

import { checkedSize } from "./bytes.ts";
import { BYTES, type DType, HOST, sizeOf, type Tensor, type TypedArray } from "./dtype.ts";
import { InputError } from "./errors.ts";
import type { GlobalRule, PickleRules, PickleValue } from "./pickle.ts";

/** A storage the file speaks of; its data is filled in after the pickle has been read. */
export interface PthStorage extends Tensor {
  data: TypedArray;
  readonly key: string;
}

/** A tensor the file speaks of: a strided window on a storage, counted in elements of its dtype. */
export interface PthWindow {
  readonly tensor: { dtype: DType; shape: readonly number[]; data: TypedArray };
  readonly storage: PthStorage;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** What one checkpoint has spoken of so far. */
export interface PthScene {
  readonly rules: PickleRules;
  readonly storages: ReadonlyMap<string, PthStorage>;
  readonly windows: readonly PthWindow[];
  /** Fills in every tensor once the storages have their data; `maxCopied` bounds the dense copies. */
  fill(maxCopied: number): void;
}

/** Classes of storages by their name in the module torch. */
export const STORAGE_TYPES: Readonly<Record<string, DType>> = {
  DoubleStorage: "float64",
  FloatStorage: "float32",
  HalfStorage: "float16",
  BFloat16Storage: "bfloat16",
  LongStorage: "int64",
  IntStorage: "int32",
  ShortStorage: "int16",
  CharStorage: "int8",
  ByteStorage: "uint8",
  BoolStorage: "bool",
  UntypedStorage: "uint8",
};

/** torch.dtype names, with torch's own aliases. */
export const DTYPES: Readonly<Record<string, DType>> = {
  float64: "float64",
  double: "float64",
  float32: "float32",
  float: "float32",
  float16: "float16",
  half: "float16",
  bfloat16: "bfloat16",
  int64: "int64",
  long: "int64",
  int32: "int32",
  int: "int32",
  int16: "int16",
  short: "int16",
  int8: "int8",
  uint8: "uint8",
  bool: "bool",
};

const MAX_RANK = 64;

/** A class or dtype as data: only identity and text matter. */
class Named {
  constructor(
    readonly name: string,
    readonly dtype: DType,
  ) {}
  toString(): string {
    return this.name;
  }
}

function refuse(why: string, data: Record<string, unknown> = {}): never {
  throw new InputError(why, data);
}

const isCount = (v: PickleValue | undefined): v is number =>
  typeof v === "number" && Number.isSafeInteger(v) && v >= 0;

const isCounts = (v: PickleValue | undefined): v is readonly number[] =>
  Array.isArray(v) && Object.isFrozen(v) && v.length <= MAX_RANK && v.every(isCount);

const isNone = (v: PickleValue | undefined): boolean =>
  v === undefined || v === null || (v instanceof Map && v.size === 0);

/** One past the last element a window touches; 0 when it is empty. */
export const reach = (shape: readonly number[], strides: readonly number[]): number =>
  shape.includes(0) ? 0 : shape.reduce((last, d, i) => last + (d - 1) * strides[i]!, 1);

/** Row-major strides; those of sizes 0 and 1 do not matter. */
export function isDense(shape: readonly number[], strides: readonly number[]): boolean {
  let wanted = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i]! > 1 && strides[i] !== wanted) return false;
    wanted *= shape[i]!;
  }
  return true;
}

/** The elements of a strided window in row-major order; `from` are those of the storage from `start` on. */
export function gather(
  { tensor: { dtype, shape }, offset, strides }: PthWindow,
  from: TypedArray,
  { start = 0 } = {},
): TypedArray {
  const size = sizeOf(shape);
  const to = new HOST[dtype](size) as TypedArray;
  const at = shape.map(() => 0);
  const last = shape.length - 1;
  const [length, step] = [shape[last] ?? 1, strides[last] ?? 0];
  for (let i = 0, row = offset - start; i < size; ) {
    for (let j = 0; j < length; j++) to[i++] = from[row + j * step]!;
    for (let axis = last - 1; axis >= 0; axis--) {
      row += strides[axis]!;
      if (++at[axis]! < shape[axis]!) break;
      row -= strides[axis]! * shape[axis]!;
      at[axis] = 0;
    }
  }
  return to;
}

const orderedDict: GlobalRule = {
  reduce: (args) =>
    args.length === 0 ? new Map() : refuse(`wanted no arguments, got ${args.length}`),
  // state_dict hangs its _metadata on the dict; it says nothing about the tensors.
  build: (_, state) => {
    if (!(state instanceof Map) || ![...state.keys()].every((key) => key === "_metadata"))
      refuse("an OrderedDict may carry _metadata only");
  },
};

const setOf: GlobalRule = {
  reduce: ([items, ...rest]) =>
    Array.isArray(items) && rest.length === 0 && items.every((v) => typeof v !== "object")
      ? new Set(items)
      : refuse("wanted one list of text and numbers"),
};

/** Python 3 writes bytes so in protocols 0 to 2. */
const encode: GlobalRule = {
  reduce: ([text, encoding, ...rest]) => {
    if (typeof text !== "string" || encoding !== "latin1" || rest.length > 0)
      return refuse("wanted text and 'latin1'");
    const codes = Array.from(text, (c) => c.codePointAt(0)!);
    return codes.every((c) => c < 256) ? Uint8Array.from(codes) : refuse("the text is not latin1");
  },
};

const size: GlobalRule = {
  reduce: ([shape, ...rest]) =>
    isCounts(shape) && rest.length === 0 ? shape : refuse("wanted one tuple of sizes"),
};

/** torch.device as its text, e.g. "cuda:0". */
const device: GlobalRule = {
  reduce: ([type, index, ...rest]) =>
    typeof type === "string" &&
    /^[a-z]{1,16}$/.test(type) &&
    rest.length === 0 &&
    (isNone(index) || isCount(index))
      ? isCount(index)
        ? `${type}:${index}`
        : type
      : refuse("wanted a device type and perhaps a number"),
};

/** Makes the rules of one checkpoint. They only take notes: of storages, and of windows on them. */
export function pthScene(): PthScene {
  const storages = new Map<string, PthStorage>();
  const known = new WeakSet<object>();
  const windows: PthWindow[] = [];
  const tensors = new WeakSet<object>();

  const isStorage = (v: PickleValue | undefined): v is PthStorage =>
    typeof v === "object" && v !== null && known.has(v);

  function rebuild(args: readonly PickleValue[], dtype?: DType): Tensor {
    const [storage, offset, shape, strides] = args;
    if (!isStorage(storage) || !isCount(offset) || !isCounts(shape) || !isCounts(strides))
      return refuse("wanted a storage, an offset, sizes and strides");
    checkedSize("tensor", shape);
    if (strides.length !== shape.length)
      refuse(`${shape.length} sizes but ${strides.length} strides`, { shape, strides });
    const typed =
      dtype === undefined || dtype === storage.dtype ? storage : retyped(storage, dtype);
    const end = offset + reach(shape, strides);
    if (!Number.isSafeInteger(end) || end > typed.shape[0]!)
      refuse(
        `sizes [${shape}] and strides [${strides}] from ${offset} reach element ${end}, storage ${storage.key} has ${typed.shape[0]}`,
        { shape, strides, offset, storage: storage.key },
      );
    const tensor = { dtype: typed.dtype, shape, data: new HOST[typed.dtype](0) as TypedArray };
    windows.push({ tensor, storage: typed, offset, strides });
    tensors.add(tensor);
    return tensor;
  }

  /** An untyped storage seen as elements of a dtype (_rebuild_tensor_v3). */
  const views: { view: PthStorage; base: PthStorage }[] = [];
  function retyped(base: PthStorage, dtype: DType): PthStorage {
    const bytes = base.shape[0]! * BYTES[base.dtype];
    if (base.dtype !== "uint8" || bytes % BYTES[dtype] !== 0)
      return refuse(`storage ${base.key} holds ${bytes} bytes of ${base.dtype}, not ${dtype}`);
    const shape = [bytes / BYTES[dtype]];
    const view: PthStorage = { key: base.key, dtype, shape, data: new HOST[dtype](0) };
    views.push({ view, base });
    return view;
  }

  const noHooks = (hooks: PickleValue | undefined) => isNone(hooks) || refuse("has backward hooks");

  const rebuildTensor: GlobalRule = {
    reduce: (args) => {
      if (args.length < 4 || args.length > 7) refuse(`got ${args.length} arguments, wanted 4 to 7`);
      noHooks(args[5]);
      if (!isNone(args[6])) refuse("has metadata (conjugate or negative views)");
      return rebuild(args);
    },
  };

  const rebuildTyped: GlobalRule = {
    reduce: (args) => {
      const dtype = args[6];
      if (args.length < 7 || args.length > 8 || !(dtype instanceof Named) || !isNone(args[7]))
        return refuse("wanted a storage, window, flags and a dtype");
      noHooks(args[5]);
      return rebuild(args, dtype.dtype);
    },
  };

  const rebuildParameter: GlobalRule = {
    reduce: ([data, requiresGrad, hooks, ...rest]) => {
      if (typeof data !== "object" || data === null || !tensors.has(data) || rest.length > 0)
        return refuse("wanted a tensor");
      if (typeof requiresGrad !== "boolean") refuse("wanted true or false for requires_grad");
      noHooks(hooks);
      return data;
    },
  };

  function persistent(id: PickleValue): PickleValue {
    if (!Array.isArray(id) || (id.length !== 5 && id.length !== 6) || id[0] !== "storage")
      return refuse("is no storage of five or six parts");
    const [, type, key, location, numel, view] = id as PickleValue[];
    if (!(type instanceof Named) || typeof key !== "string" || typeof location !== "string")
      return refuse("wanted type, key and location of a storage");
    if (!isCount(numel)) return refuse("the storage has no number of elements");
    if (!isNone(view)) return refuse("views of storages are not supported; save the file again");
    const before = storages.get(key);
    if (before && (before.dtype !== type.dtype || before.shape[0] !== numel))
      return refuse(`storage ${key} is described in two ways`, { key });
    if (before) return before;
    const data = new HOST[type.dtype](0) as TypedArray;
    const storage: PthStorage = { key, dtype: type.dtype, shape: [numel], data };
    storages.set(key, storage);
    known.add(storage);
    return storage;
  }

  const globals = new Map<string, GlobalRule>([
    ["collections OrderedDict", orderedDict],
    ["torch Size", size],
    ["torch device", device],
    ["_codecs encode", encode],
    ["torch._utils _rebuild_tensor", rebuildTensor],
    ["torch._utils _rebuild_tensor_v2", rebuildTensor],
    ["torch._utils _rebuild_tensor_v3", rebuildTyped],
    ["torch._utils _rebuild_parameter", rebuildParameter],
    ...["builtins", "__builtin__"].flatMap((module): [string, GlobalRule][] => [
      [`${module} set`, setOf],
      [`${module} frozenset`, setOf],
    ]),
    ["torch.storage UntypedStorage", { value: new Named("torch.UntypedStorage", "uint8") }],
  ]);
  for (const [name, dtype] of Object.entries(STORAGE_TYPES))
    globals.set(`torch ${name}`, { value: new Named(`torch.${name}`, dtype) });
  for (const [name, dtype] of Object.entries(DTYPES))
    globals.set(`torch ${name}`, { value: new Named(`torch.${name}`, dtype) });

  return {
    rules: { globals, persistent },
    storages,
    windows,
    fill(maxCopied) {
      for (const { view, base } of views) view.data = reinterpret(base, view.dtype);
      let copied = 0;
      for (const window of windows) {
        const { tensor, storage, offset, strides } = window;
        const elements = checkedSize("tensor", tensor.shape);
        if (elements === 0 || isDense(tensor.shape, strides)) {
          tensor.data = storage.data.subarray(offset, offset + elements);
          continue;
        }
        copied += elements * BYTES[tensor.dtype];
        if (copied > maxCopied)
          refuse(`torch: strided tensors would take more than ${maxCopied} bytes made dense`, {
            maxCopied,
          });
        tensor.data = gather(window, storage.data);
      }
    },
  };
}

function reinterpret(base: PthStorage, dtype: DType): TypedArray {
  const bytes = base.data as Uint8Array;
  const aligned = bytes.byteOffset % BYTES[dtype] === 0 ? bytes : new Uint8Array(bytes);
  const length = bytes.length / BYTES[dtype];
  return new HOST[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, length) as TypedArray;
}
