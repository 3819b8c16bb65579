/** Entries of a run's ledger: in-toto statements in signed envelopes, each naming the one before. Knows no files. */

import { InputError } from "../../formats/errors.ts";
import type { Json } from "../../formats/json.ts";
import {
  canonicalBytes,
  type JsonValue,
  member,
  parseCanonical,
  plainJson,
} from "../sign/canonical.ts";
import { openEnvelope, readEnvelope, signEnvelope } from "../sign/dsse.ts";
import { fromHex, sameBytes, toHex } from "../sign/encoding.ts";
import type { PublicKey, Signer } from "../sign/keys.ts";
import { sha256 } from "../sign/sha256.ts";
import { leafHash } from "./merkle.ts";
import { MAX_ENTRY } from "./tiles.ts";

const STATEMENT = "https://in-toto.io/Statement/v1";
const PREDICATE = "https://underpaint/ledger/";

/** What an entry says besides its place: plain JSON. Numbers that are none (NaN, infinities) become strings. */
export type Facts = { readonly [key: string]: FactValue | undefined };
export type FactValue = JsonValue | Float32Array | Float64Array;

type FactType = "string" | "number" | "hash" | "object";

/** Kinds of entries and what each must say. More may be said. `?` may be absent. */
export const KINDS = {
  /** Everything the run starts from. */
  "run-start": {
    /** SHA-256 over every file that runs: sources, packages, engine. */
    code: "hash",
    /** Host, devices, versions, flags. */
    environment: "object",
    /** All hyper-parameters after defaults. */
    config: "object",
    /** Merkle root of the data. */
    dataRoot: "hash",
    seed: "string",
    /** Root of parameters, optimizer, generators and cursors before the first step. */
    stateRoot: "hash",
    /** SHA-256 of the secret from which audits will be challenged. */
    auditCommitment: "hash?",
  },
  step: {
    step: "number",
    stateBefore: "hash?",
    stateAfter: "hash?",
    /** Keyed fingerprints (guard/state), where roots over everything are taken more seldom. */
    sketchBefore: "hash?",
    sketchAfter: "hash?",
    /** Those of every tensor after the step, in the order of their names; Base64. */
    sketches: "string?",
    /** Root over the batch: ids, contents and labels. */
    batchRoot: "hash?",
    learningRate: "number?",
    loss: "number?",
    gradientNorm: "number?",
    /** Milliseconds of the step. */
    wallTime: "number?",
  },
  /** A file or folder with the run's state was written. */
  checkpoint: { step: "number", path: "string", stateRoot: "hash", manifest: "hash" },
  /** Something happened: resume, alarm, approved change, torn tail. */
  event: { event: "string" },
  /** Steps were executed again. */
  audit: { steps: "object", verdict: "string" },
  "run-end": { reason: "string", stateRoot: "hash?" },
} as const satisfies Readonly<Record<string, Readonly<Record<string, FactType | `${FactType}?`>>>>;

export type Kind = keyof typeof KINDS;

/** What is appended. */
export interface LedgerEntry {
  readonly kind: Kind;
  readonly facts: Facts;
  /** What the entry is about: names and SHA-256 in hexadecimal. Default: the run, by its first entry. */
  readonly subjects?: Readonly<Record<string, string>>;
}

/** An entry as it stands in the ledger. */
export interface LedgerRecord {
  readonly kind: string;
  readonly index: number;
  /** Milliseconds since 1970 by the writer's clock, where it has one. */
  readonly time?: number;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly subjects: Readonly<Record<string, string>>;
  /** Hash of this entry in the tree. */
  readonly leaf: Uint8Array;
}

/** Where an entry stands: every entry says it, so that none can be moved or left out. */
export interface Place {
  readonly origin: string;
  readonly index: number;
  /** Leaf hash of the entry before; zeros before the first. */
  readonly prev: Uint8Array;
  readonly time?: number;
}

/** Before the first entry. */
export const NO_ENTRY: Uint8Array = new Uint8Array(32);

const HASH_TEXT = /^[0-9a-f]{64}$/;
const CHECKS: Readonly<Record<FactType, (value: unknown) => boolean>> = {
  string: (v) => typeof v === "string",
  number: (v) => typeof v === "number" || (typeof v === "string" && NOT_FINITE.includes(v)),
  hash: (v) => typeof v === "string" && HASH_TEXT.test(v),
  object: (v) => typeof v === "object" && v !== null,
};
const NOT_FINITE = ["NaN", "Infinity", "-Infinity"];

/** Facts as JSON can say them. */
function speakable(value: FactValue | undefined): JsonValue | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof Float32Array || value instanceof Float64Array)
    return Array.from(value, (x) => speakable(x) as JsonValue);
  if (Array.isArray(value)) return value.map((v) => speakable(v) ?? null);
  if (value && typeof value === "object" && !(value instanceof Map))
    return Object.fromEntries(
      Object.entries(value).map(([key, v]) => [key, speakable(v as FactValue)]),
    );
  return value as JsonValue | undefined;
}

