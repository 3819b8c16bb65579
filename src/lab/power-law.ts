/**
 * Scaling laws: y = floor + exp(a)·x^b fitted to positive points, with and without an irreducible floor, their intervals
 * by bootstrap, and the frontier of many runs. Plain numbers; trains and draws nothing.
 */

import type { Rng } from "../tensor/rng.ts";
import { quantile } from "./metrics.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** y = floor + factor·x^exponent; the VAR paper writes (scale·x)^exponent (eq. 11 to 16, floor 0 there). */
export interface PowerLaw {
  readonly exponent: number;
  readonly factor: number;
  /** factor^(1/exponent): beyond all numbers where the law is nearly flat, so nothing is computed from it. */
  readonly scale: number;
  /** Irreducible part; 0 where none was fitted. */
  readonly floor: number;
  /** Pearson's r between log x and log(y - floor). */
  readonly pearson: number;
  /** Root mean square of log y - log of the law. */
  readonly error: number;
}

export interface FitOptions {
  /** Fits a floor as well. Needs at least 4 points. Default false. */
  readonly floor?: boolean;
}

type Theta = readonly [a: number, b: number, floor: number];

const valueAt = ([a, b, floor]: Theta, x: number): number => floor + Math.exp(a + b * Math.log(x));

/** The law at x. */
export const predictLaw = ({ factor, exponent, floor }: PowerLaw, x: number): number =>
  floor + factor * x ** exponent;

/**
 * Least squares of log y. Without a floor this is a line; with one, a grid of floors with a line each gives the start and
 * Levenberg-Marquardt (Marquardt 1963) the end.
 * @throws RangeError for too few points or values that are not positive
 */
export function fitPowerLaw(
  points: readonly Point[],
  { floor = false }: FitOptions = {},
): PowerLaw {
  const least = floor ? 4 : 2;
  if (points.length < least || new Set(points.map(({ x }) => x)).size < least)
    throw new RangeError(`fitPowerLaw: got ${points.length} points, want at least ${least} apart`);
  const odd = points.find(({ x, y }) => !(x > 0 && y > 0 && Number.isFinite(x * y)));
  if (odd) throw new RangeError(`fitPowerLaw: (${odd.x}, ${odd.y}) is not positive and finite`);
  const theta = floor ? refine(points, bestStart(points)) : line(points, 0);
  const [a, b, f] = theta;
  const logs = points.map(({ x, y }) => [Math.log(x), Math.log(Math.max(y - f, Number.MIN_VALUE))]);
  return {
    exponent: b,
    factor: Math.exp(a),
    scale: Math.exp(a / b),
    floor: f,
    pearson: pearson(
      logs.map(([x]) => x!),
      logs.map(([, y]) => y!),
    ),
    error: Math.sqrt(squares(points, theta) / points.length),
  };
}

