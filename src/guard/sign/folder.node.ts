/** Signs and verifies the files of a model on disk. The form of the signature is bundle.ts and manifest.ts. */

import { node } from "../../formats/builtins.node.ts";
import { checkedUtf8 } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";
import { openFile } from "../../formats/node.ts";
import { MAX_BUNDLE, openBundles, readBundles, signBundle } from "./bundle.ts";
import { canonicalBytes } from "./canonical.ts";
import type { PublicKey, Signer } from "./keys.ts";
import {
  byPath,
  compareManifests,
  type Difference,
  GIT_PATHS,
  type ModelManifest,
  manifestStatement,
  type Resource,
  readManifest,
  type Serialization,
} from "./manifest.ts";

/** Names of the digest in a manifest -> names in Node. blake3 is not among Node's. */
const HASHES: Readonly<Record<string, string>> = {
  sha256: "sha256",
  blake2: "blake2b512",
  blake2b: "blake2b512",
};
const CHUNK = 2 ** 20;

/** How far the reading of a model is. */
export interface Hashed {
  /** Path of the file just read, below the model. */
  readonly path: string;
  readonly files: number;
  readonly bytes: number;
}

interface Walk {
  readonly files: { readonly path: string; readonly absolute: string }[];
  /** Paths that exist and are left out. */
  readonly ignored: string[];
}

async function walk(root: string, { allowSymlinks, ignorePaths = [] }: Serialization) {
  const { join } = node.path;
  const found: Walk = { files: [], ignored: [] };
  const visit = async (path: string, absolute: string): Promise<void> => {
    if (ignorePaths.includes(path)) {
      found.ignored.push(path);
      return;
    }
    const entry = await node.fs.lstat(absolute);
    const link = entry.isSymbolicLink();
    if (link && !allowSymlinks)
      throw new InputError(
        `${absolute}: it is a symbolic link, which may point to anything; replace it by a file, or pass --allow-symlinks`,
        { path },
      );
    const target = link ? await node.fs.stat(absolute).catch(() => undefined) : entry;
    if (target?.isFile()) found.files.push({ path, absolute });
    else if (target?.isDirectory() && !link)
      for (const name of await node.fs.readdir(absolute))
        await visit(path === "." ? name : `${path}/${name}`, join(absolute, name));
    else
      throw new InputError(
        `${absolute}: it is ${link ? "a link to a folder or to nothing" : "no plain file"}, which cannot be signed; remove it or ignore it`,
        { path },
      );
  };
  await visit(".", root);
  return found;
}

async function digest(
  absolute: string,
  { start, end, hash }: { start: number; end: number; hash: string },
): Promise<string> {
  const hasher = node.crypto.createHash(hash);
  const source = await openFile(absolute);
  try {
    for (let at = start; at < end; at += CHUNK)
      hasher.update(await source.read(at, Math.min(CHUNK, end - at)));
  } finally {
    await source.close();
  }
  return hasher.digest("hex");
}

/** Pieces of a file: one for whole files, none for empty files in shards, as model-signing does. */
const pieces = (size: number, shard: number): [number, number][] =>
  Array.from({ length: Math.ceil(size / shard) }, (_, i) => [
    i * shard,
    Math.min(size, (i + 1) * shard),
  ]);

