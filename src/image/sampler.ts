/** Sampling: a class and a seed -> token maps scale by scale -> pictures. Narrowing one distribution is sampling.ts. */

import { sizeOf, type Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Session, Tensors } from "../tensor/backend.ts";
import { type Rng, rng } from "../tensor/rng.ts";
import { latentSide } from "./config.ts";
import { withDrawing } from "./drawing.ts";
import { findLabel, type Label } from "./labels.ts";
import type { Var } from "./model.ts";
import type { FilterOptions } from "./row-filter.ts";
import { drawTokens, guide, scaleRatio, smoothVectors } from "./sampling.ts";
import { type Picture, toPictures } from "./sheet.ts";
import { cacheNames } from "./var-step.ts";

export interface SampleOptions extends FilterOptions {
  /** Class of all pictures; null is "no class", undefined a random class for each. A short name such as "food" means any class it is part of. */
  label?: Label;
  /** One class per picture, instead of `label` and `count`. */
  labels?: readonly Label[];
  /** How many pictures. Default 1. */
  count?: number;
  /** Names the chance of all pictures. Default 0. */
  seed?: number | string;
  /** Number of the first picture: pictures 8 to 15 of a seed are `first: 8, count: 8`. Default 0. */
  first?: number;
  /** Strength of classifier-free guidance at the last scale; it rises from 0 at the first. 0 is none, and half the work. Default, as for the filters, the model's own `drawing`. */
  guidance?: number;
  /** Mix code vectors instead of choosing one: smoother pictures, not for statistics. Default false. */
  moreSmooth?: boolean;
  /** Pictures that go through the transformer together; changes speed and memory, not results. Default 16. */
  batch?: number;
  /** Stops between scales and between batches. */
  signal?: AbortSignal;
}

/** All pictures after one scale. */
export interface ScaleStep {
  /** k, from 0. */
  readonly scale: number;
  /** K: how many scales there are. */
  readonly of: number;
  /** Side of this scale's token map. */
  readonly side: number;
  /** Class number of each picture; the number of classes means "no class". */
  readonly classes: readonly number[];
  /** Drawn tokens: count side² (int64). */
  readonly ids: Tensor;
  /** The latent map so far: count C N N. */
  readonly fHat: Tensor;
  /** The pictures so far, in [0, 1]: count 3 S S. Decoded when asked. */
  images(): Promise<Tensor>;
  /** The same as 8-bit RGB. */
  pictures(): Promise<Picture[]>;
}

/** More at once would hold too many keys and values; go on with `first`. */
const MOST = 4096;

type Settings = Required<Omit<SampleOptions, "label" | "labels" | "count" | "signal">>;

/**
 * Draws pictures, coarse to fine (VAR, arXiv 2404.02905, algorithm of section 3): yields after every scale.
 *
 * The chance of token t of scale k of picture i depends on (seed, i, k, t) alone, so neither `batch` nor the other
 * pictures change a picture, but for float rounding. The same call gives the same bytes.
 * @throws InputError for an unknown label (with near matches) or an option out of range; the signal's reason when
 *   aborted
 */
export async function* sample(model: Var, options: SampleOptions = {}): AsyncGenerator<ScaleStep> {
  const { moreSmooth = false, seed = 0, first = 0, batch = 16, signal } = options;
  const drawing = withDrawing(model.drawing, options);
  const settings: Settings = { ...drawing, moreSmooth, seed, first, batch };
  checkSettings(settings);
  const classes = chooseClasses(model, options);
  const K = model.patchNums.length;
  signal?.throwIfAborted();
  const batches: Batch[] = [];
  for (let at = 0; at < classes.length; at += batch)
    batches.push(await startBatch(model, { classes: classes.slice(at, at + batch), at }, settings));
  for (const [scale, side] of model.patchNums.entries()) {
    for (const each of batches) {
      signal?.throwIfAborted();
      await runScale(model, each, scale, settings);
    }
    signal?.throwIfAborted();
    const fHat = stack(batches.map((each) => each.fHat));
    const decode = once(() => decodeMaps(model, fHat, { batch, signal }));
    yield {
      scale,
      of: K,
      side,
      classes,
      ids: stack(batches.map((each) => each.ids)),
      fHat,
      images: async () => toUnit(await decode()),
      pictures: async () => toPictures(await decode()),
    };
  }
}

export interface Generated {
  /** Number of the picture within its seed. */
  readonly index: number;
  /** Class number; the number of classes means "no class". */
  readonly label: number;
  /** Tokens of all scales, coarse to fine: L. */
  readonly ids: Int32Array;
  readonly picture: Picture;
}

