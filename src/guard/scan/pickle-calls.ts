/** What the opcodes of calls, names, containers and state do. The table of all opcodes is in pickle-run.ts. */

import { InputError, type PickleValue } from "../../formats/index.ts";
import {
  asData,
  descend,
  get,
  halt,
  type Machine,
  Name,
  Opaque,
  pop,
  put,
  take,
  top,
  wrong,
} from "./pickle-machine.ts";
import { repr } from "./pickle-text.ts";

// ---- numbers ----------------------------------------------------------------------------------

/** Larger integers are quadratic work for Python, and no checkpoint has them. */
const MAX_INT_BYTES = 1024;

export function long(m: Machine, length: number): PickleValue {
  const at = take(m, length);
  if (length > MAX_INT_BYTES || at + length > m.buf.length) {
    m.watch.odd(
      "pickle-integer",
      m.opAt,
      `makes Python compute with an integer of ${length} bytes`,
      `integers of checkpoints have at most ${MAX_INT_BYTES} bytes`,
    );
    return new Opaque("a huge integer");
  }
  let value = 0n;
  for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(m.buf[at + i]!);
  value = BigInt.asIntN(length * 8, value);
  const n = Number(value);
  return Number.isSafeInteger(n) ? n : value;
}

// ---- containers -------------------------------------------------------------------------------

const isList = (v: PickleValue): v is PickleValue[] & object =>
  Array.isArray(v) && !Object.isFrozen(v);
const isHashable = (v: PickleValue): boolean =>
  !(isList(v) || v instanceof Map || (v instanceof Set && !Object.isFrozen(v)));

export function append(m: Machine, items: readonly PickleValue[]): void {
  const list = top(m);
  if (isList(list)) for (const item of items) list.push(item);
  else if (list instanceof Name) use(m, list, "state", items);
  else if (!(list instanceof Opaque))
    wrong(m, `appends to ${repr(list)}, which is no list`, undefined);
}

export function setItems(m: Machine, map: PickleValue, items: readonly PickleValue[]): void {
  if (items.length % 2 !== 0) wrong(m, "a key has no value", undefined);
  if (map instanceof Map)
    for (let i = 0; i + 1 < items.length; i += 2) {
      const key = items[i]!;
      if (!isHashable(key)) wrong(m, `the key ${repr(key)} cannot be hashed`, undefined);
      map.set(keyOf(key), items[i + 1]!);
    }
  else if (map instanceof Name) use(m, map, "state", items);
  else if (!(map instanceof Opaque)) {
    m.watch.odd(
      "pickle-setitem",
      m.opAt,
      `assigns items of ${repr(map)}, which older loaders carry out on tensors and storages`,
      "SETITEM on something that is no dict (CVE-2026-24747)",
    );
    wrong(m, `sets items of ${repr(map)}, which is no dict`, undefined);
  }
}

/** Tuples of plain values are equal by value in Python. */
const keyOf = (key: PickleValue): PickleValue => key;

export function tuple(m: Machine, length: number): PickleValue {
  const items = new Array<PickleValue>(length);
  for (let i = length - 1; i >= 0; i--) items[i] = pop(m);
  return Object.freeze(items) as PickleValue;
}

// ---- names and calls --------------------------------------------------------------------------

export function lookup(m: Machine, module: PickleValue, name: PickleValue): PickleValue {
  const { rule, id } = m.watch.lookup(module, name, m.opAt, m.protocol);
  const known = typeof module === "string" && typeof name === "string";
  return new Name(
    known ? module : "a computed module",
    known ? name : "a computed name",
    rule,
    m.opAt,
    id,
  );
}

export function use(
  m: Machine,
  name: Name,
  what: "call" | "make" | "state",
  detail: PickleValue,
): Opaque {
  name.called = true;
  m.watch.use(name, what, detail, m.opAt);
  return new Opaque(`the result of ${name.path}`);
}

