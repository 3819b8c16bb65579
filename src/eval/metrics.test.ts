/** The metrics beside NumPy and SciPy on the same features (scripts/make-eval-golden.py), and what must hold of any. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { readNpz } from "../formats/npz.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { frechetDistance } from "./frechet.ts";
import { InceptionScoreStream, softmaxRows } from "./inception-score.ts";
import { kernelDistance, kernelGain } from "./kid.ts";
import { pivotedCholesky, singularValues, tridiagonalEigenvalues } from "./linalg.ts";
import { precisionRecall } from "./precision-recall.ts";
import { openProducts, type Rows, rowsBetween } from "./products.ts";
import { StatisticsStream } from "./statistics.ts";

const fixture = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../test/fixtures/eval/${name}`, import.meta.url)));
const expected = JSON.parse(fixture("expected.json").toString());
const arrays = await readNpz(fixture("features.npz"));
const asRows = ({ shape, data }: Tensor): Rows => ({
  count: shape[0]!,
  width: shape[1]!,
  data: Float64Array.from(data as Float32Array),
});
const features = async (name: string) => asRows(await arrays.get(name)!.read());
const products = await openProducts({ backend: ortNode() });
afterAll(() => products.release());

/** The statistics of rows that come `at` a time. */
async function statistics(rows: Rows, at = rows.count) {
  const stream = new StatisticsStream(products);
  for (let from = 0; from < rows.count; from += at)
    await stream.add(rowsBetween(rows, from, from + at));
  return stream.statistics();
}
/** Relative difference. */
const off = (got: number, wanted: number) => Math.abs(got - wanted) / Math.abs(wanted);
/** Agreement with the independent computation that is asked of every metric. */
const CLOSE = 1e-6;

describe.each(["full", "few"])("beside NumPy and SciPy, %s pictures", async (name) => {
  const [a, b] = [await features(`${name}_a`), await features(`${name}_b`)];
  const wanted = expected[name];

  test("Frechet distance", async () => {
    const got = await frechetDistance(await statistics(a), await statistics(b), { products });
    expect(off(got, wanted.frechet)).toBeLessThan(CLOSE);
  });

  test("KID over all pairs and its jackknife", async () => {
    const kid = await kernelDistance(a, b, { products, rng: rng(1), subsets: 2 });
    expect(off(kid.value, wanted.kid)).toBeLessThan(CLOSE);
    expect(off(kid.error, wanted.kidError)).toBeLessThan(CLOSE);
  });

  test("precision and recall", async () => {
    const { precision, recall } = await precisionRecall(a, b, { products });
    expect(precision).toBeCloseTo(wanted.precision, 12);
    expect(recall).toBeCloseTo(wanted.recall, 12);
  });
});

test("Inception Score beside NumPy, whatever the parts", async () => {
  const { data, count, width } = await features("probabilities");
  const wanted = expected.inceptionScore;
  for (const part of [1, 10, count]) {
    const stream = new InceptionScoreStream(count, wanted);
    for (let at = 0; at < count; at += part)
      stream.add(data.subarray(at * width, Math.min(count, at + part) * width), width);
    const { mean, std } = stream.score();
    expect(off(mean, wanted.mean)).toBeLessThan(CLOSE);
    expect(off(std, wanted.std)).toBeLessThan(CLOSE);
  }
});

