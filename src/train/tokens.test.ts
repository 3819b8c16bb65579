/** Data sets as tokens: the mistakes that are put in, and how the finer scales repair them. */

import { describe, expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { normalise, pixelsOf } from "../data/index.ts";
import { vqvaeConfig } from "../image/config.ts";
import { quantize } from "../image/quantizer.ts";
import { imageSize, scaleStarts } from "../image/scales.ts";
import { encode } from "../image/vqvae.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { bindConstants } from "../nn/bind.ts";
import { initWeights } from "../nn/spec.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { concat, slice } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";
import { type TokenSet, tokenize } from "./tokens.ts";

const patchNums = [1, 2, 4];
const tokenizer = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums },
});
const data = { train: discs("train", 24) };

describe("tokens with mistakes", () => {
  const weights = initWeights(vqvaeSpecs(tokenizer), rng("tokenizer"));
  const encoded = async (mistakes: number): Promise<TokenSet> => {
    const fixed = { config: tokenizer, weights, backend: ortNode() };
    for await (const { tokens } of tokenize(data.train, fixed, { variants: 9, mistakes, batch: 5 }))
      if (tokens) return tokens;
    throw new Error("tokenize ended without tokens");
  };

  test("are other pictures' tokens, up to the share asked for, and never in the first variant", async () => {
    const { ids, read, count, length, variants } = await encoded(0.8);
    const clean = ids.subarray(0, count * length);
    expect(read.subarray(0, count * length)).toEqual(clean);
    let slips = 0;
    for (let i = count * length; i < ids.length; i++) {
      if (read[i] === ids[i]) continue;
      slips++;
      const place = i % length;
      expect(clean.filter((_, j) => j % length === place)).toContain(read[i]);
    }
    // A picture's share is even over 0 to 0.8; with 16 codes at most, some mistakes are the true token by luck.
    const share = slips / ((variants - 1) * count * length);
    expect(share).toBeGreaterThan(0.2);
    expect(share).toBeLessThan(0.45);
    const without = await encoded(0);
    expect(without.read).toBe(without.ids);
    expect(without.ids.subarray(0, count * length)).toEqual(clean);
  });

  test("are repaired: each scale's true tokens are those nearest to what the misread ones left over", async () => {
    const { ids, read, count, length } = await encoded(0.8);
    const g = createGraph("again");
    const p = bindConstants(g, weights);
    const size = imageSize(tokenizer);
    const images = input(g, "images", [count, 3, size.height, size.width]);
    const laid = input(g, "laid", [count, length], "int64");
    const starts = scaleStarts(patchNums);
    const { ids: again } = quantize(encode(images, p, tokenizer), p, tokenizer, {
      misread: (_, k) => slice(laid, { axis: 1, start: starts[k]!, end: starts[k + 1]! }),
    });
    output(g, "ids", concat(again, 1));
    const session = await ortNode().compile(g);
    const pixels = new Float32Array(count * 3 * size.height * size.width);
    for (let i = 0; i < count; i++)
      normalise(pixelsOf(data.train, i), {
        ...{ from: data.train, to: size, out: pixels },
        at: (i * pixels.length) / count,
      });
    const last = (of: Int32Array) => of.subarray(8 * count * length);
    const result = await session.run({
      images: { dtype: "float32", shape: [count, 3, size.height, size.width], data: pixels },
      laid: {
        dtype: "int64",
        shape: [count, length],
        data: BigInt64Array.from(last(read), BigInt),
      },
    });
    expect(Int32Array.from(result.ids!.data as BigInt64Array, Number)).toEqual(last(ids));
    await session.release();
  });
});
