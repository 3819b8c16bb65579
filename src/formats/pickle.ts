/** Pickle as data: an interpreter of allowed opcodes and allowed names. It never calls anything. */

import { viewOf } from "./bytes.ts";
import {
  addItems,
  append,
  apply,
  ascii,
  build,
  decimal,
  escaped,
  float,
  get,
  global,
  index,
  LIMITS,
  line,
  long,
  type Machine,
  type PickleLimits,
  type PickleRules,
  type PickleValue,
  pop,
  popMark,
  popRaw,
  popTuple,
  push,
  put,
  reduce,
  refuse,
  setItems,
  take,
  text,
  top,
  u8,
  u16,
  u32,
  u64,
} from "./pickle-machine.ts";
import { OPCODES, type Opcode, REFUSED } from "./pickle-ops.ts";

export type { GlobalRule, PickleLimits, PickleRules, PickleValue } from "./pickle-machine.ts";

// ---- opcodes ----------------------------------------------------------------------------------

/** What each opcode does; a returned value is pushed. */
const RUN: Readonly<Record<Exclude<Opcode, "STOP">, (m: Machine) => unknown>> = {
  PROTO: (m) => {
    const version = u8(m);
    if (m.opAt !== m.start) refuse(m, "stands inside the stream");
    if (version > 5) refuse(m, `protocol ${version}; known are 0 to 5`);
  },
  FRAME: (m) => {
    const length = u64(m);
    if (m.frameEnd >= 0) refuse(m, "a frame inside a frame");
    if (length > m.bytes.length - m.at) refuse(m, `takes ${length} bytes, fewer are left`);
    m.frameEnd = m.at + Number(length);
  },
  MARK: (m) => {
    if (m.marks.length >= m.limits.maxStack) refuse(m, "too many marks");
    m.marks.push(m.stack);
    m.stack = [];
  },
  POP: (m) => void popRaw(m),
  POP_MARK: (m) => void popMark(m),
  NONE: () => null,
  NEWTRUE: () => true,
  NEWFALSE: () => false,
  INT: (m) => {
    const digits = line(m);
    return digits === "01" ? true : digits === "00" ? false : decimal(m, digits);
  },
  BININT: (m) => u32(m) | 0,
  BININT1: u8,
  BININT2: u16,
  LONG: (m) => decimal(m, line(m).replace(/L$/, "")),
  LONG1: (m) => long(m, u8(m)),
  FLOAT: (m) => float(m, line(m)),
  BINFLOAT: (m) => viewOf(take(m, 8)).getFloat64(0, false),
  UNICODE: escaped,
  BINUNICODE: (m) => text(m, u32(m)),
  SHORT_BINUNICODE: (m) => text(m, u8(m)),
  BINUNICODE8: (m) => text(m, u64(m)),
  SHORT_BINSTRING: (m) => ascii(m, u8(m)),
  BINSTRING: (m) => ascii(m, Math.min(u32(m), 65537)),
  BINBYTES: (m) => new Uint8Array(take(m, u32(m))),
  SHORT_BINBYTES: (m) => new Uint8Array(take(m, u8(m))),
  BINBYTES8: (m) => new Uint8Array(take(m, u64(m))),
  BYTEARRAY8: (m) => new Uint8Array(take(m, u64(m))),
  EMPTY_LIST: () => [],
  APPEND: (m) => append(m, [pop(m)]),
  APPENDS: (m) => append(m, popMark(m)),
  LIST: popMark,
  EMPTY_TUPLE: (m) => popTuple(m, 0),
  TUPLE: (m) => Object.freeze(popMark(m)),
  TUPLE1: (m) => popTuple(m, 1),
  TUPLE2: (m) => popTuple(m, 2),
  TUPLE3: (m) => popTuple(m, 3),
  EMPTY_DICT: () => new Map(),
  DICT: (m) => {
    const map = new Map();
    setItems(m, map, popMark(m));
    return map;
  },
  SETITEM: (m) => {
    const value = pop(m);
    const key = pop(m);
    setItems(m, top(m), [key, value]);
  },
  SETITEMS: (m) => {
    const items = popMark(m);
    setItems(m, top(m), items);
  },
  EMPTY_SET: () => new Set(),
  ADDITEMS: (m) => {
    const items = popMark(m);
    addItems(m, top(m), items);
  },
  FROZENSET: (m) => addItems(m, new Set(), popMark(m)),
  GLOBAL: (m) => {
    const module = line(m);
    return global(m, module, line(m));
  },
  STACK_GLOBAL: (m) => {
    const name = pop(m);
    return global(m, pop(m), name);
  },
  REDUCE: reduce,
  BUILD: build,
  BINPERSID: (m) => {
    const id = pop(m);
    const { persistent } = m.rules;
    return persistent
      ? apply(m, "persistent id", () => persistent(id))
      : refuse(m, "not allowed here");
  },
  PUT: (m) => put(m, index(m, line(m))),
  BINPUT: (m) => put(m, u8(m)),
  LONG_BINPUT: (m) => put(m, u32(m)),
  MEMOIZE: (m) => put(m, m.memo.size),
  GET: (m) => get(m, index(m, line(m))),
  BINGET: (m) => get(m, u8(m)),
  LONG_BINGET: (m) => get(m, u32(m)),
};

