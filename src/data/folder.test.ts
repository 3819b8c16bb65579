/** Image folders and Fashion-MNIST: what is found, what is refused, and in which words. */

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InputError } from "../formats/errors.ts";
import { readIdx } from "../formats/idx.ts";
import { pictureSize } from "../formats/picture-size.ts";
import { fashionMnist } from "./fashion-mnist.ts";
import { imageFolder } from "./folder.ts";
import { centreCrop, resizeToCover } from "./resize.ts";
import { pixelsOf } from "./types.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "underpaint-data-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), bytes);
}

function noise(width: number, height: number, channels: 3 | 4 = 3): Buffer {
  return Buffer.from(Array.from({ length: width * height * channels }, (_, i) => (i * 97) % 251));
}

async function putPicture(path: string, width = 20, height = 24): Promise<void> {
  const image = sharp(noise(width, height), { raw: { width, height, channels: 3 } });
  const format = path.endsWith(".png") ? "png" : path.endsWith(".webp") ? "webp" : "jpeg";
  await put(path, await image.toFormat(format).toBuffer());
}

describe("imageFolder", () => {
  test("reads PNG, JPEG and WebP, classes sorted, resized and cropped as VAR does", async () => {
    for (const path of ["dog/b.jpg", "cat/z.png", "cat/a.webp", "cat/notes.txt"])
      await putPicture(path);
    const data = await imageFolder(root, { size: 16, testFraction: 0 });
    expect(data.classes).toEqual(["cat", "dog"]);
    expect([0, 1, 2].map((i) => data.id(i))).toEqual(["cat/a.webp", "cat/z.png", "dog/b.jpg"]);
    expect([0, 1, 2].map((i) => data.label(i))).toEqual([0, 0, 1]);
    const source = { width: 20, height: 24, channels: 3, data: new Uint8Array(noise(20, 24)) };
    expect(pixelsOf(data, 1)).toEqual(
      centreCrop(resizeToCover(source, pictureSize(18)), pictureSize(16)).data,
    );
    expect((await imageFolder(root, { size: 16, testFraction: 0, room: true })).width).toBe(18);
  });

  test("pictures of any two sides are covered and cut in the middle", async () => {
    await putPicture("cat/z.png");
    const size = { width: 16, height: 8 };
    const data = await imageFolder(root, { size, testFraction: 0 });
    expect([data.width, data.height]).toEqual([16, 8]);
    const source = { width: 20, height: 24, channels: 3, data: new Uint8Array(noise(20, 24)) };
    const covered = resizeToCover(source, { width: 18, height: 9 });
    expect([covered.width, covered.height]).toEqual([18, 21]);
    expect(pixelsOf(data, 0)).toEqual(centreCrop(covered, size).data);
    const roomy = await imageFolder(root, { size, testFraction: 0, room: true });
    expect([roomy.width, roomy.height]).toEqual([18, 9]);
    await expect(
      imageFolder(root, { size: { width: 60, height: 8 }, testFraction: 0 }),
    ).rejects.toThrow(/20x24 pixels are too few for pictures of 60x8/);
  });

  test("puts transparency on white and follows the camera's orientation", async () => {
    const clear = sharp({
      create: { width: 8, height: 8, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    });
    await put("a/clear.png", await clear.png().toBuffer());
    const half = Buffer.concat([Buffer.alloc(8 * 4 * 3, 0), Buffer.alloc(8 * 4 * 3, 255)]);
    const upside = sharp(half, { raw: { width: 8, height: 8, channels: 3 } });
    await put("a/turned.jpg", await upside.withMetadata({ orientation: 3 }).jpeg().toBuffer());
    const data = await imageFolder(root, { size: 8, testFraction: 0 });
    expect([...new Set(pixelsOf(data, 0))]).toEqual([255]);
    expect(pixelsOf(data, 1)[0]).toBeGreaterThan(200); // the black half is now below
  });

  test("splits by file name: no overlap, nothing lost, and adding files moves none", async () => {
    for (let i = 0; i < 30; i++) await putPicture(`a/${i}.png`, 8, 8);
    const names = async (split: "train" | "test") => {
      const data = await imageFolder(root, { size: 8, split, testFraction: 0.3 });
      return Array.from({ length: data.count }, (_, i) => data.id(i));
    };
    const [train, test] = [await names("train"), await names("test")];
    expect(new Set([...train, ...test]).size).toBe(30);
    expect(train.length + test.length).toBe(30);
    await putPicture("a/new.png", 8, 8);
    expect((await names("test")).filter((id) => id !== "a/new.png")).toEqual(test);
  });

  test("takes train/ and val/ as they are, with the classes of train/", async () => {
    for (const path of ["train/cat/1.png", "train/dog/1.png", "val/dog/9.png"])
      await putPicture(path);
    const val = await imageFolder(root, { size: 8, split: "test" });
    expect([val.classes, val.count, val.label(0)]).toEqual([["cat", "dog"], 1, 1]);
    await putPicture("val/cow/1.png");
    await expect(imageFolder(root, { size: 8, split: "test" })).rejects.toThrow(
      /class "cow" has no folder/,
    );
  });

  test("a broken picture is named, or skipped and listed", async () => {
    await putPicture("a/good.png");
    await put("a/bad.jpg", new TextEncoder().encode("not a picture"));
    const whole = await sharp(noise(20, 24), { raw: { width: 20, height: 24, channels: 3 } })
      .png()
      .toBuffer();
    await put("a/cut.png", whole.subarray(0, whole.length / 2));
    const options = { size: 8, testFraction: 0 };
    await expect(imageFolder(root, options)).rejects.toThrow(/bad\.jpg is not a readable picture/);
    const data = await imageFolder(root, { ...options, broken: "skip" });
    expect(data.count).toBe(1);
    expect(data.broken.map((b) => b.file.split("/").at(-1))).toEqual(["bad.jpg", "cut.png"]);
  });

  test("odd files are counted and named: used where they can be, left out where not", async () => {
    const raw = { raw: { width: 20, height: 24, channels: 3 } } as const;
    const picture = () => sharp(noise(20, 24), raw);
    await putPicture("a/plain.png");
    await put("a/cmyk.jpg", await picture().toColourspace("cmyk").jpeg().toBuffer());
    const deep = Buffer.from(Uint16Array.from({ length: 480 }, (_, i) => i * 130).buffer);
    const deepRaw = { width: 20, height: 24, channels: 1, depth: "ushort" } as const;
    await put(
      "a/deep.png",
      await sharp(deep, { raw: deepRaw as never })
        .toColourspace("grey16")
        .png()
        .toBuffer(),
    );
    const frames = Buffer.concat([noise(20, 24), Buffer.alloc(20 * 24 * 3, 9)]);
    await put(
      "a/moving.gif",
      await sharp(frames, { raw: { ...raw.raw, height: 48, pageHeight: 24 } })
        .gif()
        .toBuffer(),
    );
    const clear = { create: { width: 9, height: 9, channels: 4, background: "#0000" } } as const;
    await put("a/clear.png", await sharp(clear).png().toBuffer());
    await put("a/opaque.png", await picture().ensureAlpha().png().toBuffer());
    await put("a/really-a.jpg", await picture().png().toBuffer());
    await put(
      "a/dot.png",
      await sharp(noise(2, 2), { raw: { ...raw.raw, width: 2, height: 2 } })
        .png()
        .toBuffer(),
    );
    await put("a/bad.webp", new TextEncoder().encode("RIFFnothing"));
    await put("a/scan.bmp", Uint8Array.of(66, 77));
    const options = { size: 8, testFraction: 0 } as const;
    const data = await imageFolder(root, { ...options, broken: "skip" });
    const named = Object.fromEntries(
      data.findings.map(({ what, done, files }) => [
        what,
        [done, ...files.map((f) => f.split("/").at(-1))],
      ]),
    );
    expect(named).toEqual({
      CMYK: ["taken as sRGB", "cmyk.jpg"],
      animated: ["first picture taken", "moving.gif"],
      "of more than 8 bits": ["rounded to 8 bits", "deep.png"],
      transparent: ["laid on white", "clear.png"],
      mislabelled: ["read by their content", "really-a.jpg"],
      tiny: ["left out", "dot.png"],
      broken: ["left out", "bad.webp"],
      "of a format that is not read": ["left out", "scan.bmp"],
    });
    expect(data.count).toBe(7);
    expect(data.broken.map(({ reason }) => reason)).toContain(
      "2x2 pixels are too few for pictures of 8x8",
    );
    await rm(join(root, "a/scan.bmp"));
    await rm(join(root, "a/bad.webp"));
    await expect(imageFolder(root, { ...options, strict: true })).rejects.toThrow(
      /clear\.png is transparent \(otherwise laid on white\); convert or remove it/,
    );
  });

  test("links out of the folder are not followed, links inside are", async () => {
    await putPicture("data/a/real.png");
    await putPicture("secret/s.png");
    await symlink(join(root, "secret/s.png"), join(root, "data/a/out.png"));
    await symlink(join(root, "secret"), join(root, "data/linked"));
    await symlink("real.png", join(root, "data/a/twin.png"));
    const data = await imageFolder(join(root, "data"), { size: 8, testFraction: 0 });
    expect(data.classes).toEqual(["a"]);
    expect([0, 1].map((i) => data.id(i))).toEqual(["a/real.png", "a/twin.png"]);
    expect(data.count).toBe(2);
  });

  test("no folder, no class, no picture, an absurd size: a sentence each", async () => {
    const refused = (path: string, size = 8) => imageFolder(path, { size });
    await expect(refused(join(root, "absent"))).rejects.toThrow(/cannot be listed \(ENOENT\)/);
    await expect(refused(root)).rejects.toThrow(/no subfolder, so no class/);
    await mkdir(join(root, "empty"));
    await expect(refused(root)).rejects.toThrow(/no readable picture for train/);
    await expect(refused(root, 0)).rejects.toThrow(InputError);
  });
});

describe("fashionMnist", () => {
  const idx = (shape: number[], data: Uint8Array): Uint8Array => {
    const head = new DataView(new ArrayBuffer(4 + 4 * shape.length));
    head.setUint32(0, 0x0800 + shape.length);
    shape.forEach((d, i) => {
      head.setUint32(4 + 4 * i, d);
    });
    return Buffer.concat([new Uint8Array(head.buffer), data]);
  };
  const images = Uint8Array.from({ length: 2 * 784 }, (_, i) => i % 256);

  test("reads raw and .gz files, grey in three channels, padded in black", async () => {
    await put("t10k-images-idx3-ubyte", idx([2, 28, 28], images));
    await put("t10k-labels-idx1-ubyte.gz", gzipSync(idx([2], Uint8Array.of(9, 0))));
    const data = await fashionMnist({ folder: root, split: "test" });
    expect([data.count, data.width, data.classes[data.label(0)]]).toEqual([2, 28, "ankle-boot"]);
    expect([...pixelsOf(data, 1).subarray(30, 33)]).toEqual(Array(3).fill(images[784 + 10]));
    const padded = await fashionMnist({ folder: root, split: "test", size: 32 });
    expect(pixelsOf(padded, 0)[0]).toBe(0);
    expect(pixelsOf(padded, 0)[(2 * 32 + 2 + 5) * 3]).toBe(images[5]);
    const wide = await fashionMnist({
      folder: root,
      split: "test",
      size: { width: 48, height: 32 },
    });
    expect(pixelsOf(wide, 1)).toHaveLength(48 * 32 * 3);
    expect(pixelsOf(wide, 1)[(2 * 48 + 10 + 5) * 3]).toBe(images[784 + 5]);
  });

  test("absent files: the error names both ways to get them", async () => {
    await expect(fashionMnist({ folder: root })).rejects.toThrow(
      /apt-get install dataset-fashion-mnist, or name a folder with the four IDX files/,
    );
  });

  test("files that are cut, lie, or do not belong together are refused", async () => {
    await put("train-images-idx3-ubyte", idx([2, 28, 28], images));
    const labels = async (bytes: Uint8Array, message: RegExp) => {
      await put("train-labels-idx1-ubyte", bytes);
      await expect(fashionMnist({ folder: root })).rejects.toThrow(message);
    };
    await labels(idx([3], Uint8Array.of(1, 2, 3)), /images 2x28x28 and labels 3/);
    await labels(idx([2], Uint8Array.of(1, 10)), /picture 1 has label 10/);
    await labels(idx([2], Uint8Array.of(1)), /promises 2 = 2 bytes, 1 are there/);
    await labels(Uint8Array.of(0, 0), /not those of an IDX file/);
    expect(() => readIdx(Uint8Array.of(0, 0, 0x0d, 1))).toThrow(/element type 0xd/);
    expect(() => readIdx(Uint8Array.of(0, 0, 8, 3, 255))).toThrow(/ends inside its header/);
    await rm(join(root, "train-labels-idx1-ubyte"));
    await put("train-labels-idx1-ubyte.gz", Uint8Array.of(31, 139, 8, 0, 1));
    await expect(fashionMnist({ folder: root })).rejects.toThrow(/does not unpack/);
  });

  const installed = existsSync("/usr/share/datasets/fashion-mnist");
  test.skipIf(!installed)(
    "the Debian package (skipped where not installed) has 6,000 of each class",
    async () => {
      const data = await fashionMnist();
      const counts = new Int32Array(10);
      for (let i = 0; i < data.count; i++) counts[data.label(i)]! += 1;
      expect([...counts]).toEqual(Array(10).fill(6000));
    },
  );
});
