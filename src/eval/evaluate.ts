/**
 * From pictures to figures. `lookAt` reads pictures once, in parts, and keeps what the metrics need of them (bounded,
 * however many there are); `compare` makes figures of two such summaries. Opens no files.
 */

import type { Backend } from "../tensor/backend.ts";
import { type Rng, rng } from "../tensor/rng.ts";
import { frechetDistance } from "./frechet.ts";
import { type InceptionScore, InceptionScoreStream } from "./inception-score.ts";
import { kernelDistance } from "./kid.ts";
import type { Network, PictureSet } from "./network.ts";
import { precisionRecall } from "./precision-recall.ts";
import { openProducts, type Products, type Rows, room } from "./products.ts";
import { type Statistics, StatisticsStream } from "./statistics.ts";

/** What is kept of a set of pictures. */
export interface Summary {
  readonly count: number;
  /** Absent where there were fewer than two pictures. */
  readonly statistics?: Statistics | undefined;
  /** Of the spatial features; absent where the network has none. */
  readonly spatial?: Statistics | undefined;
  /** Features of up to `keep` pictures, drawn evenly; none for statistics that came from a file. */
  readonly kept: Rows;
  /** Absent where the network is no classifier, or there were too few pictures. */
  readonly score?: InceptionScore | undefined;
}

