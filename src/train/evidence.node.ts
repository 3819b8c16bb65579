/** What a run's first entry says besides its recipe: which code, where it ran, which pictures. Writes nothing. */

import type { ImageDataset } from "../data/types.ts";
import { pixelsOf } from "../data/types.ts";
import { node } from "../formats/builtins.node.ts";
import { sha256Of } from "../formats/sha256.node.ts";
import { EMPTY, grow, rootOf } from "../guard/ledger/merkle.ts";
import { canonicalBytes, type JsonValue } from "../guard/sign/canonical.ts";
import { toHex, utf8 } from "../guard/sign/encoding.ts";
import { type Hash, stateRoot } from "../guard/state/index.ts";
import { packageRoot } from "../image/embedded.node.ts";
import type { TokenSet } from "./tokens.ts";

/** SHA-256 by Node. */
export const fastHash: Hash = (...parts) => {
  const hash = node.crypto.createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** Files below a folder whose names fit, without folders of packages and tests. */
async function below(folder: string, fits: RegExp): Promise<string[]> {
  const names = await node.fs.readdir(folder, { recursive: true }).catch(() => []);
  return names
    .filter((name) => fits.test(name) && !/node_modules|\.test\.ts$/.test(name))
    .map((name) => node.path.join(folder, name));
}

/** The engine's libraries for this machine; the package holds those of others too. */
const BINARIES = new RegExp(`[\\\\/]${process.platform}[\\\\/]${process.arch}[\\\\/]`);

/**
 * Every file that may run: all modules of this package, whether loaded or not, its package.json and lock file, the
 * engine and its binaries.
 */
export async function codeFiles(): Promise<string[]> {
  const { join, relative } = node.path;
  const root = packageRoot();
  const own = node.url.fileURLToPath(import.meta.url);
  const engine = engineFolder(own);
  const files = [
    ...(await below(join(root, relative(root, own).split(/[\\/]/)[0]!), /\.[cm]?[jt]s$/)),
    ...["package.json", "package-lock.json"].map((name) => join(root, name)),
    ...(engine ? await below(join(engine, "dist"), /\.[cm]?js$/) : []),
    ...(engine ? await below(join(engine, "bin"), BINARIES) : []),
    ...(engine ? [join(engine, "package.json")] : []),
  ];
  return files.filter((file) => node.fsSync.statSync(file, { throwIfNoEntry: false })?.isFile());
}

/** SHA-256 of `codeFiles` by name, sorted; names do not tell where the package lies. */
export async function codeManifest(): Promise<{ name: string; sha256: string }[]> {
  const { relative } = node.path;
  const root = packageRoot();
  const engine = engineFolder(node.url.fileURLToPath(import.meta.url));
  const nameOf = (file: string) =>
    engine && file.startsWith(engine)
      ? `onnxruntime-node/${relative(engine, file)}`
      : relative(root, file);
  const hashed = (await codeFiles()).map(async (file) => ({
    name: nameOf(file).replaceAll("\\", "/"),
    sha256: await sha256Of(file),
  }));
  return (await Promise.all(hashed)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function engineFolder(from: string): string | undefined {
  try {
    const { resolve } = node.module.createRequire(from);
    return node.path.dirname(resolve("onnxruntime-node/package.json"));
  } catch {
    return undefined; // WebAssembly computes; its binary is in the package's lock file
  }
}

/** Variables that change how a run computes or what is loaded into it. */
const ENVIRONMENT =
  /^(NODE_(OPTIONS|ENV|PATH)|LD_(PRELOAD|LIBRARY_PATH|AUDIT)|DYLD_.*|O(MP|RT)_.*|UV_THREADPOOL_SIZE|TZ|LANG|LC_ALL)$/;

/** Machine, versions and the variables that matter. Plain JSON. */
export function environmentFacts({
  backend,
  env = process.env,
}: {
  backend: string;
  env?: NodeJS.ProcessEnv;
}) {
  const { os } = node;
  const variables = Object.entries(env).filter(([name]) => ENVIRONMENT.test(name));
  return {
    host: os.hostname(),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.cpus().length,
    memory: os.totalmem(),
    versions: { ...process.versions } as JsonValue,
    backend,
    variables: Object.fromEntries(variables) as JsonValue,
  };
}

/**
 * Merkle root over pictures: each leaf is its name, its class and its pixels, in the order of the data set.
 * @returns hexadecimal
 */
export function picturesRoot(dataset: ImageDataset, hash: Hash = fastHash): string {
  const leaf = Uint8Array.of(0);
  let tree = EMPTY;
  for (let i = 0; i < dataset.count; i++) {
    const facts = { id: dataset.id(i), class: dataset.classes[dataset.label(i)]! };
    const { width, height } = dataset;
    const size = width === height ? width : [height, width];
    const head = canonicalBytes({ ...facts, size });
    tree = grow(tree, hash(leaf, head, utf8("\n"), pixelsOf(dataset, i)));
  }
  return toHex(rootOf(tree));
}

/** Root over tokens that were computed before training. */
export function tokensRoot(
  { variants, count, length, ids, read }: TokenSet,
  hash = fastHash,
): string {
  const tensor = (data: Int32Array) =>
    ({ dtype: "int32", shape: [variants, count, length], data }) as const;
  return stateRoot(
    {
      tensors: new Map([
        ["ids", tensor(ids)],
        ["read", tensor(read)],
      ]),
    },
    hash,
  );
}