/** Hashes a model, file by file, and yields how far it is; the last value holds the list. */
export async function* hashModel(
  model: string,
  serialization: Serialization,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<Hashed & { manifest?: ModelManifest; ignored?: readonly string[] }> {
  const { hashType, method, shardSize = 1e9, ignorePaths } = serialization;
  const hash = HASHES[hashType];
  if (!hash)
    throw new InputError(
      `${model}: the signature uses the digest ${JSON.stringify(hashType)}, which is not known here; known are ${Object.keys(HASHES).join(", ")}`,
    );
  if (!Number.isSafeInteger(shardSize) || shardSize < 1)
    throw new InputError(`${model}: the signature uses pieces of ${shardSize} bytes`);
  const root = node.path.resolve(model);
  const { files, ignored } = await walk(root, serialization);
  if (files.length === 0)
    throw new InputError(`${model}: there is no file to sign in it; give the folder of a model`);
  const resources: Resource[] = [];
  let bytes = 0;
  for (const [i, { path, absolute }] of files.entries()) {
    signal?.throwIfAborted();
    const { size } = await node.fs.stat(absolute);
    if (method === "files")
      resources.push({
        name: path,
        algorithm: hashType,
        digest: await digest(absolute, { start: 0, end: size, hash }),
      });
    else
      for (const [start, end] of pieces(size, shardSize))
        resources.push({
          name: `${path}:${start}:${end}`,
          algorithm: `${hashType}-sharded-${shardSize}`,
          digest: await digest(absolute, { start, end, hash }),
        });
    bytes += size;
    yield { path, files: i + 1, bytes };
  }
  const manifest = {
    name: node.path.basename(root),
    serialization: { ...serialization, ...(ignorePaths && { ignorePaths }) },
    resources: resources.sort(byPath),
  };
  yield { path: "", files: files.length, bytes, manifest, ignored };
}

/** Path of the signature below the model, if it lies there. */
function inside(model: string, signature: string): string[] {
  const { relative, resolve, sep } = node.path;
  const path = relative(resolve(model), resolve(signature)).split(sep).join("/");
  return path === "" || path.startsWith("../") || path === ".." ? [] : [path];
}

/** What signing takes besides the model and the key. */
export interface SignOptions {
  /** File that is written. Default: model.sig in the model. */
  readonly signature?: string;
  /** Paths below the model that are left out, with all below them. */
  readonly ignore?: readonly string[];
  /** Files behind symbolic links are signed; by default a link is refused. */
  readonly allowSymlinks?: boolean;
  readonly signal?: AbortSignal;
}

/** Where a model's signature lies unless said otherwise: in a folder, or beside a single file. */
export async function defaultSignature(model: string): Promise<string> {
  const entry = await node.fs.stat(model).catch(() => undefined);
  if (!entry) throw new InputError(`${model}: there is no such file or folder; check the path`);
  return entry.isDirectory() ? node.path.join(model, "model.sig") : `${model}.sig`;
}

/** Signs a model (a folder or one file): yields its files, writes the signature, yields the signed list last. */
export async function* signModel(
  model: string,
  signer: Signer,
  { signature, ignore = [], allowSymlinks = false, signal }: SignOptions = {},
): AsyncGenerator<Hashed & { manifest?: ModelManifest; signature?: string }> {
  const file = signature ?? (await defaultSignature(model));
  const ignorePaths = [...inside(model, file), ...GIT_PATHS, ...ignore];
  const serialization = {
    method: "files",
    hashType: "sha256",
    allowSymlinks,
    ignorePaths: [...new Set(ignorePaths)],
  } as const;
  for await (const step of hashModel(model, serialization, { signal })) {
    if (step.manifest) {
      const payload = canonicalBytes(manifestStatement(step.manifest));
      const bundle = await signBundle(signer, payload);
      const temporary = `${file}.part`;
      await node.fs.writeFile(temporary, bundle, { flush: true } as object);
      await node.fs.rename(temporary, file);
      yield { ...step, signature: file };
    } else yield step;
  }
}

/** What verifying found. */
export interface Verified {
  readonly manifest: ModelManifest;
  /** Empty where every file is as it was signed and no other is there. */
  readonly differences: readonly Difference[];
  /** Paths that exist and that the signature does not cover. */
  readonly ignored: readonly string[];
}

/**
 * Verifies a model against its signature: yields files, and the verdict last. The signature is verified before any file
 * of the model is read.
 * @throws InputError when the signature itself is not the key's
 */
export async function* verifyModel(
  model: string,
  key: PublicKey,
  { signature, signal }: { signature?: string; signal?: AbortSignal } = {},
): AsyncGenerator<Hashed & { verified?: Verified }> {
  const file = signature ?? (await defaultSignature(model));
  const source = await openFile(file);
  let text: string;
  try {
    if (source.size > MAX_BUNDLE)
      throw new InputError(`${file}: it has ${source.size} bytes, too many for a signature`);
    text = checkedUtf8(file, await source.read(0, source.size));
  } finally {
    await source.close();
  }
  const signed = readManifest(await openBundles(readBundles(text), key));
  const { serialization } = signed;
  // Before 1.1 what was left out was not written down; that was git's files and the signature.
  const ignorePaths = [
    ...new Set([...(serialization.ignorePaths ?? GIT_PATHS), ...inside(model, file)]),
  ];
  for await (const step of hashModel(model, { ...serialization, ignorePaths }, { signal })) {
    const { manifest, ignored = [], ...rest } = step;
    if (!manifest) yield rest;
    else {
      const differences = compareManifests(signed, manifest);
      const uncovered = ignored.filter((path) => !inside(model, file).includes(path));
      yield { ...rest, verified: { manifest: signed, differences, ignored: uncovered } };
    }
  }
}
