/** A tokenizer's reconstructions as a source of pictures, with PSNR and SSIM gathered on the way. Trains nothing. */

import { InputError } from "../formats/errors.ts";
import type { WeightMap } from "../formats/lazy.ts";
import { sameSize, sizeText } from "../formats/picture-size.ts";
import type { VqvaeConfig } from "../image/config.ts";
import { quantize } from "../image/quantizer.ts";
import { imageSize } from "../image/scales.ts";
import { toPictures } from "../image/sheet.ts";
import { decode, encode } from "../image/vqvae.ts";
import { bindConstants } from "../nn/bind.ts";
import type { Backend } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { add, clip, mul } from "../tensor/ops.ts";
import { inParts } from "./evaluate.ts";
import { type Fidelity, fidelity } from "./fidelity.ts";
import { type PictureSet, planes } from "./network.ts";
import type { PictureSource } from "./sources.ts";

/** A tokenizer in memory. */
export interface TokenizerParts {
  readonly config: VqvaeConfig;
  readonly weights: WeightMap;
  /** For recipes and caches. */
  readonly file?: string;
  readonly hash?: string;
}

/** Reconstructions of a source's pictures; `fidelity` tells of those that were rebuilt so far. */
export function tokenizerSource(
  source: PictureSource,
  tokenizer: TokenizerParts,
  { backend }: { backend: Backend; signal?: AbortSignal | undefined },
): { source: PictureSource; fidelity(): Fidelity } {
  const parts: Fidelity[] = [];
  return {
    source: {
      ...source,
      what: `${source.what}, rebuilt by ${tokenizer.file ?? "a tokenizer"}`,
      key: `${source.key} rebuilt ${tokenizer.hash}`,
      async *pictures({ signal } = {}) {
        parts.length = 0;
        for await (const { before, after } of rebuild(source.pictures({ signal }), tokenizer, {
          backend,
        })) {
          parts.push(fidelity(before, after));
          yield after;
        }
      },
    },
    fidelity: () => joined(parts),
  };
}

/** Fidelity over all of several parts: errors are averaged, not decibels. */
export function joined(parts: readonly Fidelity[]): Fidelity {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const mean = (f: (part: Fidelity) => number) =>
    parts.reduce((sum, part) => sum + part.count * f(part), 0) / count;
  const psnr = -10 * Math.log10(mean((part) => 10 ** (-part.psnr / 10)));
  return { count, psnr, ssim: mean((part) => part.ssim) };
}

/** Pictures in parts of at most 32, each with its reconstruction. @throws InputError when their size does not fit */
async function* rebuild(
  pictures: AsyncIterable<PictureSet>,
  { config, weights }: TokenizerParts,
  { backend }: { backend: Backend },
): AsyncGenerator<{ before: PictureSet; after: PictureSet }> {
  const size = imageSize(config);
  const sessions = new Map<number, Awaited<ReturnType<Backend["compile"]>>>();
  const session = async (batch: number) => {
    const found = sessions.get(batch);
    if (found) return found;
    const g = createGraph("rebuild");
    const p = bindConstants(g, weights);
    const images = add(mul(input(g, "pixels", [batch, 3, size.height, size.width]), 1 / 127.5), -1);
    const { fHats } = quantize(encode(images, p, config), p, config);
    output(g, "rebuilt", clip(decode(fHats.at(-1)!, p, config), -1, 1));
    const made = await backend.compile(g);
    sessions.set(batch, made);
    return made;
  };
  try {
    for await (const set of pictures) {
      if (!sameSize(set, size))
        throw new InputError(
          `pictures have ${sizeText(set)} pixels, the tokenizer wants ${sizeText(size)}; give --size ${sizeText(size)}, or pictures of that size`,
        );
      for await (const before of inParts(set, 32)) {
        const results = await (await session(before.count)).run({ pixels: planes(before) });
        const pixels = new Uint8Array(before.pixels.length);
        toPictures(results.rebuilt!).forEach(({ data }, i) => {
          pixels.set(data, i * data.length);
        });
        yield { before, after: { ...before, pixels } };
      }
    }
  } finally {
    for (const each of sessions.values()) await each.release();
  }
}
