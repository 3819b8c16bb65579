/**
 * A small convolutional classifier: what evaluation looks through where no large network is at hand. Its layout, its
 * graph, its note in a file. Trained by train/classifier.ts; loaded by networks of this folder.
 */

import type { TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { type Json, parseJson } from "../formats/json.ts";
import { dequantizeWeights } from "../formats/quantize.ts";
import { NOTE } from "../image/note.ts";
import type { Bind } from "../nn/bind.ts";
import { conv, inScope, linear, norm } from "../nn/layers.ts";
import { checkWeights, type Init, type ParamSpec } from "../nn/spec.ts";
import type { Value } from "../tensor/graph.ts";
import { add, mean, silu } from "../tensor/ops.ts";

export interface ClassifierConfig {
  /** H = W in pixels of the pictures it learnt; other multiples of the deepest level's cell work too. */
  readonly size: number;
  /** Channels of each level; every next level has half the side. The last is the width of the features. */
  readonly widths: readonly number[];
  /** Groups of the normalisations; divides every width. */
  readonly groups: number;
  /** Names of the classes; their place is their number. */
  readonly classes: readonly string[];
}

/** Widths from fine to coarse for 64 pixels; smaller pictures leave out the first ones. */
const WIDTHS = [16, 24, 40, 64, 112] as const;
/** Side of the deepest level. */
const DEEPEST = 4;

/** One dial: the size of the pictures decides the levels, down to about 4 x 4. */
export function classifierConfig(
  size: number,
  classes: readonly string[],
  { widths, groups = 8 }: { widths?: readonly number[]; groups?: number } = {},
): ClassifierConfig {
  const levels = Math.max(1, Math.round(Math.log2(size / DEEPEST)) + 1);
  const first = Math.max(0, WIDTHS.length - levels);
  const own = Array.from({ length: Math.max(0, levels - WIDTHS.length) }, () => WIDTHS[0]);
  return checkClassifierConfig(
    { size, widths: widths ?? [...own, ...WIDTHS.slice(first)], groups, classes: [...classes] },
    "classifier",
  );
}

const MOST = { size: 4096, width: 4096, levels: 12, classes: 1 << 20 } as const;

/** @throws InputError where the parts do not fit each other */
export function checkClassifierConfig(config: ClassifierConfig, what: string): ClassifierConfig {
  const { size, widths, groups, classes } = config;
  const fail = (why: string, data: Record<string, unknown>): never => {
    throw new InputError(`${what}: ${why}`, data);
  };
  const whole = (n: unknown, most: number) =>
    Number.isInteger(n) && (n as number) >= 1 && (n as number) <= most;
  if (!Array.isArray(widths) || !whole(widths.length, MOST.levels))
    fail(`got ${JSON.stringify(widths)} as widths, want 1 to ${MOST.levels} of them`, { widths });
  if (!whole(groups, MOST.width) || widths.some((w) => !whole(w, MOST.width) || w % groups))
    fail(`widths ${widths} must be multiples of ${groups} groups`, { widths, groups });
  const cell = 2 ** (widths.length - 1);
  if (!whole(size, MOST.size) || size % cell)
    fail(`${size} pixels must be a multiple of ${cell} for ${widths.length} levels`, { size });
  if (!Array.isArray(classes) || classes.length < 2 || classes.length > MOST.classes)
    fail(`got ${classes?.length ?? 0} classes, want at least 2`, { classes });
  if (classes.some((name) => typeof name !== "string")) fail("classes must be names", { classes });
  return config;
}

/** Every tensor of the classifier. He et al. 2015 for convolutions; the head starts small. */
export function classifierSpecs({ widths, groups: _, classes }: ClassifierConfig): ParamSpec[] {
  const deep = widths.at(-1)!;
  return [
    ...convolution("stem", 3, widths[0]!),
    ...widths
      .slice(1)
      .flatMap((width, i) => [
        ...normalisation(`levels.${i}.norm1`, widths[i]!),
        ...convolution(`levels.${i}.down`, widths[i]!, width),
        ...normalisation(`levels.${i}.norm2`, width),
        ...convolution(`levels.${i}.conv`, width, width),
      ]),
    ...normalisation("norm", deep),
    parameter("head.weight", [classes.length, deep], { kind: "normal", std: 0.01 }, true),
    parameter("head.bias", [classes.length], { kind: "zeros" }, false),
  ];
}

const parameter = (
  name: string,
  shape: readonly number[],
  init: Init,
  decay: boolean,
): ParamSpec => ({ name, shape, dtype: "float32", kind: "param", init, decay });

const convolution = (name: string, from: number, to: number): ParamSpec[] => [
  parameter(
    `${name}.weight`,
    [to, from, 3, 3],
    { kind: "normal", std: Math.sqrt(2 / (9 * from)) },
    true,
  ),
  parameter(`${name}.bias`, [to], { kind: "zeros" }, false),
];
const normalisation = (name: string, width: number): ParamSpec[] => [
  parameter(`${name}.weight`, [width], { kind: "constant", value: 1 }, false),
  parameter(`${name}.bias`, [width], { kind: "zeros" }, false),
];

/** What the classifier sees in a picture. */
export interface Seen {
  /** The activated map of each level, fine to coarse: B widths[i] H/2^i W/2^i. For perceptual distances. */
  readonly maps: readonly Value[];
  /** The last map averaged over all places: B widths.at(-1). */
  readonly features: Value;
  /** B classes. */
  readonly logits: Value;
}

const SAME = { pad: 1 } as const;
const DOWN = { stride: 2, pad: 1 } as const;

/**
 * The graph: pre-activation levels (He et al. 2016), each a convolution that halves the side and a residual one.
 * images B 3 H W in [-1, 1]; H and W multiples of 2^(levels - 1). B may be a named dimension.
 */
export function classify(images: Value, p: Bind, config: ClassifierConfig): Seen {
  const active = (h: Value, q: Bind, name: string) =>
    silu(inScope(h, q, name, (r) => norm(h, r, config.groups)));
  let h = inScope(images, p, "stem", (q) => conv(images, q, SAME));
  const maps: Value[] = [];
  config.widths.slice(1).forEach((_, i) => {
    h = inScope(h, p, `levels.${i}`, (q) => {
      const map = active(h, q, "norm1");
      maps.push(map);
      const down = inScope(map, q, "down", (r) => conv(map, r, DOWN));
      const inner = active(down, q, "norm2");
      return add(
        down,
        inScope(inner, q, "conv", (r) => conv(inner, r, SAME)),
      );
    });
  });
  const last = active(h, p, "norm");
  const features = mean(last, { axes: [2, 3] }); // B C
  const logits = inScope(features, p, "head", (q) => linear(features, q));
  return { maps: [...maps, last], features, logits };
}

/**
 * The number of the class that a name means: the name itself, or what stands before its slash ("food/fluent" is
 * "food"). @throws InputError where the classifier has no such class
 */
export function classifierClass({ classes }: Pick<ClassifierConfig, "classes">, name: string) {
  const found = [name, classGroup(name)].map((n) => classes.indexOf(n)).find((i) => i >= 0);
  if (found !== undefined) return found;
  throw new InputError(
    `the classifier has no class "${name}"; it knows ${classes.slice(0, 12).join(", ")}${classes.length > 12 ? " ..." : ""}`,
    { name, classes },
  );
}

/** What a class is part of: "food/fluent" -> "food"; a name without a slash is its own. */
export const classGroup = (name: string): string => name.split("/")[0]!;

/** What was measured when a classifier was finished. */
export interface ClassifierFacts {
  /** Word that opens the data set. */
  readonly data?: string;
  /** Share of test pictures whose class it tells, with the stored weights. */
  readonly accuracy?: number;
  /** Test pictures. */
  readonly pictures?: number;
}

/** A trained classifier in memory. */
export interface Classifier extends ClassifierFacts {
  readonly config: ClassifierConfig;
  readonly weights: TensorMap;
}

/** The metadata of a classifier's file. */
export const classifierMetadata = (
  config: ClassifierConfig,
  facts: ClassifierFacts = {},
): Record<string, string> => ({
  [NOTE]: JSON.stringify({ format: 1, kind: "classifier", config, ...facts }),
});

/**
 * A classifier from the tensors and metadata of its file; weights in float16 or int8 become float32.
 * @throws InputError when it is another kind of file, or a tensor is missing, unknown or of another shape
 */
export function readClassifier(
  {
    tensors,
    metadata,
  }: { tensors: TensorMap; metadata?: Readonly<Record<string, string>> | undefined },
  what: string,
): Classifier {
  const text = metadata?.[NOTE];
  const note = text === undefined ? undefined : parseJson(text, `${what}: metadata "${NOTE}"`);
  const get = (from: Json | undefined, key: string) =>
    from instanceof Map ? (from.get(key) as Json | undefined) : undefined;
  if (get(note, "kind") !== "classifier" || get(note, "format") !== 1)
    throw new InputError(
      `${what} holds no classifier; train one with: underpaint train classifier DATA`,
      { what },
    );
  const own = get(note, "config");
  const config = checkClassifierConfig(
    {
      size: get(own, "size") as number,
      widths: get(own, "widths") as unknown as readonly number[],
      groups: get(own, "groups") as number,
      classes: get(own, "classes") as unknown as readonly string[],
    },
    what,
  );
  const weights = checkWeights(classifierSpecs(config), dequantizeWeights(tensors), { what });
  const number = (key: string) => {
    const value = get(note, key);
    return typeof value === "number" ? value : undefined;
  };
  const data = get(note, "data");
  return {
    config,
    weights,
    data: typeof data === "string" ? data : undefined,
    accuracy: number("accuracy"),
    pictures: number("pictures"),
  };
}
