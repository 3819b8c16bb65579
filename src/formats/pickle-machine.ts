/** The stack, memo and arguments of the pickle interpreter. What each opcode does is in pickle.ts. */

import { checkedUtf8, viewOf } from "./bytes.ts";
import { InputError } from "./errors.ts";

/**
 * What a pickle holds. Lists are arrays, tuples frozen arrays, dicts Maps, sets Sets, bytes
 * Uint8Arrays; integers beyond 2^53 are bigints. Objects are whatever the caller's rules return.
 */
export type PickleValue = null | boolean | number | bigint | string | object;

/** An allowed name: what it stands for when it is data, is called, or is given state. */
export interface GlobalRule {
  /** Stands for the name itself, e.g. a dtype. Without it, the name may only be called. */
  readonly value?: PickleValue;
  /** REDUCE with these arguments; returns plain data. Throws InputError when they do not fit. */
  readonly reduce?: (args: readonly PickleValue[]) => PickleValue;
  /** BUILD on an object this rule made. */
  readonly build?: (made: object, state: PickleValue) => void;
}

export interface PickleRules {
  /** By "module name", exact: one space, no patterns. */
  readonly globals: ReadonlyMap<string, GlobalRule>;
  /** What a persistent id stands for. */
  readonly persistent?: (id: PickleValue) => PickleValue;
}

export interface PickleLimits {
  readonly maxOps: number;
  readonly maxStack: number;
  readonly maxMemo: number;
  readonly maxDepth: number;
}

export const LIMITS: PickleLimits = {
  maxOps: 20_000_000,
  maxStack: 1_000_000,
  maxMemo: 4_000_000,
  maxDepth: 200,
};
const MAX_INT_BYTES = 32;

/** A name on the stack. */
class Global {
  constructor(
    readonly path: string,
    readonly rule: GlobalRule,
  ) {}
}

export interface Machine {
  readonly bytes: Uint8Array;
  readonly rules: PickleRules;
  readonly limits: PickleLimits;
  readonly memo: Map<number, PickleValue>;
  readonly builders: WeakMap<object, GlobalRule>;
  readonly marks: PickleValue[][];
  stack: PickleValue[];
  start: number;
  at: number;
  opAt: number;
  opcode: string;
  frameEnd: number;
}

export function refuse(m: Machine, why: string, data: Record<string, unknown> = {}): never {
  throw new InputError(`pickle: ${m.opcode} at byte ${m.opAt}: ${why}`, {
    at: m.opAt,
    opcode: m.opcode,
    ...data,
  });
}

// ---- arguments --------------------------------------------------------------------------------

export function take(m: Machine, length: number | bigint): Uint8Array {
  const left = m.bytes.length - m.at;
  if (length > left) refuse(m, `takes ${length} bytes, ${left} are left`);
  m.at += Number(length);
  return m.bytes.subarray(m.at - Number(length), m.at);
}

/** Little-endian unsigned integers of the format. */
export const u8 = (m: Machine): number => take(m, 1)[0]!;
export const u16 = (m: Machine): number => viewOf(take(m, 2)).getUint16(0, true);
export const u32 = (m: Machine): number => viewOf(take(m, 4)).getUint32(0, true);
export const u64 = (m: Machine): bigint => viewOf(take(m, 8)).getBigUint64(0, true);

export function line(m: Machine): string {
  const end = m.bytes.indexOf(10, m.at);
  if (end < 0) refuse(m, "its line does not end");
  const bytes = take(m, end - m.at);
  m.at += 1;
  return checkedUtf8(`pickle: ${m.opcode} at byte ${m.opAt}`, bytes);
}

export const text = (m: Machine, length: number | bigint): string =>
  checkedUtf8(`pickle: ${m.opcode} at byte ${m.opAt}`, take(m, length));

/** Python 2 text: bytes of no known encoding, so only ASCII is unambiguous. */
export function ascii(m: Machine, length: number): string {
  const bytes = take(m, length);
  if (bytes.some((b) => b > 127)) refuse(m, "a Python 2 string is not ASCII");
  return String.fromCharCode(...bytes.subarray(0, 65536));
}

/** Protocol 0 text: latin-1 with \\uXXXX and \\UXXXXXXXX escapes. */
export function escaped(m: Machine): string {
  const raw = line(m);
  if (/[^\u0020-\u007e\t]/.test(raw)) refuse(m, "text of protocol 0 is not ASCII");
  return raw.replace(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})?/g, (_, code?: string) => {
    const point = code === undefined ? -1 : Number.parseInt(code.slice(1), 16);
    if (point < 0 || point > 0x10ffff) refuse(m, "has a bad escape");
    return String.fromCodePoint(point);
  });
}

const small = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) ? Number(value) : value;

export function long(m: Machine, length: number): number | bigint {
  if (length > MAX_INT_BYTES) refuse(m, `an integer of ${length} bytes; allowed ${MAX_INT_BYTES}`);
  let value = 0n;
  const bytes = take(m, length);
  for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return small(BigInt.asIntN(length * 8, value));
}

export function decimal(m: Machine, digits: string): number | bigint {
  if (!/^-?\d{1,77}$/.test(digits))
    refuse(m, `${JSON.stringify(digits.slice(0, 40))} is no integer`);
  return small(BigInt(digits));
}

