/** The built studio as files: which there are, what kind they are, and a copy of it that needs no server. Serves nothing. */

import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { embeddedModels, MODEL_FILES, packageRoot } from "../image/embedded.node.ts";
import { loadVarFrom } from "../image/node.ts";
import { served } from "./drawer.ts";
import type { ServedModel } from "./protocol.ts";
import { modelFacts } from "./wish.ts";

/** Where the build puts it. */
export const studioFolder = (): string => join(packageRoot(), "dist", "studio");

/** What pages may do: their own scripts, WebAssembly, nothing from elsewhere. */
export const PAGE_POLICY = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'", "'wasm-unsafe-eval'"],
  workerSrc: ["'self'"],
  styleSrc: ["'self'"],
  imgSrc: ["'self'", "blob:"],
  connectSrc: ["'self'"],
  baseUri: ["'none'"],
  formAction: ["'none'"],
};

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".wasm": "application/wasm",
  ".safetensors": "application/octet-stream",
};

export interface StudioFile {
  readonly type: string;
  /** Its name holds a hash of its content: it never changes. */
  readonly hashed: boolean;
  /** Changes when the content does. */
  readonly etag: string;
  read(): Promise<Uint8Array>;
}

/** Files by the path of a request. Nothing else is ever read, whatever is asked for. */
export type StudioFiles = ReadonlyMap<string, StudioFile>;

/**
 * The studio's files and those of embedded models, for pages that draw themselves.
 * @param studio the folder that it was built into
 * @param models that the server draws with
 * @throws InputError where the studio was not built
 */
export async function studioFiles(
  studio: string,
  models: readonly ServedModel[],
): Promise<StudioFiles> {
  const files = new Map<string, StudioFile>();
  for (const name of await builtFiles(studio))
    files.set(`/${name}`, await onDisk(join(studio, name)));
  const index = files.get("/index.html");
  if (index) files.set("/", index);
  const pages = models.flatMap((model) =>
    embeddedModels().filter(({ name }) => name === model.name),
  );
  for (const { name, folder } of pages)
    for (const file of Object.values(MODEL_FILES))
      files.set(`/models/${name}/${file}`, await onDisk(join(folder, file)));
  const facts = models.filter(({ name }) => pages.some((page) => page.name === name));
  files.set("/studio.json", inMemory(await config("server", facts)));
  return files;
}

/**
 * The studio as static files in a folder: it draws in the page, under any address.
 * @throws InputError unless the folder is new or empty
 */
export async function exportStudio(
  folder: string,
  names: readonly string[],
  { studio = studioFolder() }: { studio?: string } = {},
): Promise<void> {
  await builtFiles(studio); // it is there
  const found = await readdir(folder).catch(() => []);
  if (found.length > 0)
    throw new InputError(`${folder}: the folder is not empty; name a new one`, { folder });
  const models: ServedModel[] = [];
  for (const name of names) {
    const embedded = embeddedModels().find((model) => model.name === name);
    if (!embedded)
      throw new InputError(
        `${name} does not come with the package, so it cannot be exported; there is: ${embeddedModels()
          .map((model) => model.name)
          .join(", ")}`,
        { name },
      );
    const model = await loadVarFrom(name);
    models.push(served(name, model));
    await model.release();
    await mkdir(join(folder, "models", name), { recursive: true });
    for (const file of Object.values(MODEL_FILES))
      await cp(join(embedded.folder, file), join(folder, "models", name, file));
  }
  await cp(studio, folder, { recursive: true });
  const page = join(folder, "index.html");
  const html = await readFile(page, "utf8");
  const policy = `<meta http-equiv="Content-Security-Policy" content="${policyText()}">`;
  await writeFileAtomic(
    page,
    utf8.encode(html.replace(/<meta charset="[^"]+"\s*\/?>/, `$&\n    ${policy}`)),
  );
  await writeFileAtomic(join(folder, "studio.json"), utf8.encode(await config("page", models)));
  await writeFileAtomic(join(folder, "_headers"), utf8.encode(HEADERS));
}

/** Hosts that read this file let the page have threads; under others it uses one. */
const HEADERS = `/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
`;
const utf8 = new TextEncoder();

/** camelCase to the names of the header. */
const policyText = (): string =>
  Object.entries(PAGE_POLICY)
    .map(([key, of]) => `${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} ${of.join(" ")}`)
    .join("; ");

/** `studio.json`: who draws, and which models the page can load. See studio/src/engine/engine.ts. */
async function config(engine: "server" | "page", models: readonly ServedModel[]): Promise<string> {
  const folders = new Map(embeddedModels().map(({ name, folder }) => [name, folder]));
  const pages = models.map(async (model) => {
    const sizes = await Promise.all(
      Object.values(MODEL_FILES).map((file) => stat(join(folders.get(model.name)!, file))),
    );
    return {
      info: modelFacts({ ...model, precision: "fp32" }), // pages know no other
      var: `models/${model.name}/${MODEL_FILES.var}`,
      vqvae: `models/${model.name}/${MODEL_FILES.vqvae}`,
      bytes: sizes.reduce((sum, { size }) => sum + size, 0),
    };
  });
  return JSON.stringify({ engine, models: await Promise.all(pages) });
}

async function builtFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
  if (!names.includes("index.html"))
    throw new InputError(`${folder}: the studio is not built; run: npm run build`, { folder });
  return names.map((name) => name.replaceAll("\\", "/"));
}

async function onDisk(path: string): Promise<StudioFile> {
  const { size, mtimeMs } = await stat(path);
  return {
    type: TYPES[extname(path)] ?? "application/octet-stream",
    hashed: /\/assets\/[^/]+-[\w-]{8}\.\w+$/.test(path.replaceAll("\\", "/")),
    etag: `"${size.toString(36)}-${Math.round(mtimeMs).toString(36)}"`,
    read: () => readFile(path),
  };
}

function inMemory(text: string): StudioFile {
  const bytes = utf8.encode(text);
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
  return { type: TYPES[".json"]!, hashed: false, etag, read: async () => bytes };
}
