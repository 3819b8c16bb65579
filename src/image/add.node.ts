/** Takes a user's own checkpoint into the registry: looks at headers, hashes, refers or copies. Loads no weights. */

import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { readWeights, type WeightMap } from "../formats/lazy.ts";
import { openTensorFile } from "../formats/node.ts";
import { hashSteps } from "../formats/sha256.node.ts";
import { checkPair, type VarConfig, type VqvaeConfig } from "./config.ts";
import { inferVarConfig, inferVqvaeConfig, modelKind } from "./infer-config.ts";
import { NESTED } from "./model.ts";
import { noteConfig, readNote } from "./note.ts";
import {
  type Addition,
  checkNewName,
  copyFolder,
  type RegisteredFile,
  writeAdded,
} from "./registry.node.ts";
import { imageSize, type PatchNum } from "./scales.ts";

/** What a file holds, told from names and shapes. A checkpoint of the official trainer holds both. */
export interface Holdings {
  readonly var?: VarConfig;
  readonly vqvae?: VqvaeConfig;
}

const SIDES = "lvl_1L";

/** Looks into a checkpoint without reading its weights. @throws InputError when it is none */
export async function holdings(path: string): Promise<Holdings> {
  const { tensors, metadata } = await openTensorFile(path, { verify: false });
  const held: { var?: VarConfig; vqvae?: VqvaeConfig } = {};
  for (const kind of ["var", "vqvae"] as const) {
    const own = within(tensors, NESTED[kind]) ?? tensors;
    if (modelKind(own.keys()) !== kind) continue;
    const note = readNote(metadata, { kind, what: path });
    const shapes = await readWeights(own, (name) => name === SIDES);
    if (kind === "var")
      held.var = note
        ? noteConfig(note, { kind, what: path })
        : inferVarConfig(shapes, { what: path });
    else
      held.vqvae = note
        ? noteConfig(note, { kind, what: path })
        : inferVqvaeConfig(shapes, { what: path, patchNums: held.var?.patchNums });
  }
  return held;
}

/** The tensors whose names begin so, without that beginning; undefined where there is none. */
function within(tensors: WeightMap, prefix: string): WeightMap | undefined {
  const own = [...tensors].filter(([name]) => name.startsWith(prefix));
  if (own.length === 0) return undefined;
  return new Map(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

export type AddStep =
  | { readonly state: "hashing"; readonly path: string; readonly done: number; readonly of: number }
  | ({ readonly state: "added" } & Addition);

export interface AddOptions {
  name: string;
  /** Keep copies instead of referring to the files where they lie. */
  copy?: boolean;
  signal?: AbortSignal;
}

/**
 * Registers a model from its two files, which may be one file that holds both.
 * @throws InputError when the name is taken, a file is not what it should be, or the two do not fit each other
 */
export async function* addModel(
  files: { readonly var: string; readonly vqvae: string },
  { name, copy = false, signal }: AddOptions,
): AsyncGenerator<AddStep> {
  checkNewName(name);
  const transformer = await configOf("var", files.var);
  const tokenizer = await configOf("vqvae", files.vqvae, transformer.patchNums);
  checkPair(transformer, tokenizer);
  const home = copyFolder(name);
  try {
    const places: { var?: RegisteredFile; vqvae?: RegisteredFile } = {};
    for (const kind of ["var", "vqvae"] as const) {
      const path = node.path.resolve(files[kind]);
      if (kind === "vqvae" && files.vqvae === files.var) places.vqvae = places.var;
      else {
        const at = copy ? await copied(path, kind, { home, signal }) : path;
        for await (const { done, of, sha256 } of hashSteps(at, { signal })) {
          yield { state: "hashing", path: at, done, of };
          if (sha256 !== undefined) places[kind] = { path: at, size: of, sha256 };
        }
      }
    }
    const { depth, classes } = transformer;
    const facts = { depth, classes, size: imageSize(tokenizer) };
    const model = { name, files: { var: places.var!, vqvae: places.vqvae! }, ...facts };
    await writeAdded(model);
    yield { state: "added", ...model };
  } catch (error) {
    await node.fs.rm(home, { recursive: true, force: true });
    throw error;
  }
}

async function configOf(kind: "var", path: string): Promise<VarConfig>;
async function configOf(
  kind: "vqvae",
  path: string,
  patchNums: readonly PatchNum[],
): Promise<VqvaeConfig>;
async function configOf(
  kind: "var" | "vqvae",
  path: string,
  patchNums?: readonly PatchNum[],
): Promise<VarConfig | VqvaeConfig> {
  const found = await holdings(path);
  const config = found[kind];
  // Tokenizer files do not tell their scales, only how many there are: they are the transformer's.
  if (config && patchNums && config.patchNums.length === patchNums.length)
    return { ...config, patchNums };
  if (config) return config;
  const [wanted, got] = [KINDS[kind], found.var ? KINDS.var : found.vqvae && KINDS.vqvae];
  throw new InputError(
    `${path} holds ${got ?? "no model that is known here"}, wanted ${wanted}${got ? "; name the transformer's file first and the tokenizer's with --tokenizer" : ""}`,
    { path, wanted: kind },
  );
}

const KINDS = { var: "a VAR transformer", vqvae: "a tokenizer (VQVAE)" } as const;

/** A copy under a name of ours; shards of an index would be lost. */
async function copied(
  path: string,
  kind: "var" | "vqvae",
  { home, signal }: { home: string; signal: AbortSignal | undefined },
): Promise<string> {
  const ending = /\.(safetensors|pth|pt)$/.exec(path)?.[0];
  if (!ending)
    throw new InputError(
      `${path}: only .safetensors, .pth and .pt are copied; add it without --copy`,
      { path },
    );
  await node.fs.mkdir(home, { recursive: true });
  signal?.throwIfAborted();
  const to = node.path.join(home, `${kind}${ending}`);
  // A clone where the file system has them: no bytes are moved.
  await node.fs.copyFile(path, to, node.fsSync.constants.COPYFILE_FICLONE);
  return to;
}
