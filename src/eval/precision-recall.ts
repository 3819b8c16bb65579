/** Precision and recall by manifolds of nearest neighbours: how many samples look real, how much of the real is covered. */

import { InputError } from "../formats/errors.ts";
import { blocks, type Products, type Rows } from "./products.ts";

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
  for await (const { i, j, n, m, squared } of distances(samples, reference, options))
    for (let r = 0; r < n; r++)
      for (let c = 0; c < m; c++) {
        const d = squared[r * m + c]!;
        if (d <= radii.reference[j + c]!) precise[i + r] = 1;
        if (d <= radii.samples[i + r]!) recalled[j + c] = 1;
      }
  const share = (inside: Uint8Array) => inside.reduce((sum, x) => sum + x, 0) / inside.length;
  return { precision: share(precise), recall: share(recalled), k };
}

/** Squared distance of each row to its k-th nearest other row. */
async function neighbourDistances(rows: Rows, k: number, options: ManifoldOptions) {
  const near = new Float64Array(rows.count * k).fill(Number.POSITIVE_INFINITY); // each row's, sorted
  for await (const { i, j, n, m, squared } of distances(rows, rows, options))
    for (let r = 0; r < n; r++) {
      const first = (i + r) * k;
      const last = first + k - 1;
      for (let c = 0; c < m; c++) {
        const d = squared[r * m + c]!;
        if (j + c === i + r || d >= near[last]!) continue;
        let at = last;
        for (; at > first && near[at - 1]! > d; at--) near[at] = near[at - 1]!;
        near[at] = d;
      }
    }
  return Float64Array.from({ length: rows.count }, (_, i) => near[i * k + k - 1]!);
}

/** Squared distances |a|² - 2 a·b + |b|², in blocks. */
async function* distances(a: Rows, b: Rows, options: ManifoldOptions) {
  const squaresOf = ({ count, width, data }: Rows) =>
    Float64Array.from({ length: count }, (_, i) => {
      let sum = 0;
      for (let j = i * width; j < (i + 1) * width; j++) sum += data[j]! ** 2;
      return sum;
    });
  const [aa, bb] = [squaresOf(a), squaresOf(b)];
  for await (const { i, j, n, m, inner: squared } of blocks(a, b, options)) {
    for (let r = 0; r < n; r++)
      for (let c = 0; c < m; c++) {
        const at = r * m + c;
        squared[at] = Math.max(0, aa[i + r]! - 2 * squared[at]! + bb[j + c]!);
      }
    yield { i, j, n, m, squared };
  }
}
