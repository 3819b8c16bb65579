/** RFC 6962 trees: the reference vectors, and every proof of every size to 300. */

import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../sign/encoding.ts";
import {
  consistencyProof,
  EMPTY,
  emptyRoot,
  type Frontier,
  frontierOf,
  grow,
  inclusionProof,
  leafHash,
  memorySubtrees,
  nodeHash,
  rootOf,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";

/** Inputs of the Certificate Transparency reference tests. */
const INPUTS = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => fromHex(hex, "input"));
const ROOTS = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

const leaves = INPUTS.map(leafHash);
const hexes = (path: readonly Uint8Array[]) => path.map(toHex);

describe("reference vectors", () => {
  test("roots of the trees of 0 to 8 leaves", async () => {
    let tree: Frontier = EMPTY;
    for (let size = 0; size <= 8; size++) {
      expect(toHex(rootOf(tree))).toBe(ROOTS[size]);
      expect(toHex(await treeRoot(memorySubtrees(leaves), size))).toBe(ROOTS[size]);
      if (size < 8) tree = grow(tree, leaves[size]!);
    }
  });

  test.each([
    [0, 1, []],
    [0, 2, [A]],
    [1, 2, [ROOTS[1]]],
    [2, 3, [ROOTS[2]]],
    [1, 5, [ROOTS[1], B, D]],
    [0, 8, [A, B, C]],
    [5, 8, [D, E, ROOTS[4]]],
  ])("inclusion of leaf %i in the tree of %i", async (index, size, path) => {
    expect(hexes(await inclusionProof(memorySubtrees(leaves), index, size))).toEqual(path);
  });

  test.each([
    [1, 1, []],
    [1, 8, [A, B, C]],
    [6, 8, [F, E, ROOTS[4]]],
    [2, 5, [B, D]],
  ])("consistency of %i with %i", async (old, size, path) => {
    expect(hexes(await consistencyProof(memorySubtrees(leaves), old, size))).toEqual(path);
  });
});

/** MTH as RFC 6962 2.1 defines it, word for word: the oracle of the tests below. */
function definition(list: readonly Uint8Array[]): Uint8Array {
  if (list.length === 0) return emptyRoot();
  if (list.length === 1) return list[0]!;
  let k = 1;
  while (k * 2 < list.length) k *= 2;
  return nodeHash(definition(list.slice(0, k)), definition(list.slice(k)));
}

const MANY = Array.from({ length: 300 }, (_, i) => leafHash(Uint8Array.of(i & 255, i >> 8)));
/** Subtrees that are asked for again and again, remembered. */
function remembered() {
  const direct = memorySubtrees(MANY);
  const known = new Map<string, Promise<Uint8Array>>();
  return (level: number, index: number) => {
    const key = `${level}/${index}`;
    if (!known.has(key)) known.set(key, direct(level, index));
    return known.get(key)!;
  };
}
const flipped = (bytes: Uint8Array) => Uint8Array.from(bytes, (b, i) => (i === 7 ? b ^ 4 : b));

describe("all sizes to 300", () => {
  const roots = MANY.map((_, n) => definition(MANY.slice(0, n)));
  roots.push(definition(MANY));

  test("growing leaf by leaf gives the root of the definition", async () => {
    let tree: Frontier = EMPTY;
    for (let size = 0; size <= 300; size++) {
      expect(toHex(rootOf(tree))).toBe(toHex(roots[size]!));
      expect((await frontierOf(remembered(), size)).subtrees).toEqual(tree.subtrees);
      if (size < 300) tree = grow(tree, MANY[size]!);
    }
  });

  test("every inclusion proof verifies, and nothing else about it does", async () => {
    const subtrees = remembered();
    for (let size = 1; size <= 300; size++) {
      // All leaves of small trees; of large ones the edges and a stride that meets every level.
      for (let index = 0; index < size; index += size < 70 || index > size - 3 ? 1 : 7) {
        const proof = await inclusionProof(subtrees, index, size);
        const where = { index, size, root: roots[size]! };
        const leaf = MANY[index]!;
        expect(verifyInclusion(leaf, proof, where)).toBe(true);
        if (index % 5 !== 0) continue;
        expect(verifyInclusion(flipped(leaf), proof, where)).toBe(false);
        expect(verifyInclusion(leaf, proof, { ...where, root: roots[size - 1]! })).toBe(false);
        if (size > 1)
          expect(verifyInclusion(leaf, proof, { ...where, index: (index + 1) % size })).toBe(false);
        expect(verifyInclusion(leaf, [...proof, leaf], where)).toBe(false);
        expect(verifyInclusion(leaf, [leaf, ...proof], where)).toBe(false);
        if (proof.length > 0) {
          expect(verifyInclusion(leaf, proof.slice(1), where)).toBe(false);
          expect(verifyInclusion(leaf, proof.slice(0, -1), where)).toBe(false);
          const at = index % proof.length;
          expect(verifyInclusion(leaf, proof.with(at, flipped(proof[at]!)), where)).toBe(false);
        }
      }
    }
  }, 120_000);

  test("every consistency proof verifies, and nothing else about it does", async () => {
    const subtrees = remembered();
    for (let size = 0; size <= 300; size++)
      for (let old = 0; old <= size; old += size < 70 || old > size - 3 ? 1 : 7) {
        const proof = await consistencyProof(subtrees, old, size);
        const [then, now] = [
          { size: old, root: roots[old]! },
          { size, root: roots[size]! },
        ];
        expect(verifyConsistency(then, now, proof)).toBe(true);
        if (old % 5 !== 0 || old === 0) continue;
        expect(verifyConsistency({ ...then, root: flipped(then.root) }, now, proof)).toBe(false);
        expect(verifyConsistency(then, { ...now, root: flipped(now.root) }, proof)).toBe(false);
        expect(verifyConsistency(then, now, [...proof, now.root])).toBe(false);
        if (old < size) expect(verifyConsistency(now, then, proof)).toBe(false);
        if (proof.length > 0) {
          expect(verifyConsistency(then, now, proof.slice(1))).toBe(false);
          expect(verifyConsistency(then, now, proof.slice(0, -1))).toBe(false);
          const at = old % proof.length;
          expect(verifyConsistency(then, now, proof.with(at, flipped(proof[at]!)))).toBe(false);
        }
      }
  }, 120_000);

  test("sizes beyond 32 bits do not wrap", () => {
    const size = 2 ** 40 + 1;
    const where = { index: 2 ** 40, size, root: nodeHash(MANY[0]!, MANY[1]!) };
    expect(verifyInclusion(MANY[1]!, [MANY[0]!], where)).toBe(true);
    const head = { size: 2 ** 40, root: MANY[0]! };
    expect(verifyConsistency(head, { size, root: where.root }, [MANY[1]!])).toBe(true);
  });
});
