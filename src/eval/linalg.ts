/**
 * The linear algebra of Frechet distances, in float64: a pivoted Cholesky factor and singular values. Matrices are flat
 * and row-major. Products of large matrices are products.ts.
 *
 * The trick: with S = L Lᵀ, tr (S₁^½ S₂ S₁^½)^½ is the sum of the singular values of L₂ᵀ L₁. No square root of an
 * eigenvalue near zero is ever taken, so rounding stays at 1e-16 of the largest one; roots would lift it to 1e-8.
 */

/** A factor L of a covariance: S = L Lᵀ with `rank` columns. */
export interface Factor {
  readonly size: number;
  readonly rank: number;
  /** size x rank. */
  readonly data: Float64Array;
}

/** Σ a[i + k] b[j + k] over k < n; four sums at once keep the processor busy. */
function dot(a: Float64Array, i: number, b: Float64Array, options: { j: number; n: number }) {
  const { j, n } = options;
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let k = 0;
  for (; k + 3 < n; k += 4) {
    s0 += a[i + k]! * b[j + k]!;
    s1 += a[i + k + 1]! * b[j + k + 1]!;
    s2 += a[i + k + 2]! * b[j + k + 2]!;
    s3 += a[i + k + 3]! * b[j + k + 3]!;
  }
  for (; k < n; k++) s0 += a[i + k]! * b[j + k]!;
  return s0 + s1 + (s2 + s3);
}

/**
 * Cholesky with diagonal pivoting of a positive semidefinite matrix (Higham 1990; LAPACK dpstrf and its tolerance
 * n ε max diag): stops where what is left is rounding, so covariances of fewer pictures than features are no trouble.
 */
export function pivotedCholesky(s: Float64Array, n: number): Factor {
  const l = new Float64Array(n * n); // rows in pivoted order while it grows
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const left = Float64Array.from({ length: n }, (_, i) => s[i * n + i]!);
  const tolerance = n * Number.EPSILON * left.reduce((most, x) => Math.max(most, x), 0);
  let rank = 0;
  for (; rank < n; rank++) {
    let best = rank;
    for (let i = rank + 1; i < n; i++) if (left[order[i]!]! > left[order[best]!]!) best = i;
    const pivot = left[order[best]!]!;
    if (!(pivot > tolerance)) break;
    [order[rank], order[best]] = [order[best]!, order[rank]!];
    const own = order[rank]!;
    const root = Math.sqrt(pivot);
    l[own * n + rank] = root;
    for (let i = rank + 1; i < n; i++) {
      const row = order[i]!;
      const x = (s[row * n + own]! - dot(l, row * n, l, { j: own * n, n: rank })) / root;
      l[row * n + rank] = x;
      left[row]! -= x * x;
    }
  }
  const data = new Float64Array(n * rank);
  for (let i = 0; i < n; i++) data.set(l.subarray(i * n, i * n + rank), i * rank);
  return { size: n, rank, data };
}

/** Singular values of a rows x columns matrix, largest first. The matrix is overwritten. */
export function singularValues(a: Float64Array, rows: number, columns: number): Float64Array {
  if (rows < columns) return singularValues(transposed(a, rows, columns), columns, rows);
  const { diagonal, above } = bidiagonalize(a, rows, columns);
  // The symmetric matrix [0 B; Bᵀ 0], reordered, is tridiagonal with a zero diagonal; its eigenvalues are ±σ.
  const off = new Float64Array(2 * columns);
  for (let i = 0; i < columns; i++) {
    off[2 * i] = diagonal[i]!;
    off[2 * i + 1] = above[i]!;
  }
  const values = tridiagonalEigenvalues(new Float64Array(2 * columns), off);
  return values
    .sort()
    .reverse()
    .slice(0, columns)
    .map((x) => Math.max(0, x));
}

function transposed(a: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(a.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j]!;
  return out;
}