/** @throws InputError when an entry of this kind must say something it does not */
export function checkEntry({ kind, facts, subjects = {} }: LedgerEntry): void {
  const wanted: Readonly<Record<string, string>> | undefined = Object.hasOwn(KINDS, kind)
    ? KINDS[kind]
    : undefined;
  if (!wanted)
    throw new InputError(
      `ledger: there is no kind of entry ${JSON.stringify(kind)}; wanted ${Object.keys(KINDS).join(", ")}`,
    );
  for (const [name, rule] of Object.entries(wanted)) {
    const type = rule.replace("?", "") as FactType;
    const value = facts[name];
    if (value === undefined && rule.endsWith("?")) continue;
    if (!CHECKS[type](value))
      throw new InputError(`ledger: a ${kind} entry needs ${name} as ${type}`, { kind, name });
  }
  for (const [name, digest] of Object.entries(subjects))
    if (!HASH_TEXT.test(digest))
      throw new InputError(
        `ledger: the subject ${JSON.stringify(name)} needs its SHA-256 in hexadecimal`,
      );
}

/** Bytes of a signed entry: canonical JSON, at most 65,535 bytes. @throws InputError */
export async function signEntry(
  entry: LedgerEntry,
  place: Place,
  { signer, keyid, run }: { signer: Signer; keyid: string; run?: Uint8Array },
): Promise<Uint8Array> {
  checkEntry(entry);
  const facts = speakable(entry.facts as FactValue) as JsonValue;
  const own = { [place.origin]: toHex(run ?? sha256(canonicalBytes(facts))) };
  const named = entry.subjects && Object.keys(entry.subjects).length > 0 ? entry.subjects : own;
  const statement: JsonValue = {
    _type: STATEMENT,
    subject: Object.entries(named).map(([name, hash]) => ({ name, digest: { sha256: hash } })),
    predicateType: `${PREDICATE}${entry.kind}/v1`,
    predicate: {
      origin: place.origin,
      index: place.index,
      prev: toHex(place.prev),
      time: place.time,
      facts,
    },
  };
  const envelope = await signEnvelope(signer, canonicalBytes(statement), { keyid });
  const bytes = canonicalBytes(envelope);
  if (bytes.length > MAX_ENTRY)
    throw new InputError(
      `ledger: this ${entry.kind} entry takes ${bytes.length} bytes, the most is ${MAX_ENTRY}; attach the long part and name its digest`,
      { bytes: bytes.length },
    );
  return bytes;
}

/**
 * Reads an entry after verifying that it is this key's and stands where it says.
 * @throws InputError when it is altered, moved, or not in canonical form
 */
export async function openEntry(
  bytes: Uint8Array,
  place: Omit<Place, "time">,
  key: PublicKey,
): Promise<LedgerRecord> {
  const what = `ledger entry ${place.index}`;
  const envelope = readEnvelope(parseCanonical(bytes, what), what);
  const payload = await openEnvelope(envelope, key, { what });
  const record = readStatement(parseCanonical(payload, what), what);
  if (record.origin !== place.origin)
    throw new InputError(`${what}: it is of the ledger ${JSON.stringify(record.origin)}`);
  if (record.index !== place.index)
    throw new InputError(`${what}: it says it is entry ${record.index}; it was moved`);
  if (!sameBytes(record.prev, place.prev))
    throw new InputError(`${what}: it follows another entry than the one before it`);
  const { kind, index, time, facts, subjects } = record;
  return {
    kind,
    index,
    ...(time !== undefined && { time }),
    facts,
    subjects,
    leaf: leafHash(bytes),
  };
}

function readStatement(json: Json, what: string) {
  const text = (key: string) => member(json, key, { type: "string", what });
  const type = text("predicateType");
  const kind = type.slice(PREDICATE.length, -3);
  if (text("_type") !== STATEMENT || type !== `${PREDICATE}${kind}/v1`)
    throw new InputError(`${what}: it says ${JSON.stringify(type)}, which is no ledger entry`);
  const predicate = member(json, "predicate", { type: "object", what });
  const subjects: Record<string, string> = Object.create(null);
  for (const subject of member(json, "subject", { type: "list", what })) {
    const digest = member(subject, "digest", { type: "object", what });
    const name = member(subject, "name", { type: "string", what });
    subjects[name] = member(digest, "sha256", { type: "string", what });
  }
  return {
    kind,
    subjects,
    origin: member(predicate, "origin", { type: "string", what }),
    index: member(predicate, "index", { type: "number", what }),
    prev: fromHex(member(predicate, "prev", { type: "string", what }), `${what}: prev`, 32),
    time: predicate.has("time") ? member(predicate, "time", { type: "number", what }) : undefined,
    facts: plainJson(member(predicate, "facts", { type: "object", what })) as Record<
      string,
      unknown
    >,
  };
}
