/** Kernel Inception Distance: how far two sets are apart, without bias at any size, with an interval. */

import { InputError } from "../formats/errors.ts";
import type { Rng } from "../tensor/rng.ts";
import { blocks, chosenRows, type Products, type Rows } from "./products.ts";

export interface Kid {
  /** Unbiased estimate of MMD² over all pairs; may be slightly negative. */
  readonly value: number;
  /** Standard error by the jackknife: leaving out one picture at a time. */
  readonly error: number;
  /** 95 %: value ± 1.96 standard errors. */
  readonly interval: readonly [number, number];
  /** What papers print: mean and standard deviation over random subsets. */
  readonly subsets: {
    readonly count: number;
    readonly size: number;
    readonly mean: number;
    readonly std: number;
  };
}

export interface KidOptions {
  readonly products: Products;
  /** Chooses the subsets. */
  readonly rng: Rng;
  /** How many subsets; default 100. */
  readonly subsets?: number;
  /** Pictures of each set in a subset, at most all; default 1000. */
  readonly subsetSize?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * KID (Binkowski et al. 2018, arXiv 1801.01401): MMD² with the kernel (x·y / d + 1)³.
 * Features of two sets n d and m d; n and m at least 3. A set is at distance 0 from itself: the estimate supposes that
 * the two were drawn apart, and would come out below zero.
 */
export async function kernelDistance(a: Rows, b: Rows, options: KidOptions): Promise<Kid> {
  const { rng, subsets = 100, subsetSize = 1000 } = options;
  if (a.width !== b.width)
    throw new RangeError(`kernelDistance: features of ${a.width} and of ${b.width}`);
  if (a.count < 3 || b.count < 3)
    throw new InputError(`KID needs at least 3 pictures of each, got ${a.count} and ${b.count}`);
  const same = a.count === b.count && a.data.every((x, i) => x === b.data[i]);
  const sums = same ? undefined : await kernelSums(a, b, options);
  const value = sums ? unbiased(totals(sums)) : 0;
  const error = sums ? standardError(leftOut(sums)) : 0;
  const size = Math.min(subsetSize, a.count, b.count);
  const values: number[] = [];
  for (let s = 0; s < subsets; s++) {
    const chance = rng.child(s);
    const pick = ({ count }: Rows, name: string) =>
      chance.child(name).permutation(count).subarray(0, size);
    const [some, others] = [chosenRows(a, pick(a, "a")), chosenRows(b, pick(b, "b"))];
    values.push(unbiased(totals(await kernelSums(some, others, options))));
  }
  const mean = values.reduce((sum, x) => sum + x, 0) / subsets;
  const std = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / subsets);
  return {
    value,
    error,
    interval: interval95(value, error),
    subsets: { count: subsets, size, mean, std },
  };
}

/**
 * By how much KID falls from one set to another whose pictures belong to its own one by one (drawn from the same seeds),
 * both against `reference`: a pair is left out together, so what both share is no part of the interval's width.
 * @throws InputError unless there are as many of either, and at least 3
 */
export async function kernelGain(
  before: Rows,
  now: Rows,
  { reference, ...options }: Omit<KidOptions, "rng"> & { reference: Rows },
): Promise<Pick<Kid, "value" | "error" | "interval">> {
  if (before.count !== now.count || before.count < 3 || reference.count < 3)
    throw new InputError(
      `sets that are compared pair by pair have as many pictures, at least 3, got ${before.count} and ${now.count} against ${reference.count}`,
    );
  const [old, young] = [
    await kernelSums(before, reference, options),
    await kernelSums(now, reference, options),
  ];
  const value = unbiased(totals(old)) - unbiased(totals(young));
  const [was, is] = [leftOut(old), leftOut(young)];
  const less = (x: Float64Array, y: Float64Array) => x.map((v, i) => v - y[i]!);
  const error = standardError({ a: less(was.a, is.a), b: less(was.b, is.b) });
  return { value, error, interval: interval95(value, error) };
}

/** For each picture the sum of its kernel values: with its own set (without itself), and with the other. */
interface KernelSums {
  readonly aa: Float64Array;
  readonly bb: Float64Array;
  readonly ab: Float64Array;
  readonly ba: Float64Array;
}

type SumOptions = Pick<KidOptions, "products" | "signal">;

async function kernelSums(a: Rows, b: Rows, options: SumOptions): Promise<KernelSums> {
  const own = async (x: Rows) => (await sumsBetween(x, x, { ...options, self: true })).rows;
  const { rows: ab, columns: ba } = await sumsBetween(a, b, { ...options, self: false });
  return { aa: await own(a), bb: await own(b), ab, ba };
}

/** Sums of rows and of columns of the kernel matrix; `self` leaves out the diagonal. */
async function sumsBetween(x: Rows, y: Rows, options: SumOptions & { self: boolean }) {
  const rows = new Float64Array(x.count);
  const columns = new Float64Array(y.count);
  for await (const { i, j, n, m, inner } of blocks(x, y, options))
    for (let r = 0; r < n; r++)
      for (let c = 0; c < m; c++) {
        if (options.self && i + r === j + c) continue;
        const k = (inner[r * m + c]! / x.width + 1) ** 3;
        rows[i + r]! += k;
        columns[j + c]! += k;
      }
  return { rows, columns };
}

/** The three sums of MMD² over n and m pictures. */
interface Totals {
  readonly n: number;
  readonly m: number;
  readonly aa: number;
  readonly bb: number;
  readonly ab: number;
}

const total = (sums: Float64Array): number => sums.reduce((sum, x) => sum + x, 0);
const totals = ({ aa, bb, ab, ba }: KernelSums): Totals => ({
  n: ab.length,
  m: ba.length,
  aa: total(aa),
  bb: total(bb),
  ab: total(ab),
});

const unbiased = ({ n, m, aa, bb, ab }: Totals): number =>
  aa / (n * (n - 1)) + bb / (m * (m - 1)) - (2 * ab) / (n * m);

/** The statistic with one picture left out, for each of either set. */
interface LeftOut {
  readonly a: Float64Array;
  readonly b: Float64Array;
}

function leftOut(sums: KernelSums): LeftOut {
  const all = totals(sums);
  const { n, m } = all;
  return {
    a: sums.aa.map((own, i) =>
      unbiased({ ...all, n: n - 1, aa: all.aa - 2 * own, ab: all.ab - sums.ab[i]! }),
    ),
    b: sums.bb.map((own, j) =>
      unbiased({ ...all, m: m - 1, bb: all.bb - 2 * own, ab: all.ab - sums.ba[j]! }),
    ),
  };
}

/** Jackknife of a statistic of two samples (Efron & Stein 1981): the variances of leaving out one of each add up. */
function standardError({ a, b }: LeftOut): number {
  const spread = (values: Float64Array) => {
    const mean = total(values) / values.length;
    const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    return (squares * (values.length - 1)) / values.length;
  };
  return Math.sqrt(spread(a) + spread(b));
}

const interval95 = (value: number, error: number): readonly [number, number] => [
  value - 1.96 * error,
  value + 1.96 * error,
];
