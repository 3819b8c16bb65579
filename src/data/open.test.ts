import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDataset, prepareDataset } from "./open.ts";

describe("a data set by one word", () => {
  test("words after the colon choose categories and icon sets, in any order", async () => {
    process.env.UNDERPAINT_CACHE = await mkdtemp(join(tmpdir(), "underpaint-open-"));
    for await (const _ of prepareDataset("emoji:fluent,hearts", { size: 16 }));
    const set = await openDataset("emoji:fluent,hearts", { size: 16, split: "train" });
    expect(set.classes).toEqual(["hearts/fluent"]);
    expect([set.width, set.height]).toEqual([16, 16]);
    expect(set.count).toBeGreaterThan(5);
  });

  test.each([
    ["emoji:fod", /"fod" is neither a category \(faces, .*\) nor an icon set \(fluent, /],
    ["emojis:food", /data set "emojis:food" is unknown; give emoji/],
    ["", /no data set is named; give emoji/],
    ["./nowhere", /nowhere: cannot be listed/],
    ["fashion-mnist:/nowhere", /run apt-get install dataset-fashion-mnist/],
  ])("%j is refused with what there is", async (spec, sentence) => {
    await expect(openDataset(spec, { size: 32 })).rejects.toThrow(sentence);
  });
});
