/** PyTorch's zip archives: data.pkl with its storages, TorchScript, and packages of code. Containers open the members. */

import { byteText } from "./bytes.ts";
import { type AllowList, allowList } from "./names.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import type { NameRule } from "./pickle-machine.ts";
import { commit, opsLeft, runPickle } from "./pickle-scan.ts";
import type { Archive, Member } from "./zip-read.ts";

type Open = (entry: Member) => Promise<Part | undefined>;

/** Members by what loading them does. */
const CODE: readonly (readonly [pattern: RegExp, effect: string])[] = [
  [/(^|\/)MAR-INF\//, "is a package for serving, whose handler is Python code that runs"],
  [
    /(^|\/)\.data\/(extern_modules|python_version)$/,
    "is a torch.package, whose modules are Python code that runs",
  ],
  [/\.(py|pyc|pyo|pyd|so|dll|dylib|exe|sh|bat|cmd|ps1)$/i, "carries a program"],
];

/** Operators of TorchScript that leave the sandbox of tensors. */
const LEAVING =
  /\b(?:aten::from_file|torch\.from_file|torch\.save|torch\.load|image\.(?:read_file|write_file)|ops\.(?!aten\b|prim\b|quantized\b|torchvision\b|torchaudio\b|prims\b|_caffe2\b)\w+\.|prim::PythonOp)/;

const TORCHSCRIPT = /^([^/]+\/)(code\/|constants\.pkl$)/;

/**
 * Scans what only torch reads. A storage that data.pkl names, and that is as long as it says, is raw tensor bytes and is
 * not opened.
 * @returns members that need no further scan
 */
export async function scanTorchZip(part: Part, archive: Archive, open: Open): Promise<Set<Member>> {
  const done = new Set<Member>();
  const { members } = archive;
  const pickles = members.filter((m) => /(^|\/)data\.pkl$/i.test(m.name));
  const script = members.some((m) => TORCHSCRIPT.test(m.name));
  if (pickles.length === 0 && !script) {
    scanCode(part, members, false);
    return done;
  }
  if (part.depth === 0) part.scan.formats.add(script ? "TorchScript" : "torch zip");
  if (pickles.length > 1)
    found(part, "torch-pickles", {
      severity: "suspicious",
      at: pickles[1]!.header,
      effect: "shows one content to checkers and another to loaders",
      why: `there are ${pickles.length} members named data.pkl`,
    });
  for (const entry of pickles) {
    const inner = await open(entry);
    if (!inner) continue;
    const allow = script ? scriptNames(allowList()) : allowList();
    const { source } = inner;
    const result = await runPickle({
      source,
      allow,
      tolerant: true,
      persistent: allow.torch.persistent,
      maxOps: opsLeft(part),
    });
    part.scan.ops += result.ops;
    const clean = result.notes.length === 0 && result.stopped && result.end === source.size;
    commit(inner, result);
    if (result.error)
      unreadable(inner, `the pickle cannot be loaded: ${result.error.why}`, result.error.at);
    const folder = entry.name.slice(0, -"data.pkl".length);
    for (const storage of allow.torch.storages.values()) {
      const found = members.filter((m) => m.name === `${folder}data/${storage.key}`);
      if (found.length === 0) unreadable(inner, `storage ${storage.key} is not in the archive`);
      for (const m of found)
        if (m.size !== storage.bytes)
          unreadable(
            inner,
            `storage ${storage.key} has ${m.size} bytes, the pickle says ${storage.bytes}`,
          );
        else if (m.method === 0) done.add(m);
    }
    // A pickle with anything odd is scanned again as any other, which looks behind it as well.
    if (clean) done.add(entry);
  }
  scanCode(part, members, script);
  if (script) for (const entry of members) await scanScript(entry, open, done);
  return done;
}

function scanCode(part: Part, members: readonly Member[], script: boolean): void {
  const model = members.some((m) => /(^|\/)data\.pkl$|MAR-INF\//i.test(m.name));
  if (!model) return;
  for (const { name, header } of members)
    for (const [pattern, effect] of CODE)
      if (pattern.test(name) && !(script && TORCHSCRIPT.test(name))) {
        found(part, "code-member", {
          severity: "suspicious",
          at: header,
          effect,
          why: `${JSON.stringify(name.slice(0, 120))} is a member of the archive`,
        });
        break;
      }
}

/** The program of TorchScript: only operators on tensors are harmless. */
async function scanScript(entry: Member, open: Open, done: Set<Member>): Promise<void> {
  if (!TORCHSCRIPT.test(entry.name) || entry.size > 2 ** 24) return;
  const inner = await open(entry);
  if (!inner) return;
  if (/constants\.pkl$/.test(entry.name)) {
    const allow = scriptNames(allowList());
    const result = await runPickle({
      source: inner.source,
      allow,
      tolerant: true,
      persistent: allow.torch.persistent,
      maxOps: opsLeft(inner),
    });
    commit(inner, result);
    if (result.notes.length === 0 && result.end === inner.source.size) done.add(entry);
    return;
  }
  const text = byteText(await peek(inner.source, 0, inner.source.size));
  const leaving = LEAVING.exec(text);
  if (leaving && /\.py$/.test(entry.name))
    found(inner, "torchscript-operator", {
      severity: "suspicious",
      at: leaving.index,
      effect: `runs ${leaving[0]}, which reads or writes outside of the model`,
      why: "TorchScript programs of models need operators on tensors only",
    });
  done.add(entry);
}

/** TorchScript names classes of the archive's own program; torch makes them without Python. */
function scriptNames(allow: AllowList): AllowList {
  const own: NameRule = {
    reduce: (args) => Object.freeze([...args]) as never,
    make: () => new Map(),
    build: () => undefined,
  };
  const rules: ReadonlyMap<string, NameRule> = {
    ...allow.rules,
    get: (path: string) =>
      allow.rules.get(path) ??
      (/^__torch__(\.\w+)* \w+$/.test(path) ||
      /^torch\.jit\._pickle (build_\w+list|restore_type_tag)$/.test(path)
        ? own
        : undefined),
    has: (path: string) => allow.rules.has(path),
  } as ReadonlyMap<string, NameRule>;
  return { ...allow, rules };
}
