/** Models from disk, for Node. The browser takes bytes: see model.ts. */

import { node } from "../formats/builtins.node.ts";
import { cacheFolder } from "../formats/cache.node.ts";
import { InputError } from "../formats/errors.ts";
import { isLazy, weightBytes } from "../formats/lazy.ts";
import { openTensorFile, readTensorFile, writeFileAtomic } from "../formats/node.ts";
import { parseRanges, writeRanges } from "./calibrate.ts";
import { embeddedModels } from "./embedded.node.ts";
import { type LoadOptions, loadVar, type ModelFile, type Var } from "./model.ts";
import type { DecoderRanges } from "./precision.ts";
import { checkPresent, findRegistered } from "./registry.node.ts";

/** Where the two halves of a model lie. */
export interface VarPaths {
  readonly var: string;
  readonly vqvae: string;
}

/** File names tried in a folder: ours, then the official ones. */
const NAMES = {
  var: /^var(_d\d+)?\.(safetensors|pth)$/,
  vqvae: /^(vqvae|vae_.*)\.(safetensors|pth)$/,
};

/**
 * Loads a model by the name of an embedded ("emoji64"), pulled ("var-d16") or added one, from a folder with
 * `var.safetensors` and `vqvae.safetensors` (or the official `var_d16.pth` and `vae_ch160v4096z32.pth`), or from two
 * files of any supported format.
 * @throws InputError when a file is missing, ambiguous or not what it should be
 */
export async function loadVarFrom(
  from: string | VarPaths,
  options: LoadOptions = {},
): Promise<Var> {
  const paths = typeof from === "string" ? await pathsOf(from) : from;
  const files = { var: await fileAt(paths.var), vqvae: await fileAt(paths.vqvae) };
  const ranges: LoadOptions["ranges"] = (find, model) => keptRanges(find, model, options);
  return loadVar(files, { ranges, ...options });
}

/** Written into the name of kept ranges: another way to find them must not meet old ones. */
const RANGES_VERSION = "1";

/** The decoder's ranges from the cache, or found and kept there. Models in memory have no place there. */
async function keptRanges(
  find: () => Promise<DecoderRanges>,
  model: Var,
  { firstUse }: LoadOptions,
): Promise<DecoderRanges> {
  const { weights, tokenizerWeights } = model.parts;
  const lazy = [...weights.values(), ...tokenizerWeights.values()].filter(isLazy);
  if (lazy.length === 0 || lazy.some(({ key }) => key === undefined)) return find();
  const hash = node.crypto.createHash("sha256").update(`ranges ${RANGES_VERSION}\n`);
  for (const { key } of lazy) hash.update(`${key}\n`);
  const path = node.path.join(cacheFolder(), "ranges", `${hash.digest("hex")}.json`);
  const kept = await node.fs.readFile(path, "utf8").catch(() => undefined);
  const known = kept === undefined ? undefined : parseRanges(kept, model);
  if (known) return known;
  firstUse?.();
  const found = await find();
  // A cache that cannot be written is done without.
  await node.fs.mkdir(node.path.dirname(path), { recursive: true }).catch(() => undefined);
  const bytes = new TextEncoder().encode(writeRanges(found));
  await writeFileAtomic(path, bytes).catch(() => undefined);
  return found;
}

/** A name before a folder, as on the command line. */
async function pathsOf(name: string): Promise<VarPaths> {
  const embedded = embeddedModels().find((model) => model.name === name);
  const registered = embedded ? undefined : findRegistered(name);
  if (!registered) return pathsIn(embedded?.folder ?? name);
  checkPresent(registered);
  return { var: registered.files.var.path, vqvae: registered.files.vqvae.path };
}

/** Models of fewer bytes are read whole: what is made of their tensors need not be made again from disk. */
const LARGE = 2 ** 26;

async function fileAt(path: string): Promise<ModelFile> {
  // CRCs are compared once: here where the data is read later, by readTensorFile where it is read now.
  const { tensors } = await openTensorFile(path, { verify: false });
  const bytes = [...tensors.values()].reduce((sum, weight) => sum + weightBytes(weight), 0);
  const read = bytes > LARGE ? openTensorFile : readTensorFile;
  return { ...(await read(path)), what: path };
}

async function pathsIn(folder: string): Promise<VarPaths> {
  const { readdir } = node.fs;
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new InputError(
      `${folder}: cannot be listed (${code}); give a folder with var.safetensors and vqvae.safetensors, or an embedded model: ${embeddedModels()
        .map((m) => m.name)
        .join(", ")}`,
      { folder, code },
    );
  }
  const only = (kind: keyof typeof NAMES) => {
    const found = names.filter((name) => NAMES[kind].test(name));
    const exact = found.includes(`${kind}.safetensors`) ? [`${kind}.safetensors`] : found;
    if (exact.length === 1) return node.path.join(folder, exact[0]!);
    const got = exact.length === 0 ? "has none" : `has ${exact.join(" and ")}`;
    throw new InputError(
      `${folder}: wanted one file ${kind}.safetensors, the folder ${got}; name the two files instead`,
      { folder, names },
    );
  };
  return { var: only("var"), vqvae: only("vqvae") };
}