describe("what must hold", async () => {
  const [a, b] = [await features("full_a"), await features("full_b")];

  test("statistics in parts are those of the whole, also far from zero", async () => {
    const far = { ...a, data: a.data.map((x) => x + 1e6) };
    const [whole, parts] = [await statistics(far), await statistics(far, 7)];
    const near = await statistics(a);
    for (let i = 0; i < whole.covariance.length; i++) {
      expect(parts.covariance[i]).toBeCloseTo(whole.covariance[i]!, 9);
      expect(parts.covariance[i]).toBeCloseTo(near.covariance[i]!, 8);
    }
  });

  test("equal sets are at distance 0, and KID's interval covers 0", async () => {
    const own = await statistics(a);
    const distance = await frechetDistance(own, own, { products });
    expect(distance).toBeLessThan(1e-12);
    const kid = await kernelDistance(a, a, { products, rng: rng(0), subsets: 4 });
    expect(kid.interval[0]).toBeLessThanOrEqual(0);
    expect(kid.interval[1]).toBeGreaterThanOrEqual(0);
    expect(await precisionRecall(a, a, { products })).toMatchObject({ precision: 1, recall: 1 });
  });

  test("halves of one set are closer than two sets", async () => {
    const [first, second] = [rowsBetween(a, 0, 150), rowsBetween(a, 150, 300)];
    const shifted = { ...second, data: second.data.map((x) => x + 1) };
    const kid = (x: Rows, y: Rows) =>
      kernelDistance(x, y, { products, rng: rng(0), subsets: 10, subsetSize: 50 });
    const [near, far] = [await kid(first, second), await kid(first, shifted)];
    expect(near.interval[0]).toBeLessThan(0);
    expect(far.interval[0]).toBeGreaterThan(0);
    expect(far.value).toBeGreaterThan(near.value);
    expect(far.subsets.size).toBe(50);
    expect(far.subsets.mean).toBeCloseTo(far.value, 0);
    expect(far.subsets.std).toBeGreaterThan(0);
  });

  test("the gain of paired sets is KID's difference, its interval that of leaving out pairs", async () => {
    const [before, reference] = [rowsBetween(a, 0, 40), rowsBetween(b, 0, 30)];
    const now = { ...before, data: before.data.map((x, i) => 0.8 * x + 0.01 * (i % 7)) };
    const kid = async (x: Rows, y: Rows) =>
      (await kernelDistance(x, y, { products, rng: rng(0), subsets: 1 })).value;
    const gainOf = async (x: Rows, y: Rows, z: Rows) => (await kid(x, z)) - (await kid(y, z));
    const gain = await kernelGain(before, now, { products, reference });
    const all = await gainOf(before, now, reference);
    expect(Math.abs(gain.value - all)).toBeLessThan(1e-9 * Math.abs(all) + 1e-12);
    // By its definition: the statistic anew without one pair, and without one of the reference.
    const without = ({ width, count, data }: Rows, out: number): Rows => ({
      ...{ width, count: count - 1 },
      data: data.filter((_, at) => Math.floor(at / width) !== out),
    });
    const variance = (values: number[]) => {
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
      const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
      return (squares * (values.length - 1)) / values.length;
    };
    const [pairs, others]: [number[], number[]] = [[], []];
    for (let i = 0; i < 40; i++)
      pairs.push(await gainOf(without(before, i), without(now, i), reference));
    for (let j = 0; j < 30; j++) others.push(await gainOf(before, now, without(reference, j)));
    const error = Math.sqrt(variance(pairs) + variance(others));
    expect(Math.abs(gain.error - error)).toBeLessThan(1e-6 * error);
    expect(gain.interval).toEqual([gain.value - 1.96 * gain.error, gain.value + 1.96 * gain.error]);
    const none = await kernelGain(before, before, { products, reference });
    expect(none).toEqual({ value: 0, error: 0, interval: [0, 0] });
    await expect(kernelGain(before, reference, { products, reference })).rejects.toThrow(
      "40 and 30",
    );
  });

  test("a subset of everything is everything", async () => {
    const { value, subsets } = await kernelDistance(a, b, { products, rng: rng(2), subsets: 3 });
    expect(subsets.size).toBe(260);
    const both = rowsBetween(a, 0, 260);
    const same = await kernelDistance(both, b, { products, rng: rng(2), subsets: 1 });
    expect(same.subsets.mean).toBeCloseTo(same.value, 12);
    expect(value).not.toBe(same.value);
  });

  test("samples of one class are precise and recall little; spread-out ones the other way round", async () => {
    const still = { ...a, data: a.data.map((x, i) => a.data[i % 16]! + x * 1e-3) };
    const narrow = await precisionRecall(still, a, { products });
    expect(narrow.recall).toBeLessThan(0.1);
    const wide = { ...a, data: a.data.map((x) => 6 * x) };
    expect((await precisionRecall(wide, a, { products })).precision).toBeLessThan(0.3);
  });

  test("a certain classifier over C equal classes scores C, an uncertain one 1", () => {
    const [n, C] = [40, 4];
    const score = (logit: number) => {
      const stream = new InceptionScoreStream(n, { splits: 2 });
      const logits = Float64Array.from({ length: n * C }, (_, at) =>
        at % C === Math.floor(at / C) % C ? logit : 0,
      );
      stream.add(softmaxRows(logits, C), C);
      return stream.score();
    };
    expect(score(100).mean).toBeCloseTo(4, 10);
    expect(score(0)).toEqual({ mean: expect.closeTo(1, 12), std: 0, splits: 2 });
  });

  test("too few pictures and numbers that are none are refused", async () => {
    const one = rowsBetween(a, 0, 1);
    await expect(statistics(one)).rejects.toThrow("at least 2 pictures");
    await expect(kernelDistance(one, a, { products, rng: rng(0) })).rejects.toThrow("at least 3");
    await expect(precisionRecall(rowsBetween(a, 0, 3), a, { products })).rejects.toThrow(
      "more than 3",
    );
    expect(() => new InceptionScoreStream(9)).toThrow("got 9");
    const broken = { ...a, data: a.data.map((x, i) => (i === 20 ? Number.NaN : x)) };
    await expect(statistics(broken)).rejects.toThrow("finite");
  });
});

