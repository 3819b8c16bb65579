/** Directional checks: the slope of the loss, measured by finite differences, against what the gradient says. */

/** A parameter in an update, and memory for a moved copy of it. */
export interface Place {
  /** The parameter as the update read it. */
  readonly at: Float32Array;
  /** AdamW's mean before and after; nn/optim.ts keeps it without the factor 1 - beta1. */
  readonly before: Float32Array;
  readonly after: Float32Array;
  /** Written by the functions below. */
  readonly moved: Float32Array;
}

/**
 * Norm of the gradient g that an update applied: what the new mean has beyond the old one. With clipping it is the
 * clipped one.
 */
export function appliedNorm(places: Iterable<Place>, beta1: number): number {
  const kept = Math.fround(beta1);
  let sum = 0;
  for (const { before, after } of places)
    for (let i = 0; i < after.length; i++) sum += (after[i]! - before[i]! * kept) ** 2;
  return Math.sqrt(sum);
}

/** `moved = at + size * g`. */
export function moveAlong(places: Iterable<Place>, beta1: number, size: number): void {
  const kept = Math.fround(beta1);
  for (const { at, before, after, moved } of places)
    for (let i = 0; i < at.length; i++) moved[i] = at[i]! + size * (after[i]! - before[i]! * kept);
}

/** Independent signs u from a stream of words, one bit each. */
function* signs(places: Iterable<Place>, word: () => number) {
  for (const place of places) {
    const words = Uint32Array.from({ length: Math.ceil(place.at.length / 32) }, word);
    yield { ...place, sign: (i: number) => 1 - 2 * ((words[i >>> 5]! >>> (i & 31)) & 1) };
  }
}

/** `moved = at + size * u`. */
export function moveAcross(places: Iterable<Place>, word: () => number, size: number): void {
  for (const { at, moved, sign } of signs(places, word))
    for (let i = 0; i < at.length; i++) moved[i] = at[i]! + size * sign(i);
}

/** g.u, for the signs that the same stream gives to `moveAcross`. */
export function gradientAcross(places: Iterable<Place>, word: () => number, beta1: number): number {
  const kept = Math.fround(beta1);
  let sum = 0;
  for (const { before, after, sign } of signs(places, word))
    for (let i = 0; i < after.length; i++) sum += sign(i) * (after[i]! - before[i]! * kept);
  return sum;
}

/** Norm that clipping leaves of a norm; see nn/optim.ts `clipByGlobalNorm`. Limit 0 is none. */
export const clippedNorm = (norm: number, limit: number): number =>
  limit > 0 ? norm * Math.min(limit / (norm + 1e-6), 1) : norm;

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
