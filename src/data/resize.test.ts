/** Resizing against Pillow's own result, and its invariants. */

import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { readGolden } from "../../test/read-safetensors.ts";
import { pictureSize } from "../formats/picture-size.ts";
import { normalise } from "./augment.ts";
import {
  centreCrop,
  type Picture,
  resizeLanczos,
  resizeToCover,
  resizeValues,
  roomySize,
} from "./resize.ts";

const golden = readGolden(
  fileURLToPath(new URL("../../test/fixtures/data/golden_data.safetensors", import.meta.url)),
).tensors;

function picture(name: string): Picture {
  const { shape, data } = golden.get(name)!;
  const [height, width, channels] = shape as [number, number, number];
  return { width, height, channels, data: data as Uint8Array };
}

const square = pictureSize;
const flat = (width: number, height: number, value: number): Picture => ({
  width,
  height,
  channels: 3,
  data: new Uint8Array(width * height * 3).fill(value),
});

test("the shorter edge is resized to round(1.125 size) byte for byte as Pillow does", () => {
  const got = resizeToCover(picture("src_hwc"), roomySize(square(32)));
  const want = picture("resized_hwc");
  expect([got.width, got.height]).toEqual([want.width, want.height]);
  expect(got.data).toEqual(want.data);
});

test("centre crop and [-1, 1] equal torchvision's CenterCrop, ToTensor and x + x - 1 to the last bit", () => {
  const cropped = centreCrop(picture("resized_hwc"), square(32));
  const out = new Float32Array(3 * 32 * 32);
  normalise(cropped.data, { from: cropped, to: cropped, out, at: 0 });
  expect(out).toEqual(golden.get("center_crop_chw_pm1")!.data);
});

test.each([
  [7, 5],
  [50, 40],
])(
  "values resize as bytes do to %ix%i, but for the bytes' rounding, and differences keep their sign",
  (width, height) => {
    const source = picture("src_hwc");
    const bytes = resizeLanczos(source, width, height).data;
    const values = resizeValues(Float32Array.from(source.data), source, { width, height });
    expect(values).toHaveLength(bytes.length);
    const off = values.map((v, i) => Math.abs(Math.min(255, Math.max(0, v)) - bytes[i]!));
    expect(Math.max(...off)).toBeLessThan(1.3); // half a level of each pass, the first one's spread by the lobes
    const negated = resizeValues(
      Float32Array.from(source.data, (v) => -v),
      source,
      { width, height },
    );
    expect(negated).toEqual(values.map((v) => -v));
  },
);

test.each([
  [7, 5, 3, 11],
  [100, 1, 9, 4],
  [1, 1, 16, 16],
  [64, 64, 64, 63],
])("a flat %ix%i picture stays flat at %ix%i", (width, height, toWidth, toHeight) => {
  for (const value of [0, 1, 128, 255]) {
    const got = resizeLanczos(flat(width, height, value), toWidth, toHeight);
    expect(got.data).toEqual(new Uint8Array(toWidth * toHeight * 3).fill(value));
  }
});

test("the same size gives the same bytes, and the source is never changed", () => {
  const source = picture("src_hwc");
  const before = source.data.slice();
  expect(resizeLanczos(source, source.width, source.height).data).toEqual(before);
  resizeLanczos(source, 5, 5);
  expect(source.data).toEqual(before);
});

test("roomySize rounds halves to even as Python does", () => {
  expect([256, 64, 32, 4, 12, 20].map((side) => roomySize(square(side)).width)).toEqual([
    288, 72, 36, 4, 14, 22,
  ]);
});

test.each([
  ["wide into wide", 40, 20, { width: 36, height: 24 }, [48, 24]],
  ["high into wide", 20, 40, { width: 36, height: 24 }, [36, 72]],
  ["wide into high", 90, 20, { width: 10, height: 30 }, [135, 30]],
] as const)(
  "%s: covered by the smallest picture of its proportions",
  (_, width, height, size, want) => {
    const got = resizeToCover(flat(width, height, 7), size);
    expect([got.width, got.height]).toEqual(want);
    const middle = centreCrop(got, size);
    expect([middle.width, middle.height]).toEqual([size.width, size.height]);
  },
);

test("the middle of a picture that is no square is cut from both sides of each axis", () => {
  const data = Uint8Array.from({ length: 6 * 4 }, (_, i) => i); // 4 rows of 6
  const middle = centreCrop({ width: 6, height: 4, channels: 1, data }, { width: 4, height: 2 });
  expect([...middle.data]).toEqual([7, 8, 9, 10, 13, 14, 15, 16]);
});

test("an odd rest of the centre crop rounds half to even", () => {
  const row = (width: number): Picture => ({
    width,
    height: 1,
    channels: 1,
    data: Uint8Array.from({ length: width }, (_, i) => i),
  });
  expect(centreCrop(row(2), square(1)).data[0]).toBe(0); // 0.5 -> 0
  expect(centreCrop(row(4), square(1)).data[0]).toBe(2); // 1.5 -> 2
  expect(() => centreCrop(flat(4, 3, 0), square(4))).toThrow(/4x4 pixels do not fit into 4x3/);
});
