/** Runs the pickle machine over a file by windows and turns what it meets into findings. */

import { type ByteSource, type PickleValue, viewOf } from "./bytes.ts";
import { danger } from "./danger.ts";
import { type AllowList, isIdentifierPath, renamed } from "./names.ts";
import { found, type Part, type ScanLimits } from "./part.ts";
import {
  Grow,
  Halt,
  halt,
  type Machine,
  machine,
  type Name,
  type Watcher,
} from "./pickle-machine.ts";
import { run } from "./pickle-run.ts";
import { repr } from "./pickle-text.ts";
import { type Severity, shown } from "./report.ts";

/** A finding that has not been committed to the report yet. */
export interface Note {
  rule: string;
  severity: Severity;
  at: number;
  effect: string;
  why: string;
}

/** What running one pickle showed. */
export interface PickleRun {
  /** Where it ended, or where it could not go on. */
  readonly end: number;
  /** It reached STOP. */
  readonly stopped: boolean;
  /** The first error that would stop Python. */
  readonly error: { readonly at: number; readonly why: string } | undefined;
  /** What it made; the machine's plain data. */
  readonly value: PickleValue | undefined;
  /** Values left below it, as no pickler leaves any. */
  readonly leftover: number;
  readonly notes: readonly Note[];
  /** Names that are not allowed were looked up / used. */
  readonly denied: number;
  readonly used: number;
  /** It looked up a name of a module known from attacks. */
  readonly dangerous: boolean;
  readonly ops: number;
  readonly tooLong: boolean;
}

export interface PickleOptions {
  readonly source: ByteSource;
  readonly at?: number;
  readonly allow: AllowList;
  /** Goes on after errors, as long as it can. */
  readonly tolerant?: boolean;
  readonly persistent?: ((id: PickleValue) => PickleValue) | undefined;
  /** Bytes of the file that are held at once. */
  readonly window?: number;
  /** The longest line of protocol 0 that is followed. */
  readonly maxLine?: number;
  /** Opcodes allowed. */
  readonly maxOps: number;
}

const WINDOW = 4 * 2 ** 20;
const MAX_LINE = 128 * 2 ** 20;
/** Arguments up to this length are always inside the window. */
const RESERVE = 2 ** 16;
const BATCH = 2 ** 18;

const USES: Readonly<Record<"call" | "make" | "state", (path: string, args: string) => string>> = {
  call: (path, args) => `calls ${path}${args.startsWith("(") ? args : `(${args})`}`,
  make: (path, args) => `makes an object of ${path} with ${args}`,
  state: (path, args) => `sets attributes of ${path} to ${args}`,
};

interface Watched extends Watcher {
  readonly notes: Note[];
  denied: number;
  used: number;
  dangerous: boolean;
}

const MAX_NOTES = 200;

/** Collects what happens. One note for each name, however often it is used. */
function watcher(allow: AllowList): Watched {
  const notes: Note[] = [];
  const noteOf = new Map<string, number>();
  const oddities = new Set<string>();
  const add = (note: Note): number => (notes.length < MAX_NOTES ? notes.push(note) - 1 : -1);
  const self: Watched = {
    notes,
    denied: 0,
    used: 0,
    dangerous: false,
    lookup(module, name, at, protocol) {
      if (typeof module !== "string" || typeof name !== "string") {
        self.denied++;
        self.dangerous = true;
        const id = add({
          rule: "pickle-computed-name",
          severity: "malicious",
          at,
          effect: `imports a name that is only made while loading: ${repr(module)}.${repr(name)}`,
          why: "names of honest pickles are written in the file",
        });
        return { rule: undefined, id };
      }
      const modern = renamed(module, protocol);
      const { rules } = allow;
      const rule = rules.get(`${module} ${name}`);
      if (rule && (modern === module || rules.has(`${modern} ${name}`))) return { rule, id: -1 };
      self.denied++;
      const path = `${modern}.${name}`;
      const known = noteOf.get(path);
      if (known !== undefined) return { rule: undefined, id: known };
      const { severity, would } = danger(modern, name);
      if (severity === "malicious") self.dangerous = true;
      const id = add({
        rule: "pickle-name",
        severity,
        at,
        effect: `imports ${shown(path)}, which can ${would}`,
        why: `${shown(path)} is not on the list of names that data may use`,
      });
      noteOf.set(path, id);
      return { rule: undefined, id };
    },
    use(name: Name, what, detail, at) {
      self.used++;
      const note = notes[name.id];
      if (note?.effect.startsWith("imports ")) {
        const path = note.effect.slice("imports ".length);
        note.effect = `${USES[what](path.split(", which")[0]!, repr(detail))}: it can ${path.split("which can ")[1] ?? "do anything"}`;
        note.at = at;
      } else if (!note)
        self.odd(
          "pickle-call",
          at,
          USES[what](name.path, repr(detail)),
          `${name.path} is data only`,
        );
    },
    odd(rule, at, effect, why) {
      const key = `${rule} ${why}`;
      if (oddities.has(key)) return;
      oddities.add(key);
      add({ rule, severity: "suspicious", at, effect, why });
    },
  };
  return self;
}

