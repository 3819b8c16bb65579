/** Drawing with the baselines: classes -> pictures, the way each family does it. Narrowing one distribution is sampling.ts. */

import type { Tensor } from "../../formats/dtype.ts";
import { type Rng, rng } from "../../tensor/rng.ts";
import { type Drawing, USUAL_DRAWING, withDrawing } from "../drawing.ts";
import { freeKvCache, kvCache, nextOf, pastOf } from "../kv-cache.ts";
import { checkWhole } from "../orders.ts";
import { float } from "../rows.ts";
import { drawTokens, guide } from "../sampling.ts";
import { mapTokens, tokenCount } from "../scales.ts";
import { type Picture, toPictures } from "../sheet.ts";

import type { BaselineKind } from "./config.ts";
import type { Baseline } from "./model.ts";
import { noiseLevel, timeFeatures } from "./nets.ts";

export interface BaselineDrawing extends Omit<Drawing, "unguidedLast"> {
  /** Passes of maskgit (usual: 8 to 16) and dit (25 to 250). */
  readonly steps: number;
  /** maskgit: strength of the noise in the choice of what stays, fading to 0; the official sampler's 4.5. */
  readonly confidenceNoise: number;
  /** dit: 0 for DDIM (Song et al. 2021, eq. 12), 1 for as much fresh noise as DDPM. */
  readonly eta: number;
}

export interface BaselineOptions extends Partial<BaselineDrawing> {
  /** Class of each picture; the number of classes means "no class". */
  readonly labels: readonly number[];
  /** Number of the first picture within the seed. Default 0. */
  readonly first?: number;
  readonly seed?: number | string;
  /** Pictures that are drawn together. Default 16. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
}

const USUAL: Readonly<Record<BaselineKind, BaselineDrawing>> = {
  ar: { ...USUAL_DRAWING, steps: 1, confidenceNoise: 0, eta: 0 },
  maskgit: { ...USUAL_DRAWING, topK: 0, topP: 0, steps: 12, confidenceNoise: 4.5, eta: 0 },
  dit: { ...USUAL_DRAWING, steps: 50, confidenceNoise: 0, eta: 0 },
};

/** Settings that are not given are the usual ones of the family. @throws InputError where one is out of range */
export function baselineDrawing(
  kind: BaselineKind,
  { labels: _, first: _f, seed: _s, batch: _b, signal: _a, ...own }: BaselineOptions,
): BaselineDrawing {
  const given = Object.fromEntries(Object.entries(own).filter(([, v]) => v !== undefined));
  const drawing = { ...USUAL[kind], ...given };
  checkWhole({ steps: drawing.steps }, 1);
  return { ...drawing, ...withDrawing(USUAL_DRAWING, drawing) };
}

/** Pictures of a batch on their way. */
interface Job {
  readonly labels: readonly number[];
  /** One stream per picture: the same picture in whatever batch, but for float rounding. */
  readonly chances: readonly Rng[];
  readonly drawing: BaselineDrawing;
  readonly signal?: AbortSignal;
}

export interface Drawn {
  readonly index: number;
  readonly label: number;
  readonly picture: Picture;
}

/** Finished pictures one after the other. The same call gives the same bytes. */
export async function* drawBaseline(
  model: Baseline,
  options: BaselineOptions,
): AsyncGenerator<Drawn> {
  const { labels, first = 0, seed = 0, batch = 16, signal } = options;
  checkWhole({ batch }, 1);
  checkWhole({ first }, 0);
  const { kind } = model.parts;
  const drawing = baselineDrawing(kind, options);
  for (let at = 0; at < labels.length; at += batch) {
    const own = labels.slice(at, at + batch);
    const chances = own.map((_, i) => rng(seed).child(first + at + i));
    const image = await DRAW[kind](model, { labels: own, chances, drawing, signal });
    for (const [i, picture] of toPictures(image).entries())
      yield { index: first + at + i, label: own[i]!, picture };
  }
}

const DRAW: Readonly<Record<BaselineKind, (model: Baseline, job: Job) => Promise<Tensor>>> = {
  ar: async (model, job) => imageOf(model, await drawRaster(model, job)),
  maskgit: async (model, job) => imageOf(model, await drawMasked(model, job)),
  async dit(model, job) {
    return (await model.run("latents to image", { x: await drawLatents(model, job) })).image!;
  },
};

const imageOf = async (model: Baseline, ids: Tensor): Promise<Tensor> =>
  (await model.run("tokens to image", { ids })).image!;

/** Rows of labels: with guidance all conditional ones, then as many without class. */
function rowsOf(model: Baseline, { labels, drawing }: Job): number[] {
  const none = model.config.classes;
  const guided = drawing.guidance > 0 && labels.some((label) => label !== none);
  return guided ? [...labels, ...labels.map(() => none)] : [...labels];
}

/** (1 + t)·conditional - t·unconditional where there are both. */
const guided = (data: Float32Array, { labels }: Job, at: { rows: number; strength: number }) =>
  at.rows === labels.length ? data : guide(data, at.strength);

const int64 = (shape: readonly number[], values: Iterable<number>): Tensor => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from([...values], BigInt),
});

