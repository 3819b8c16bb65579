/** What a command line names: versions and models by name, folder or file. Reads no weights. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { InputError } from "../formats/errors.ts";
import { embeddedModels, MODEL_FILES, packageRoot } from "../image/embedded.node.ts";
import { nearest } from "../nn/spec.ts";

export const VERSION: string = (
  JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { version: string }
).version;

/** The card of a model folder. */
export const MODEL_CARD = "README.md";
/** What `sample` uses when no model is named. */
export const DEFAULT_MODEL = "emoji64";

export interface ModelPlace {
  /** As the user named it. */
  readonly name: string;
  readonly folder: string;
  readonly files: { readonly var: string; readonly vqvae: string };
}

/**
 * Where a model lies: the name of an embedded one, a folder with var.safetensors and vqvae.safetensors, or the
 * transformer's file, the tokenizer being beside it or named.
 * @throws InputError with the nearest name
 */
export function findModel(name: string, { vqvae }: { vqvae?: string } = {}): ModelPlace {
  const embedded = embeddedModels();
  const known = embedded.find((model) => model.name === name);
  const folder = known?.folder ?? name;
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (!stat) {
    const names = embedded.map((model) => model.name);
    const near = nearest(name, names);
    const hint = near ? `, did you mean "${near}"?` : "";
    throw new InputError(
      `model "${name}" is neither embedded (${names.join(", ") || "none is"}) nor a file or folder${hint}; see: underpaint models list`,
      { name, embedded: names },
    );
  }
  const home = stat.isDirectory() ? folder : dirname(folder);
  const transformer = stat.isDirectory() ? join(folder, MODEL_FILES.var) : folder;
  const tokenizer = vqvae ? tokenizerFile(vqvae) : tokenizerBeside(home);
  for (const [kind, file] of [
    ["transformer", transformer],
    ["tokenizer", tokenizer],
  ] as const)
    if (!existsSync(file))
      throw new InputError(
        `model "${name}": its ${kind} ${file} is not there${kind === "tokenizer" ? "; name it with --tokenizer" : "; train it first, or name its file"}`,
        { name, file },
      );
  return { name, folder: home, files: { var: transformer, vqvae: tokenizer } };
}

/** A run of `train var` notes its tokenizer; elsewhere both files lie side by side. */
function tokenizerBeside(folder: string): string {
  const beside = join(folder, MODEL_FILES.vqvae);
  if (existsSync(beside)) return beside;
  try {
    const { tokenizer } = JSON.parse(readFileSync(join(folder, "run.json"), "utf8")) as {
      tokenizer?: { file?: unknown };
    };
    if (typeof tokenizer?.file === "string") return tokenizer.file;
  } catch {
    // No run, or none we can read: the error above names the file that is wanted.
  }
  return beside;
}

/** A tokenizer's file, from itself or from the folder of its run. */
export function tokenizerFile(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  const file = stat?.isDirectory() ? join(path, MODEL_FILES.vqvae) : path;
  if (existsSync(file)) return file;
  throw new InputError(
    `tokenizer ${file} is not there; train one with: underpaint train vqvae DATA --run ${stat ? path : "runs/tokenizer"}`,
    { file },
  );
}
