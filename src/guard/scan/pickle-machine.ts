/** Stack, marks, memo and arguments of the pickle machine as CPython's C code has them. Calls nothing, ever. */

import type { GlobalRule, PickleValue } from "../../formats/index.ts";

/** What is known of an object that only running code would make. */
export class Opaque {
  constructor(readonly what: string) {}
}

/** Bytes or text too long to be held; they lie in the file. */
export class Blob {
  constructor(
    readonly offset: number,
    readonly length: number,
  ) {}
}

/** A rule of the guard: as in formats, and whether NEWOBJ may make it. */
export interface NameRule extends GlobalRule {
  /** What NEWOBJ makes; without it, making objects of the class is a finding. */
  readonly make?: (args: readonly PickleValue[]) => PickleValue;
  /** BUILD; may say how many bytes of the file its reader takes itself after the opcode. */
  readonly build?: (made: object, state: PickleValue) => Inline | undefined;
}

/** What a reader takes from the file behind the machine's back: joblib's arrays. */
export interface Inline {
  /** Bytes after the opcode, alignment included; "pickle" is a whole pickle of its own. */
  readonly skip: ((at: number, next: number) => number) | "pickle";
}

/** A name that was looked up. */
export class Name {
  called = false;
  constructor(
    readonly module: string,
    readonly name: string,
    /** What is allowed with it; undefined where the name is not on the list. */
    readonly rule: NameRule | undefined,
    readonly at: number,
    /** Number the watcher gave it. */
    readonly id: number,
  ) {}
  get path(): string {
    return `${this.module}.${this.name}`;
  }
}

/** Called on everything of note. */
export interface Watcher {
  /** A name is looked up. Returns its rule, and a number by which later calls are told. */
  lookup(
    module: PickleValue,
    name: PickleValue,
    at: number,
    protocol: number,
  ): { rule: NameRule | undefined; id: number };
  /** Something that is not allowed happens. */
  use(name: Name, what: "call" | "make" | "state", detail: PickleValue, at: number): void;
  /** Anything else that no writer does, by rule. */
  odd(rule: string, at: number, effect: string, why: string): void;
}

/** The stream cannot go on. */
export class Halt extends Error {}

/** A line goes on behind the window: run the opcode again with a larger one. */
export class Grow extends Error {}

/** What every pickle begins anew, one inside another included. */
interface State {
  stack: PickleValue[];
  marks: number[];
  memo: PickleValue[];
  /** Memo slots far beyond the others. */
  far: Map<number, PickleValue>;
  memoCount: number;
  protocol: number;
  /** Absolute; -1 outside of frames. */
  frameEnd: number;
}

const freshState = (): State => ({
  stack: [],
  marks: [],
  memo: [],
  far: new Map(),
  memoCount: 0,
  protocol: 0,
  frameEnd: -1,
});

export interface Machine extends State {
  /** A window of the file, and where it starts there. */
  buf: Uint8Array;
  view: DataView;
  base: number;
  /** Bytes of the file. */
  readonly size: number;
  /** In `buf`; beyond its end when a long argument was skipped. */
  at: number;
  opAt: number;
  readonly start: number;
  /** Pickles that wait for one inside them. */
  waiting: State[];
  readonly rules: { persistent?: ((id: PickleValue) => PickleValue) | undefined };
  readonly builders: WeakMap<object, NameRule>;
  readonly watch: Watcher;
  /** Goes on after errors that would stop Python. */
  readonly tolerant: boolean;
  /** The first such error. */
  error: { at: number; why: string } | undefined;
  stopped: boolean;
}

export function machine(
  watch: Watcher,
  options: {
    buf: Uint8Array;
    base: number;
    size: number;
    at: number;
    tolerant: boolean;
    persistent?: ((id: PickleValue) => PickleValue) | undefined;
  },
): Machine {
  const { buf, base, size, at, tolerant, persistent } = options;
  return {
    buf,
    view: new DataView(buf.buffer, buf.byteOffset, buf.byteLength),
    base,
    size,
    at,
    opAt: base + at,
    start: base + at,
    ...freshState(),
    waiting: [],
    rules: { persistent },
    builders: new WeakMap(),
    watch,
    tolerant,
    error: undefined,
    stopped: false,
  };
}

export const halt = (m: Machine, why: string): never => {
  m.error ??= { at: m.opAt, why };
  throw new Halt(why);
};

/** An error that stops Python. Where we go on, what follows is judged as if it had not. */
export function wrong<T>(m: Machine, why: string, instead: T): T {
  m.error ??= { at: m.opAt, why };
  if (!m.tolerant) throw new Halt(why);
  return instead;
}

// ---- arguments --------------------------------------------------------------------------------

/** Steps over `n` bytes; returns where they start in the window. */
export function take(m: Machine, n: number): number {
  const at = m.at;
  if (n > m.size - m.base - at)
    halt(m, `an argument of ${n} bytes, ${Math.max(0, m.size - m.base - at)} are left`);
  m.at = at + n;
  return at;
}

const inWindow = (m: Machine, at: number, n: number) => at + n <= m.buf.length;

