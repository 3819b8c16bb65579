/** Models that the user pulled or added: where they lie, what was recorded of them. Fetches and loads none. */

import { node } from "../formats/builtins.node.ts";
import { cacheFolder } from "../formats/cache.node.ts";
import { InputError } from "../formats/errors.ts";
import { type Json, parseJson } from "../formats/json.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { removeParts } from "../formats/part.node.ts";
import { type PictureSize, pictureSize } from "../formats/picture-size.ts";
import { isSha256 } from "../formats/sha256.node.ts";
import { embeddedModels } from "./embedded.node.ts";
import { OFFICIAL_MODELS, type OfficialFile, type OfficialModel } from "./official.ts";

/** A file as it was when it was first used. */
export interface FileRecord {
  readonly size: number;
  readonly sha256: string;
  /** Where a pulled file came from. */
  readonly url?: string;
  /** Version of the hub's repository. */
  readonly commit?: string;
}

/** One file of a model and its record. */
export interface RegisteredFile extends FileRecord {
  readonly path: string;
}

export interface RegisteredModel {
  readonly name: string;
  readonly source: "pulled" | "added";
  readonly files: { readonly var: RegisteredFile; readonly vqvae: RegisteredFile };
  readonly depth: number;
  /** Of the pictures, in pixels. */
  readonly size: PictureSize;
  readonly classes: number;
}

const FORMAT = 1;
/** A file name on every system, and never a path. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const folder = (kind: "official" | "added"): string =>
  node.path.join(cacheFolder(), "models", kind);

/** Where an official file is kept. */
export const officialPath = ({ file }: OfficialFile): string =>
  node.path.join(folder("official"), file);

/** Where copies of an added model's files are kept. */
export const copyFolder = (name: string): string => node.path.join(folder("added"), name);

const addedNote = (name: string): string => node.path.join(folder("added"), `${name}.json`);

/** All models that are here whole, by name. */
export function registeredModels(): RegisteredModel[] {
  const pulled = OFFICIAL_MODELS.flatMap((model) => pulledModel(model) ?? []);
  const home = folder("added");
  const notes = node.fsSync.existsSync(home) ? node.fsSync.readdirSync(home).sort() : [];
  const names = notes.flatMap((note) => /^(.+)\.json$/.exec(note)?.[1] ?? []);
  return [...pulled, ...names.filter((name) => NAME.test(name)).map(addedModel)];
}

/** The model of that name with its files in place; undefined where there is none. @throws InputError for a lost file */
export function findRegistered(name: string): RegisteredModel | undefined {
  const official = OFFICIAL_MODELS.find((model) => model.name === name);
  if (official) return pulledModel(official);
  if (!NAME.test(name) || !node.fsSync.existsSync(addedNote(name))) return undefined;
  return addedModel(name);
}

/** @throws InputError where a file is absent or has another size than recorded; `verify` looks at every byte */
export function checkPresent({ name, source, files }: RegisteredModel): void {
  const again =
    source === "pulled" ? `underpaint models pull ${name}` : `underpaint models rm ${name}`;
  for (const { path, size } of Object.values(files)) {
    const found = node.fsSync.statSync(path, { throwIfNoEntry: false });
    if (found?.size === size) continue;
    throw new InputError(
      `model "${name}": ${path} ${found ? `has ${found.size} bytes, recorded are ${size}` : "is gone"}; run: ${again}`,
      { name, path, size, found: found?.size },
    );
  }
}

function pulledModel(model: OfficialModel): RegisteredModel | undefined {
  const files = { var: recorded(model.var), vqvae: recorded(model.vqvae) };
  if (!files.var || !files.vqvae) return undefined;
  const { name, depth, size, classes } = model;
  return {
    name,
    source: "pulled",
    files: { var: files.var, vqvae: files.vqvae },
    depth,
    size: pictureSize(size),
    classes,
  };
}

/** An official file that is here and has a record. */
function recorded(file: OfficialFile): RegisteredFile | undefined {
  const record = readRecord(file);
  const path = officialPath(file);
  return record && node.fsSync.existsSync(path) ? { path, ...record } : undefined;
}

/** What was noted of an official file when it was first used; the note outlives the file. */
export function readRecord(file: OfficialFile): FileRecord | undefined {
  const path = `${officialPath(file)}.json`;
  const json = readJson(path);
  return json && fileRecord(json, path);
}

export async function writeRecord(file: OfficialFile, record: FileRecord): Promise<void> {
  await writeJson(`${officialPath(file)}.json`, { format: FORMAT, ...record });
}

/** What is known of a model that is being added. */
export type Addition = Omit<RegisteredModel, "source">;

