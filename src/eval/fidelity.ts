/** How near reconstructions are to their originals, picture by picture: PSNR and SSIM. Looks through no network. */

import { type PictureSize, sameSize, sizeText } from "../formats/picture-size.ts";
import type { PictureSet } from "./network.ts";

/** Fidelity over a set. */
export interface Fidelity {
  readonly count: number;
  /** dB, of the mean squared error over all pictures and channels; Infinity for equal sets. */
  readonly psnr: number;
  /** Mean over pictures, -1 to 1. */
  readonly ssim: number;
}

/**
 * PSNR and SSIM between two sets, picture i with picture i, bytes 0..255. SSIM of luma (BT.601), as its authors define
 * it: Gaussian windows of 11 x 11 with σ = 1.5 that lie wholly inside, K₁ = 0.01, K₂ = 0.03 (Wang et al. 2004). A
 * side of fewer than 11 pixels is one window.
 */
export function fidelity(a: PictureSet, b: PictureSet): Fidelity {
  if (a.count !== b.count || !sameSize(a, b) || a.count === 0)
    throw new RangeError(
      `fidelity: ${a.count} pictures of ${sizeText(a)} pixels and ${b.count} of ${sizeText(b)}; want as many of the same size, at least one`,
    );
  let [squares, ssim] = [0, 0];
  for (let i = 0; i < a.pixels.length; i++) squares += (a.pixels[i]! - b.pixels[i]!) ** 2;
  for (let i = 0; i < a.count; i++) ssim += similarity(luma(a, i), luma(b, i), a);
  const psnr = 10 * Math.log10(255 ** 2 / (squares / a.pixels.length));
  return { count: a.count, psnr, ssim: ssim / a.count };
}

function luma({ width, height, pixels }: PictureSet, i: number): Float64Array {
  const plane = width * height;
  return Float64Array.from({ length: plane }, (_, p) => {
    const at = (i * plane + p) * 3;
    return 0.299 * pixels[at]! + 0.587 * pixels[at + 1]! + 0.114 * pixels[at + 2]!;
  });
}

const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;
const WINDOW = 11;
const SIGMA = 1.5;

function similarity(x: Float64Array, y: Float64Array, size: PictureSize): number {
  const [across, down] = [size.width, size.height].map((side) =>
    gaussian(Math.min(WINDOW, side)),
  ) as [Float64Array, Float64Array];
  const blurred = (f: (i: number) => number) => {
    const values = Float64Array.from({ length: x.length }, (_, i) => f(i));
    return blur(values, size, { across, down });
  };
  const [mx, my] = [blurred((i) => x[i]!), blurred((i) => y[i]!)];
  const [xx, yy] = [blurred((i) => x[i]! ** 2), blurred((i) => y[i]! ** 2)];
  const xy = blurred((i) => x[i]! * y[i]!);
  let sum = 0;
  for (let i = 0; i < mx.length; i++) {
    const [u, v] = [mx[i]!, my[i]!];
    const [vx, vy, c] = [xx[i]! - u * u, yy[i]! - v * v, xy[i]! - u * v];
    sum += ((2 * u * v + C1) * (2 * c + C2)) / ((u * u + v * v + C1) * (vx + vy + C2));
  }
  return sum / mx.length;
}

function gaussian(width: number): Float64Array {
  const raw = Float64Array.from({ length: width }, (_, i) =>
    Math.exp(-((i - (width - 1) / 2) ** 2) / (2 * SIGMA ** 2)),
  );
  const sum = raw.reduce((total, w) => total + w, 0);
  return raw.map((w) => w / sum);
}

/** Both axes, only where the window lies inside: side n -> n - window + 1. */
function blur(
  values: Float64Array,
  { width, height }: PictureSize,
  { across, down }: Readonly<Record<"across" | "down", Float64Array>>,
): Float64Array {
  const [W, H] = [width - across.length + 1, height - down.length + 1];
  const rows = new Float64Array(height * W);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < W; x++)
      for (let k = 0; k < across.length; k++)
        rows[y * W + x]! += across[k]! * values[y * width + x + k]!;
  const both = new Float64Array(H * W);
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++)
      for (let k = 0; k < down.length; k++) both[y * W + x]! += down[k]! * rows[(y + k) * W + x]!;
  return both;
}
