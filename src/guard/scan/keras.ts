/** Keras models, .keras archives and HDF5: layers and modules that run code when a model is made. Weights are not read. */

import { looseText } from "./bytes.ts";
import { danger } from "./danger.ts";
import { found, type Part, peek } from "./part.ts";
import { shown } from "./report.ts";
import type { Archive, Member } from "./zip-read.ts";

/** Layers that carry or name code. */
const CODE_LAYERS: Readonly<Record<string, string>> = {
  Lambda: "runs Python bytecode or a named function that lies in the file",
  TFOpLambda: "calls any TensorFlow function by its name",
  SlicingOpLambda: "calls a TensorFlow function by its name",
  ClassMethod: "calls a method by its name",
  TorchModuleWrapper: "loads a pickled PyTorch module",
  TFSMLayer: "loads a TensorFlow SavedModel from a path in the file",
  JaxLayer: "calls a function that lies in the file",
  FlaxLayer: "calls a function that lies in the file",
  __lambda__: "runs Python bytecode that lies in the file",
  function: "calls a function by its name",
};

/** Modules from which Keras 3 makes objects by name; all else is import and call (CVE-2025-1550). */
const KERAS_MODULE =
  /^(keras|keras\.(layers|models|initializers|regularizers|constraints|optimizers|losses|metrics|activations|ops|random|dtype_policies|mixed_precision|quantizers|saving|utils|src|api|backend|tree|applications|callbacks|datasets|visualization|distribution|export|config|_tf_keras|dtensor|engine)(\.[a-z_0-9]+)*|tensorflow\.keras(\.[a-z_0-9]+)*|tf_keras(\.[a-z_0-9]+)*|keras_nlp(\.[a-z_0-9]+)*|keras_hub(\.[a-z_0-9]+)*|keras_cv(\.[a-z_0-9]+)*|builtins)$/;
/** Functions inside of Keras that read, write or run (CVE-2025-8747 and followers). */
const KERAS_GADGETS =
  /\b(get_file|load_model|load_weights|save_model|save_weights|model_from_json|model_from_yaml|deserialize_keras_object|enable_unsafe_deserialization|func_load|func_dump|python_utils|file_utils|io_utils|module_utils|numerical_utils\.build_pos_neg_masks|export_archive|run_script|image_dataset_from_directory|text_dataset_from_directory|audio_dataset_from_directory|load_data|load_img|save_img|array_to_img|plot_model|model_to_dot|StringLookup|IntegerLookup|TextVectorization)\b/;
/** Layers whose vocabulary may be a path or URL (CVE-2025-12058). */
const LOOKUPS = /^(StringLookup|IntegerLookup|TextVectorization|IndexLookup)$/;

const text = (match: RegExpMatchArray | null | undefined): string => match?.[1] ?? "";

/**
 * Judges a model's JSON as text: depth, doubled keys and damage cannot hide a layer.
 * Every "class_name" is judged with the "module" and "function" beside it.
 */
