/** The loader: determinism, resuming anywhere, covering an epoch, refusing what does not fit; and augmentation. */

import { describe, expect, test } from "vitest";
import { pictureSize } from "../formats/picture-size.ts";
import { rng } from "../tensor/rng.ts";
import { augment, normalise } from "./augment.ts";
import {
  type Batch,
  type BatchOptions,
  batches,
  type Cursor,
  epochOrder,
  inOrder,
} from "./loader.ts";
import { classCounts, findClasses, type ImageDataset, pixelsOf } from "./types.ts";

function synthetic(count: number, size = 6): ImageDataset {
  const pixels = new Uint8Array(count * size * size * 3);
  const r = rng("pictures");
  for (let i = 0; i < pixels.length; i++) pixels[i] = r.int(256);
  return {
    name: "synthetic",
    split: "train",
    width: size,
    height: size,
    channels: 3,
    count,
    classes: ["food/fluent", "food/noto", "sky/noto"],
    pixels,
    label: (i) => i % 3,
    id: (i) => `${i}`,
    concept: (i) => `${i}`,
    attribution: [],
  };
}

const STRONG = { shift: 2, scale: 0.1, flip: 0.5, hue: 0.05, saturation: 0.2, brightness: 0.1 };

async function take(n: number, data: ImageDataset, options: BatchOptions): Promise<Batch[]> {
  const got: Batch[] = [];
  for await (const batch of batches(data, options)) {
    got.push(batch);
    if (got.length === n) break;
  }
  return got;
}

describe("batches", () => {
  const data = synthetic(11);

  test("resuming at every position gives the same bytes as never stopping", async () => {
    const whole = await take(12, data, { batch: 3, seed: 5, augment: STRONG }); // four epochs of three
    for (let stop = 0; stop < whole.length - 1; stop++) {
      const cursor = JSON.parse(JSON.stringify(whole[stop]!.cursor)) as Cursor;
      const rest = await take(12 - stop - 1, data, { batch: 3, cursor, augment: STRONG });
      expect(rest).toEqual(whole.slice(stop + 1));
    }
  });

  test("an epoch has every picture at most once and drops only the rest", async () => {
    const epoch = await take(99, data, { batch: 3, seed: 1, epochs: 1 });
    const seen = epoch.flatMap((b) => [...b.indices]);
    expect(seen.length).toBe(9);
    expect(new Set(seen).size).toBe(9);
    expect(epoch.at(-1)!.cursor).toEqual({ seed: 1, epoch: 0, position: 9 });
  });

  test("labels belong to their pictures", async () => {
    const [batch] = await take(1, data, { batch: 4 });
    expect([...batch!.labels]).toEqual([...batch!.indices].map((i) => i % 3));
    const one = new Float32Array(3 * 36);
    normalise(pixelsOf(data, batch!.indices[2]!), { from: data, to: data, out: one, at: 0 });
    expect((batch!.images.data as Float32Array).slice(2 * 108, 3 * 108)).toEqual(one);
  });

  test("epochs and seeds have different orders", () => {
    const orders = [epochOrder(11, 0, 0), epochOrder(11, 0, 1), epochOrder(11, 1, 0)].map((order) =>
      order.join(),
    );
    expect(new Set(orders).size).toBe(3);
  });

  test("a picture is augmented the same in any batch size, and differently in the next epoch", async () => {
    const find = (all: Batch[], index: number, epoch: number) => {
      const batch = all.find((b) => b.cursor.epoch === epoch && b.indices.includes(index))!;
      const at = batch.indices.indexOf(index) * 108;
      return (batch.images.data as Float32Array).slice(at, at + 108);
    };
    const ones = await take(22, data, { batch: 1, augment: STRONG });
    const elevens = await take(2, data, { batch: 11, augment: STRONG });
    expect(find(ones, 4, 0)).toEqual(find(elevens, 4, 0));
    expect(find(ones, 4, 0)).not.toEqual(find(ones, 4, 1));
  });

  test("a smaller size is a random crop of the stored picture", async () => {
    const [batch] = await take(1, data, { batch: 11, size: 4 });
    expect(batch!.images.shape).toEqual([11, 3, 4, 4]);
    for (const [b, index] of batch!.indices.entries()) {
      const got = (batch!.images.data as Float32Array).slice(b * 48, (b + 1) * 48);
      const crops = [0, 1, 2].flatMap((top) =>
        [0, 1, 2].map((left) =>
          Float32Array.from({ length: 48 }, (_, k) => {
            const [c, y, x] = [Math.floor(k / 16), Math.floor(k / 4) % 4, k % 4];
            const p = pixelsOf(data, index)[((top + y) * 6 + left + x) * 3 + c]!;
            return Math.fround(2 * Math.fround(p / 255)) - 1;
          }).join(),
        ),
      );
      expect(crops).toContain(got.join());
    }
  });

  test("an aborted signal stops before the next batch", async () => {
    const stop = new AbortController();
    const iterator = batches(data, { batch: 2, signal: stop.signal });
    await iterator.next();
    stop.abort();
    await expect(iterator.next()).rejects.toThrow(/abort/i);
  });

  test.each([
    [{ batch: 0 }, /got a batch of 0/],
    [{ batch: 12 }, /a batch of 12 is more than the 11 pictures/],
    [{ batch: 2, size: 7 }, /at most the stored 6/],
    [{ batch: 2, cursor: { seed: 0, epoch: 0, position: 12 } }, /does not fit 11 pictures/],
    [{ batch: 2, cursor: { seed: 0, epoch: -1, position: 0 } }, /does not fit/],
  ])("%j is refused with a sentence", async (options, message) => {
    await expect(batches(data, options).next()).rejects.toThrow(message);
  });
});

