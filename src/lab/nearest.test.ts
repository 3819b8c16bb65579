/** Nearest pictures: the search is exact, copies stand out, new pictures do not. */

import { expect, test } from "vitest";
import { rng } from "../tensor/rng.ts";
import {
  channelSpread,
  closeness,
  evenly,
  joined,
  mirrored,
  nearestOf,
  type Points,
  shrunkPixels,
} from "./nearest.ts";

function points(seed: string, count: number, size: number): Points {
  return { count, size, data: rng(seed).fillUniform(new Float32Array(count * size)) };
}

/** Without leaving a row early. */
function plainNearest(queries: Points, among: Points) {
  return Array.from({ length: queries.count }, (_, q) => {
    const distances = Array.from({ length: among.count }, (_, row) => {
      let sum = 0;
      for (let j = 0; j < queries.size; j++)
        sum += (queries.data[q * queries.size + j]! - among.data[row * among.size + j]!) ** 2;
      return Math.sqrt(sum / queries.size);
    });
    const least = Math.min(...distances);
    return { index: distances.indexOf(least), distance: least };
  });
}

test.each([3, 64, 200])("the search finds what looking at every number of %i finds", (size) => {
  const [queries, among] = [points("q", 17, size), points("a", 90, size)];
  const found = nearestOf(queries, among);
  plainNearest(queries, among).forEach(({ index, distance }, q) => {
    expect(found.index[q]).toBe(index);
    expect(found.distance[q]).toBeCloseTo(distance, 12);
  });
});

test("rows of different lengths, or none, are refused", () => {
  expect(() => nearestOf(points("q", 1, 3), points("a", 2, 4))).toThrow(/queries of 3 among 2/);
  expect(() => nearestOf(points("q", 1, 3), points("a", 0, 3))).toThrow(RangeError);
});

test("a picture moved by one pixel stays nearer than another one, once pixels are averaged", () => {
  const size = 16;
  const disc = (cx: number, cy: number) =>
    Uint8Array.from({ length: size * size * 3 }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % size, Math.floor(i / 3 / size)];
      return Math.hypot(x - cx, y - cy) < 4 ? 0 : 255;
    });
  const set = (...all: Uint8Array[]) => ({
    ...{ count: all.length, width: size, height: size },
    pixels: Uint8Array.from(all.flatMap((p) => [...p])),
  });
  const train = shrunkPixels(set(disc(11, 4), disc(5, 8)), 4);
  const { index, distance } = nearestOf(shrunkPixels(set(disc(6, 8)), 4), train);
  expect(index[0]).toBe(1);
  expect(distance[0]).toBeLessThan(0.2);
});

test("averaging keeps the mean and gives 0..1", () => {
  const pixels = Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (i * 37) % 256);
  const { size, data } = shrunkPixels({ count: 1, width: 8, height: 8, pixels }, 4);
  expect(size).toBe(12);
  const mean = (values: ArrayLike<number>) =>
    Array.from(values).reduce((a, b) => a + b, 0) / values.length;
  expect(mean(data)).toBeCloseTo(mean(pixels) / 255, 6);
});

test("mirroring twice gives the picture back, once does not", () => {
  const pixels = Uint8Array.from({ length: 2 * 4 * 4 * 3 }, (_, i) => (i * 91) % 256);
  const set = { count: 2, width: 4, height: 4, pixels };
  expect(mirrored(mirrored(set)).pixels).toEqual(pixels);
  const once = mirrored(set).pixels;
  expect([...once.subarray(0, 3)]).toEqual([...pixels.subarray(9, 12)]);
});

test("a loud channel counts no more than a quiet one", () => {
  const count = 50;
  const noise = points("noise", count, 4);
  const loud = { ...noise, data: noise.data.map((x, i) => (i % 4 < 2 ? 100 * x : x)) };
  const spread = channelSpread(loud, 2);
  expect(spread[0]! / spread[1]!).toBeGreaterThan(50);
  for (const s of channelSpread(evenly(loud, spread), 2)) expect(s).toBeCloseTo(1, 4);
});

test("copies are suspicious, pictures as new as the baseline are not", () => {
  const train = points("train", 300, 24);
  const fresh = nearestOf(points("fresh", 200, 24), train).distance;
  const others = nearestOf(points("others", 200, 24), train).distance;
  const noisy = points("noise", 200, 24).data.map((x, i) => train.data[i]! + 0.02 * x);
  const copied = nearestOf({ count: 200, size: 24, data: noisy }, train).distance;
  expect(closeness(fresh, fresh).suspicious).toBeCloseTo(0.05, 2);
  expect(closeness(others, fresh).suspicious).toBeLessThan(0.12);
  expect(closeness(copied, fresh).suspicious).toBe(1);
  expect(closeness(copied, fresh).median).toBeLessThan(closeness(fresh, fresh).p10);
});

test("joined sets keep their order and refuse other sizes", () => {
  const [a, b] = [points("a", 2, 3), points("b", 1, 3)];
  expect([...joined([a, b]).data]).toEqual([...a.data, ...b.data]);
  expect(joined([a, b]).count).toBe(3);
  expect(() => joined([a, points("c", 1, 4)])).toThrow(/rows of 4 beside 3/);
});
