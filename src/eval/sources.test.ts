/** Sources of pictures and rejection: what is written reads back as it was, odd files are named, the best are kept. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { pixelsOf } from "../data/index.ts";
import { bytesOf } from "../formats/bytes.ts";
import { npzPieces } from "../formats/npz.ts";
import { encodePng } from "../formats/png.ts";
import { candidates, keepBest } from "./reject.ts";
import { savePictures } from "./save-npz.ts";
import { datasetSource, openSource, type PictureSource } from "./sources.ts";

const folder = await mkdtemp(join(tmpdir(), "underpaint-eval-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const data = discs("test", 100);

const bytesFrom = async (source: PictureSource): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const { pixels } of source.pictures()) parts.push(pixels);
  return Buffer.concat(parts);
};

describe("sources", () => {
  test("pictures saved as .npz come back byte by byte", async () => {
    const file = join(folder, "discs.npz");
    for await (const _ of savePictures(datasetSource(data), file));
    const source = (await openSource(file)) as PictureSource;
    expect(source).toMatchObject({ kind: "npz", count: 100 });
    expect((await bytesFrom(source)).equals(data.pixels)).toBe(true);
    const some = (await openSource(file, { count: 70 })) as PictureSource;
    expect((await bytesFrom(some)).equals(data.pixels.subarray(0, 70 * 192))).toBe(true);
  });

  test("an .npz of pictures that are no squares keeps height and width", async () => {
    const file = join(folder, "wide.npz");
    const wide = { ...data, width: 16, height: 4 }; // 8 x 8 pixels read as 4 rows of 16
    for await (const _ of savePictures(datasetSource(wide), file));
    const source = (await openSource(file)) as PictureSource;
    const { value } = await source.pictures().next();
    expect([value!.width, value!.height]).toEqual([16, 4]);
    expect((await bytesFrom(source)).equals(data.pixels)).toBe(true);
  });

  test("a folder gives its pictures, and names what it leaves out", async () => {
    for (let i = 0; i < 3; i++) {
      const picture = { width: 8, height: 8, channels: 3 as const, data: pixelsOf(data, i) };
      await writeFile(join(folder, `${i}.png`), await encodePng(picture));
    }
    const wide = { width: 4, height: 2, channels: 3 as const, data: new Uint8Array(24) };
    await writeFile(join(folder, "wide.png"), await encodePng(wide));
    await writeFile(join(folder, "broken.png"), "not a picture");
    const source = (await openSource(folder)) as PictureSource;
    expect(source.count).toBe(4);
    expect(source.notes.join()).toContain("1 left out");
    expect(source.notes.join()).toContain("1 of 4 are not square");
    const bytes = await bytesFrom(source);
    expect(bytes.subarray(0, 3 * 192).equals(data.pixels.subarray(0, 3 * 192))).toBe(true);
    expect([...bytes.subarray(3 * 192)]).toEqual([...wide.data]);
    await expect(openSource(folder, { broken: "throw" })).rejects.toThrow("broken.png");
  });

  test("statistics are read; a sigma that is no covariance is refused", async () => {
    const write = async (sigma: Float64Array) => {
      const file = join(folder, "statistics.npz");
      const part = (name: string, shape: number[], values: Float64Array) => ({
        ...{ name, shape, dtype: "float64" as const },
        data: () => [bytesOf(values)],
      });
      const parts = [part("mu", [2], Float64Array.of(1, 2)), part("sigma", [2, 2], sigma)];
      const pieces: Uint8Array[] = [];
      for await (const piece of npzPieces(parts)) pieces.push(piece);
      await writeFile(file, Buffer.concat(pieces));
      return openSource(file);
    };
    const source = await write(Float64Array.of(2, 1, 1, 3));
    expect(source).toMatchObject({ kind: "statistics", summary: { statistics: { width: 2 } } });
    await expect(write(Float64Array.of(2, 1, 0, 3))).rejects.toThrow("not symmetric");
  });
});

describe("rejection", () => {
  test("draws as many candidates as leave the wanted number", () => {
    expect([candidates(3, 0.3), candidates(4, 0.5), candidates(5, 1)]).toEqual([10, 8, 5]);
    expect(() => candidates(3, 0)).toThrow("above 0");
  });

  test("keeps the best of each class, in order, and no class more than its share", () => {
    const scores = [0.9, 0.2, 0.8, 0.1, 0.7, 0.3];
    const classes = [0, 1, 0, 1, 0, 1];
    expect(keepBest(scores, classes, 2)).toEqual([0, 5]);
    expect(keepBest(scores, classes, 4)).toEqual([0, 1, 2, 5]);
    expect(keepBest(scores, classes, 6)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(keepBest([1, 1, 1], [0, 0, 0], 2)).toEqual([0, 1]);
    expect(keepBest(scores, [0, 1, 2, 3, 4, 5], 3)).toHaveLength(3);
  });
});
