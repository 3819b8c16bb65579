/** `underpaint models add`: a user's own checkpoint under a name. What is looked at and noted is image/add's. */

import { statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { addModel, holdings } from "../image/add.node.ts";
import { OFFICIAL_MODELS } from "../image/official.ts";
import { officialPath, readRecord } from "../image/registry.node.ts";
import { interruptible } from "./errors.ts";
import { bytes, plural } from "./format.ts";
import { findModel, tokenizerFile } from "./package.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

interface AddFlags {
  readonly name?: string;
  readonly tokenizer?: string;
  readonly copy: boolean;
  readonly json: boolean;
}

export function addModelsAdd(models: Command, terminal: Terminal): void {
  models
    .command("add")
    .description("Gives a checkpoint of your own a name, after looking at what it holds")
    .argument(
      "<path>",
      "The transformer's file (.safetensors, .pth), a folder with both files, or a checkpoint of the official trainer",
    )
    .option("--name <name>", "What to call it; default from the path")
    .option("--tokenizer <file>", "The tokenizer, where it does not lie beside the transformer")
    .option("--copy", "Keep copies instead of referring to the files where they lie", false)
    .option("--json", "Print one JSON object on stdout", false)
    .action((path: string, flags: AddFlags) =>
      interruptible((signal) => run(terminal, path, { flags, signal })),
    );
}

async function run(
  terminal: Terminal,
  path: string,
  { flags, signal }: { flags: AddFlags; signal: AbortSignal },
): Promise<void> {
  const files = await bothFiles(path, flags.tokenizer);
  const name = flags.name ?? nameFrom(path);
  let bar: ReturnType<typeof progress> | undefined;
  let hashing = "";
  try {
    for await (const step of addModel(files, { name, copy: flags.copy, signal })) {
      if (step.state === "hashing") {
        if (step.path !== hashing)
          bar = progress(terminal, {
            of: step.of,
            what: `hashing ${basename(step.path)}`,
            shown: bytes,
          });
        hashing = step.path;
        bar!.update(step.done);
        continue;
      }
      const { state: _, ...model } = step;
      if (flags.json) terminal.print(JSON.stringify(model));
      terminal.say(
        `added ${name}: VAR of depth ${model.depth}, ${model.size.width} x ${model.size.height} pixels, ${plural(model.classes, "class", "classes")}`,
      );
      for (const { path: place, size, sha256 } of new Set(Object.values(model.files)))
        terminal.say(`${place}: ${bytes(size)}, sha256 ${sha256}`);
    }
  } finally {
    bar?.clear();
  }
  terminal.say(terminal.dim(`next: underpaint sample --model ${name}`));
}

/** The transformer's and the tokenizer's file; the latter may be inside the former, beside it, named, or pulled. */
async function bothFiles(
  path: string,
  tokenizer: string | undefined,
): Promise<{ var: string; vqvae: string }> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new InputError(`${path}: there is no such file or folder`, { path });
  if (stat.isDirectory()) return findModel(resolve(path), { vqvae: tokenizer }).files;
  if (tokenizer !== undefined) return { var: path, vqvae: tokenizerFile(tokenizer) };
  const held = await holdings(path);
  if (held.var && held.vqvae) return { var: path, vqvae: path };
  try {
    return findModel(resolve(path)).files;
  } catch (error) {
    const shared = OFFICIAL_MODELS[0]!.vqvae;
    const reads = held.var?.codes === 4096 && held.var.latent === 32;
    if (error instanceof InputError && reads && readRecord(shared))
      return { var: path, vqvae: officialPath(shared) };
    // A file that is no transformer is refused for what it holds, not for what lies beside it.
    if (error instanceof InputError && !held.var) return { var: path, vqvae: path };
    throw error;
  }
}

/** A name from a path: the file's without its ending, the folder's where the file has ours. */
function nameFrom(path: string): string {
  const full = resolve(path);
  const stem = basename(full).replace(/\.(safetensors|pth|pt)(\.index\.json)?$/, "");
  const name = stem === "var" ? basename(dirname(full)) : stem;
  return name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
}
