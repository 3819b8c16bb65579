/** Pictures to figures: parts make no difference, equal sets are equal, too few are told, networks agree with their files. */

import { afterAll, describe, expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { sharedTest } from "../../test/shared.ts";
import type { ImageDataset } from "../data/index.ts";
import { initWeights } from "../nn/spec.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { classifierConfig, classifierSpecs } from "./classifier.ts";
import {
  compare,
  compareSets,
  type Figure,
  finished,
  inParts,
  lookAt,
  METRICS,
} from "./evaluate.ts";
import { fidelity } from "./fidelity.ts";
import { labNetwork } from "./lab-network.ts";
import { compileLook, type PictureSet, planes } from "./network.ts";
import { openNetwork } from "./networks.ts";
import { openProducts } from "./products.ts";
import { resizeMatrix } from "./resize.ts";

const backend = ortNode();
const config = classifierConfig(8, ["green", "red"], { widths: [8, 8, 8, 16] });
const classifier = {
  ...{ config, name: "made up", hash: "0" },
  weights: initWeights(classifierSpecs(config), rng("classifier")),
};
const network = labNetwork(classifier, { backend });
const products = await openProducts({ backend });
afterAll(async () => {
  await network.release();
  await products.release();
});

const look = (set: PictureSet, { batch = 32, keep = 1000 } = {}) =>
  finished(lookAt(inParts(set, batch), network, { of: set.count, products, keep }));
const reddish = (set: ImageDataset): PictureSet => ({
  ...set,
  pixels: set.pixels.map((x, i) => (i % 3 === 0 ? x : x >> 1)),
});

describe("figures of pictures", async () => {
  const [train, other] = [discs("train", 160), discs("test", 150)];

  test("parts of any size give the same figures", async () => {
    const figures = async (batch: number) => {
      const [a, b] = [await look(train, { batch }), await look(other, { batch: 7 })];
      const all: Figure[] = [];
      for await (const figure of compare(a, b, { products, subsets: 3 })) all.push(figure);
      return all;
    };
    const [some, others] = [await figures(160), await figures(11)];
    expect(some.map(({ metric }) => metric)).toEqual(METRICS);
    for (const [i, { value, metric, refused }] of some.entries()) {
      expect(refused, metric).toBeUndefined();
      // Features are float32; the runtime may cut a batch of another size otherwise.
      expect(value).toBeCloseTo(others[i]!.value!, 4);
    }
  });

  test("equal sets are at distance 0, changed ones are not", async () => {
    const metrics = ["fid", "sfid", "kid", "precision"] as const;
    const same = await compareSets(train, train, { network, backend, metrics, subsets: 2 });
    expect(same.get("fid")!.value).toBeLessThan(1e-9);
    expect(same.get("sfid")!.value).toBeLessThan(1e-9);
    const [low, high] = same.get("kid")!.interval!;
    expect(low <= 0 && high >= 0).toBe(true);
    expect(same.get("precision")!.value).toBe(1);
    const changed = await compareSets(reddish(train), other, { network, backend, subsets: 2 });
    const near = await compareSets(train, other, { network, backend, subsets: 2 });
    expect(changed.get("fid")!.value).toBeGreaterThan(2 * near.get("fid")!.value!);
    expect(changed.get("kid")!.interval![0]).toBeGreaterThan(near.get("kid")!.value!);
  });

  test("too few pictures are told instead of a number", async () => {
    const few = discs("test", 12);
    const figures = await compareSets(few, train, { network, backend, metrics: METRICS });
    for (const metric of METRICS) expect(figures.get(metric)!.value, metric).toBeUndefined();
    expect(figures.get("fid")!.refused).toContain("at least 17 pictures");
    expect(figures.get("kid")!.refused).toContain("at least 50");
    expect(figures.get("is")!.refused).toContain("got 12");
  });

  test("a kept sample is bounded, drawn from all, and the same at every batch", async () => {
    const [a, b] = [await look(train, { keep: 40 }), await look(train, { keep: 40, batch: 160 })];
    expect(a.kept.count).toBe(40);
    expect(a.count).toBe(160);
    expect(a.kept.data[0]).toBeCloseTo(b.kept.data[0]!, 4);
    const firsts = await look({ ...train, count: 40 });
    expect(a.kept.data.slice(0, 16 * 40)).not.toEqual(firsts.kept.data);
  });

  test("pictures of another size are resized to the network's", async () => {
    const large = { ...train, width: 16, height: 16, count: 40 };
    const seen = await network.look(large);
    expect(seen.features).toMatchObject({ count: 40, width: 16 });
    const [no, yes] = seen.probabilities!.data;
    expect(no! + yes!).toBeCloseTo(1);
  });
});

test("each axis of a picture that is no square is resized for itself", async () => {
  const looked = await compileLook(
    backend,
    { width: 6, height: 3 },
    {
      ...{ size: 4, resize: "bicubic", range: { scale: 1, offset: 0 } },
      build: (images) => ({ images }),
    },
  );
  const pixels = Uint8Array.from({ length: 6 * 3 * 3 }, (_, i) => (i * 41) % 256);
  const { images } = await looked.run({
    pixels: planes({ count: 1, width: 6, height: 3, pixels }),
  });
  expect(images!.shape).toEqual([1, 3, 4, 4]);
  const [x, y] = [resizeMatrix("bicubic", 6, 4), resizeMatrix("bicubic", 3, 4)];
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < 16; i++) {
      let sum = 0;
      for (let row = 0; row < 3; row++)
        for (let column = 0; column < 6; column++)
          sum +=
            Number(y.data[Math.floor(i / 4) * 3 + row]) *
            Number(x.data[(i % 4) * 6 + column]) *
            pixels[(row * 6 + column) * 3 + c]!;
      expect(images!.data[c * 16 + i]).toBeCloseTo(sum, 3);
    }
  await looked.release();
});