export function float(m: Machine, digits: string): number {
  if (!/^-?(\d+(\.\d*)?([eE][+-]?\d+)?|inf|nan)$/.test(digits) || digits.length > 64)
    refuse(m, `${JSON.stringify(digits.slice(0, 40))} is no number`);
  return Number(digits.replace("inf", "Infinity").replace("nan", "NaN"));
}

// ---- stack ------------------------------------------------------------------------------------

export function push(m: Machine, value: PickleValue): void {
  if (m.stack.length >= m.limits.maxStack) refuse(m, `the stack exceeds ${m.limits.maxStack}`);
  m.stack.push(value);
}

/** The top as it lies there, names included. */
export function popRaw(m: Machine): PickleValue {
  if (m.stack.length === 0) refuse(m, "the stack is empty");
  return m.stack.pop()!;
}

/** A name becomes what it stands for when it is used as data. */
function asData(m: Machine, value: PickleValue): PickleValue {
  if (!(value instanceof Global)) return value;
  const { path, rule } = value;
  return rule.value === undefined
    ? refuse(m, `${path} is used as data`, { name: path })
    : rule.value;
}

export const pop = (m: Machine): PickleValue => asData(m, popRaw(m));

export function top(m: Machine): PickleValue {
  if (m.stack.length === 0) refuse(m, "the stack is empty");
  return m.stack[m.stack.length - 1]!;
}

export function popMark(m: Machine): PickleValue[] {
  const below = m.marks.pop();
  if (!below) return refuse(m, "there is no mark");
  const items = m.stack;
  m.stack = below;
  return items.map((value) => asData(m, value));
}

export function popTuple(m: Machine, length: number): readonly PickleValue[] {
  const items: PickleValue[] = [];
  for (let i = 0; i < length; i++) items.unshift(pop(m));
  return Object.freeze(items);
}

export function append(m: Machine, items: readonly PickleValue[]): void {
  const list = top(m);
  if (!Array.isArray(list) || Object.isFrozen(list)) refuse(m, "its target is no list");
  else for (const item of items) list.push(item);
}

export function setItems(m: Machine, map: PickleValue, items: readonly PickleValue[]): void {
  if (!(map instanceof Map)) refuse(m, "its target is no dict");
  if (items.length % 2 !== 0) refuse(m, "a key has no value");
  for (let i = 0; i < items.length; i += 2) {
    const key = items[i]!;
    if (typeof key === "object" && key !== null) refuse(m, "a dict key is no text or number");
    if (map.has(key)) refuse(m, `the key ${String(key).slice(0, 80)} stands twice`);
    map.set(key, items[i + 1]!);
  }
}

export function addItems(
  m: Machine,
  set: PickleValue,
  items: readonly PickleValue[],
): Set<PickleValue> {
  if (!(set instanceof Set)) return refuse(m, "its target is no set");
  for (const item of items) {
    if (typeof item === "object" && item !== null)
      refuse(m, "a set holds more than text and numbers");
    set.add(item);
  }
  return set;
}

export function put(m: Machine, index: number): void {
  if (m.memo.has(index)) refuse(m, `memo ${index} is written twice`);
  if (m.memo.size >= m.limits.maxMemo) refuse(m, `the memo exceeds ${m.limits.maxMemo}`);
  m.memo.set(index, top(m));
}

export function get(m: Machine, index: number): PickleValue {
  const value = m.memo.get(index);
  return value === undefined ? refuse(m, `memo ${index} is empty`) : value;
}

export const index = (m: Machine, digits: string): number =>
  /^\d{1,9}$/.test(digits) ? Number(digits) : refuse(m, "the memo index is no number");

export function global(m: Machine, module: PickleValue, name: PickleValue): Global {
  const path = `${module} ${name}`;
  const known = typeof module === "string" && typeof name === "string" && !/ /.test(module + name);
  const rule = known ? m.rules.globals.get(path) : undefined;
  if (!rule) {
    const shown = JSON.stringify(`${String(module)}.${String(name)}`.slice(0, 200));
    return refuse(m, `the name ${shown} is not on the list of names a checkpoint may use`, {
      module: String(module),
      name: String(name),
    });
  }
  return new Global(path.replace(" ", "."), rule);
}

/** Runs a rule; what it refuses is told with the place. */
export function apply<T>(m: Machine, path: string, rule: () => T): T {
  try {
    return rule();
  } catch (error) {
    if (error instanceof InputError) refuse(m, `${path}: ${error.message}`, error.data);
    throw error;
  }
}

export function reduce(m: Machine): PickleValue {
  const args = pop(m);
  const callee = popRaw(m);
  if (!(callee instanceof Global)) return refuse(m, "calls something that is no name");
  const { path, rule } = callee;
  if (!Array.isArray(args) || !Object.isFrozen(args))
    return refuse(m, `${path}: arguments are no tuple`);
  if (!rule.reduce) return refuse(m, `${path} may not be called`, { name: path });
  const made = apply(m, path, () => rule.reduce!(args));
  if (typeof made === "object" && made !== null) m.builders.set(made, rule);
  return made;
}

export function build(m: Machine): void {
  const state = pop(m);
  const made = top(m);
  const rule = typeof made === "object" && made !== null ? m.builders.get(made) : undefined;
  if (!rule?.build) refuse(m, "sets the state of something that has none");
  apply(m, "state", () => rule.build!(made as object, state));
}
