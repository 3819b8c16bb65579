/** Precision and recall by manifolds of nearest neighbours: how many samples look real, how much of the real is covered. */

import { InputError } from "../formats/errors.ts";
import { type Products, type Rows, rowsBetween } from "./products.ts";

export interface PrecisionRecall {
  /** Share of samples inside the ball of some reference picture. */
  readonly precision: number;
  /** Share of reference pictures inside the ball of some sample. */
  readonly recall: number;
  readonly k: number;
}

export interface ManifoldOptions {
  readonly products: Products;
  /** Which neighbour the radius of a ball reaches; default 3, as the ADM evaluator. */
  readonly k?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Rows of a distance matrix that are made at once. */
const CHUNK = 1024;

/**
 * Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991, eqs. 1 and 2), with k = 3 as the ADM
 * evaluator: a picture is inside a ball when it is at most as far as the k-th nearest neighbour of its centre.
 */
export async function precisionRecall(
  samples: Rows,
  reference: Rows,
  options: ManifoldOptions,
): Promise<PrecisionRecall> {
  const { k = 3 } = options;
  if (samples.width !== reference.width)
    throw new RangeError(`precisionRecall: features of ${samples.width} and ${reference.width}`);
  if (Math.min(samples.count, reference.count) <= k)
    throw new InputError(
      `precision and recall need more than ${k} pictures of each, got ${samples.count} and ${reference.count}`,
    );
  const radii = {
    samples: await neighbourDistances(samples, k, options),
    reference: await neighbourDistances(reference, k, options),
  };
  const precise = new Uint8Array(samples.count);
  const recalled = new Uint8Array(reference.count);
  for await (const { from, count, squared } of distances(samples, reference, options))
    for (let i = 0; i < count; i++)
      for (let j = 0; j < reference.count; j++) {
        const d = squared[i * reference.count + j]!;
        if (d <= radii.reference[j]!) precise[from + i] = 1;
        if (d <= radii.samples[from + i]!) recalled[j] = 1;
      }
  const share = (inside: Uint8Array) => inside.reduce((sum, x) => sum + x, 0) / inside.length;
  return { precision: share(precise), recall: share(recalled), k };
}

/** Squared distance of each row to its k-th nearest other row. */
async function neighbourDistances(rows: Rows, k: number, options: ManifoldOptions) {
  const radii = new Float64Array(rows.count);
  const near = new Float64Array(k);
  for await (const { from, count, squared } of distances(rows, rows, options))
    for (let i = 0; i < count; i++) {
      near.fill(Number.POSITIVE_INFINITY);
      for (let j = 0; j < rows.count; j++) {
        const d = squared[i * rows.count + j]!;
        if (j === from + i || d >= near[k - 1]!) continue;
        let at = k - 1; // keeps `near` sorted
        for (; at > 0 && near[at - 1]! > d; at--) near[at] = near[at - 1]!;
        near[at] = d;
      }
      radii[from + i] = near[k - 1]!;
    }
  return radii;
}

/** Squared distances |a|² - 2 a·b + |b|², some rows of a at a time. */
async function* distances(a: Rows, b: Rows, { products, signal }: ManifoldOptions) {
  const squaresOf = ({ count, width, data }: Rows) =>
    Float64Array.from({ length: count }, (_, i) => {
      let sum = 0;
      for (let j = i * width; j < (i + 1) * width; j++) sum += data[j]! ** 2;
      return sum;
    });
  const [aa, bb] = [squaresOf(a), squaresOf(b)];
  for (let from = 0; from < a.count; from += CHUNK) {
    signal?.throwIfAborted();
    const part = rowsBetween(a, from, from + CHUNK);
    const squared = await products.rowsByRows(part, b);
    for (let i = 0; i < part.count; i++)
      for (let j = 0; j < b.count; j++) {
        const at = i * b.count + j;
        squared[at] = Math.max(0, aa[from + i]! - 2 * squared[at]! + bb[j]!);
      }
    yield { from, count: part.count, squared };
  }
}