describe("kernels of resizing", () => {
  test.each(["bicubic", "bilinear", "torch-bilinear", "tf1-bilinear"] as const)(
    "%s keeps a flat picture flat, and equal sizes as they are",
    (kernel) => {
      for (const [from, to] of [
        [8, 5],
        [5, 8],
        [6, 6],
      ] as const) {
        const { data } = resizeMatrix(kernel, from, to);
        for (let i = 0; i < to; i++) {
          const row = [...data.subarray(i * from, (i + 1) * from)] as number[];
          expect(row.reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 6);
          if (from === to) expect(row[i]).toBeCloseTo(1, 6);
        }
      }
    },
  );

  test("the kernels differ as they must at half the size", () => {
    const first = (kernel: Parameters<typeof resizeMatrix>[0]) =>
      [...resizeMatrix(kernel, 8, 4).data.subarray(8, 16)].map(
        (w) => Math.round(Number(w) * 1e4) / 1e4,
      );
    expect(first("torch-bilinear")).toEqual([0, 0, 0.5, 0.5, 0, 0, 0, 0]);
    expect(first("tf1-bilinear")).toEqual([0, 0, 1, 0, 0, 0, 0, 0]);
    expect(first("bilinear")).toEqual([0, 0.125, 0.375, 0.375, 0.125, 0, 0, 0]);
    // What Pillow 9.4.0 makes of unit pictures in mode F with Image.BICUBIC, second row.
    const pillow = [-0.034749, 0.111969, 0.428571, 0.428571, 0.111969, -0.034749, -0.011583, 0];
    expect(first("bicubic")).toEqual(pillow.map((w) => expect.closeTo(w, 4)));
  });
});

describe("fidelity of reconstructions", () => {
  const one = discs("train", 4);
  test("of equal pictures is perfect, of noise is as computed by hand", () => {
    expect(fidelity(one, one)).toEqual({ count: 4, psnr: Number.POSITIVE_INFINITY, ssim: 1 });
    const off = { ...one, pixels: one.pixels.map((x) => (x > 127 ? x - 10 : x + 10)) };
    expect(fidelity(one, off).psnr).toBeCloseTo(20 * Math.log10(255 / 10), 10);
    expect(fidelity(one, off).ssim).toBeLessThan(1);
  });
  test("of pictures that are no squares is that of the pictures turned", () => {
    const bytes = (seed: string) =>
      Uint8Array.from({ length: 20 * 13 * 3 }, (_, i) => rng(seed).child(i).int(256));
    const turned = (pixels: Uint8Array) =>
      Uint8Array.from(pixels, (_, i) => {
        const [c, x, y] = [i % 3, Math.floor(i / 3) % 13, Math.floor(i / 39)];
        return pixels[(x * 20 + y) * 3 + c]!;
      });
    const [a, b] = [bytes("a"), bytes("b")].map((pixels) => ({
      wide: { count: 1, width: 20, height: 13, pixels },
      high: { count: 1, width: 13, height: 20, pixels: turned(pixels) },
    })) as [{ wide: PictureSet; high: PictureSet }, { wide: PictureSet; high: PictureSet }];
    const [wide, high] = [fidelity(a.wide, b.wide), fidelity(a.high, b.high)];
    expect(wide.psnr).toBeCloseTo(high.psnr, 12);
    expect(wide.ssim).toBeCloseTo(high.ssim, 12);
    expect(wide.ssim).not.toBe(0);
    expect(() => fidelity(a.wide, b.high)).toThrow(/20x13 pixels .* of 13x20/);
  });
  test("SSIM of two flat pictures is that of their means", () => {
    const flat = (value: number) => ({
      count: 1,
      width: 16,
      height: 16,
      pixels: new Uint8Array(768).fill(value),
    });
    const C1 = 2.55 ** 2;
    const wanted = (2 * 100 * 120 + C1) / (100 ** 2 + 120 ** 2 + C1);
    expect(fidelity(flat(100), flat(120)).ssim).toBeCloseTo(wanted, 10);
  });
});

sharedTest(
  "MobileNet: 1280 features, spatial ones, and the same for each picture of a batch",
  "data/mobilenet_v2_imagenet.onnx",
  async (file) => {
    const net = await openNetwork(file, { backend });
    const pictures = discs("test", 3);
    const seen = await net.look(pictures);
    expect(seen.features).toMatchObject({ count: 3, width: 1280 });
    expect(seen.spatial).toMatchObject({ count: 3, width: 2023 });
    expect(seen.probabilities!.width).toBeGreaterThanOrEqual(1000);
    const alone = await net.look({
      ...pictures,
      count: 1,
      pixels: pictures.pixels.subarray(0, 192),
    });
    for (let j = 0; j < 1280; j += 97)
      expect(alone.features.data[j]).toBeCloseTo(seen.features.data[j]!, 4);
    await net.release();
  },
);

test("names that are no network are answered with what there is", async () => {
  await expect(openNetwork("inception")).rejects.toThrow("pt_inception-2015-12-05");
  await expect(openNetwork("lab:none")).rejects.toThrow("no classifier");
});
