/** Frechet distance between two sets, seen as Gaussians: FID and sFID, which differ in the features they are given. */

import { pivotedCholesky, singularValues } from "./linalg.ts";
import type { Products } from "./products.ts";
import type { Statistics } from "./statistics.ts";

/**
 * |μ₁ - μ₂|² + tr S₁ + tr S₂ - 2 tr (S₁ S₂)^½ (Dowson & Landau 1982; FID: Heusel et al. 2017, arXiv 1706.08500).
 * The last term is computed without square roots of matrices, see linalg.ts; 0 for equal sets, up to rounding.
 */
export async function frechetDistance(
  a: Statistics,
  b: Statistics,
  { products }: { products: Products },
): Promise<number> {
  if (a.width !== b.width)
    throw new RangeError(`frechetDistance: features of ${a.width} and of ${b.width}`);
  const d = a.width;
  let [means, traces] = [0, 0];
  for (let i = 0; i < d; i++) {
    means += (a.mean[i]! - b.mean[i]!) ** 2;
    traces += a.covariance[i * d + i]! + b.covariance[i * d + i]!;
  }
  const [l, m] = [pivotedCholesky(a.covariance, d), pivotedCholesky(b.covariance, d)];
  if (l.rank === 0 || m.rank === 0) return means + traces;
  const rows = ({ rank, data }: typeof l) => ({ count: d, width: rank, data });
  const inner = await products.columnsByColumns(rows(m), rows(l)); // rank₂ rank₁
  const shared = singularValues(inner.slice(), m.rank, l.rank).reduce((sum, s) => sum + s, 0);
  return Math.max(0, means + traces - 2 * shared);
}
