/** A part of a data set, spread evenly over it: smaller sets of the same kind. Copies no pictures it does not need to. */

import { pixelCount } from "../formats/picture-size.ts";
import type { ImageDataset } from "./types.ts";

/** At most `count` pictures, evenly from the whole; the set itself where it has no more. */
export function partOfDataset(dataset: ImageDataset, count: number): ImageDataset {
  if (count >= dataset.count) return dataset;
  const bytes = pixelCount(dataset) * 3;
  const chosen = Array.from({ length: count }, (_, i) => Math.floor((i * dataset.count) / count));
  const pixels = new Uint8Array(count * bytes);
  for (const [to, from] of chosen.entries())
    pixels.set(dataset.pixels.subarray(from * bytes, (from + 1) * bytes), to * bytes);
  return {
    ...dataset,
    ...{ count, pixels },
    label: (i) => dataset.label(chosen[i]!),
    id: (i) => dataset.id(chosen[i]!),
    concept: (i) => dataset.concept(chosen[i]!),
  };
}