/** Finished pictures one after the other, any number of them: `batch` at a time are in memory. */
export async function* generate(
  model: Var,
  options: SampleOptions = {},
): AsyncGenerator<Generated> {
  const { batch = 16, first = 0, labels, count = labels?.length ?? 1 } = options;
  checkWhole({ batch, count }, 1);
  for (let at = 0; at < count; at += batch) {
    const n = Math.min(batch, count - at);
    const part = { labels: labels?.slice(at, at + n), count: n, first: first + at };
    const steps: ScaleStep[] = [];
    for await (const step of sample(model, { ...options, ...part })) steps.push(step);
    const last = steps.at(-1)!;
    const pictures = await last.pictures();
    for (const [i, picture] of pictures.entries()) {
      const ids = steps.flatMap(({ ids: { data }, side }) =>
        Array.from(data.subarray(i * side ** 2, (i + 1) * side ** 2) as BigInt64Array, Number),
      );
      yield { index: first + at + i, label: last.classes[i]!, ids: Int32Array.from(ids), picture };
    }
  }
}

/** fHat to pictures in [-1, 1], a batch at a time. n C N N -> n 3 S S. */
export async function decodeMaps(
  model: Var,
  fHat: Tensor,
  { batch = 16, signal }: { batch?: number; signal?: AbortSignal } = {},
): Promise<Tensor> {
  const session = await model.session("decode");
  const parts: Tensor[] = [];
  for (let at = 0; at < fHat.shape[0]!; at += batch) {
    signal?.throwIfAborted();
    parts.push((await session.run({ fHat: rowsOf(fHat, at, at + batch) })).image!);
  }
  return stack(parts);
}

// ---- options

function checkSettings({ batch, first, seed }: Settings): void {
  checkWhole({ batch }, 1);
  checkWhole({ first }, 0);
  if (typeof seed === "number" && !Number.isSafeInteger(seed))
    throw new InputError(`seed must be a whole number or a text, got ${seed}`, { seed });
}

function checkWhole(numbers: Record<string, number>, least: number): void {
  for (const [name, value] of Object.entries(numbers))
    if (!Number.isSafeInteger(value) || value < least)
      throw new InputError(`${name} must be a whole number of at least ${least}, got ${value}`, {
        [name]: value,
      });
}

/** Class number of each picture. */
function chooseClasses(
  model: Var,
  { label, labels, count, seed = 0, first = 0 }: SampleOptions,
): number[] {
  if (labels !== undefined && label !== undefined)
    throw new InputError("label and labels exclude each other; give one of them");
  if (labels !== undefined && count !== undefined && count !== labels.length)
    throw new InputError(`count is ${count}, there are ${labels.length} labels; leave count out`);
  const n = labels?.length ?? count ?? 1;
  checkWhole({ count: n }, 1);
  if (n > MOST)
    throw new InputError(
      `count must be at most ${MOST} at once, got ${n}; use generate, or several calls with first`,
      { count: n },
    );
  const known = new Map<Label, number[]>();
  const candidates = (wanted: Label) => {
    let found = known.get(wanted);
    if (!found) {
      found = findLabel(model.labels, wanted);
      known.set(wanted, found);
    }
    return found;
  };
  const any = model.labels.map((_, i) => i);
  const chance = rng(seed).child("label");
  return Array.from({ length: n }, (_, i) => {
    const wanted = labels ? labels[i] : label;
    const from = wanted === undefined ? any : candidates(wanted);
    return from.length === 1 ? from[0]! : from[chance.child(first + i).int(from.length)]!;
  });
}

// ---- one batch

/** Pictures on their way through the transformer together. */
interface Batch {
  /** Number of the first picture within the seed. */
  readonly first: number;
  readonly count: number;
  /** Rows per picture: 2 with guidance (all conditional rows, then all unconditional), else 1. */
  readonly copies: 1 | 2;
  readonly modulation: Tensors;
  /** `past.*` of the next scale. */
  cache: Record<string, Tensor>;
  /** Tokens of the next scale: count T C, or R 1 C at the start. */
  x: Tensor;
  ids: Tensor;
  fHat: Tensor;
}

async function startBatch(
  model: Var,
  { classes, at }: { classes: readonly number[]; at: number },
  { first, guidance }: Settings,
): Promise<Batch> {
  const { depth, heads, width } = model.config;
  const none = model.config.classes;
  const copies = guidance > 0 && classes.some((c) => c !== none) ? 2 : 1;
  const labels = copies === 2 ? [...classes, ...classes.map(() => none)] : classes;
  const R = labels.length;
  const session = await model.session("class");
  const { start, ...modulation } = await session.run({
    labels: { dtype: "int64", shape: [R], data: BigInt64Array.from(labels, BigInt) },
  });
  const empty = float([R, heads, 0, width / heads]);
  const names = Array.from({ length: depth }, (_, i) => cacheNames(i)).flat();
  const N = latentSide(model.tokenizer);
  return {
    first: first + at,
    count: classes.length,
    copies,
    modulation,
    cache: Object.fromEntries(names.map((name) => [`past.${name}`, empty])),
    x: start!,
    ids: { dtype: "int64", shape: [classes.length, 0], data: new BigInt64Array(0) },
    fHat: float([classes.length, model.tokenizer.latent, N, N]),
  };
}

