/** Where a codebook starts: at the vectors it will have to quantize, by k-means. Builds no graph. */

import type { Tensor } from "../formats/dtype.ts";
import type { Rng } from "../tensor/rng.ts";

/** Sweeps of Lloyd's algorithm; more bring little for a start. */
const SWEEPS = 6;
/** Vectors looked at for one code; a bounded sample keeps the start to seconds. */
const PER_CODE = 8;

/**
 * A codebook from the vectors of one batch, each scale counting equally so that the finest does not drown the others:
 * V C. @param z what was to be quantized, scale by scale: B·pn² rows of C @param options.tokens per picture and scale
 */
export function drawnCodebook(
  z: Tensor,
  { codes, tokens, rng }: { codes: number; tokens: readonly number[]; rng: Rng },
): Tensor {
  const batch = z.shape[0]! / tokens.reduce((a, b) => a + b, 0);
  const weights = tokens.flatMap((n) => Array<number>(batch * n).fill(1 / n));
  return kMeans(z, codes, { rng, weights });
}

/**
 * k-means centres of `rows` (Lloyd's algorithm from random rows): V C. `weights` says how often a row counts in the
 * sample, so that scales with few tokens are not drowned out by the finest. A centre that loses all its rows moves to
 * a random row. Deterministic in `rng`.
 * @param rows N C @param options.weights N, all 1 by default
 */
export function kMeans(
  rows: Tensor,
  codes: number,
  { rng, weights }: { rng: Rng; weights?: ArrayLike<number> },
): Tensor {
  const [N, C] = rows.shape as [number, number];
  const source = rows.data as Float32Array;
  const at = sampler(N, weights);
  const n = codes * PER_CODE;
  const sample = new Float32Array(n * C);
  const own = rng.child("sample");
  for (let i = 0; i < n; i++) {
    const row = at(own.uniform());
    sample.set(source.subarray(row * C, (row + 1) * C), i * C);
  }
  const centres = sample.slice(0, codes * C); // rows were drawn at random: the first are as good as any
  for (let sweep = 0; sweep < SWEEPS; sweep++) improve(centres, sample, C, rng.child(sweep));
  return { dtype: "float32", shape: [codes, C], data: centres };
}

/** A number from [0, 1) to a row, by weight. */
function sampler(N: number, weights?: ArrayLike<number>): (u: number) => number {
  if (!weights) return (u) => Math.floor(u * N);
  const ends = new Float64Array(N);
  let sum = 0;
  for (let i = 0; i < N; i++) ends[i] = sum += weights[i]!;
  return (u) => {
    let [low, high] = [0, N - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle]! > u * sum) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** One sweep: every row to its nearest centre, every centre to the mean of its rows. */
function improve(centres: Float32Array, rows: Float32Array, C: number, rng: Rng): void {
  const [V, n] = [centres.length / C, rows.length / C];
  const [sums, counts] = [new Float64Array(centres.length), new Int32Array(V)];
  for (let i = 0; i < n; i++) {
    const v = nearest(centres, rows, i * C, C);
    counts[v]!++;
    for (let c = 0; c < C; c++) sums[v * C + c]! += rows[i * C + c]!;
  }
  for (let v = 0; v < V; v++) {
    const lost = counts[v] === 0 ? rng.int(n) * C : -1;
    for (let c = 0; c < C; c++)
      centres[v * C + c] = lost < 0 ? sums[v * C + c]! / counts[v]! : rows[lost + c]!;
  }
}

function nearest(centres: Float32Array, rows: Float32Array, at: number, C: number): number {
  let [best, least] = [0, Number.POSITIVE_INFINITY];
  for (let v = 0, base = 0; base < centres.length; v++, base += C) {
    let d = 0;
    for (let c = 0; c < C && d < least; c++) {
      const x = rows[at + c]! - centres[base + c]!;
      d += x * x;
    }
    if (d < least) [best, least] = [v, d];
  }
  return best;
}
