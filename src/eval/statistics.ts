/** Mean and covariance of feature vectors that come a few at a time, in float64. Keeps none of them. */

import { InputError } from "../formats/errors.ts";
import type { Products, Rows } from "./products.ts";

/** What a Frechet distance needs of a set. */
export interface Statistics {
  readonly count: number;
  readonly width: number;
  readonly mean: Float64Array; // d
  /** Unbiased (divided by count - 1), as NumPy's cov; row-major. */
  readonly covariance: Float64Array; // d d
}

/** Takes features in parts; the result does not depend on how they were cut, but for rounding. */
export class StatisticsStream {
  #count = 0;
  /** Subtracted before squaring: means far from zero cost no digits. */
  #shift?: Float64Array;
  #sum?: Float64Array;
  #gram?: Float64Array;
  readonly #products: Products;

  constructor(products: Products) {
    this.#products = products;
  }

  get count(): number {
    return this.#count;
  }

  async add(rows: Rows): Promise<void> {
    const { count, width } = rows;
    if (count === 0) return;
    this.#shift ??= meanOf(rows);
    this.#sum ??= new Float64Array(width);
    this.#gram ??= new Float64Array(width * width);
    if (this.#shift.length !== width)
      throw new RangeError(`statistics: features of ${width} after ${this.#shift.length}`);
    const data = new Float64Array(rows.data.length);
    for (let i = 0; i < count; i++)
      for (let j = 0; j < width; j++) {
        const x = rows.data[i * width + j]! - this.#shift[j]!;
        data[i * width + j] = x;
        this.#sum[j]! += x;
      }
    const shifted = { count, width, data };
    const gram = await this.#products.columnsByColumns(shifted, shifted);
    for (let i = 0; i < gram.length; i++) this.#gram[i]! += gram[i]!;
    this.#count += count;
  }

  /** @throws InputError with fewer than two vectors, or one that is not finite */
  statistics(): Statistics {
    const [count, shift, sum, gram] = [this.#count, this.#shift, this.#sum, this.#gram];
    if (count < 2 || !shift || !sum || !gram)
      throw new InputError(`a covariance needs at least 2 pictures, got ${count}`, { count });
    const width = shift.length;
    const mean = shift.map((s, j) => s + sum[j]! / count);
    if (!mean.every(Number.isFinite))
      throw new InputError(
        "the network gave features that are not finite numbers; look at the pictures and the network's file",
      );
    const covariance = new Float64Array(width * width);
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++)
        covariance[i * width + j] =
          (gram[i * width + j]! - (sum[i]! * sum[j]!) / count) / (count - 1);
    return { count, width, mean, covariance };
  }
}

function meanOf({ count, width, data }: Rows): Float64Array {
  const mean = new Float64Array(width);
  for (let i = 0; i < count; i++)
    for (let j = 0; j < width; j++) mean[j]! += data[i * width + j]! / count;
  return mean;
}