/** Raster order with cached keys and values: one pass per token. Guidance before the head, as in VAR. @returns ids B L */
export async function drawRaster(model: Baseline, job: Job): Promise<Tensor> {
  const { config } = model;
  const { width, codes } = config;
  const { labels, chances, drawing, signal } = job;
  const [B, L] = [labels.length, tokenCount(config)];
  const rows = rowsOf(model, job);
  const R = rows.length;
  const { start, ...modulation } = await model.run("class", { labels: int64([R], rows) });
  const cache = kvCache(
    config,
    R,
    Array.from({ length: L + 1 }, (_, t) => t),
  );
  const y = float([R, 1, width]);
  const uniforms = chances.map((chance) => chance.fillUniform(new Float32Array(L)));
  const ids = new BigInt64Array(B * L);
  let x = start!;
  for (let t = 0; t < L; t++) {
    signal?.throwIfAborted();
    const into = { ...(t + 1 < L ? nextOf(cache, t) : {}), y };
    const feeds = { x, ...modulation, ...pastOf(cache, t) };
    await model.run("next", feeds, { into, outputs: Object.keys(into) });
    const strength = drawing.guidance;
    const mixed = guided(y.data as Float32Array, job, { rows: R, strength });
    const read: Tensor = { ...y, shape: [B, 1, width], data: mixed };
    const logits = (await model.run("head", { y: read })).logits!.data as Float32Array;
    const chance = Float32Array.from(uniforms, (u) => u[t]!);
    const drawn = drawTokens(logits, { codes, uniforms: chance, ...drawing });
    for (let b = 0; b < B; b++) ids[b * L + t] = BigInt(drawn[b]!);
    if (t + 1 === L) break;
    const tokens = rows.map((_, r) => drawn[r % B]!);
    x = (await model.run("embed", { ids: int64([R], tokens), place: int64([1], [t + 1]) })).x!;
  }
  freeKvCache(cache);
  return { dtype: "int64", shape: [B, L], data: ids };
}

/**
 * MaskGIT, section 3.2: all tokens at once, the surest stay, the others are drawn again; the share that stays hidden
 * falls as a cosine. Guidance rises from 0 to its full strength, as in VAR. @returns ids B L
 */
export async function drawMasked(model: Baseline, job: Job): Promise<Tensor> {
  const { codes: V } = model.config;
  const { labels, chances, drawing, signal } = job;
  const [B, L] = [labels.length, tokenCount(model.config)];
  const rows = rowsOf(model, job);
  const ids = Array.from({ length: B }, () => new Int32Array(L).fill(V));
  const { steps } = drawing;
  for (let step = 0; step < steps; step++) {
    signal?.throwIfAborted();
    const { logits } = await model.run("hidden", {
      ids: int64(
        [rows.length, L],
        rows.flatMap((_, r) => [...ids[r % B]!]),
      ),
      labels: int64([rows.length], rows),
    });
    const strength = steps === 1 ? drawing.guidance : (drawing.guidance * step) / (steps - 1);
    const own = guided(logits!.data as Float32Array, job, { rows: rows.length, strength });
    const done = (step + 1) / steps;
    const left = step + 1 === steps ? 0 : Math.floor(L * Math.cos((Math.PI / 2) * done));
    for (let b = 0; b < B; b++) {
      const chance = chances[b]!.child(step);
      const part = own.subarray(b * L * V, (b + 1) * L * V);
      const noise = drawing.confidenceNoise * (1 - done);
      reveal(ids[b]!, part, { hide: left, noise, chance, drawing, V });
    }
  }
  return int64(
    [B, L],
    ids.flatMap((row) => [...row]),
  );
}