/** Ordinary least squares of log(y - floor) on log x. */
function line(points: readonly Point[], floor: number): Theta {
  const [xs, ys] = [points.map(({ x }) => Math.log(x)), points.map(({ y }) => Math.log(y - floor))];
  const [mx, my] = [average(xs), average(ys)];
  const b = xs.reduce((s, x, i) => s + (x - mx) * (ys[i]! - my), 0) / dot(xs, mx);
  return [my - b * mx, b, floor];
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const dot = (xs: readonly number[], mean: number): number =>
  xs.reduce((sum, x) => sum + (x - mean) ** 2, 0);

const squares = (points: readonly Point[], theta: Theta): number =>
  points.reduce((sum, { x, y }) => sum + (Math.log(y) - Math.log(valueAt(theta, x))) ** 2, 0);

const GRID = 200;

/** The best line over floors from 0 to just below the least y. */
function bestStart(points: readonly Point[]): Theta {
  const least = Math.min(...points.map(({ y }) => y));
  const tried = Array.from({ length: GRID }, (_, i) => line(points, (0.999 * least * i) / GRID));
  return tried.reduce((best, next) =>
    squares(points, next) < squares(points, best) ? next : best,
  );
}

const ROUNDS = 200;

/** Levenberg-Marquardt on (a, b, floor); a floor below 0 is held at 0. */
function refine(points: readonly Point[], start: Theta): Theta {
  let theta = start;
  let best = squares(points, theta);
  let damping = 1e-3;
  for (let round = 0; round < ROUNDS && damping < 1e12; round++) {
    // Normal equations: J'J δ = J'r for r = log y - log law.
    const JJ = [0, 0, 0, 0, 0, 0, 0, 0, 0];
    const Jr = [0, 0, 0];
    for (const { x, y } of points) {
      const law = valueAt(theta, x);
      const power = law - theta[2];
      const slopes = [power / law, (power * Math.log(x)) / law, 1 / law];
      const r = Math.log(y) - Math.log(law);
      for (let i = 0; i < 3; i++) {
        Jr[i]! += slopes[i]! * r;
        for (let j = 0; j < 3; j++) JJ[3 * i + j]! += slopes[i]! * slopes[j]!;
      }
    }
    const damped = JJ.map((v, i) => (i % 4 === 0 ? v * (1 + damping) + 1e-18 : v));
    const step = solve3(damped, Jr);
    const next: Theta = [
      theta[0] + step[0]!,
      theta[1] + step[1]!,
      Math.max(0, theta[2] + step[2]!),
    ];
    const now = squares(points, next);
    if (now < best) {
      const done = best - now < 1e-15 * best;
      [theta, best, damping] = [next, now, damping / 5];
      if (done) break;
    } else damping *= 4;
  }
  return theta;
}

/** Cramer's rule. A 3x3 by rows, b 3. */
function solve3(A: readonly number[], b: readonly number[]): number[] {
  const det = (m: readonly number[]) =>
    m[0]! * (m[4]! * m[8]! - m[5]! * m[7]!) -
    m[1]! * (m[3]! * m[8]! - m[5]! * m[6]!) +
    m[2]! * (m[3]! * m[7]! - m[4]! * m[6]!);
  const whole = det(A);
  return [0, 1, 2].map((column) => {
    const value = det(A.map((v, i) => (i % 3 === column ? b[Math.floor(i / 3)]! : v))) / whole;
    return Number.isFinite(value) ? value : 0;
  });
}

/** Pearson's correlation. */
export function pearson(xs: readonly number[], ys: readonly number[]): number {
  const [mx, my] = [average(xs), average(ys)];
  const cross = xs.reduce((sum, x, i) => sum + (x - mx) * (ys[i]! - my), 0);
  return cross / Math.sqrt(dot(xs, mx) * dot(ys, my));
}

export type Interval = readonly [low: number, high: number];

export interface LawIntervals {
  readonly exponent: Interval;
  readonly floor: Interval;
  /** Of a new measurement at `at`, its own scatter included; only where `at` is given. */
  readonly prediction?: Interval;
}

/**
 * Intervals by residual bootstrap (Efron & Tibshirani 1993, section 9.4): residuals of log y, widened by n/(n - p), are
 * drawn with replacement, added to the law, and fitted again.
 */
export function lawIntervals(
  points: readonly Point[],
  options: FitOptions & { rng: Rng; draws?: number; share?: number; at?: number },
): LawIntervals {
  const { rng, draws = 1000, share = 0.95, at } = options;
  const law = fitPowerLaw(points, options);
  const free = points.length - (options.floor ? 3 : 2);
  const wider = Math.sqrt(points.length / Math.max(1, free));
  const residuals = points.map(({ x, y }) => wider * Math.log(y / predictLaw(law, x)));
  const any = () => residuals[rng.int(residuals.length)]!;
  const fits = Array.from({ length: draws }, () =>
    fitPowerLaw(
      points.map(({ x }) => ({ x, y: predictLaw(law, x) * Math.exp(any()) })),
      options,
    ),
  );
  const middle = (values: readonly number[]): Interval => [
    quantile(values, (1 - share) / 2),
    quantile(values, (1 + share) / 2),
  ];
  return {
    exponent: middle(fits.map(({ exponent }) => exponent)),
    floor: middle(fits.map(({ floor }) => floor)),
    ...(at === undefined
      ? {}
      : { prediction: middle(fits.map((fit) => predictLaw(fit, at) * Math.exp(any()))) }),
  };
}

/** The points that no point with as little x beats, by rising x: what is best for the compute. */
export function frontier<P extends Point>(points: readonly P[]): P[] {
  const best: P[] = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || a.y - b.y))
    if (best.length === 0 || point.y < best.at(-1)!.y) best.push(point);
  return best;
}
