/** Files that are pickles: streams one after another, PyTorch's legacy container, and pickles where none belongs. */

import { indexOf, type PickleValue, viewOf } from "./bytes.ts";
import { allowList } from "./names.ts";
import { TorchStorage } from "./names-torch.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import { commit, isTelling, opsLeft, type PickleRun, runPickle } from "./pickle-scan.ts";
import { claimsModel, claimsPickle, type Head, hasProto } from "./sniff.ts";

/** torch.serialization.MAGIC_NUMBER of the legacy container, and its protocol. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;
const MAX_STREAMS = 10_000;

/** How bytes are run that are only perhaps a pickle: there may be many such places. */
const GUESS = { tolerant: false, window: 2 ** 17, maxLine: 2 ** 20 };

/** Runs the pickle at `at`, puts its notes into the report and counts its opcodes. */
async function runInto(
  part: Part,
  at: number,
  options: {
    tolerant: boolean;
    window?: number;
    maxLine?: number;
    persistent?: (id: PickleValue) => PickleValue;
    allow?: ReturnType<typeof allowList>;
  },
): Promise<PickleRun> {
  const { tolerant, persistent, window, maxLine, allow = allowList() } = options;
  const result = await runPickle({
    source: part.source,
    at,
    allow,
    tolerant,
    ...(window ? { window } : {}),
    ...(maxLine ? { maxLine } : {}),
    persistent: persistent ?? ((id) => allow.torch.persistent(id)),
    maxOps: opsLeft(part),
  });
  part.scan.ops += result.ops;
  if (result.tooLong)
    found(part, "too-long", {
      severity: "suspicious",
      at,
      effect: "takes longer to load than any checkpoint",
      why: `more than ${part.scan.limits.maxOps} opcodes`,
    });
  return result;
}

const fault = (part: Part, { error, leftover, stopped, end }: PickleRun): void => {
  if (error) unreadable(part, `the pickle cannot be loaded: ${error.why}`, error.at);
  else if (stopped && leftover > 0)
    unreadable(part, `the pickle leaves ${leftover} values on the stack; no pickler does`, end - 1);
};

/** A file that is a pickle, or says it is one. */
export async function scanPickle(part: Part): Promise<void> {
  const { source } = part;
  if (source.size === 0) return void unreadable(part, "the file is empty");
  const first = await runInto(part, 0, { tolerant: true });
  commit(part, first);
  if (first.value === LEGACY_MAGIC) return scanLegacy(part, first.end);
  fault(part, first);
  if (!first.stopped) return searchHeads(part, first.end);
  await scanRest(part, first.end);
}

/** What follows a pickle: more pickles, or bytes that no pickle reader would look at. */
async function scanRest(part: Part, start: number): Promise<void> {
  const { source } = part;
  let at = start;
  for (let n = 0; at < source.size; n++) {
    const rest = await peek(source, at, 16);
    if (rest.length < 16 && rest.every((b) => b === 10 || b === 13 || b === 32)) return;
    const next = n < MAX_STREAMS ? await runInto(part, at, GUESS) : undefined;
    const named = next !== undefined && isTelling(next, rest[0]!);
    if (named) commit(part, next);
    if (!next?.stopped) {
      found(part, "pickle-rest", {
        severity: "suspicious",
        at,
        effect: "carries bytes that readers of the first pickle never see",
        why: `${source.size - at} bytes after the last pickle are none`,
      });
      return searchHeads(part, at + 1);
    }
    if (!named) commit(part, next);
    at = next.end;
  }
}

/** Looks for the beginnings of further pickles in what is left. */
async function searchHeads(part: Part, start: number): Promise<void> {
  const { source } = part;
  const bytes = await peek(source, start, 8 * 2 ** 20);
  let tried = 0;
  for (let at = bytes.indexOf(0x80); at >= 0 && tried < 256; at = bytes.indexOf(0x80, at + 1)) {
    const version = bytes[at + 1];
    if (version === undefined || version < 2 || version > 5) continue;
    tried++;
    const result = await runInto(part, start + at, GUESS);
    if (isTelling(result, 0x80)) commit(part, result);
  }
  for (const needle of [[0x63], [0x28, 0x63], [0x28, 0x69]])
    for (
      let at = indexOf(bytes, needle), n = 0;
      at >= 0 && n < 256;
      at = indexOf(bytes, needle, at + 1), n++
    ) {
      const result = await runInto(part, start + at, GUESS);
      if (result.used > 0 && isTelling(result, needle[0]!)) commit(part, result);
    }
}