const NAME_OF: (Opcode | undefined)[] = [];
for (const [name, code] of Object.entries(OPCODES)) NAME_OF[code] = name as Opcode;

function nextOpcode(m: Machine): Opcode {
  m.opAt = m.at;
  m.opcode = "opcode";
  if (m.frameEnd >= 0 && m.at >= m.frameEnd) {
    if (m.at > m.frameEnd) refuse(m, "the opcode before it crosses the end of its frame");
    m.frameEnd = -1;
  }
  const code = u8(m);
  const name = NAME_OF[code];
  if (name === undefined) {
    const [refused, why] = REFUSED.get(code) ?? [
      `0x${code.toString(16)}`,
      "it is no pickle opcode",
    ];
    m.opcode = refused;
    return refuse(m, `is refused: ${why}`);
  }
  m.opcode = name;
  return name;
}

/**
 * Reads one pickle.
 * @param start where it starts in `bytes`.
 * @param limits caps on opcodes, stack, memo and nesting.
 * @returns the value, acyclic and at most `maxDepth` deep, and where the pickle ended.
 * @throws InputError with byte offset, opcode and reason for everything that is not on the lists.
 */
export function readPickle(
  bytes: Uint8Array,
  rules: PickleRules,
  { start = 0, limits = {} }: { start?: number; limits?: Partial<PickleLimits> } = {},
): { value: PickleValue; end: number } {
  const m: Machine = {
    bytes,
    rules,
    limits: { ...LIMITS, ...limits },
    memo: new Map(),
    builders: new WeakMap(),
    marks: [],
    stack: [],
    start,
    at: start,
    opAt: start,
    opcode: "opcode",
    frameEnd: -1,
  };
  for (let ops = 0; ; ops++) {
    const opcode = nextOpcode(m);
    if (ops >= m.limits.maxOps) refuse(m, `more than ${m.limits.maxOps} opcodes`);
    if (opcode === "STOP") break;
    const value = RUN[opcode](m);
    if (value !== undefined) push(m, value as PickleValue);
  }
  if (m.frameEnd >= 0 && m.frameEnd !== m.at) refuse(m, "stands before the end of its frame");
  const value = pop(m);
  if (m.stack.length > 0 || m.marks.length > 0) refuse(m, "leaves values on the stack");
  checkNesting(m, value);
  return { value, end: m.at };
}

const childrenOf = (value: PickleValue): readonly PickleValue[] =>
  Array.isArray(value) ? value : value instanceof Map ? [...value.values()] : [];

/** Refuses cycles and deep nesting, so that whoever walks the value may recurse. Itself it does not. */
function checkNesting(m: Machine, root: PickleValue): void {
  const depths = new Map<PickleValue, number>(); // -1: on the path from the root
  const path = [{ value: root, rest: childrenOf(root).values(), depth: 0 }];
  depths.set(root, -1);
  for (let frame = path.at(-1); frame; frame = path.at(-1)) {
    if (path.length > m.limits.maxDepth) refuse(m, `nesting is deeper than ${m.limits.maxDepth}`);
    const { done, value } = frame.rest.next();
    const known = done ? undefined : depths.get(value!);
    if (done) {
      path.pop();
      depths.set(frame.value, frame.depth);
      const parent = path.at(-1);
      if (parent) parent.depth = Math.max(parent.depth, frame.depth + 1);
    } else if (known === -1) refuse(m, "the value contains itself");
    else if (known !== undefined) frame.depth = Math.max(frame.depth, known + 1);
    else if (typeof value === "object" && value !== null) {
      depths.set(value, -1);
      path.push({ value, rest: childrenOf(value).values(), depth: 0 });
    }
    if (frame.depth > m.limits.maxDepth) refuse(m, `nesting is deeper than ${m.limits.maxDepth}`);
  }
}
