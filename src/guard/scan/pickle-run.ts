/** What each pickle opcode does, one line each, written from CPython's _pickle.c. Longer ones are in pickle-calls.ts. */

import type { PickleValue } from "../../formats/index.ts";
import {
  append,
  build,
  call,
  classCall,
  extension,
  fetch,
  long,
  lookup,
  memoize,
  outside,
  persistent,
  setItems,
  tuple,
  use,
} from "./pickle-calls.ts";
import {
  bytes,
  decode,
  halt,
  i32,
  latin1,
  latin1Of,
  line,
  type Machine,
  Name,
  Opaque,
  pop,
  popMark,
  popRaw,
  signedLength,
  take,
  text,
  top,
  u8,
  u16,
  u32,
  u64,
  wrong,
} from "./pickle-machine.ts";
import { decimal, float, index, unescapeString, unescapeUnicode } from "./pickle-text.ts";

// ---- frames -----------------------------------------------------------------------------------

function frame(m: Machine): void {
  const length = u64(m);
  const begin = m.base + m.at;
  if (m.frameEnd >= 0 && begin < m.frameEnd)
    m.watch.odd("pickle-frame", m.opAt, DISAGREE, "a frame inside a frame");
  if (length > m.size - begin) wrong(m, `a frame of ${length} bytes, fewer are left`, undefined);
  m.frameEnd = begin + Math.min(length, m.size - begin);
}

export const DISAGREE = "is read differently by different versions of Python";

function proto(m: Machine): void {
  m.protocol = u8(m);
  if (m.protocol > 5) wrong(m, `protocol ${m.protocol}; known are 0 to 5`, undefined);
  // Python takes a second PROTO; no pickler writes one.
  if (m.opAt !== m.start && m.waiting.length === 0)
    m.watch.odd("pickle-proto", m.opAt, DISAGREE, "a second PROTO inside the stream");
}

/** POP on a mark removes the mark. */
function discard(m: Machine): void {
  if (m.marks.length > 0 && m.marks[m.marks.length - 1] === m.stack.length) m.marks.pop();
  else popRaw(m);
}

// ---- the table --------------------------------------------------------------------------------

/** By opcode: what it does. A returned value is pushed. */
const TABLE: readonly (readonly [code: number, run: (m: Machine) => unknown])[] = [
  [0x80, proto], // PROTO
  [0x95, frame], // FRAME
  [0x28, (m) => void m.marks.push(m.stack.length)], // MARK
  [0x30, discard], // POP
  [0x31, (m) => void popMark(m)], // POP_MARK
  [0x32, (m) => top(m)], // DUP
  [0x4e, () => null], // NONE
  [0x88, () => true], // NEWTRUE
  [0x89, () => false], // NEWFALSE
  [0x49, (m) => decimal(m, latin1Of(line(m)), true)], // INT
  [0x4c, (m) => decimal(m, latin1Of(line(m)).replace(/L$/, ""), false)], // LONG
  [0x46, (m) => float(m, latin1Of(line(m)))], // FLOAT
  [0x4a, i32], // BININT
  [0x4b, u8], // BININT1
  [0x4d, u16], // BININT2
  [0x8a, (m) => long(m, u8(m))], // LONG1
  [0x8b, (m) => long(m, signedLength(m))], // LONG4
  [0x47, (m) => m.view.getFloat64(take(m, 8), false)], // BINFLOAT
  [0x53, (m) => unescapeString(m, line(m))], // STRING
  [0x54, (m) => latin1(m, signedLength(m))], // BINSTRING
  [0x55, (m) => latin1(m, u8(m))], // SHORT_BINSTRING
  [0x56, (m) => unescapeUnicode(m, line(m))], // UNICODE
  [0x58, (m) => text(m, u32(m))], // BINUNICODE
  [0x8c, (m) => text(m, u8(m))], // SHORT_BINUNICODE
  [0x8d, (m) => text(m, u64(m))], // BINUNICODE8
  [0x42, (m) => bytes(m, u32(m))], // BINBYTES
  [0x43, (m) => bytes(m, u8(m))], // SHORT_BINBYTES
  [0x8e, (m) => bytes(m, u64(m))], // BINBYTES8
  [0x96, (m) => bytes(m, u64(m))], // BYTEARRAY8
  [0x5d, () => []], // EMPTY_LIST
  [0x61, (m) => append(m, [pop(m)])], // APPEND
  [
    0x65, // APPENDS
    (m) => {
      const items = popMark(m);
      append(m, items);
    },
  ],
  [0x6c, popMark], // LIST
  [0x29, (m) => tuple(m, 0)], // EMPTY_TUPLE
  [0x74, (m) => Object.freeze(popMark(m)) as PickleValue], // TUPLE
  [0x85, (m) => tuple(m, 1)], // TUPLE1
  [0x86, (m) => tuple(m, 2)], // TUPLE2
  [0x87, (m) => tuple(m, 3)], // TUPLE3
  [0x7d, () => new Map()], // EMPTY_DICT
  [
    0x64, // DICT
    (m) => {
      const map = new Map<PickleValue, PickleValue>();
      setItems(m, map, popMark(m));
      return map;
    },
  ],
  [
    0x73, // SETITEM
    (m) => {
      const value = pop(m);
      const key = pop(m);
      setItems(m, top(m), [key, value]);
    },
  ],
  [
    0x75, // SETITEMS
    (m) => {
      const items = popMark(m);
      setItems(m, top(m), items);
    },
  ],
  [0x8f, () => new Set()], // EMPTY_SET
  [
    0x90, // ADDITEMS
    (m) => {
      const items = popMark(m);
      const set = top(m);
      if (set instanceof Set) for (const item of items) set.add(item);
      else if (!(set instanceof Opaque)) wrong(m, "adds to something that is no set", undefined);
    },
  ],
  [0x91, (m) => Object.freeze(new Set(popMark(m)))], // FROZENSET
  [
    0x63, // GLOBAL
    (m) => {
      const module = decode(m, line(m));
      return lookup(m, module, decode(m, line(m)));
    },
  ],
  [
    0x93, // STACK_GLOBAL
    (m) => {
      const name = pop(m);
      return lookup(m, pop(m), name);
    },
  ],
  [
    0x52, // REDUCE
    (m) => {
      const args = pop(m);
      return call(m, popRaw(m), args, "call");
    },
  ],
  [0x62, build], // BUILD
  [
    0x69, // INST
    (m) => {
      const module = decode(m, line(m));
      const name = lookup(m, module, decode(m, line(m)));
      return classCall(m, name, popMark(m));
    },
  ],
  [
    0x6f, // OBJ
    (m) => {
      const from = m.marks.at(-1) ?? 0;
      const callee = m.stack[from] ?? new Opaque("nothing");
      return classCall(m, callee, popMark(m).slice(1));
    },
  ],
  [
    0x81, // NEWOBJ
    (m) => {
      const args = pop(m);
      return call(m, popRaw(m), args, "make");
    },
  ],
  [
    0x92, // NEWOBJ_EX
    (m) => {
      const named = pop(m);
      const args = pop(m);
      const callee = popRaw(m);
      if (named instanceof Map && named.size === 0) return call(m, callee, args, "make");
      if (callee instanceof Name) return use(m, callee, "make", args);
      return call(m, callee, args, "make");
    },
  ],
  [0x82, (m) => extension(m, u8(m))], // EXT1
  [0x83, (m) => extension(m, u16(m))], // EXT2
  [0x84, (m) => extension(m, i32(m))], // EXT4
  [0x50, (m) => persistent(m, latin1Of(line(m)))], // PERSID
  [0x51, (m) => persistent(m, pop(m))], // BINPERSID
  [0x97, outside], // NEXT_BUFFER
  [0x98, outside], // READONLY_BUFFER
  [0x70, (m) => memoize(m, index(m, latin1Of(line(m))))], // PUT
  [0x71, (m) => memoize(m, u8(m))], // BINPUT
  [0x72, (m) => memoize(m, u32(m))], // LONG_BINPUT
  [0x94, (m) => memoize(m, m.memoCount)], // MEMOIZE
  [0x67, (m) => fetch(m, index(m, latin1Of(line(m))))], // GET
  [0x68, (m) => fetch(m, u8(m))], // BINGET
  [0x6a, (m) => fetch(m, u32(m))], // LONG_BINGET
];