/** Runs a rule of the list. Arguments that do not fit are a finding: the name is allowed, the use is not. */
function apply<T>(m: Machine, name: Name, detail: PickleValue, rule: () => T): T | Opaque {
  try {
    return rule();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    m.watch.odd(
      "pickle-arguments",
      m.opAt,
      `uses ${name.path} with ${repr(detail)}`,
      `${name.path}: ${error.message}`,
    );
    return new Opaque(`the result of ${name.path}`);
  }
}

export function call(
  m: Machine,
  callee: PickleValue,
  args: PickleValue,
  how: "call" | "make",
): PickleValue {
  if (callee instanceof Opaque) return new Opaque(`the result of ${callee.what}`);
  if (!(callee instanceof Name)) return wrong(m, `calls ${repr(callee)}`, new Opaque("a result"));
  if (!Array.isArray(args) || !Object.isFrozen(args)) {
    // What computes its arguments is not allowed anyway; for the others Python raises.
    if (callee.rule === undefined) return use(m, callee, how, args);
    return wrong(m, `calls ${callee.path} with ${repr(args)}, no tuple`, new Opaque("a result"));
  }
  const rule = callee.rule;
  const run = how === "call" ? rule?.reduce : rule?.make;
  if (!rule || !run) return use(m, callee, how, args);
  const made = apply(m, callee, args, () => run(args));
  if (typeof made === "object" && made !== null && !(made instanceof Opaque))
    m.builders.set(made, rule);
  return made;
}

export function build(m: Machine): void {
  const state = pop(m);
  const made = asData(top(m));
  if (made instanceof Opaque) return;
  if (made instanceof Name) return void use(m, made, "state", state);
  const rule = typeof made === "object" && made !== null ? m.builders.get(made) : undefined;
  if (!rule?.build) {
    m.watch.odd(
      "pickle-state",
      m.opAt,
      `sets attributes of ${repr(made)}`,
      "BUILD on an object that no list allows state for",
    );
    return;
  }
  const name = new Name("state of", repr(made), rule, m.opAt, -1);
  const inline = apply(m, name, state, () => rule.build!(made as object, state));
  if (!inline || inline instanceof Opaque) return;
  if (inline.skip === "pickle") descend(m);
  else take(m, inline.skip(m.base + m.at, m.buf[m.at] ?? 0));
  m.frameEnd = -1; // frames count the pickle's own bytes only
}

export function classCall(m: Machine, callee: PickleValue, args: PickleValue[]): PickleValue {
  const frozen = Object.freeze(args) as PickleValue;
  // INST and OBJ call the class; our pickles never hold them, so that allowed names show up too.
  if (callee instanceof Name && callee.rule)
    m.watch.odd("pickle-opcode", m.opAt, `calls ${callee.path}`, "an opcode only Python 1 wrote");
  return call(m, callee, frozen, "call");
}

export function extension(m: Machine, code: number): PickleValue {
  m.watch.odd(
    "pickle-extension",
    m.opAt,
    `fetches object ${code} of the copyreg registry, which the same file may have filled`,
    "names by registry number cannot be told from the file",
  );
  return new Opaque(`extension ${code}`);
}

export function persistent(m: Machine, id: PickleValue): PickleValue {
  const rule = m.rules.persistent;
  if (!rule) return wrong(m, "a persistent id, which only its own loader knows", new Opaque("it"));
  try {
    return rule(id);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    m.watch.odd("pickle-storage", m.opAt, `names a storage as ${repr(id)}`, error.message);
    return new Opaque("a storage");
  }
}

/** Buffers of protocol 5 that are handed over beside the file. */
export function outside(m: Machine): PickleValue {
  m.watch.odd(
    "pickle-buffer",
    m.opAt,
    "takes bytes from outside of the file",
    "a file on disk has no buffers outside of itself",
  );
  return new Opaque("a buffer");
}

export function fetch(m: Machine, index: number): PickleValue {
  const value = get(m, index);
  return value === undefined
    ? wrong(m, `memo ${index} is empty`, new Opaque(`memo ${index}`))
    : value;
}

export function memoize(m: Machine, index: number): void {
  if (index < 0) halt(m, `memo index ${index}`);
  put(m, index, top(m));
}
