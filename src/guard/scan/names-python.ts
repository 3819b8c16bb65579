/** Allowed names of Python's own library, and which arguments each may get. Everything not here is denied. */

import { InputError, type PickleValue } from "../../formats/index.ts";
import { Blob, Name, type NameRule } from "./pickle-machine.ts";

export type Args = readonly PickleValue[];
export type Table = readonly (readonly [path: string, rule: NameRule])[];

export const refuse = (why: string): never => {
  throw new InputError(why);
};

// ---- what a value may be ----------------------------------------------------------------------

export const isText = (v: PickleValue | undefined): v is string => typeof v === "string";
export const isInt = (v: PickleValue | undefined): boolean =>
  typeof v === "bigint" || (typeof v === "number" && Number.isInteger(v));
export const isNumber = (v: PickleValue | undefined): boolean =>
  typeof v === "number" || typeof v === "bigint";
export const isNone = (v: PickleValue | undefined): boolean => v === null || v === undefined;
export const isTuple = (v: PickleValue | undefined): v is readonly PickleValue[] & object =>
  Array.isArray(v) && Object.isFrozen(v);
export const isBytes = (v: PickleValue | undefined): v is Uint8Array => v instanceof Uint8Array;
export const isCount = (v: PickleValue | undefined): v is number =>
  typeof v === "number" && Number.isSafeInteger(v) && v >= 0;
/** Sizes of an array. */
export const isShape = (v: PickleValue | undefined): v is readonly number[] =>
  isTuple(v) && v.length <= 64 && v.every(isCount);

/** An object of a named class with its arguments, as data. */
export class Made {
  state: PickleValue = null;
  constructor(
    readonly type: string,
    readonly args: Args,
  ) {}
}

/** A rule for a call whose arguments must pass `fits`; makes plain data. */
export const made = (
  type: string,
  fits: (args: Args) => boolean,
  wanted: string,
): NameRule["reduce"] => {
  return (args) => (fits(args) ? new Made(type, args) : refuse(`wanted ${wanted}`));
};

const list = (v: PickleValue | undefined): v is readonly PickleValue[] & object => Array.isArray(v);

const dictFrom = (args: Args): Map<PickleValue, PickleValue> => {
  const [items] = args;
  if (args.length === 0 || (args.length === 1 && items instanceof Map && items.size === 0))
    return new Map();
  if (args.length !== 1 || !(list(items) || items instanceof Map))
    return refuse("wanted nothing, a dict or a list of pairs");
  const map = new Map<PickleValue, PickleValue>();
  for (const pair of items as Iterable<PickleValue>) {
    if (!list(pair) || pair.length !== 2) return refuse("wanted pairs of key and value");
    map.set(pair[0]!, pair[1]!);
  }
  return map;
};

/** torch hangs _metadata on state_dicts; OrderedDict and Counter have no other state. */
const dictState = (_: object, state: PickleValue): undefined => {
  const fine = state instanceof Map && [...state.keys()].every((key) => key === "_metadata");
  return fine || isNone(state) ? undefined : refuse("a dict may carry _metadata only");
};

/** Text in latin1 is how Python 3 writes bytes in protocols 0 to 2. */
function latin1Bytes([text, encoding, ...rest]: Args): Uint8Array | Blob {
  if (text instanceof Blob && /^latin-?1$/.test(String(encoding)) && rest.length === 0) return text;
  if (!isText(text) || (encoding !== "latin1" && encoding !== "latin-1") || rest.length > 0)
    return refuse("wanted text and 'latin1'");
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) return refuse("the text is not latin1");
    out[i] = code;
  }
  return out;
}

const bytearrayOf = (args: Args): Uint8Array | Blob => {
  if (args.length === 0) return new Uint8Array(0);
  const [bytes] = args;
  if (args.length === 1 && (isBytes(bytes) || bytes instanceof Blob)) return bytes;
  return args.length === 2 ? latin1Bytes(args) : refuse("wanted bytes, or text and 'latin-1'");
};

const setOf = ([items, ...rest]: Args): Set<PickleValue> => {
  if (rest.length > 0 || !(items === undefined || list(items))) return refuse("wanted one list");
  return new Set(items as readonly PickleValue[] | undefined);
};

/** Classes that make an empty or plain value when a defaultdict calls them. */
const FACTORIES = new Set([
  "list",
  "dict",
  "set",
  "int",
  "float",
  "str",
  "bool",
  "tuple",
  "long",
  "unicode",
  "frozenset",
  "bytes",
]);
const isFactory = (v: PickleValue | undefined): boolean =>
  isNone(v) ||
  (v instanceof Name &&
    v.rule !== undefined &&
    ((/^(__builtin__|builtins)$/.test(v.module) && FACTORIES.has(v.name)) ||
      v.path === "collections.OrderedDict"));

const numbers = (min: number, max: number) => (args: Args) =>
  args.length >= min && args.length <= max && args.every(isInt);
const isZone = (v: PickleValue | undefined): boolean =>
  isNone(v) || (v instanceof Made && v.type.startsWith("datetime."));
/** datetime packs its fields into bytes (text in protocols 0 to 2), perhaps with a zone. */
const packed = (length: number) => (args: Args) =>
  (isBytes(args[0]) || isText(args[0])) &&
  args[0].length === length &&
  args.length <= 2 &&
  isZone(args[1]);