/** Transformer, guidance, draw, and what the next scale reads. */
async function runScale(model: Var, batch: Batch, k: number, settings: Settings): Promise<void> {
  const logits = await scaleLogits(model, batch, k, settings);
  const rows = drawRows(model, batch, { k, logits, settings });
  const advance: Session = await model.session(`advance ${k}`);
  const { fHat, x } = await advance.run({ rows, before: batch.fHat });
  batch.fHat = fHat!;
  if (x) batch.x = x;
  else batch.cache = {}; // the last scale: keys and values are not needed any more
}

/** Guided logits of scale k: count T V, flat. */
async function scaleLogits(
  model: Var,
  batch: Batch,
  k: number,
  { guidance }: Settings,
): Promise<Float32Array> {
  const session = await model.session("scale");
  const R = batch.count * batch.copies;
  const x = batch.x.shape[0] === R ? batch.x : stack([batch.x, batch.x]);
  const { logits, ...next } = await session.run({ x, ...batch.modulation, ...batch.cache });
  batch.cache = Object.fromEntries(
    Object.entries(next).map(([name, tensor]) => [name.replace("next.", "past."), tensor]),
  );
  const data = logits!.data as Float32Array;
  return batch.copies === 1 ? data : guide(data, guidance * scaleRatio(k, model.patchNums.length));
}

/** Draws the tokens of a scale into `batch.ids`; returns their code vectors: count T C. */
function drawRows(
  model: Var,
  batch: Batch,
  { k, logits, settings }: { k: number; logits: Float32Array; settings: Settings },
): Tensor {
  const { codes, latent } = model.tokenizer;
  const T = model.patchNums[k]! ** 2;
  const chances = Array.from({ length: batch.count }, (_, i) =>
    rng(settings.seed)
      .child(batch.first + i)
      .child(k),
  );
  const uniforms = perPicture(chances, T, (chance, out) => chance.fillUniform(out));
  const ids = drawTokens(logits, { codes, uniforms, ...settings });
  batch.ids = { dtype: "int64", shape: [batch.count, T], data: BigInt64Array.from(ids, BigInt) };
  const codebook = model.codebook.data as Float32Array;
  const shape = [batch.count, T, latent];
  if (settings.moreSmooth) {
    const noise = perPicture(chances, T * codes, (chance, out) =>
      chance.child("noise").fillExponential(out),
    );
    const ratio = scaleRatio(k, model.patchNums.length);
    const data = smoothVectors(logits, { codes, codebook, ratio, noise, ...settings });
    return { dtype: "float32", shape, data };
  }
  const data = new Float32Array(sizeOf(shape));
  for (const [t, id] of ids.entries())
    data.set(codebook.subarray(id * latent, (id + 1) * latent), t * latent);
  return { dtype: "float32", shape, data };
}

/** `n` numbers for each picture from its own stream. */
function perPicture(
  chances: readonly Rng[],
  n: number,
  fill: (chance: Rng, out: Float32Array) => Float32Array,
): Float32Array {
  const out = new Float32Array(chances.length * n);
  for (const [i, chance] of chances.entries()) fill(chance, out.subarray(i * n, (i + 1) * n));
  return out;
}

// ---- tensors on the host

const float = (shape: readonly number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: new Float32Array(sizeOf(shape)),
});

/** Rows from `start` to before `end`, or to the last: a view. */
function rowsOf({ dtype, shape, data }: Tensor, start: number, end: number): Tensor {
  const [n, ...rest] = shape as [number, ...number[]];
  const width = sizeOf(rest);
  const stop = Math.min(end, n);
  return {
    dtype,
    shape: [stop - start, ...rest],
    data: data.subarray(start * width, stop * width),
  };
}

/** Tensors of the same dtype and row shape, one after the other along the first axis. */
function stack(parts: readonly Tensor[]): Tensor {
  const [one] = parts as [Tensor];
  if (parts.length === 1) return one;
  const n = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const shape = [n, ...one.shape.slice(1)];
  const Data = one.data.constructor as new (length: number) => Float32Array;
  const data = new Data(sizeOf(shape));
  let at = 0;
  for (const part of parts) {
    data.set(part.data as Float32Array, at);
    at += part.data.length;
  }
  return { dtype: one.dtype, shape, data };
}

/** [-1, 1] to [0, 1]. */
const toUnit = ({ dtype, shape, data }: Tensor): Tensor => ({
  dtype,
  shape,
  data: (data as Float32Array).map((v) => (v + 1) / 2),
});

/** The same promise at every call. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
