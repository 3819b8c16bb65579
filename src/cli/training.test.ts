/** What trainers say of a folder's odd files. */

import { expect, test } from "vitest";
import type { ImageDataset } from "../data/types.ts";
import { findingLines } from "./training.ts";

const withFindings = (findings: ImageDataset["findings"]) => ({ findings }) as ImageDataset;

test("odd files are counted over both splits and named by kind, three of many", () => {
  const [train, test] = [
    withFindings([
      { what: "CMYK", done: "taken as sRGB", files: ["a.jpg", "b.jpg", "c.jpg"] },
      { what: "tiny", done: "left out", files: ["dot.png"] },
    ]),
    withFindings([{ what: "CMYK", done: "taken as sRGB", files: ["d.jpg", "e.jpg"] }]),
  ];
  expect(findingLines([train, test])).toEqual([
    "5 files are CMYK (taken as sRGB): a.jpg, b.jpg, c.jpg and 2 more",
    "1 file is tiny (left out): dot.png",
  ]);
  expect(findingLines([withFindings([]), withFindings(undefined)])).toEqual([]);
});