/** Notes a model; its files stay where they are. */
export async function writeAdded({ name, ...facts }: Addition): Promise<void> {
  await writeJson(addedNote(name), { format: FORMAT, ...facts });
}

/** @throws InputError unless a new model may have that name */
export function checkNewName(name: string): void {
  if (!NAME.test(name))
    throw new InputError(
      `${JSON.stringify(name)} cannot be the name of a model; use up to 64 letters, digits, ".", "_" and "-" with --name`,
      { name },
    );
  const taken = OFFICIAL_MODELS.some((model) => model.name === name)
    ? "is kept for the official model"
    : embeddedModels().some((model) => model.name === name)
      ? "is that of an embedded model"
      : findRegistered(name) && "is taken";
  if (taken)
    throw new InputError(
      `the name "${name}" ${taken}; choose another with --name${taken === "is taken" ? `, or free it: underpaint models rm ${name}` : ""}`,
      { name },
    );
}

function addedModel(name: string): RegisteredModel {
  const path = addedNote(name);
  const json = readJson(path)!;
  const [files, depth, size, classes] = ["files", "depth", "size", "classes"].map((key) =>
    json.get(key),
  );
  const [transformer, vqvae] = ["var", "vqvae"].map((kind): RegisteredFile => {
    const file = files instanceof Map ? files.get(kind) : undefined;
    const place = file instanceof Map ? file.get("path") : undefined;
    if (!(file instanceof Map) || typeof place !== "string") throw damaged(path);
    return { path: place, ...fileRecord(file, path) };
  });
  if (typeof depth !== "number" || typeof classes !== "number") throw damaged(path);
  const places = { var: transformer!, vqvae: vqvae! };
  return { name, source: "added", files: places, depth, size: notedSize(size, path), classes };
}

/** A side, as notes had it first, or width and height. */
function notedSize(size: Json | undefined, path: string): PictureSize {
  if (typeof size === "number") return pictureSize(size);
  const [width, height] = ["width", "height"].map((key) =>
    size instanceof Map ? size.get(key) : undefined,
  );
  if (typeof width !== "number" || typeof height !== "number") throw damaged(path);
  return { width, height };
}

const damaged = (path: string): InputError =>
  new InputError(`${path} is damaged; remove it and get the model again`, { path });

function fileRecord(json: ReadonlyMap<string, Json>, path: string): FileRecord {
  const [size, sha256, url, commit] = ["size", "sha256", "url", "commit"].map((key) =>
    json.get(key),
  );
  if (!Number.isSafeInteger(size) || !isSha256(sha256)) throw damaged(path);
  const text = (value: Json | undefined) => (typeof value === "string" ? value : undefined);
  return { size: size as number, sha256, url: text(url), commit: text(commit) };
}

function readJson(path: string): ReadonlyMap<string, Json> | undefined {
  if (!node.fsSync.existsSync(path)) return undefined;
  const json = parseJson(node.fsSync.readFileSync(path, "utf8"), path);
  if (json instanceof Map && json.get("format") === FORMAT) return json;
  throw damaged(path);
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await node.fs.mkdir(node.path.dirname(path), { recursive: true });
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await writeFileAtomic(path, new TextEncoder().encode(text));
}

/** Files of other models that a removal must leave: tokenizers are shared. */
function usedByOthers(name: string): Set<string> {
  const others = registeredModels().filter((model) => model.name !== name);
  return new Set(others.flatMap(({ files }) => [files.var.path, files.vqvae.path]));
}

/**
 * Removes what this registry keeps of a model: pulled files that no other model uses, copies, the note of an added
 * one. Files that were added where they lie stay. Records of official files stay too, so that a later pull is checked.
 * @param options.forget removes the records as well
 * @returns paths that are gone
 */
export async function removeModel(
  name: string,
  { forget = false }: { forget?: boolean } = {},
): Promise<string[]> {
  const used = usedByOthers(name);
  const official = OFFICIAL_MODELS.find((model) => model.name === name);
  const paths = official
    ? [official.var, official.vqvae]
        .filter((file) => !used.has(officialPath(file)))
        .flatMap((file) => {
          const path = officialPath(file);
          return forget ? [path, `${path}.json`] : [path];
        })
    : [addedNote(name), copyFolder(name)];
  const gone: string[] = [];
  for (const path of paths) {
    if (official && (await removeParts(path)) > 0) gone.push(`${path}.part`);
    if (!node.fsSync.existsSync(path)) continue;
    await node.fs.rm(path, { recursive: true });
    gone.push(path);
  }
  return gone;
}