const RUN: ((m: Machine) => unknown)[] = [];
for (const [code, run] of TABLE) RUN[code] = run;
const STOP = 0x2e;

/** Whether a byte is an opcode. */
export const isOpcode = (byte: number): boolean => byte === STOP || RUN[byte] !== undefined;

/** Python raises when more is on the stack than this needs memory for; no checkpoint comes near. */
const MAX_STACK = 8_000_000;

/**
 * Runs up to `count` opcodes, or until the window has less than `reserve` bytes left, or STOP.
 * @returns opcodes run
 * @throws Halt where the stream cannot go on
 */
export function run(m: Machine, count: number, reserve: number): number {
  const whole = m.base + m.buf.length >= m.size;
  let n = 0;
  for (; n < count && !m.stopped; n++) {
    if (!whole && m.buf.length - m.at < reserve) break;
    m.opAt = m.base + m.at;
    if (m.frameEnd >= 0 && m.opAt >= m.frameEnd) {
      if (m.opAt > m.frameEnd)
        m.watch.odd("pickle-frame", m.opAt, DISAGREE, "an opcode crosses the end of its frame");
      m.frameEnd = -1;
    }
    if (m.at >= m.buf.length) halt(m, "the stream ends before STOP");
    const code = m.buf[m.at++]!;
    const op = RUN[code];
    if (op === undefined) {
      if (code !== STOP) halt(m, `0x${code.toString(16).padStart(2, "0")} is no opcode`);
      stop(m);
      continue;
    }
    const value = op(m);
    if (value !== undefined) m.stack.push(value as PickleValue);
    if (m.stack.length > MAX_STACK) halt(m, `more than ${MAX_STACK} values on the stack`);
  }
  return n;
}

/** The end of a pickle; a waiting one goes on with its value. */
function stop(m: Machine): void {
  const value = pop(m);
  const outer = m.waiting.pop();
  if (m.frameEnd >= 0 && m.base + m.at < m.frameEnd && !outer)
    m.watch.odd("pickle-frame", m.opAt, DISAGREE, "STOP stands before the end of its frame");
  if (!outer) {
    m.stack.push(value);
    m.stopped = true;
    return;
  }
  Object.assign(m, outer);
}
