/** A data set for tests: something that can be learnt in a few steps. */

import type { ImageDataset } from "../src/data/index.ts";
import { rng } from "../src/tensor/rng.ts";

/** Discs of two colours on white, 8 pixels. */
export function discs(split: "train" | "test", count: number): ImageDataset {
  const size = 8;
  const pixels = new Uint8Array(count * size * size * 3).fill(255);
  const chance = rng(split);
  for (let i = 0; i < count; i++) {
    const [cx, cy, radius] = [2 + chance.int(4), 2 + chance.int(4), 2 + chance.uniform()];
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++)
        if (Math.hypot(x - cx, y - cy) < radius) {
          const at = ((i * size + y) * size + x) * 3;
          pixels[at + (i % 2)] = 0;
          pixels[at + 2] = 0;
        }
  }
  const common = {
    name: "discs",
    split,
    width: size,
    height: size,
    channels: 3,
    count,
    pixels,
  } as const;
  const label = (i: number) => i % 2;
  const id = (i: number) => `${split} ${i}`;
  return { ...common, classes: ["green", "red"], label, id, concept: id, attribution: [] };
}
