/** Tiles of a ledger: their paths, their trees, bundles that survive damage or are refused. */

import { describe, expect, test, vi } from "vitest";
import { InputError } from "../../formats/errors.ts";
import { utf8 } from "../sign/encoding.ts";
import { grow, leafHash, rootOf, treeRoot } from "./merkle.ts";
import {
  decodeBundle,
  encodeBundle,
  foldHashes,
  partialTiles,
  tilePath,
  tileSubtrees,
} from "./tiles.ts";

/** Thousands of signatures are verified here; a busy machine takes its time. */
vi.setConfig({ testTimeout: 600_000 });

describe("tiles", () => {
  test("paths are those of the specification's examples", () => {
    expect(tilePath(0, 1234067)).toBe("tile/0/x001/x234/067");
    expect(tilePath("entries", 0, 5)).toBe("tile/entries/000.p/5");
    expect(tilePath(2, 1000)).toBe("tile/2/x001/000");
    // "a tree of size 70,000": 273 full level 0 tiles, one partial of width 112, and so on.
    expect(partialTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
    expect(partialTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
  });

  test("a tree of 70,000 leaves read from three levels of tiles has the right root and proofs", async () => {
    const leaves = Array.from({ length: 70_000 }, (_, i) =>
      leafHash(Uint8Array.of(i & 255, i >> 8, i >> 16)),
    );
    const levels = [leaves];
    while (levels.at(-1)!.length >= 256) {
      const row = levels.at(-1)!;
      levels.push(
        Array.from({ length: Math.floor(row.length / 256) }, (_, i) =>
          foldHashes(row.slice(i * 256, i * 256 + 256)),
        ),
      );
    }
    const read = async (level: number, index: number, width: number) =>
      levels[level]!.slice(index * 256, index * 256 + width);
    const subtrees = tileSubtrees(read, leaves.length);
    let tree = { size: 0, subtrees: [] as readonly Uint8Array[] };
    for (const leaf of leaves) tree = grow(tree, leaf);
    expect(await treeRoot(subtrees, leaves.length)).toEqual(rootOf(tree));
  });

  test("bundles survive, and damaged ones are refused", () => {
    const entries = [new Uint8Array(), utf8("a"), new Uint8Array(65_535)];
    expect(decodeBundle(encodeBundle(entries), 3, "bundle")).toEqual(entries);
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(RangeError);
    for (const bytes of [[0], [0, 2, 1], [1, 0]])
      expect(() => decodeBundle(Uint8Array.from(bytes), 1, "bundle")).toThrow(InputError);
    expect(() => decodeBundle(encodeBundle(entries), 2, "bundle")).toThrow(/wanted 2/);
  });
});
