/**
 * Antialiased Lanczos resizing of 8-bit pictures, bit for bit what Pillow's `Image.resize(..., LANCZOS)` gives,
 * and the resize-and-crop that VAR prepares its pictures with. Reads no files.
 *
 * The trick is Pillow's: two passes, horizontal first, weights as 22-bit fixed-point integers, and the
 * intermediate picture rounded to 8 bits. Integers make the result the same on every machine.
 */
import { type PictureSize, sizeText } from "../formats/picture-size.ts";

/** An 8-bit picture: height x width x channels, row-major. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array; // H W C
}

const PRECISION = 32 - 8 - 2; // bits: a byte times a weight below 2 fits 32 bits with sign
const LOBES = 3;

function sinc(x: number): number {
  if (x === 0) return 1;
  return Math.sin(x * Math.PI) / (x * Math.PI);
}

const lanczos = (x: number): number => (x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0);

interface Weights {
  /** First source index of each target index. */
  readonly first: Int32Array;
  /** How many source values each target index takes. */
  readonly taps: Int32Array;
  /** `stride` fixed-point weights per target index. */
  readonly weights: Int32Array;
  readonly stride: number;
}

/** Weights of one axis. Math.sin may differ by an ulp between engines; 22 bits do not see it. */
function axisWeights(from: number, to: number): Weights {
  const scale = from / to;
  const stretch = Math.max(scale, 1); // when shrinking, the kernel widens: that is the antialiasing
  const support = LOBES * stretch;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const taps = new Int32Array(to);
  const weights = new Int32Array(to * stride);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(centre - support + 0.5), 0);
    const high = Math.min(Math.trunc(centre + support + 0.5), from);
    const row = new Float64Array(high - low);
    let sum = 0;
    for (let k = 0; k < row.length; k++) {
      row[k] = lanczos((k + low - centre + 0.5) * (1 / stretch));
      sum += row[k]!;
    }
    first[i] = low;
    taps[i] = row.length;
    for (let k = 0; k < row.length; k++) {
      const w = (sum === 0 ? row[k]! : row[k]! / sum) * (1 << PRECISION);
      weights[i * stride + k] = Math.trunc(w < 0 ? w - 0.5 : w + 0.5);
    }
  }
  return { first, taps, weights, stride };
}

/**
 * Resamples one axis of a picture seen as [outer][axis][inner] bytes.
 * Horizontal: outer = rows, inner = channels. Vertical: outer = 1, inner = a whole row.
 */
function resampleAxis(
  source: Uint8Array,
  from: number,
  { to, outer, inner }: { to: number; outer: number; inner: number },
): Uint8Array {
  const { first, taps, weights, stride } = axisWeights(from, to);
  const out = new Uint8Array(outer * to * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < to; i++) {
      const at = (o * from + first[i]!) * inner;
      const target = (o * to + i) * inner;
      for (let c = 0; c < inner; c++) {
        let sum = 1 << (PRECISION - 1);
        for (let k = 0; k < taps[i]!; k++) {
          sum = (sum + Math.imul(source[at + k * inner + c]!, weights[i * stride + k]!)) | 0;
        }
        const value = sum >> PRECISION;
        out[target + c] = value < 0 ? 0 : Math.min(value, 255);
      }
    }
  }
  return out;
}

/** Resizes to exactly width x height with Pillow's Lanczos filter. */
export function resizeLanczos(picture: Picture, width: number, height: number): Picture {
  const { channels } = picture;
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new RangeError(`resizeLanczos: got ${width}x${height}, want whole numbers of pixels`);
  }
  let { data } = picture;
  if (width !== picture.width) {
    data = resampleAxis(data, picture.width, { to: width, outer: picture.height, inner: channels });
  }
  if (height !== picture.height) {
    data = resampleAxis(data, picture.height, { to: height, outer: 1, inner: width * channels });
  }
  return { width, height, channels, data };
}

/**
 * `resizeLanczos` of values that are no bytes, such as differences: the same weights, nothing rounded, nothing clipped.
 * @param values H W C @returns height width C
 */
export function resizeValues(
  values: Float32Array,
  { width, height, channels }: PictureSize & { channels: number },
  to: PictureSize,
): Float32Array {
  const inner = to.width * channels;
  const wide = resampleValues(values, width, { to: to.width, outer: height, inner: channels });
  return resampleValues(wide, height, { to: to.height, outer: 1, inner });
}

/** `resampleAxis` without rounding. */
function resampleValues(
  source: Float32Array,
  from: number,
  { to, outer, inner }: { to: number; outer: number; inner: number },
): Float32Array {
  const { first, taps, weights, stride } = axisWeights(from, to);
  return Float32Array.from({ length: outer * to * inner }, (_, at) => {
    const i = Math.floor(at / inner) % to;
    const start = (Math.floor(at / (inner * to)) * from + first[i]!) * inner + (at % inner);
    let sum = 0;
    for (let k = 0; k < taps[i]!; k++) sum += source[start + k * inner]! * weights[i * stride + k]!;
    return sum / 2 ** PRECISION;
  });
}

/**
 * The smallest picture of the same proportions that covers `size`: one edge has its length, the other rounds down, as
 * torchvision's resize of the shorter edge does, to which this comes for a square.
 */
export function resizeToCover(picture: Picture, size: PictureSize): Picture {
  const { width, height } = picture;
  return width * size.height <= height * size.width
    ? resizeLanczos(
        picture,
        size.width,
        Math.max(size.height, Math.trunc((size.width * height) / width)),
      )
    : resizeLanczos(
        picture,
        Math.max(size.width, Math.trunc((size.height * width) / height)),
        size.height,
      );
}

/** The middle of that size. An odd rest rounds half to even, as Python's `round` in torchvision does. */
export function centreCrop(picture: Picture, size: PictureSize): Picture {
  const { width, height, channels, data } = picture;
  if (size.width > width || size.height > height) {
    throw new RangeError(`centreCrop: ${sizeText(size)} pixels do not fit into ${width}x${height}`);
  }
  const top = roundHalfEven((height - size.height) / 2);
  const left = roundHalfEven((width - size.width) / 2);
  const row = size.width * channels;
  const out = new Uint8Array(size.height * row);
  for (let y = 0; y < size.height; y++) {
    const at = ((top + y) * width + left) * channels;
    out.set(data.subarray(at, at + row), y * row);
  }
  return { width: size.width, height: size.height, channels, data: out };
}

/** What is covered before cropping to `size`: VAR's mid_reso = round(1.125 size), along each side. */
export const roomySize = ({ width, height }: PictureSize): PictureSize => ({
  width: roundHalfEven(1.125 * width),
  height: roundHalfEven(1.125 * height),
});

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
