/** What a ledger says of data: the same pictures, the same root, also in later versions. */

import { expect, test } from "vitest";
import { discs } from "../../test/discs.ts";
import { picturesRoot } from "./evidence.node.ts";

test("the root over square pictures is that of ledgers written before pictures had two sides", () => {
  expect(picturesRoot(discs("train", 3))).toBe(
    "f26857caa7656c9f203afa3e3118208549026de828f8e4de4fe5cb31a8ec0c1b",
  );
});

test("the same bytes as pictures of other proportions have another root", () => {
  const square = discs("train", 3); // 8 x 8 pixels
  const roots = [
    square,
    { ...square, width: 16, height: 4 },
    { ...square, width: 4, height: 16 },
  ].map((set) => picturesRoot(set));
  expect(new Set(roots).size).toBe(3);
});