export function judgeKerasJson(
  part: Part,
  raw: string,
  { at = 0 }: { at?: number; found?: unknown } = {},
): void {
  // "\u004cambda" is Lambda.
  const json = raw.replace(/\\u([\da-fA-F]{4})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
  const shift = (index: number) => at + (json.length === raw.length ? index : 0);
  const note = (severity: "malicious" | "suspicious", index: number, effect: string, why: string) =>
    void found(part, "keras-layer", { severity, at: shift(index), effect, why });
  for (const match of json.matchAll(/"class_name"\s*:\s*"((?:[^"\\]|\\.)*)"/g)) {
    const name = match[1]!;
    const last = name.split(/[>.]/).at(-1)!;
    const effect = CODE_LAYERS[last];
    const around = json.slice(Math.max(0, match.index - 2000), match.index + 2000);
    if (effect && (last !== "function" || isForeignFunction(around)))
      note("malicious", match.index, effect, `a layer of class ${shown(name, 60)}`);
    if (LOOKUPS.test(last)) {
      const vocabulary = text(
        json.slice(match.index, match.index + 4000).match(/"vocabulary"\s*:\s*"((?:[^"\\]|\\.)*)"/),
      );
      if (vocabulary)
        note(
          "malicious",
          match.index,
          `reads ${shown(vocabulary, 80)} when the model is loaded`,
          `the vocabulary of a ${last} is a path`,
        );
    }
  }
  for (const match of json.matchAll(/"module"\s*:\s*"((?:[^"\\]|\\.)*)"/g)) {
    const module = match[1]!;
    const near = json.slice(match.index, match.index + 400);
    const name =
      text(near.match(/"class_name"\s*:\s*"((?:[^"\\]|\\.)*)"/)) ||
      text(
        json
          .slice(Math.max(0, match.index - 300), match.index)
          .match(/"class_name"\s*:\s*"([^"]*)"[^{}]*$/),
      );
    // {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    const named = text(near.match(/"config"\s*:\s*"((?:[^"\\]|\\.)*)"/));
    if (!KERAS_MODULE.test(module)) {
      const { severity, would } = danger(module, name);
      note(
        severity,
        match.index,
        `imports ${shown(module, 60)}.${shown(name, 60)}, which can ${would}`,
        "the module of a layer is not Keras's own",
      );
    } else if (KERAS_GADGETS.test(`${module}.${name} ${named}`) && !LOOKUPS.test(name))
      note(
        "malicious",
        match.index,
        `calls ${shown(module, 60)}.${shown(name, 60)}, which reads or writes files`,
        "a helper of Keras stands where a layer belongs",
      );
    else if (
      module === "builtins" &&
      !/^(function|dict|list|tuple|set|str|int|float|bool|slice|NoneType|Ellipsis|bytes|complex|range)?$/.test(
        name,
      )
    )
      note(
        "malicious",
        match.index,
        `calls ${shown(name, 60)} of Python itself`,
        "a builtin stands where a layer belongs",
      );
  }
  for (const match of json.matchAll(
    /"(?:registered_name|function|config|fn|activation|class_name)"\s*:\s*"((?:os|posix|subprocess|builtins|sys|importlib|shutil|runpy|pickle|socket|ctypes|keras\.(?:src\.)?utils)[.>:][\w.]+)"/g,
  ))
    note(
      "malicious",
      match.index,
      `names the function ${shown(match[1]!, 80)}`,
      "a function outside of Keras stands where one of its own belongs",
    );
}

/** {"class_name": "function", "config": name}: Keras looks the name up, in its own functions or anywhere by "module". */
function isForeignFunction(around: string): boolean {
  const modules = [...around.matchAll(/"module"\s*:\s*"([^"]*)"/g)].map((m) => m[1]!);
  return modules.some((m) => !KERAS_MODULE.test(m));
}

const MAX_JSON = 32 * 2 ** 20;
const KERAS_MEMBERS =
  /^(config\.json|metadata\.json|model\.weights\.h5|model\.weights\.npz|assets\/.*|_self_supervised.*|.*\.weights\.json|.*\.h5)$/;

/** A .keras archive: config.json, metadata.json, weights, assets. */
export async function scanKerasZip(
  part: Part,
  archive: Archive,
  open: (entry: Member) => Promise<Part | undefined>,
): Promise<void> {
  const { members } = archive;
  const names = new Set(members.map((m) => m.name));
  const isKeras =
    /\.keras$/i.test(part.name) ||
    (names.has("config.json") && [...names].some((n) => n.startsWith("model.weights")));
  if (!isKeras) return;
  if (part.depth === 0) part.scan.formats.add("Keras archive");
  for (const entry of members) {
    if (/^(.*\/)?config\.json$/i.test(entry.name)) {
      const inner = await open(entry);
      if (inner) judgeKerasJson(inner, looseText(await peek(inner.source, 0, MAX_JSON)));
    } else if (
      (!KERAS_MEMBERS.test(entry.name) && !entry.isFolder) ||
      /\.(pkl|pickle|py|pyc|so|dll|npy|joblib|sh|exe)$/i.test(entry.name)
    )
      found(part, "keras-member", {
        severity: "suspicious",
        at: entry.header,
        effect: "carries a file that Keras does not write, for other code to load",
        why: `${JSON.stringify(entry.name.slice(0, 120))} is a member of the archive`,
      });
  }
}