/** The reflector I - τ v vᵀ that takes x to (β, 0, ...): v over x, from place `at` in steps of `step`. */
function reflector(x: Float64Array): { tau: number; beta: number } {
  let scale = 0;
  for (const v of x) scale = Math.max(scale, Math.abs(v));
  if (scale === 0) return { tau: 0, beta: 0 };
  let squares = 0;
  for (const v of x) squares += (v / scale) ** 2;
  const norm = scale * Math.sqrt(squares);
  const beta = x[0]! > 0 ? -norm : norm; // the sign that does not cancel
  const head = x[0]! - beta;
  x[0] = 1;
  for (let i = 1; i < x.length; i++) x[i]! /= head;
  return { tau: -head / beta, beta };
}

/**
 * Householder bidiagonalization (Golub & Kahan 1965), rows >= columns. Both reflections of a step go over each row
 * while it is in the cache. `above[i]` stands right of `diagonal[i]`; the last is 0.
 */
function bidiagonalize(a: Float64Array, rows: number, columns: number) {
  const diagonal = new Float64Array(columns);
  const above = new Float64Array(columns);
  for (let k = 0; k < columns; k++) {
    const v = Float64Array.from({ length: rows - k }, (_, i) => a[(k + i) * columns + k]!);
    const left = reflector(v);
    diagonal[k] = left.beta;
    const n = columns - k - 1;
    const w = new Float64Array(n); // vᵀ A of the columns to the right
    for (let i = 0; i < v.length; i++) addTimes(w, v[i]!, a, (k + i) * columns + k + 1);
    for (let j = 0; j < n; j++) w[j]! *= left.tau;
    const first = k * columns + k + 1;
    for (let j = 0; j < n; j++) a[first + j]! -= w[j]!; // v[0] = 1
    const u = a.slice(first, first + n);
    const right = reflector(u);
    above[k] = right.beta;
    for (let i = 1; i < v.length; i++) {
      const row = (k + i) * columns + k + 1;
      subtractTimes(a, row, w, v[i]!);
      if (right.tau !== 0) subtractTimes(a, row, u, right.tau * dot(u, 0, a, { j: row, n }));
    }
  }
  return { diagonal, above };
}

/** out += x · a[at ...]. */
function addTimes(out: Float64Array, x: number, a: Float64Array, at: number): void {
  for (let j = 0; j < out.length; j++) out[j]! += x * a[at + j]!;
}
/** a[at ...] -= x · v. */
function subtractTimes(a: Float64Array, at: number, v: Float64Array, x: number): void {
  for (let j = 0; j < v.length; j++) a[at + j]! -= x * v[j]!;
}

const MOST_SWEEPS = 60;

/**
 * Eigenvalues of a symmetric tridiagonal matrix by the implicit QL algorithm (Wilkinson; EISPACK imtql1).
 * @param d diagonal, overwritten by the eigenvalues @param e e[i] stands between i and i + 1; overwritten
 */
export function tridiagonalEigenvalues(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  let norm = 0;
  for (let i = 0; i < n; i++) norm = Math.max(norm, Math.abs(d[i]!) + Math.abs(e[i] ?? 0));
  const negligible = (i: number) =>
    Math.abs(e[i]!) <= Number.EPSILON * (Math.abs(d[i]!) + Math.abs(d[i + 1]!)) ||
    Math.abs(e[i]!) <= Number.EPSILON * 1e-3 * norm; // zero diagonals have no scale of their own
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; ; sweep++) {
      let m = l;
      while (m < n - 1 && !negligible(m)) m++;
      if (m === l) break;
      if (sweep === MOST_SWEEPS) throw new Error(`eigenvalue ${l} of ${n} does not settle`);
      let g = (d[l + 1]! - d[l]!) / (2 * e[l]!);
      let r = Math.hypot(g, 1);
      g = d[m]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r));
      let [s, c, p] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        r = Math.sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1]! - p;
        r = (d[i]! - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (r === 0 && i >= l) continue;
      d[l]! -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  return d;
}
