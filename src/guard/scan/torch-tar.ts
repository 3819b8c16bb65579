/** PyTorch's first container, a tar: members `storages`, `tensors` and `pickle` mix pickles with raw numbers. */

import { viewOf } from "./bytes.ts";
import { allowList } from "./names.ts";
import { TORCH_TYPES, type TorchType } from "./names-torch.ts";
import { member, type Part, peek, slice } from "./part.ts";
import type { NameRule } from "./pickle-machine.ts";
import { commit, opsLeft, type PickleRun, runPickle } from "./pickle-scan.ts";
import type { TarMember } from "./tar.ts";

/** Old tensor classes, by the storage type of their elements. */
const TENSORS: readonly (readonly [string, string])[] = [
  ["Double", "float64"],
  ["Float", "float32"],
  ["Half", "float16"],
  ["Long", "int64"],
  ["Int", "int32"],
  ["Short", "int16"],
  ["Char", "int8"],
  ["Byte", "uint8"],
];

const NAMES = ["sys_info", "pickle", "storages", "tensors"];

/**
 * Follows torch's reader through `storages` and `tensors`.
 * @returns members that are fully explained; the others are scanned like any file
 */
export async function scanTorchTar(
  part: Part,
  members: readonly TarMember[],
): Promise<Set<TarMember>> {
  const done = new Set<TarMember>();
  const byName = new Map(members.map((m) => [m.name.replace(/^\.\//, ""), m]));
  if (!NAMES.every((name) => byName.has(name))) return done;
  if (part.depth === 0) part.scan.formats.add("torch tar");
  for (const name of ["storages", "tensors"] as const) {
    const entry = byName.get(name)!;
    const inner = member(part, name, slice(part.source, entry.offset, entry.size));
    if (inner && (await follow(inner, name))) done.add(entry);
  }
  const entry = byName.get("pickle")!;
  const inner = member(part, "pickle", slice(part.source, entry.offset, entry.size));
  if (inner) {
    const run = await runOne(inner, 0);
    commit(inner, run);
    if (run.stopped && run.end === entry.size && run.notes.length === 0) done.add(entry);
  }
  return done;
}

async function runOne(part: Part, at: number): Promise<PickleRun> {
  const allow = allowList();
  const rules = new Map<string, NameRule>(allow.rules);
  for (const [name, type] of TENSORS)
    rules.set(`torch ${name}Tensor`, { value: TORCH_TYPES.get(type)! });
  const result = await runPickle({
    source: part.source,
    at,
    allow: { ...allow, rules },
    // Tensors are persistent ids that are numbers, as text.
    persistent: () => null,
    maxOps: opsLeft(part),
  });
  part.scan.ops += result.ops;
  return result;
}

/** A count, then as many pickles with raw data behind each. Whether every byte was explained. */
async function follow(part: Part, kind: "storages" | "tensors"): Promise<boolean> {
  const { source } = part;
  const count = await runOne(part, 0);
  commit(part, count);
  if (!count.stopped || typeof count.value !== "number" || count.notes.length > 0) return false;
  let at = count.end;
  for (let i = 0; i < count.value; i++) {
    const run = await runOne(part, at);
    commit(part, run);
    if (!run.stopped || run.notes.length > 0 || !Array.isArray(run.value)) return false;
    at = run.end;
    const length =
      kind === "storages"
        ? await storageLength(part, at, run.value[2] as TorchType)
        : await windowLength(part, at);
    if (length === undefined || at + length > source.size) return false;
    at += length;
  }
  // `storages` ends with a list of views.
  if (kind === "storages" && at < source.size) {
    const views = await runOne(part, at);
    commit(part, views);
    if (!views.stopped || views.notes.length > 0) return false;
    at = views.end;
  }
  return at === source.size;
}

async function storageLength(part: Part, at: number, type: TorchType): Promise<number | undefined> {
  const head = await peek(part.source, at, 8);
  if (head.length < 8 || !(typeof type?.bytes === "number")) return undefined;
  return 8 + Number(viewOf(head).getBigUint64(0, true)) * type.bytes;
}

/** Rank (four bytes and four of padding), sizes, strides, offset. */
async function windowLength(part: Part, at: number): Promise<number | undefined> {
  const head = await peek(part.source, at, 4);
  if (head.length < 4) return undefined;
  const rank = viewOf(head).getInt32(0, true);
  return rank >= 0 && rank <= 64 ? 8 + rank * 16 + 8 : undefined;
}