describe("linear algebra", () => {
  const random = (rows: number, columns: number, seed: number) => {
    const chance = rng(seed);
    return Float64Array.from({ length: rows * columns }, () => chance.normal());
  };

  test("the Cholesky factor of a singular matrix has its rank and gives it back", () => {
    const [n, r] = [12, 5];
    const x = random(n, r, 3);
    const s = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < r; k++) s[i * n + j]! += x[i * r + k]! * x[j * r + k]!;
    const { rank, data } = pivotedCholesky(s, n);
    expect(rank).toBe(r);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < r; k++) sum += data[i * r + k]! * data[j * r + k]!;
        expect(sum).toBeCloseTo(s[i * n + j]!, 10);
      }
  });

  test.each([
    [9, 9],
    [20, 7],
    [7, 20],
    [1, 1],
    [5, 1],
  ])("singular values of %d x %d: their squares and their product are right", (rows, columns) => {
    const a = random(rows, columns, rows);
    const sigma = singularValues(a.slice(), rows, columns);
    expect(sigma).toHaveLength(Math.min(rows, columns));
    expect([...sigma]).toEqual([...sigma].sort((x, y) => y - x));
    const squares = a.reduce((sum, x) => sum + x * x, 0);
    expect(sigma.reduce((sum, s) => sum + s * s, 0)).toBeCloseTo(squares, 9);
  });

  test("singular values of a known product", () => {
    // Two rotations around diag(5, 1e-9, 0): the smallest must not drown in rounding of the largest.
    const [c, s] = [Math.cos(0.3), Math.sin(0.3)];
    const a = Float64Array.of(5 * c, -1e-9 * s, 0, 5 * s, 1e-9 * c, 0, 0, 0, 0);
    const [first, second, third] = singularValues(a, 3, 3);
    expect(first).toBeCloseTo(5, 12);
    expect(Math.abs(second! - 1e-9)).toBeLessThan(1e-14);
    expect(third).toBeLessThan(1e-14);
  });

  test("eigenvalues of the second-difference matrix are 2 - 2 cos(kπ / (n + 1))", () => {
    const n = 50;
    const values = tridiagonalEigenvalues(
      new Float64Array(n).fill(2),
      new Float64Array(n).fill(-1),
    );
    [...values.sort()].forEach((value, k) => {
      expect(value).toBeCloseTo(2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)), 12);
    });
  });
});
