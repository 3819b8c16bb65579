/** The list of a model's files and digests, as an in-toto statement in the OpenSSF model-signing form. Reads no disk. */

import { checkedUtf8 } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";
import { type Json, parseJson } from "../../formats/json.ts";
import { type JsonValue, member } from "./canonical.ts";
import { fromHex, joinBytes, toHex } from "./encoding.ts";
import { sha256 } from "./sha256.ts";

const STATEMENT = "https://in-toto.io/Statement/v1";
const PREDICATE = "https://model_signing/signature/v1.0";
/** What model-signing 0.2 wrote: the files are the subjects, there is no digest over all. */
const OLD_PREDICATE = "https://model_signing/Digests/v0.1";

/** Paths that a signature never covers unless asked: they come and go with git. */
export const GIT_PATHS = [".git", ".gitattributes", ".github", ".gitignore"] as const;

/** One file, or one piece of it. */
export interface Resource {
  /** Path below the model with `/`, "." for a model of one file; pieces are `path:start:end`. */
  readonly name: string;
  /** "sha256", "blake2b", or "sha256-sharded-N" for pieces. */
  readonly algorithm: string;
  /** Hexadecimal. */
  readonly digest: string;
}

/** How the model was made into a list. */
export interface Serialization {
  readonly method: "files" | "shards";
  readonly hashType: string;
  readonly allowSymlinks: boolean;
  /** Bytes of a piece, for shards. */
  readonly shardSize?: number;
  /** Paths that are not covered, with all below them. Absent before model-signing 1.1. */
  readonly ignorePaths?: readonly string[];
}

/** What a signature says of a model. */
export interface ModelManifest {
  /** Last part of the model's path when it was signed. Informative: a model may be renamed. */
  readonly name: string;
  readonly serialization: Serialization;
  readonly resources: readonly Resource[];
}

