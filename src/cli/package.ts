/** What a command line names: versions and models by name, folder or file. Reads no weights but to hash them. */

import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cacheFolder } from "../formats/cache.node.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { embeddedModels, MODEL_FILES, packageRoot } from "../image/embedded.node.ts";
import { OFFICIAL_MODELS } from "../image/official.ts";
import { checkPresent, findRegistered, registeredModels } from "../image/registry.node.ts";
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

/** Whether that is the name of a model, embedded, pulled, added, or there to be pulled. */
export const isModelName = (name: string): boolean =>
  [embeddedModels(), OFFICIAL_MODELS, registeredModels()].some((models) =>
    models.some((model) => model.name === name),
  );

/**
 * Where a model lies: the name of an embedded, pulled or added one, a folder with the two files (ours or the official
 * ones), or the transformer's file, the tokenizer being beside it or named.
 * @throws InputError with the nearest name, or how to get an official model that is not here
 */
export function findModel(name: string, { vqvae }: { vqvae?: string } = {}): ModelPlace {
  const known = embeddedModels().find((model) => model.name === name);
  const registered = known ? undefined : findRegistered(name);
  if (registered) {
    checkPresent(registered);
    const { var: transformer, vqvae: tokenizer } = registered.files;
    const files = { var: transformer.path, vqvae: vqvae ? tokenizerFile(vqvae) : tokenizer.path };
    return { name, folder: dirname(transformer.path), files };
  }
  const folder = known?.folder ?? name;
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (!stat) throw unknownModel(name);
  const home = stat.isDirectory() ? folder : dirname(folder);
  const transformer = stat.isDirectory() ? fileIn(folder, "var") : folder;
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

/** Says what is here, the nearest name, or how to get an official model. */
export function unknownModel(name: string): InputError {
  const here = [...embeddedModels(), ...registeredModels()].map((model) => model.name);
  const official = OFFICIAL_MODELS.map((model) => model.name);
  if (official.includes(name))
    return new InputError(
      `model "${name}" is an official one and not on this machine yet; get it with: underpaint models pull ${name}`,
      { name },
    );
  const near = nearest(name, [...here, ...official]);
  const hint = near ? `, did you mean "${near}"?` : "";
  return new InputError(
    `model "${name}" is neither embedded nor pulled or added (${here.join(", ") || "none is"}) nor a file or folder${hint}; see: underpaint models list`,
    { name, here },
  );
}

/** Official file names, where a folder has just one of the kind. */
const OFFICIAL_NAMES = {
  var: /^var_d\d+\.(safetensors|pth)$/,
  vqvae: /^vae_.*\.(safetensors|pth)$/,
} as const;

/** Our file of a folder, or the official one if it is alone of its kind; where there is neither, ours. */
function fileIn(folder: string, kind: keyof typeof MODEL_FILES): string {
  const ours = join(folder, MODEL_FILES[kind]);
  if (existsSync(ours) || !existsSync(folder)) return ours;
  const official = readdirSync(folder).filter((name) => OFFICIAL_NAMES[kind].test(name));
  return official.length === 1 ? join(folder, official[0]!) : ours;
}

/** A run of `train var` notes its tokenizer; elsewhere both files lie side by side. */
function tokenizerBeside(folder: string): string {
  const beside = fileIn(folder, "vqvae");
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

/** A tokenizer's file by its model's name, from itself, or from the folder of its model or run. */
export function tokenizerFile(path: string): string {
  if (isModelName(path)) return findModel(path).files.vqvae;
  const stat = statSync(path, { throwIfNoEntry: false });
  const file = stat?.isDirectory() ? join(path, MODEL_FILES.vqvae) : path;
  if (existsSync(file)) return file;
  throw new InputError(
    `tokenizer ${file} is not there; train one with: underpaint train vqvae DATA --run ${stat ? path : "runs/tokenizer"}`,
    { file },
  );
}

/** A transformer's file by the model's name, from itself, or from the folder of its model or run. */
export function transformerFile(name: string): string {
  if (isModelName(name)) return findModel(name).files.var;
  const stat = statSync(name, { throwIfNoEntry: false });
  const file = stat?.isDirectory() ? fileIn(name, "var") : name;
  if (existsSync(file)) return file;
  throw stat
    ? new InputError(`${file} is not there; finish that run first, or name a file`, { file })
    : unknownModel(name);
}

/** First 16 hex digits of SHA-256 over files, one after the other: which weights these are. */
export async function hashFiles(...files: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of files)
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest("hex").slice(0, 16);
}

/** `hashFiles` over both files of a model; that of large ones is kept in the cache. */
export async function modelHash({ files }: ModelPlace): Promise<string> {
  const paths = [files.var, files.vqvae];
  const before = seen(paths);
  const note = join(
    cacheFolder(),
    "hashes",
    `${sha256(before.map(({ path }) => path).join("\0"))}.json`,
  );
  const key = before.map(({ is }) => is).join(", ");
  const kept = keptHash(note, key);
  if (kept) return kept;
  const found = await hashFiles(...paths);
  // Files of this moment may change once more without another time or size.
  const isSettled = before.every(({ changed }) => Date.now() - changed > SETTLED_MS);
  if (isSettled && before.some(({ size }) => size > LARGE)) await keepHash(note, key, found);
  return found;
}

/** Hashing smaller files takes no time that is worth a file in the cache. */
const LARGE = 2 ** 26;
const SETTLED_MS = 2000;
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Which files these are, and in what state. */
const seen = (paths: readonly string[]) =>
  paths.map((name) => {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(name);
    const is = `${dev}:${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    return { path: realpathSync(name), size, changed: Math.max(mtimeMs, ctimeMs), is };
  });

function keptHash(note: string, key: string): string | undefined {
  try {
    const json = JSON.parse(readFileSync(note, "utf8")) as { key?: unknown; hash?: unknown };
    const { hash } = json;
    return json.key === key && typeof hash === "string" && /^[0-9a-f]{16}$/.test(hash)
      ? hash
      : undefined;
  } catch {
    return undefined; // none, or none that can be read: hashed anew
  }
}

/** A cache that cannot be written is done without. */
async function keepHash(note: string, key: string, hash: string): Promise<void> {
  await mkdir(dirname(note), { recursive: true }).catch(() => undefined);
  const bytes = new TextEncoder().encode(`${JSON.stringify({ key, hash })}\n`);
  await writeFileAtomic(note, bytes).catch(() => undefined);
}
