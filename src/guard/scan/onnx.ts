/** ONNX: external files, operators that are Python, and the texts of a model, by range. Shapes and types are not checked. */

import { InputError, looseText } from "./bytes.ts";
import { found, type Part, unreadable } from "./part.ts";
import { Bytes, type Field, fields } from "./protobuf-walk.ts";
import { shown } from "./report.ts";
import { scanTexts } from "./texts.ts";

/** Domains of operators that the usual runtimes bring along. */
const DOMAINS =
  /^(ai\.onnx(\.ml|\.training|\.preview(\.\w+)*)?|com\.microsoft(\.\w+)*|com\.ms\.\w+|org\.pytorch(\.\w+)*|org\.onnx(\.\w+)*|pkg\.\w+(\.\w+)*|onnx|com\.intel(\.\w+)*|com\.nvidia(\.\w+)*|com\.amd(\.\w+)*|com\.qualcomm(\.\w+)*|ai\.graphcore|custom\.pytorch|local|aten|this)?$/;
const PYTHON_OPERATORS =
  /^(Py(thon)?(Custom)?Op|PyFunc|PythonOpGrad|EagerPyFunc|torch_nn_module_\w+)$/i;

const MAX_DEPTH = 64;
const MAX_TEXT = 1 << 20;

type Handler = (walk: Walk, field: Field, depth: number) => Promise<void>;
interface Walk {
  readonly part: Part;
  readonly bytes: Bytes;
  /** Domains with functions that the model itself defines. */
  readonly own: Set<string>;
  readonly nodes: { op: string; domain: string; at: number }[];
}

const read = async (walk: Walk, { at, length }: Field): Promise<string> =>
  looseText(await walk.bytes.range(at, Math.min(length, MAX_TEXT)));

/** Message kinds: what each of its fields is. */
const SCHEMA: Readonly<Record<string, Readonly<Record<number, string | Handler>>>> = {
  model: { 7: "graph", 25: "function", 14: "property", 6: text, 20: "training" },
  training: { 1: "graph", 2: "graph" },
  graph: { 1: "node", 5: "tensor", 15: "sparse" },
  sparse: { 1: "tensor", 2: "tensor" },
  function: { 7: "node", 11: "attribute", 10: domain },
  attribute: {
    4: text,
    5: "tensor",
    6: "graph",
    9: text,
    10: "tensor",
    11: "graph",
    22: "sparse",
    23: "sparse",
  },
  property: { 2: text },
};

async function text(walk: Walk, field: Field): Promise<void> {
  if (field.length <= MAX_TEXT) scanTexts(walk.part, "text", await read(walk, field), field.at);
}

async function domain(walk: Walk, field: Field): Promise<void> {
  walk.own.add(await read(walk, field));
}

async function message(walk: Walk, kind: string, field: Field, depth: number): Promise<void> {
  if (depth > MAX_DEPTH) throw new InputError(`onnx: graphs nested deeper than ${MAX_DEPTH}`);
  if (kind === "tensor") return tensor(walk, field);
  if (kind === "node") return node(walk, field, depth);
  for await (const inner of fields(walk.bytes, field.at, field.at + field.length)) {
    const rule = SCHEMA[kind]?.[inner.no];
    if (rule === undefined || inner.wire !== 2) continue;
    if (typeof rule === "string") await message(walk, rule, inner, depth + 1);
    else await rule(walk, inner, depth);
  }
}

async function node(walk: Walk, field: Field, depth: number): Promise<void> {
  let [op, domain] = ["", ""];
  for await (const inner of fields(walk.bytes, field.at, field.at + field.length)) {
    if (inner.wire !== 2) continue;
    if (inner.no === 4) op = await read(walk, inner);
    else if (inner.no === 7) domain = await read(walk, inner);
    else if (inner.no === 5) await message(walk, "attribute", inner, depth + 1);
  }
  if (PYTHON_OPERATORS.test(op))
    found(walk.part, "onnx-operator", {
      severity: "malicious",
      at: field.at,
      effect: `runs Python code as operator ${shown(op, 60)}`,
      why: "operators that are Python code need no place in a model",
    });
  else if (!DOMAINS.test(domain)) walk.nodes.push({ op, domain, at: field.at });
}

/** Where a tensor's data lies outside of the file. */
async function tensor(walk: Walk, field: Field): Promise<void> {
  const keys = new Map<string, string>();
  const { part, bytes } = walk;
  let external = false;
  for await (const inner of fields(bytes, field.at, field.at + field.length)) {
    if (inner.no === 14 && inner.wire === 0) external = inner.value === 1;
    if (inner.no !== 13 || inner.wire !== 2) continue;
    let [key, value] = ["", ""];
    for await (const entry of fields(bytes, inner.at, inner.at + inner.length)) {
      if (entry.no === 1 && entry.wire === 2) key = await read(walk, entry);
      if (entry.no === 2 && entry.wire === 2) value = await read(walk, entry);
    }
    if (keys.has(key))
      found(part, "onnx-external", {
        severity: "suspicious",
        at: inner.at,
        effect: "shows one file to checkers and another to loaders",
        why: `the key ${JSON.stringify(shown(key, 40))} of external data stands twice`,
      });
    keys.set(key, value);
    if (key === "location") location(part, value, inner.at);
    else if ((key === "offset" || key === "length") && !/^\d{1,15}$/.test(value))
      unreadable(part, `onnx: external data with ${key} ${shown(value, 40)}`, inner.at);
  }
  if (external && !keys.has("location"))
    unreadable(part, "onnx: external data without a location", field.at);
}

function location(part: Part, path: string, at: number): void {
  const leaves =
    path.split(/[\\/]/).includes("..") ||
    /^[\\/~]|^[A-Za-z]:|^\w+:\/|\0|\\|%2e|%2f|\$\{|^\s*$/i.test(path);
  if (!leaves) return;
  found(part, "onnx-external", {
    severity: "malicious",
    at,
    effect: `makes the loader read ${JSON.stringify(shown(path, 120))} from outside of the model's folder`,
    why: "external data must lie beside the model",
  });
}

export async function scanOnnx(part: Part): Promise<void> {
  const { source } = part;
  const walk: Walk = { part, bytes: new Bytes(source), own: new Set(), nodes: [] };
  const whole: Field = { no: 0, wire: 2, at: 0, length: source.size, value: 0 };
  try {
    await message(walk, "model", whole, 0);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    unreadable(part, error.message, Number(error.data.at ?? 0));
  }
  for (const { op, domain, at } of walk.nodes)
    if (!walk.own.has(domain))
      found(part, "onnx-operator", {
        severity: "suspicious",
        at,
        effect: `needs native or Python code for the operator ${shown(domain, 60)}.${shown(op, 60)}`,
        why: "the domain is not one of the usual runtimes",
      });
}