/** By parts of the path, each by code points, as Python orders its paths; `a/b` stands before `a-b`. */
export function byPath(a: Resource, b: Resource): number {
  const [left, right] = [a.name.split("/"), b.name.split("/")];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = byCodePoints(left[i]!, right[i]!);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function byCodePoints(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

/** SHA-256 over all digests in their order: one number for the whole model. */
const rootDigest = (resources: readonly Resource[]): string =>
  toHex(sha256(joinBytes(...resources.map((r) => fromHex(r.digest, `digest of ${r.name}`)))));

/** The statement that is signed (model-signing 1.0 predicate). Resources must be in order already: see byPath. */
export function manifestStatement({ name, serialization, resources }: ModelManifest): JsonValue {
  const { method, hashType, allowSymlinks, shardSize, ignorePaths } = serialization;
  return {
    _type: STATEMENT,
    subject: [{ name, digest: { sha256: rootDigest(resources) } }],
    predicateType: PREDICATE,
    predicate: {
      serialization: {
        method,
        hash_type: hashType,
        allow_symlinks: allowSymlinks,
        shard_size: shardSize,
        ignore_paths: ignorePaths,
      },
      resources: resources.map(({ name, algorithm, digest }) => ({ name, algorithm, digest })),
    },
  };
}

const what = "model signature";

/** A path of a signature is only believed inside the model. */
function checkedName(name: string): string {
  const parts = name.split("/");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a name with control characters is an attack on terminals
  const bad = /[\x00-\x1f\x7f]/.test(name) || parts.some((p) => p === ".." || p === "");
  if (bad || (name !== "." && parts.includes(".")))
    throw new InputError(
      `${what}: ${JSON.stringify(name)} is no path inside a model; do not use this signature`,
    );
  return name;
}

function readResource(json: Json): Resource {
  const digest = member(json, "digest", { type: "string", what });
  return {
    name: checkedName(member(json, "name", { type: "string", what })),
    algorithm: member(json, "algorithm", { type: "string", what }),
    digest: toHex(fromHex(digest, `${what}: digest`)),
  };
}

function readSerialization(json: Json): Serialization {
  const method = member(json, "method", { type: "string", what });
  if (method !== "files" && method !== "shards")
    throw new InputError(
      `${what}: the model was listed by ${JSON.stringify(method)}, not known here`,
    );
  const has = (key: string) => json instanceof Map && json.has(key);
  return {
    method,
    hashType: member(json, "hash_type", { type: "string", what }),
    allowSymlinks: member(json, "allow_symlinks", { type: "boolean", what }),
    ...(method === "shards" && {
      shardSize: member(json, "shard_size", { type: "number", what }),
    }),
    ...(has("ignore_paths") && {
      ignorePaths: member(json, "ignore_paths", { type: "list", what }).map((p) =>
        checkedName(String(p)),
      ),
    }),
  };
}

/**
 * Reads a statement whose signature has been verified.
 * @throws InputError where it is of another kind, names paths outside the model, or contradicts itself
 */
export function readManifest(payload: Uint8Array): ModelManifest {
  const json = parseJson(checkedUtf8(what, payload), what);
  const text = (key: string) => member(json, key, { type: "string", what });
  if (text("_type") !== STATEMENT)
    throw new InputError(`${what}: it is a ${text("_type")}, wanted ${STATEMENT}`);
  const subjects = member(json, "subject", { type: "list", what });
  const manifest =
    text("predicateType") === OLD_PREDICATE ? readOld(subjects) : readCurrent(json, subjects);
  const names = new Set(manifest.resources.map((r) => r.name));
  if (names.size !== manifest.resources.length)
    throw new InputError(`${what}: it names a file twice; do not use this signature`);
  return manifest;
}

function readCurrent(json: Json, subjects: readonly Json[]): ModelManifest {
  const type = member(json, "predicateType", { type: "string", what });
  if (type !== PREDICATE)
    throw new InputError(`${what}: it says ${JSON.stringify(type)}, wanted ${PREDICATE}`);
  if (subjects.length !== 1)
    throw new InputError(`${what}: it has ${subjects.length} subjects, wanted one model`);
  const predicate = member(json, "predicate", { type: "object", what });
  const resources = member(predicate, "resources", { type: "list", what }).map(readResource);
  const digest = member(subjects[0], "digest", { type: "object", what });
  const root = member(digest, "sha256", { type: "string", what });
  if (rootDigest(resources) !== root)
    throw new InputError(
      `${what}: its files hash to ${rootDigest(resources)}, its subject says ${root}; do not use it`,
    );
  return {
    name: member(subjects[0], "name", { type: "string", what }),
    serialization: readSerialization(member(predicate, "serialization", { type: "object", what })),
    resources,
  };
}

function readOld(subjects: readonly Json[]): ModelManifest {
  const resources = subjects.map((subject) => ({
    name: checkedName(member(subject, "name", { type: "string", what })),
    algorithm: "sha256",
    digest: toHex(
      fromHex(
        member(member(subject, "digest", { type: "object", what }), "sha256", {
          type: "string",
          what,
        }),
        `${what}: digest`,
        32,
      ),
    ),
  }));
  const serialization = { method: "files", hashType: "sha256", allowSymlinks: false } as const;
  return { name: "", serialization, resources };
}

/** One way in which a model differs from what was signed. */
export interface Difference {
  readonly path: string;
  readonly state: "changed" | "missing" | "added";
}

/** What differs between two lists, by path. Empty where they say the same. */
export function compareManifests(signed: ModelManifest, found: ModelManifest): Difference[] {
  const now = new Map(found.resources.map((r) => [r.name, r]));
  const then = new Set(signed.resources.map((r) => r.name));
  const gone = signed.resources.flatMap(({ name, digest, algorithm }): Difference[] => {
    const match = now.get(name);
    if (!match) return [{ path: name, state: "missing" }];
    const same = match.digest === digest && match.algorithm === algorithm;
    return same ? [] : [{ path: name, state: "changed" }];
  });
  const more = found.resources.filter((r) => !then.has(r.name));
  return [...gone, ...more.map((r): Difference => ({ path: r.name, state: "added" }))];
}