/** Pickles one after another, without marks, that are followed. */
const MAX_UNMARKED = 64;
/** Endings of models that may also be tables, vocabularies or raw numbers. */
const RAW_ENDINGS = new Set(["bin", "dat", "data", "model"]);

/** A part that is no pickle by its marks may still be one for a reader that does not ask. */
export async function probePickle(
  part: Part,
  head: Head,
  kinds: ReadonlySet<string>,
): Promise<void> {
  if (head.size < 2) return;
  const result = await runPickle({
    source: part.source,
    allow: allowList(),
    persistent: () => null,
    window: 2 ** 20,
    maxLine: 2 ** 20,
    maxOps: Math.min(opsLeft(part), 2_000_000),
  });
  part.scan.ops += result.ops;
  const isText = kinds.has("text") && !claimsModel(head);
  if (isTelling(result, head.bytes[0]!, { isText })) {
    commit(part, result);
    found(part, "hidden-pickle", {
      severity: "suspicious",
      effect: "runs code in readers that take it for a pickle",
      why: "the first bytes are a pickle, whatever the name or the rest says",
    });
    return;
  }
  const unknown = kinds.size === 0 || kinds.has("text");
  await followUnmarked(part, result, { oddities: unknown && claimsModel(head) });
  if (kinds.size > 0 || !claimsModel(head)) return;
  const pickled = result.stopped && result.end === head.size;
  if (!pickled && !RAW_ENDINGS.has(head.ending))
    unreadable(part, "the content is of no format that is known here");
  await searchHeads(part, 0);
}

/** Pickles without a mark, one behind the other. @param oddities notes what is odd in those that call nothing, too */
async function followUnmarked(
  part: Part,
  first: PickleRun,
  { oddities }: { oddities: boolean },
): Promise<void> {
  let run = first;
  for (let n = 0; n < MAX_UNMARKED && run.stopped && run.ops > 1; n++) {
    if (oddities && run.notes.length > 0) commit(part, run);
    if (run.end >= part.source.size) return;
    const [byte = 0] = await peek(part.source, run.end, 1);
    run = await runInto(part, run.end, GUESS);
    if (isTelling(run, byte)) return commit(part, run);
  }
}

export const bearsPickle = (head: Head): boolean => hasProto(head) || claimsPickle(head);

// ---- PyTorch's legacy container ---------------------------------------------------------------

/** Five pickles (magic, protocol, system, value, storage keys), then per key a count and its bytes. */
async function scanLegacy(part: Part, start: number): Promise<void> {
  part.scan.formats.add("torch legacy");
  const { source } = part;
  const allow = allowList();
  let at = start;
  const next = async (): Promise<PickleRun> => {
    const result = await runInto(part, at, { tolerant: true, allow });
    commit(part, result);
    fault(part, result);
    at = result.end;
    return result;
  };
  const wrong = (why: string) => {
    unreadable(part, `torch legacy: ${why}`, at);
    return searchHeads(part, at);
  };
  const protocol = await next();
  if (!protocol.stopped) return wrong("the protocol cannot be read");
  if (protocol.value !== LEGACY_PROTOCOL)
    unreadable(part, `torch legacy: protocol ${String(protocol.value)}`, at);
  const system = await next();
  if (!system.stopped) return wrong("the system cannot be read");
  if (!(system.value instanceof Map)) unreadable(part, "torch legacy: the system is no dict", at);
  const value = await next();
  if (!value.stopped) return wrong("the value cannot be read");
  const keys = await next();
  if (!keys.stopped || !Array.isArray(keys.value)) return wrong("there is no list of storages");
  for (const key of keys.value) {
    const storage = allow.torch.storages.get(String(key));
    if (!(storage instanceof TorchStorage))
      return wrong(`storage ${String(key).slice(0, 80)} is not in the value`);
    const count = await peek(source, at, 8);
    if (count.length < 8 || viewOf(count).getBigInt64(0, true) !== BigInt(storage.count))
      return wrong(`storage ${storage.key} has another size than the value says`);
    at += 8 + storage.bytes;
    if (at > source.size) return wrong(`storage ${storage.key} is cut off`);
  }
  if (at < source.size) await scanRest(part, at);
}