interface Revealing {
  /** Tokens that stay hidden. */
  readonly hide: number;
  readonly noise: number;
  readonly chance: Rng;
  readonly drawing: BaselineDrawing;
  readonly V: number;
}

/** Draws the hidden tokens of one picture (`ids` L, hidden ones V) from logits L V, and hides the least sure again. */
function reveal(ids: Int32Array, logits: Float32Array, at: Revealing): void {
  const { hide, noise, chance, drawing, V } = at;
  const L = ids.length;
  const uniforms = chance.child("token").fillUniform(new Float32Array(L));
  const gumbel = chance.child("confidence").fillGumbel(new Float32Array(L));
  const drawn = drawTokens(logits, { codes: V, uniforms, ...drawing });
  const sureness = new Float64Array(L).fill(Number.POSITIVE_INFINITY); // what stands stays
  for (let t = 0; t < L; t++) {
    if (ids[t] !== V) continue;
    ids[t] = drawn[t]!;
    sureness[t] = logProbability(logits.subarray(t * V, (t + 1) * V), ids[t]!) + noise * gumbel[t]!;
  }
  const order = Array.from({ length: L }, (_, t) => t).sort((a, b) => sureness[a]! - sureness[b]!);
  for (const t of order.slice(0, hide)) if (sureness[t]! < Number.POSITIVE_INFINITY) ids[t] = V;
}

function logProbability(row: Float32Array, code: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const x of row) if (x > most) most = x;
  let sum = 0;
  for (const x of row) sum += Math.exp(x - most);
  return row[code]! - most - Math.log(sum);
}

/**
 * Diffusion backwards from noise, `steps` even steps of t from 1 to 0, by Song et al. 2021 (arXiv 2010.02502) eq. 12 with
 * x0 and noise read off the velocity. @returns normalised latent rows B n latent
 */
export async function drawLatents(model: Baseline, job: Job): Promise<Tensor> {
  const { labels, chances, drawing, signal } = job;
  const { latent } = model.config;
  const size = mapTokens(model.config.patchNums.at(-1)!) * latent;
  const B = labels.length;
  const rows = rowsOf(model, job);
  const shape = [rows.length, size / latent, latent];
  const fresh = (name: string | number) => {
    const out = new Float32Array(B * size);
    for (const [b, chance] of chances.entries())
      chance.child(name).fillNormal(out.subarray(b * size, (b + 1) * size));
    return out;
  };
  const x = fresh("start");
  const { steps, guidance: strength, eta } = drawing;
  const all = new Float32Array(rows.length * size);
  for (let step = 0; step < steps; step++) {
    signal?.throwIfAborted();
    const [now, next] = [noiseLevel(1 - step / steps), noiseLevel(1 - (step + 1) / steps)];
    for (let r = 0; r < rows.length; r += B) all.set(x, r * size);
    const { v } = await model.run("velocity", {
      x: { dtype: "float32", shape, data: all },
      times: timeFeatures(rows.map(() => 1 - step / steps)),
      labels: int64([rows.length], rows),
    });
    const velocity = guided(v!.data as Float32Array, job, { rows: rows.length, strength });
    const last = step + 1 === steps;
    const spread = last ? 0 : eta * freshShare(now, next);
    const noise = spread > 0 ? fresh(step) : undefined;
    const kept = last ? 0 : Math.sqrt(Math.max(0, next.sigma ** 2 - spread ** 2));
    const alpha = last ? 1 : next.alpha; // cos(0), without rounding
    for (let i = 0; i < x.length; i++) {
      const x0 = now.alpha * x[i]! - now.sigma * velocity[i]!;
      const e = now.sigma * x[i]! + now.alpha * velocity[i]!;
      x[i] = alpha * x0 + kept * e + (noise ? spread * noise[i]! : 0);
    }
  }
  return { dtype: "float32", shape: [B, size / latent, latent], data: x };
}

type Level = ReturnType<typeof noiseLevel>;

/** Standard deviation of the fresh noise of a DDPM step (Song et al. 2021, eq. 16 at eta 1). */
const freshShare = (now: Level, next: Level): number =>
  (next.sigma / now.sigma) * Math.sqrt(Math.max(0, 1 - (now.alpha / next.alpha) ** 2));