test("inOrder gives every picture once, unchanged, with a smaller last batch", async () => {
  const data = synthetic(5);
  const got: Batch[] = [];
  for await (const batch of inOrder(data, { batch: 2 })) got.push(batch);
  expect(got.map((b) => [...b.indices])).toEqual([[0, 1], [2, 3], [4]]);
  const byte = ((got[2]!.images.data[0] as number) + 1) * 127.5;
  expect(byte).toBeCloseTo(pixelsOf(data, 4)[0]!, 3);
});

test("a class is found by its whole name, its category or its style", () => {
  const { classes } = synthetic(1);
  expect(findClasses(classes, "food/noto")).toEqual([1]);
  expect(findClasses(classes, "food")).toEqual([0, 1]);
  expect(findClasses(classes, "noto")).toEqual([1, 2]);
  expect(findClasses(classes, "foo")).toEqual([]);
  expect([...classCounts(synthetic(7))]).toEqual([3, 2, 2]);
});

describe("pictures that are no squares", () => {
  /** 3 rows of 5: each pixel tells its place. */
  const [width, height] = [5, 3];
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => 10 * Math.floor(i / 3));
  const place = (value: number) => Math.round(((value + 1) * 127.5) / 10);
  const cut = (to: { width: number; height: number }, strength: object, seed: number) => {
    const out = new Float32Array(3 * to.width * to.height);
    augment(pixels, { from: { width, height }, to, out, at: 0 }, { ...strength, rng: rng(seed) });
    return [...out.subarray(0, to.width * to.height)].map(place);
  };

  test("are cropped anywhere inside, by rows of their own width", () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 60; seed++) {
      const crop = cut({ width: 3, height: 2 }, {}, seed);
      const [first] = crop as [number];
      seen.add(first);
      expect(crop).toEqual([0, 1, 2, 5, 6, 7].map((i) => first + i));
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2, 5, 6, 7]);
  });

  test("are mirrored along their width, and zoomed about their middle", () => {
    const whole = { width, height };
    const mirrored = cut(whole, { flip: 1 }, 0);
    expect(mirrored).toEqual([4, 3, 2, 1, 0, 9, 8, 7, 6, 5, 14, 13, 12, 11, 10]);
    for (let seed = 0; seed < 5; seed++) expect(cut(whole, { scale: 0.2 }, seed)[7]).toBe(7);
  });

  test("come in batches of height by width, the middle where they are cut in order", async () => {
    const set = { ...synthetic(2, 6), width: 9, height: 4 };
    for await (const { images } of inOrder(set, { batch: 2, size: { width: 4, height: 2 } }))
      expect(images.shape).toEqual([2, 3, 2, 4]);
    const large = { width: 4, height: 5 };
    await expect(inOrder(set, { batch: 2, size: large }).next()).rejects.toThrow(
      /got size 4x5, want at most the stored 9x4 pixels/,
    );
  });
});

describe("augment", () => {
  const size = 8;
  const source = pixelsOf(synthetic(1, size), 0);
  const run = (strength: object, seed = 0, pixels = source) => {
    const out = new Float32Array(3 * size * size);
    augment(
      pixels,
      { from: pictureSize(size), to: pictureSize(size), out, at: 0 },
      { ...strength, rng: rng(seed) },
    );
    return out;
  };
  const plain = run({});

  test("with no strength changes nothing", () => {
    const want = new Float32Array(plain.length);
    normalise(source, { from: pictureSize(size), to: pictureSize(size), out: want, at: 0 });
    expect(plain).toEqual(want);
  });

  test("flips left and right with probability one, and twice is the original", () => {
    const flipped = run({ flip: 1 });
    for (let k = 0; k < plain.length; k++) {
      expect(flipped[k]).toBe(plain[Math.floor(k / size) * size + size - 1 - (k % size)]);
    }
  });

  test("shifts by whole pixels and fills with white", () => {
    const shifted = Array.from({ length: 40 }, (_, seed) => run({ shift: 2 }, seed));
    expect(new Set(shifted.map((x) => x.join())).size).toBeGreaterThan(12); // of 25 places
    const allowed = new Set([...plain, 1]);
    for (const x of shifted) for (const v of x) expect(allowed.has(v)).toBe(true);
  });

  test("keeps white white and grey grey under hue and saturation", () => {
    const grey = new Uint8Array(source.length).fill(200);
    for (const seed of [1, 2, 3]) {
      for (const v of run({ hue: 0.2, saturation: 0.5 }, seed, grey)) {
        expect(v).toBeCloseTo(200 / 127.5 - 1, 2);
      }
    }
  });

  test("stays in [-1, 1] at any strength", () => {
    for (let seed = 0; seed < 20; seed++) {
      for (const v of run({ ...STRONG, hue: 0.5, saturation: 2, brightness: 1 }, seed)) {
        expect(v >= -1 && v <= 1).toBe(true);
      }
    }
  });

  test("switching one part on leaves the draws of the others as they were", () => {
    expect(run({ flip: 0.5, brightness: 0 }, 9)).toEqual(run({ flip: 0.5 }, 9));
    const bright = run({ flip: 0.5, brightness: 1e-9 }, 9);
    run({ flip: 0.5 }, 9).forEach((v, k) => {
      expect(bright[k]).toBeCloseTo(v, 2);
    });
  });

  test("a zoom moves pixels but keeps the mean of a flat picture", () => {
    const grey = new Uint8Array(source.length).fill(100);
    const zoomed = run({ scale: 0.3 }, 4, grey);
    const middle = zoomed[(size / 2) * size + size / 2]!;
    expect(middle).toBeCloseTo(100 / 127.5 - 1, 5);
    expect(run({ scale: 0.3 }, 4)).not.toEqual(plain);
  });
});