export interface LookOptions {
  /** Pictures in all. */
  readonly of: number;
  readonly products: Products;
  /** Feature vectors kept for KID, precision and recall; default 10,000. */
  readonly keep?: number;
  /** Splits of the Inception Score; default 10. */
  readonly splits?: number;
  /** Chooses what is kept. Default 0. */
  readonly seed?: number;
  /** Spatial features are looked at as well; default true. */
  readonly spatial?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Features are collected to this many rows before they are multiplied: long products are fast. */
const TOGETHER = 512;

/** Looks at pictures through a network; yields how many are done. */
export async function* lookAt(
  pictures: AsyncIterable<PictureSet>,
  network: Network,
  options: LookOptions,
): AsyncGenerator<{ done: number; of: number }, Summary> {
  const { of, products, keep = 10_000, splits = 10, seed = 0, signal, spatial = true } = options;
  const streams = { features: collected(products), spatial: collected(products) };
  const kept = reservoir({ most: keep, of }, rng(seed).child("kept features"));
  const score =
    of >= LEAST_PER_SPLIT * splits ? new InceptionScoreStream(of, { splits }) : undefined;
  let done = 0;
  let scored = false;
  for await (const part of pictures) {
    signal?.throwIfAborted();
    const seen = await network.look(part);
    await streams.features.add(seen.features);
    if (spatial && seen.spatial) await streams.spatial.add(seen.spatial);
    kept.add(seen.features);
    if (seen.probabilities) {
      score?.add(seen.probabilities.data, seen.probabilities.width);
      scored = true;
    }
    done += part.count;
    yield { done, of };
  }
  return {
    count: done,
    statistics: await streams.features.end(),
    spatial: await streams.spatial.end(),
    kept: kept.rows(),
    score: scored && done === of ? score?.score() : undefined,
  };
}

/** Statistics of rows that come in small parts. */
function collected(products: Products) {
  const stream = new StatisticsStream(products);
  let waiting: Rows[] = [];
  const flush = async () => {
    const count = waiting.reduce((sum, part) => sum + part.count, 0);
    if (count === 0) return;
    const { width } = waiting[0]!;
    const data = new Float64Array(count * width);
    let at = 0;
    for (const part of waiting) {
      data.set(part.data, at);
      at += part.data.length;
    }
    waiting = [];
    await stream.add({ count, width, data });
  };
  return {
    async add(rows: Rows) {
      waiting.push(rows);
      if (waiting.reduce((sum, part) => sum + part.count, 0) >= TOGETHER) await flush();
    },
    async end(): Promise<Statistics | undefined> {
      await flush();
      return stream.count >= 2 ? stream.statistics() : undefined;
    },
  };
}

/** Up to `most` rows, each as likely as any other to stay (Vitter 1985, algorithm R). */
function reservoir({ most, of }: { most: number; of: number }, chance: Rng) {
  let data: Rows["data"] = new Float32Array(0);
  let [count, seen, width] = [0, 0, 0];
  return {
    add(rows: Rows) {
      if (count === 0) {
        width = rows.width;
        // Whole from the start: growing by copies would need it twice.
        data = room(rows.data, Math.min(most, of) * width);
      }
      for (let i = 0; i < rows.count; i++, seen++) {
        const at = seen < most ? count++ : chance.int(seen + 1);
        if (at >= most) continue;
        data.set(rows.data.subarray(i * width, (i + 1) * width), at * width);
      }
    },
    rows: (): Rows => ({ count, width, data: data.subarray(0, count * width) }),
  };
}

// ---- figures

export const METRICS = ["fid", "sfid", "kid", "is", "precision", "recall"] as const;
export type Metric = (typeof METRICS)[number];

/** A figure, or why there is none. */
export interface Figure {
  readonly metric: Metric;
  readonly value?: number;
  /** Standard deviation: of KID over subsets, of IS over splits. */
  readonly std?: number;
  /** 95 % interval; of KID. */
  readonly interval?: readonly [number, number];
  /** How it was computed, in words. */
  readonly how: string;
  /** Instead of a value. */
  readonly refused?: string;
}

const LEAST_PER_SPLIT = 10;
const LEAST = { kid: 50, manifold: 50 } as const;

interface Compared {
  readonly samples: Summary;
  readonly reference: Summary;
  /** Precision and recall together; asked for twice, they are computed once. */
  readonly manifolds: () => ReturnType<typeof precisionRecall>;
  readonly options: CompareOptions;
}

export interface CompareOptions {
  readonly products: Products;
  /** Chooses KID's subsets. Default 0. */
  readonly seed?: number;
  /** KID's subsets; default 100 of 1000. */
  readonly subsets?: number;
  readonly subsetSize?: number;
  readonly signal?: AbortSignal | undefined;
}

type Answer = Omit<Figure, "metric">;
const refuse = (refused: string): Answer => ({ how: "", refused });
const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** Files of statistics do not say how many pictures made them: theirs are infinitely many. */
const numberOf = ({ count }: Statistics): string =>
  Number.isFinite(count) ? grouped(count) : "an unknown number";

async function frechet(kind: "statistics" | "spatial", { samples, reference, options }: Compared) {
  const [a, b] = [samples[kind], reference[kind]];
  if (!a || !b)
    return refuse(
      kind === "spatial"
        ? "this network, or a file of statistics, gives no spatial features"
        : "fewer than two pictures",
    );
  if (a.width !== b.width)
    return refuse(
      `${a.width} features against ${b.width}: the statistics were made with another network`,
    );
  const least = a.width + 1;
  const few = Math.min(a.count, b.count);
  if (few < least)
    return refuse(
      `needs at least ${grouped(least)} pictures of each (more than the ${grouped(a.width)} features), got ${grouped(few)}`,
    );
  return {
    value: await frechetDistance(a, b, options),
    how: `${numberOf(a)} against ${numberOf(b)}, ${grouped(a.width)} features`,
  };
}

async function kid({ samples, reference, options }: Compared): Promise<Answer> {
  const [a, b] = [samples.kept, reference.kept];
  const few = Math.min(a.count, b.count);
  if (b.count === 0) return refuse("a file of statistics has no features of single pictures");
  if (few < LEAST.kid) return refuse(`needs at least ${LEAST.kid} pictures of each, got ${few}`);
  const { value, interval, subsets } = await kernelDistance(a, b, {
    ...options,
    rng: rng(options.seed ?? 0).child("kid"),
  });
  return {
    value,
    interval,
    std: subsets.std,
    how: `all pairs of ${grouped(a.count)} and ${grouped(b.count)}, 95 % by jackknife; ${subsets.count} subsets of ${grouped(subsets.size)}: ${subsets.mean.toPrecision(4)} ± ${subsets.std.toPrecision(2)}`,
  };
}

async function manifold(which: "precision" | "recall", compared: Compared): Promise<Answer> {
  const [a, b] = [compared.samples.kept, compared.reference.kept];
  const few = Math.min(a.count, b.count);
  if (b.count === 0) return refuse("a file of statistics has no features of single pictures");
  if (few < LEAST.manifold)
    return refuse(`needs at least ${LEAST.manifold} pictures of each, got ${few}`);
  const both = await compared.manifolds();
  return { value: both[which], how: `k = ${both.k}, ${grouped(a.count)} and ${grouped(b.count)}` };
}

const RULES: Readonly<Record<Metric, (compared: Compared) => Promise<Answer>>> = {
  fid: (compared) => frechet("statistics", compared),
  sfid: (compared) => frechet("spatial", compared),
  kid,
  is: async ({ samples: { score, count } }) =>
    score
      ? { value: score.mean, std: score.std, how: `${score.splits} splits of ${grouped(count)}` }
      : refuse(`needs a classifier and at least ${LEAST_PER_SPLIT} pictures a split, got ${count}`),
  precision: (compared) => manifold("precision", compared),
  recall: (compared) => manifold("recall", compared),
};

/** Figures of samples against a reference, one after the other. Too few pictures for one: it says so. */
export async function* compare(
  samples: Summary,
  reference: Summary,
  { metrics = METRICS, ...options }: CompareOptions & { readonly metrics?: readonly Metric[] },
): AsyncGenerator<Figure> {
  let both: ReturnType<typeof precisionRecall> | undefined;
  const manifolds = () => {
    both ??= precisionRecall(samples.kept, reference.kept, options);
    return both;
  };
  for (const metric of metrics) {
    options.signal?.throwIfAborted();
    yield { metric, ...(await RULES[metric]({ samples, reference, manifolds, options })) };
  }
}

// ---- both at once, for pictures in memory

export interface CompareSetsOptions extends Partial<Omit<CompareOptions, "products">> {
  readonly network: Network;
  readonly backend?: Backend | undefined;
  readonly metrics?: readonly Metric[];
  readonly batch?: number;
}

/** Figures of one set of pictures in memory against another, by metric. */
export async function compareSets(
  samples: PictureSet,
  reference: PictureSet,
  { network, backend, batch, metrics = ["fid", "kid"], ...options }: CompareSetsOptions,
): Promise<Map<Metric, Figure>> {
  const products = await openProducts({ backend });
  try {
    const spatial = metrics.includes("sfid");
    const look = (set: PictureSet) =>
      finished(
        lookAt(inParts(set, batch), network, { ...options, of: set.count, products, spatial }),
      );
    const [a, b] = [await look(samples), await look(reference)];
    const figures = new Map<Metric, Figure>();
    for await (const figure of compare(a, b, { ...options, products, metrics }))
      figures.set(figure.metric, figure);
    return figures;
  } finally {
    await products.release();
  }
}

/** What a generator returns. */
export async function finished<T>(steps: AsyncGenerator<unknown, T>): Promise<T> {
  let step = await steps.next();
  while (!step.done) step = await steps.next();
  return step.value;
}

/** A set some pictures at a time: views. */
export async function* inParts(set: PictureSet, batch = 64): AsyncGenerator<PictureSet> {
  const { width, height } = set;
  const bytes = width * height * 3;
  for (let at = 0; at < set.count; at += batch) {
    const count = Math.min(batch, set.count - at);
    yield { count, width, height, pixels: set.pixels.subarray(at * bytes, (at + count) * bytes) };
  }
}
