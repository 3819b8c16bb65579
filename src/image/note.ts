/** The note in a model file's metadata: which model it is, its configuration, its class names. Reads no tensors. */

import { InputError } from "../formats/errors.ts";
import { type Json, parseJson } from "../formats/json.ts";
import {
  checkVarConfig,
  checkVqvaeConfig,
  type VarConfig,
  type VqvaeConfig,
  varConfig,
  vqvaeConfig,
} from "./config.ts";
import { type Drawing, readDrawing } from "./drawing.ts";
import { type PatchNum, tokenCount } from "./scales.ts";

/** Metadata key of the note. */
export const NOTE = "underpaint";
const FORMAT = 1;

export interface ModelNote {
  readonly kind: "var" | "vqvae";
  readonly config: Readonly<Record<string, unknown>>;
  readonly classes?: readonly string[];
  /** How its pictures look best. */
  readonly drawing?: Partial<Drawing>;
}

interface Expected<K extends "var" | "vqvae"> {
  readonly kind: K;
  /** What the file is, for errors. */
  readonly what: string;
}

/** The metadata to write beside a model's tensors; `loadVar` reads it. */
export const modelMetadata = (
  kind: "var" | "vqvae",
  config: VarConfig | VqvaeConfig,
  { classes, drawing }: Pick<ModelNote, "classes" | "drawing"> = {},
): Record<string, string> => ({
  [NOTE]: JSON.stringify({ format: FORMAT, kind, config, classes, drawing }),
});

/** The note of a file; undefined where it has none. @throws InputError when it is not one of that kind */
export function readNote(
  metadata: Readonly<Record<string, string>> | undefined,
  { kind, what }: Expected<"var" | "vqvae">,
): ModelNote | undefined {
  const text = metadata?.[NOTE];
  if (text === undefined) return undefined;
  const note = plain(parseJson(text, `${what}: metadata "${NOTE}"`)) as Record<string, unknown>;
  const { format, kind: found, config, classes, drawing } = note ?? {};
  if (format !== FORMAT)
    throw new InputError(
      `${what} is of format ${JSON.stringify(format)}, this version reads ${FORMAT}; use a newer version`,
      { format },
    );
  if (found !== kind)
    throw new InputError(`${what} says it is a ${JSON.stringify(found)}, wanted "${kind}"`, {
      found,
    });
  const names = Array.isArray(classes) && classes.every((name) => typeof name === "string");
  if (classes !== undefined && !names)
    throw new InputError(`${what}: its classes must be a list of names`, { classes });
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new InputError(`${what}: its configuration must be an object`, { config });
  return {
    kind,
    config: config as Record<string, unknown>,
    classes: classes as string[] | undefined,
    drawing: drawing === undefined ? undefined : readDrawing(drawing, what),
  };
}

/** JSON from outside as plain values; objects get no prototype. */
function plain(json: Json): unknown {
  if (json instanceof Map) {
    const object = Object.create(null) as Record<string, unknown>;
    for (const [key, value] of json) object[key] = plain(value);
    return object;
  }
  return Array.isArray(json) ? json.map(plain) : json;
}

/** Sizes beyond these are mistakes or attacks: refused before anything is allocated for them. */
const MOST: Readonly<Record<string, number>> = {
  depth: 1024,
  width: 1 << 16,
  heads: 1 << 12,
  classes: 1 << 22,
  codes: 1 << 22,
  latent: 1 << 14,
  channels: 1 << 14,
  resBlocks: 256,
  groups: 1 << 12,
  phis: 256,
};
const MOST_TOKENS = 1 << 14;
const MOST_LEVELS = 12;

const DEFAULTS = {
  var: () => varConfig(1) as VarConfig | VqvaeConfig,
  vqvae: () => vqvaeConfig() as VarConfig | VqvaeConfig,
};

/** The configuration in a note. Keys that are absent take their defaults. @throws InputError */
export function noteConfig(note: ModelNote, expected: Expected<"var">): VarConfig;
export function noteConfig(note: ModelNote, expected: Expected<"vqvae">): VqvaeConfig;
export function noteConfig(
  { config }: ModelNote,
  { kind, what }: Expected<"var" | "vqvae">,
): VarConfig | VqvaeConfig {
  const defaults: Record<string, unknown> = { ...DEFAULTS[kind]() };
  const fail = (why: string, key: string): never => {
    throw new InputError(`${what}: its configuration ${why}`, { key, value: config[key] });
  };
  for (const [key, value] of Object.entries(config)) {
    if (!(key in defaults)) fail(`has an unknown key "${key}"`, key);
    if (!sameKind(value, defaults[key]))
      fail(
        `has ${key} ${JSON.stringify(value)}, wanted something like ${JSON.stringify(defaults[key])}`,
        key,
      );
    if ((value as number) > (MOST[key] ?? Number.POSITIVE_INFINITY))
      fail(`has ${key} ${value}, at most ${MOST[key]} is allowed`, key);
  }
  const whole = { ...defaults, ...config };
  if (tokenCount(whole as unknown as VarConfig) > MOST_TOKENS)
    fail(`has more than ${MOST_TOKENS} tokens`, "patchNums");
  if (kind === "var") return checkVarConfig(whole as unknown as VarConfig);
  if ((whole as unknown as VqvaeConfig).chMult.length > MOST_LEVELS)
    fail(`has more than ${MOST_LEVELS} levels`, "chMult");
  return checkVqvaeConfig(whole as unknown as VqvaeConfig);
}

/** Lists hold sides, or in `patchNums` heights with widths. */
const isPatchNum = (value: unknown): value is PatchNum =>
  Array.isArray(value)
    ? value.length === 2 && value.every(Number.isFinite)
    : Number.isFinite(value);

const SHARINGS: readonly unknown[] = ["partial", "shared", "each"];

/** Whether a value from outside is of the type of the default. */
function sameKind(value: unknown, like: unknown): boolean {
  if (Array.isArray(like)) return Array.isArray(value) && value.every(isPatchNum);
  if (typeof like === "string") return SHARINGS.includes(value); // phiSharing is the only text
  return typeof value === typeof like;
}