const path = (type: string): NameRule => ({
  reduce: made(type, (args) => args.every(isText), "parts of a path as text"),
});

/** A class as data: its identity only. */
const type: NameRule = {};

const builtins: readonly (readonly [string, NameRule])[] = [
  ["set", { reduce: setOf }],
  ["frozenset", { reduce: (args) => Object.freeze(setOf(args)) }],
  ["bytearray", { reduce: bytearrayOf }],
  ["bytes", { reduce: (args) => (args.length === 0 ? new Uint8Array(0) : bytearrayOf(args)) }],
  [
    "complex",
    {
      reduce: made(
        "complex",
        (args) => args.length === 2 && args.every((v) => typeof v === "number"),
        "two floats",
      ),
    },
  ],
  ["range", { reduce: made("range", numbers(1, 3), "one to three integers") }],
  ["xrange", { reduce: made("range", numbers(1, 3), "one to three integers") }],
  [
    "slice",
    {
      reduce: made(
        "slice",
        (args) => args.length === 3 && args.every((v) => isNone(v) || isInt(v)),
        "start, stop and step",
      ),
    },
  ],
  ...["list", "dict", "int", "float", "str", "bool", "tuple", "object", "long", "unicode"].map(
    (name): [string, NameRule] => [name, type],
  ),
];

const uuid: NameRule = {
  make: (args) => (args.length === 0 ? new Made("uuid.UUID", args) : refuse("wanted no arguments")),
  build: (object, state) => {
    const fine =
      state instanceof Map &&
      isInt(state.get("int")) &&
      [...state.keys()].every((key) => key === "int" || key === "is_safe");
    if (!fine) return refuse("a UUID is one integer");
    (object as Made).state = state;
    return undefined;
  },
};

export const PYTHON: Table = [
  ["collections OrderedDict", { reduce: dictFrom, make: () => new Map(), build: dictState }],
  [
    "collections Counter",
    {
      reduce: (args) => {
        const counts = args[0] ?? new Map();
        return args.length <= 1 && counts instanceof Map
          ? new Map(counts)
          : refuse("wanted one dict of counts");
      },
      build: dictState,
    },
  ],
  [
    "collections defaultdict",
    {
      reduce: (args) =>
        args.length <= 1 && isFactory(args[0])
          ? new Map()
          : refuse("the default must be a plain type"),
    },
  ],
  [
    "collections deque",
    {
      reduce: ([items, most, ...rest]) =>
        rest.length === 0 && (items === undefined || list(items)) && (isNone(most) || isCount(most))
          ? [...((items as readonly PickleValue[] | undefined) ?? [])]
          : refuse("wanted a list and a length"),
    },
  ],
  ...["builtins", "__builtin__"].flatMap((module): [string, NameRule][] =>
    builtins.map(([name, rule]) => [`${module} ${name}`, rule]),
  ),
  ["_codecs encode", { reduce: latin1Bytes }],
  ["datetime datetime", { reduce: made("datetime.datetime", packed(10), "ten bytes") }],
  ["datetime date", { reduce: made("datetime.date", packed(4), "four bytes") }],
  ["datetime time", { reduce: made("datetime.time", packed(6), "six bytes") }],
  ["datetime timedelta", { reduce: made("datetime.timedelta", numbers(3, 3), "three integers") }],
  [
    "datetime timezone",
    {
      reduce: made(
        "datetime.timezone",
        ([delta, name, ...rest]) =>
          delta instanceof Made &&
          delta.type === "datetime.timedelta" &&
          (isNone(name) || isText(name)) &&
          rest.length === 0,
        "a timedelta",
      ),
    },
  ],
  [
    "decimal Decimal",
    {
      reduce: made(
        "decimal.Decimal",
        (a) => a.length === 1 && isText(a[0]) && a[0].length < 5000,
        "text",
      ),
    },
  ],
  [
    "fractions Fraction",
    {
      reduce: made(
        "fractions.Fraction",
        // With an exponent Python would compute a power of ten as large as the text asks for.
        (a) =>
          (a.length === 1 && isText(a[0]) && /^-?\d{1,2000}(\/\d{1,2000})?$/.test(a[0])) ||
          numbers(2, 2)(a),
        "a quotient as text, or two integers",
      ),
    },
  ],
  ["uuid UUID", uuid],
  ...["PurePosixPath", "PosixPath", "PureWindowsPath", "WindowsPath"].flatMap(
    (name): [string, NameRule][] =>
      ["pathlib", "pathlib._local"].map((module) => [`${module} ${name}`, path(`pathlib.${name}`)]),
  ),
];

/** `copyreg.__newobj__`-less objects of protocols 0 and 1: only of classes that NEWOBJ may make. */
export const reconstructor: NameRule = {
  reduce: ([type, base, state, ...rest]) => {
    const plain =
      type instanceof Name &&
      base instanceof Name &&
      /^(builtins|__builtin__)$/.test(base.module) &&
      base.name === "object" &&
      isNone(state) &&
      rest.length === 0;
    if (!plain || !type.rule?.make) return refuse("makes an object of a class not on the list");
    return type.rule.make([]);
  },
  // What follows is judged by what was made.
  build: (object, state) => {
    if (!(object instanceof Made) || object.type !== "uuid.UUID") return refuse("has no state");
    return uuid.build!(object, state) as undefined;
  },
};
