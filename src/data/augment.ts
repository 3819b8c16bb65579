/**
 * From stored bytes to what a model sees: random crop, shift, scale, flip, colour; float32 in [-1, 1], channels first.
 * Pure: all chance comes from the `rng` given. Only + - * / are used, so results are the same on every machine.
 */

import { type PictureSize, pixelCount } from "../formats/picture-size.ts";
import type { Rng } from "../tensor/rng.ts";

/** Strengths; 0 switches a part off. With all of them 0 the picture passes unchanged. */
export interface Augment {
  /** Random displacement, pixels in each direction; what comes in is white. Default 0. */
  readonly shift?: number;
  /** Random zoom about the centre by 1-scale .. 1+scale. Default 0. */
  readonly scale?: number;
  /** Probability of a horizontal flip. Default 0. */
  readonly flip?: number;
  /** Largest hue rotation, in turns. Default 0. */
  readonly hue?: number;
  /** Colourfulness times 1-s .. 1+s. Default 0. */
  readonly saturation?: number;
  /** Intensity times 1-b .. 1+b. Default 0. */
  readonly brightness?: number;
}

/** A picture in, its place in the batch out. */
export interface AugmentTarget {
  /** Of the stored picture. */
  readonly from: PictureSize;
  /** Of the result; smaller than `from` means a random crop. */
  readonly to: PictureSize;
  /** Receives 3 x height x width floats at `at`. */
  readonly out: Float32Array;
  readonly at: number;
}

const WHITE = 255;

/** Byte to [-1, 1], rounded as torch's ToTensor and VAR's x + x - 1 round it in float32. */
const PM1 = Float32Array.from({ length: 256 }, (_, p) => {
  const unit = Math.fround(p / 255);
  return Math.fround(unit + unit) - 1;
});

/** Writes the middle of a picture as float32 C H W in [-1, 1], without any chance. */
export function normalise(pixels: Uint8Array, { from, to, out, at }: AugmentTarget): void {
  const left = Math.floor((from.width - to.width) / 2);
  const top = Math.floor((from.height - to.height) / 2);
  copy(pixels, { from, to, out, at }, { left, top, flip: false });
}

/** Writes one randomly changed copy of a picture as float32 C H W in [-1, 1]. Source H W C bytes. */
export function augment(
  pixels: Uint8Array,
  target: AugmentTarget,
  { rng, ...strength }: Augment & { readonly rng: Rng },
): void {
  const { from, to, out, at } = target;
  const { shift = 0, scale = 0, flip = 0, hue = 0, saturation = 0, brightness = 0 } = strength;
  const either = (s: number): number => (2 * rng.uniform() - 1) * s;
  // Every picture draws the same numbers whatever the strengths: switching one off leaves the others as they were.
  const left = rng.int(from.width - to.width + 1) + rng.int(2 * shift + 1) - shift;
  const top = rng.int(from.height - to.height + 1) + rng.int(2 * shift + 1) - shift;
  const flipped = rng.uniform() < flip;
  const zoom = 1 + either(scale);
  const colour = [either(hue), 1 + either(saturation), 1 + either(brightness)] as const;

  if (zoom === 1) copy(pixels, target, { left, top, flip: flipped });
  else sampleZoomed(pixels, target, { left, top, flip: flipped, zoom });
  if (hue > 0 || saturation > 0 || brightness > 0)
    recolour(out.subarray(at, at + 3 * pixelCount(to)), colour);
}

interface Placement {
  readonly left: number;
  readonly top: number;
  readonly flip: boolean;
}

function copy(pixels: Uint8Array, target: AugmentTarget, { left, top, flip }: Placement): void {
  const { from, to, out, at } = target;
  const plane = pixelCount(to);
  for (let y = 0; y < to.height; y++) {
    for (let x = 0; x < to.width; x++) {
      const sx = left + (flip ? to.width - 1 - x : x);
      const sy = top + y;
      const inside = sx >= 0 && sy >= 0 && sx < from.width && sy < from.height;
      const source = (sy * from.width + sx) * 3;
      for (let c = 0; c < 3; c++) {
        out[at + c * plane + y * to.width + x] = PM1[inside ? pixels[source + c]! : WHITE]!;
      }
    }
  }
}

/** Bilinear sampling about the centre of the window; zooms are small, so no antialiasing is needed. */
function sampleZoomed(
  pixels: Uint8Array,
  { from, to, out, at }: AugmentTarget,
  { left, top, flip, zoom }: Placement & { readonly zoom: number },
): void {
  const plane = pixelCount(to);
  const [middle, centre] = [(to.width - 1) / 2, (to.height - 1) / 2];
  const read = (x: number, y: number, c: number): number =>
    x >= 0 && y >= 0 && x < from.width && y < from.height
      ? pixels[(y * from.width + x) * 3 + c]!
      : WHITE;
  for (let y = 0; y < to.height; y++) {
    const sy = top + centre + (y - centre) / zoom;
    const y0 = Math.floor(sy);
    const fy = sy - y0;
    for (let x = 0; x < to.width; x++) {
      const sx = left + middle + ((flip ? to.width - 1 - x : x) - middle) / zoom;
      const x0 = Math.floor(sx);
      const fx = sx - x0;
      for (let c = 0; c < 3; c++) {
        const upper = read(x0, y0, c) * (1 - fx) + read(x0 + 1, y0, c) * fx;
        const lower = read(x0, y0 + 1, c) * (1 - fx) + read(x0 + 1, y0 + 1, c) * fx;
        out[at + c * plane + y * to.width + x] = (upper * (1 - fy) + lower * fy) / 127.5 - 1;
      }
    }
  }
}

/**
 * Rotates hue and scales colourfulness in YIQ, then scales intensity, clamped. In place, C H W in [-1, 1].
 * Grey stays grey, so a white background changes only with brightness.
 */
function recolour(
  image: Float32Array,
  [hue, saturation, brightness]: readonly [number, number, number],
): void {
  // Angle 2 atan t from half-angle formulas: exact arithmetic in place of cos and sin; t = pi hue for small hues.
  const t = Math.PI * hue;
  const cos = ((1 - t * t) / (1 + t * t)) * saturation;
  const sin = ((2 * t) / (1 + t * t)) * saturation;
  const plane = image.length / 3;
  const clamp = (x: number): number => (x < -1 ? -1 : Math.min(x, 1));
  for (let i = 0; i < plane; i++) {
    const r = (image[i]! + 1) / 2;
    const g = (image[plane + i]! + 1) / 2;
    const b = (image[2 * plane + i]! + 1) / 2;
    const luma = 0.299 * r + 0.587 * g + 0.114 * b;
    const p = 0.596 * r - 0.274 * g - 0.322 * b;
    const q = 0.211 * r - 0.523 * g + 0.312 * b;
    const i2 = cos * p - sin * q;
    const q2 = sin * p + cos * q;
    image[i] = clamp(2 * brightness * (luma + 0.956 * i2 + 0.621 * q2) - 1);
    image[plane + i] = clamp(2 * brightness * (luma - 0.272 * i2 - 0.647 * q2) - 1);
    image[2 * plane + i] = clamp(2 * brightness * (luma - 1.106 * i2 + 1.703 * q2) - 1);
  }
}