export const u8 = (m: Machine): number => m.buf[take(m, 1)]!;
export const u16 = (m: Machine): number => m.view.getUint16(take(m, 2), true);
export const u32 = (m: Machine): number => m.view.getUint32(take(m, 4), true);
export const i32 = (m: Machine): number => m.view.getInt32(take(m, 4), true);
/** Lengths beyond 2^53 are beyond every file; exactness does not matter there. */
export const u64 = (m: Machine): number => Number(m.view.getBigUint64(take(m, 8), true));

/** A length that Python reads as signed. */
export const signedLength = (m: Machine): number => {
  const n = i32(m);
  return n < 0 ? halt(m, `a length of ${n}`) : n;
};

export function bytes(m: Machine, n: number): PickleValue {
  const at = take(m, n);
  return inWindow(m, at, n) ? m.buf.subarray(at, at + n) : new Blob(m.base + at, n);
}

const LOOSE = new TextDecoder("utf-8", { ignoreBOM: true });
const STRICT = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** UTF-8. Python also lets single surrogates pass; their exact value never matters here. */
export function decode(m: Machine, raw: Uint8Array): string {
  if (raw.length < 64) {
    let i = 0;
    while (i < raw.length && raw[i]! < 128) i++;
    // At once, not letter by letter: that would leave a rope for the garbage collector.
    if (i === raw.length) return String.fromCharCode.apply(null, raw as unknown as number[]);
  }
  try {
    return STRICT.decode(raw);
  } catch {
    return wrong(m, "text that is no UTF-8", LOOSE.decode(raw));
  }
}

export function text(m: Machine, n: number): PickleValue {
  const at = take(m, n);
  if (!inWindow(m, at, n)) return new Blob(m.base + at, n);
  return decode(m, m.buf.subarray(at, at + n));
}

/** Python 2 text, one character a byte. */
export function latin1(m: Machine, n: number): PickleValue {
  const at = take(m, n);
  return inWindow(m, at, n) ? latin1Of(m.buf.subarray(at, at + n)) : new Blob(m.base + at, n);
}

export function latin1Of(raw: Uint8Array): string {
  let out = "";
  for (let i = 0; i < raw.length; i += 8192)
    out += String.fromCharCode(...raw.subarray(i, i + 8192));
  return out;
}

/** The bytes up to the next line end, which is stepped over. */
export function line(m: Machine): Uint8Array {
  const end = m.buf.indexOf(10, m.at);
  if (end < 0) {
    if (m.base + m.buf.length < m.size) throw new Grow();
    return halt(m, "a line that does not end");
  }
  const from = m.at;
  m.at = end + 1;
  return m.buf.subarray(from, end);
}

// ---- stack ------------------------------------------------------------------------------------

const fence = (m: Machine): number => (m.marks.length > 0 ? m.marks[m.marks.length - 1]! : 0);

export function popRaw(m: Machine): PickleValue {
  if (m.stack.length > fence(m)) return m.stack.pop()!;
  return wrong(m, "the stack is empty", new Opaque("nothing"));
}

/** A name becomes what it stands for when it is used as data. */
export const asData = (value: PickleValue): PickleValue =>
  value instanceof Name && value.rule?.value !== undefined ? value.rule.value : value;

export const pop = (m: Machine): PickleValue => asData(popRaw(m));

export function top(m: Machine): PickleValue {
  if (m.stack.length > fence(m)) return m.stack[m.stack.length - 1]!;
  return wrong(m, "the stack is empty", new Opaque("nothing"));
}

/** Everything above the last mark. */
export function popMark(m: Machine): PickleValue[] {
  const from = m.marks.pop();
  if (from === undefined) {
    wrong(m, "there is no mark", undefined);
    return m.stack.splice(0).map(asData);
  }
  const items = m.stack.slice(from);
  m.stack.length = from;
  for (let i = 0; i < items.length; i++) items[i] = asData(items[i]!);
  return items;
}

// ---- memo -------------------------------------------------------------------------------------

/** Slots this far beyond the last are kept aside, so that one index cannot make a huge array. */
const FAR = 4096;
/** No writer leaves gaps of this size; Python makes room for all slots below. */
const HUGE = 50_000_000;

export function put(m: Machine, index: number, value: PickleValue): void {
  if (index > HUGE)
    m.watch.odd(
      "pickle-memo",
      m.opAt,
      `makes Python reserve memory for ${index} memo slots`,
      "the memo index is far beyond the number of objects",
    );
  if (get(m, index) !== undefined)
    m.watch.odd(
      "pickle-memo",
      m.opAt,
      `replaces memo slot ${index}, which misleads readers that only guess the memo`,
      "a memo slot is written twice; no pickler does that",
    );
  else m.memoCount++;
  if (index <= m.memo.length + FAR) m.memo[index] = value;
  else m.far.set(index, value);
}

export const get = (m: Machine, index: number): PickleValue | undefined =>
  m.memo[index] ?? (m.memo[index] === null ? null : m.far.get(index));

/** A pickle inside the pickle begins: everything but the file is new. */
export function descend(m: Machine): void {
  const { stack, marks, memo, far, memoCount, protocol } = m;
  if (m.waiting.length >= 64) halt(m, "more than 64 pickles inside each other");
  // Frames count the pickle's own bytes only: the outer one's is over.
  m.waiting.push({ stack, marks, memo, far, memoCount, protocol, frameEnd: -1 });
  Object.assign(m, freshState());
}
