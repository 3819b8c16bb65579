/** Directional checks: the slope of the loss, measured by finite differences, against what the gradient says. */

/** A gradient by parameter name. */
export type Vectors = ReadonlyMap<string, Float32Array>;

/** A parameter's place in the state, before and after an update. */
interface Moments {
  readonly before: ArrayLike<number>;
  readonly after: ArrayLike<number>;
}

/**
 * The gradient that an update applied: what the new mean has beyond the old one (nn/optim.ts keeps it without the factor
 * 1 - beta1). With clipping it is the clipped one.
 */
export function appliedGradient(
  moments: ReadonlyMap<string, Moments>,
  beta1: number,
): Map<string, Float32Array> {
  const factor = Math.fround(beta1);
  return new Map(
    [...moments].map(([name, { before, after }]) => {
      const g = new Float32Array(after.length);
      for (let i = 0; i < g.length; i++) g[i] = after[i]! - before[i]! * factor;
      return [name, g];
    }),
  );
}

/** Euclidean norm over all tensors. */
export function normOf(vectors: Vectors): number {
  let sum = 0;
  for (const v of vectors.values()) for (let i = 0; i < v.length; i++) sum += v[i]! * v[i]!;
  return Math.sqrt(sum);
}

/** Norm that clipping leaves of a norm; see nn/optim.ts `clipByGlobalNorm`. Limit 0 is none. */
export const clippedNorm = (norm: number, limit: number): number =>
  limit > 0 ? norm * Math.min(limit / (norm + 1e-6), 1) : norm;

/** `out = at + size * direction`, tensor by tensor. */
export function move(
  out: Vectors,
  at: Vectors,
  { direction, size }: { direction: Vectors; size: number },
): void {
  for (const [name, to] of out) {
    const [from, along] = [at.get(name)!, direction.get(name)!];
    for (let i = 0; i < to.length; i++) to[i] = from[i]! + size * along[i]!;
  }
}

/** Independent signs from a stream of words, written into `out`. */
export function randomSigns(out: Vectors, word: () => number): void {
  let [bits, left] = [0, 0];
  for (const v of out.values())
    for (let i = 0; i < v.length; i++) {
      if (left === 0) [bits, left] = [word(), 32];
      v[i] = bits & 1 ? 1 : -1;
      bits >>>= 1;
      left--;
    }
}

export function dot(a: Vectors, b: Vectors): number {
  let sum = 0;
  for (const [name, x] of a) {
    const y = b.get(name)!;
    for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  }
  return sum;
}

/** What a check found; `error` is 0 for a true gradient. */
export interface Slope {
  readonly error: number;
  readonly measured: number;
  readonly expected: number;
}

/** Check A: along the gradient's own direction the loss rises by its norm. Error: |1 - measured / expected|. */
export const along = (measured: number, expected: number): Slope => ({
  measured,
  expected,
  error: Math.abs(1 - measured / expected),
});

/**
 * Check B: in a direction u of independent signs it rises by g.u, which spreads like |g|. Error: the difference over |g|.
 * It sees also what is missing in the gradient, as a layer of zeros.
 */
export const across = (measured: number, expected: number, norm: number): Slope => ({
  measured,
  expected,
  error: Math.abs(measured - expected) / norm,
});