/** Moves the window so that it begins at the next opcode. */
async function refill(m: Machine, source: ByteSource, window: number): Promise<void> {
  const base = m.base + m.at;
  m.buf = await source.read(base, Math.min(window, source.size - base));
  m.view = viewOf(m.buf);
  m.base = base;
  m.at = 0;
}

/** Runs one pickle from `at`. Never throws for what the file holds. */
export async function runPickle(options: PickleOptions): Promise<PickleRun> {
  const { source, at = 0, allow, tolerant = false, persistent, maxOps } = options;
  const { window = WINDOW, maxLine = MAX_LINE } = options;
  const watch = watcher(allow);
  const buf = await source.read(at, Math.min(window, source.size - at));
  const m = machine(watch, { buf, base: at, size: source.size, at: 0, tolerant, persistent });
  let ops = 0;
  let held = window;
  try {
    while (!m.stopped && ops < maxOps) {
      const whole = m.base + m.buf.length >= m.size;
      if (!whole && m.buf.length - m.at < RESERVE) await refill(m, source, window);
      try {
        ops += run(m, Math.min(BATCH, maxOps - ops), RESERVE);
      } catch (error) {
        if (!(error instanceof Grow)) throw error;
        held *= 4;
        if (held > maxLine) halt(m, "a line that does not end");
        m.at = m.opAt - m.base;
        await refill(m, source, held);
      }
    }
  } catch (error) {
    if (!(error instanceof Halt)) throw error;
  }
  return {
    end: Math.min(m.base + m.at, m.size),
    stopped: m.stopped,
    error: m.error,
    value: m.stopped ? m.stack.at(-1) : undefined,
    leftover: Math.max(0, m.stack.length - 1) + m.marks.length,
    notes: watch.notes,
    denied: watch.denied,
    used: watch.used,
    dangerous: watch.dangerous,
    ops,
    tooLong: !m.stopped && m.error === undefined,
  };
}

/**
 * Whether a stream that need not be a pickle would do something as one.
 * @param isText lines of words may look up a name by accident ("cos", "in"); they do not call it
 */
export function isTelling(result: PickleRun, first: number, { isText = false } = {}): boolean {
  const { notes, denied, used, dangerous, stopped } = result;
  const real = notes.some(
    (n) => n.rule === "pickle-computed-name" || (n.rule === "pickle-name" && hasRealName(n)),
  );
  const acts = used > 0 || stopped || (!isText && (dangerous || first === 0x80));
  if (denied > 0 && real && acts) return true;
  return notes.some((n) => n.rule === "pickle-extension") && used > 0;
}

const hasRealName = (note: Note): boolean =>
  isIdentifierPath(/^(.*) is not on the list/.exec(note.why)?.[1] ?? "");

export function commit(part: Part, result: PickleRun, offset = 0): void {
  for (const { rule, severity, at, effect, why } of result.notes)
    found(part, rule, { severity, at: at + offset, effect, why });
}

/** Opcodes that a scan still has. */
export const opsLeft = (part: Part): number =>
  Math.max(0, (part.scan.limits as ScanLimits).maxOps - part.scan.ops);
