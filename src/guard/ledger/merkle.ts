/** Merkle trees as in RFC 6962: hashes, growing trees, inclusion and consistency proofs. Knows no files, no entries. */

import { InputError } from "../../formats/errors.ts";
import { sameBytes } from "../sign/encoding.ts";
import { sha256 } from "../sign/sha256.ts";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** Hash of an entry: SHA-256(0x00 || entry) (RFC 6962, 2.1). */
export const leafHash = (entry: Uint8Array): Uint8Array => sha256(LEAF, entry);

/** Hash of two subtrees: SHA-256(0x01 || left || right). */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  sha256(NODE, left, right);

/** Root of the empty tree. */
export const emptyRoot = (): Uint8Array => sha256();

/** The largest power of two below n; n > 1. */
function splitAt(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/**
 * A tree that only grows. It keeps one hash for every bit of its size (a "compact range"): the roots of the full subtrees
 * it consists of, from left to right.
 */
export interface Frontier {
  readonly size: number;
  readonly subtrees: readonly Uint8Array[];
}

export const EMPTY: Frontier = { size: 0, subtrees: [] };

/** The tree with one more leaf, or one more full subtree of `width` leaves (a power of two that divides its size). */
export function grow({ size, subtrees }: Frontier, hash: Uint8Array, width = 1): Frontier {
  const grown = [...subtrees];
  let right = hash;
  for (let rest = Math.floor(size / width); rest % 2 === 1; rest = (rest - 1) / 2)
    right = nodeHash(grown.pop()!, right);
  return { size: size + width, subtrees: [...grown, right] };
}

/** Root of a tree, 32 bytes. */
export const rootOf = ({ subtrees }: Frontier): Uint8Array =>
  subtrees.length === 0
    ? emptyRoot()
    : subtrees.reduceRight((right, left) => nodeHash(left, right));

/** Gives the hash of the full subtree over leaves [index * 2^level, (index + 1) * 2^level). */
export type Subtrees = (level: number, index: number) => Promise<Uint8Array>;

/** Root of the leaves [from, to), where `from` is a multiple of a power of two that is at least their number. */
async function rangeRoot(subtrees: Subtrees, from: number, to: number): Promise<Uint8Array> {
  const n = to - from;
  const level = Math.log2(n);
  if (Number.isInteger(level) && from % n === 0) return subtrees(level, from / n);
  const middle = from + splitAt(n);
  return nodeHash(await rangeRoot(subtrees, from, middle), await rangeRoot(subtrees, middle, to));
}

/** Root of the first `size` leaves. */
export const treeRoot = async (subtrees: Subtrees, size: number): Promise<Uint8Array> =>
  size === 0 ? emptyRoot() : rangeRoot(subtrees, 0, size);

/** The first `size` leaves as a tree that can grow. */
export async function frontierOf(subtrees: Subtrees, size: number): Promise<Frontier> {
  const found: Uint8Array[] = [];
  for (let at = 0; at < size; ) {
    let width = 1;
    while (at % (width * 2) === 0 && at + width * 2 <= size) width *= 2;
    found.push(await subtrees(Math.log2(width), at / width));
    at += width;
  }
  return { size, subtrees: found };
}

function checkSizes(what: string, small: number, size: number): void {
  if (!Number.isSafeInteger(small) || !Number.isSafeInteger(size) || small < 0 || small > size)
    throw new InputError(`${what}: ${small} does not lie in a tree of ${size}`, { small, size });
}

/** Audit path of leaf `index` in the tree of the first `size` leaves (RFC 6962, 2.1.1), from the leaf up. */
export async function inclusionProof(
  subtrees: Subtrees,
  index: number,
  size: number,
): Promise<Uint8Array[]> {
  checkSizes("inclusion proof", index + 1, size);
  const path: Uint8Array[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + splitAt(to - from);
    const left = index < middle;
    path.unshift(await rangeRoot(subtrees, left ? middle : from, left ? to : middle));
    [from, to] = left ? [from, middle] : [middle, to];
  }
  return path;
}

/** Proof that the tree of the first `old` leaves is the beginning of that of `size` (RFC 6962, 2.1.2). */
export async function consistencyProof(
  subtrees: Subtrees,
  old: number,
  size: number,
): Promise<Uint8Array[]> {
  checkSizes("consistency proof", old, size);
  if (old === 0 || old === size) return [];
  const path: Uint8Array[] = [];
  let [from, to] = [0, size];
  // Down to the subtree that ends where the old tree ended; its root is known to who knows the old root if it starts at 0.
  while (to !== old) {
    const middle = from + splitAt(to - from);
    const left = old <= middle;
    path.unshift(await rangeRoot(subtrees, left ? middle : from, left ? to : middle));
    [from, to] = left ? [from, middle] : [middle, to];
  }
  if (from > 0) path.unshift(await rangeRoot(subtrees, from, to));
  return path;
}

/** Whether the proof shows the leaf at `index` in the tree (RFC 9162, 2.1.3.2; same trees as RFC 6962). */
export function verifyInclusion(
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
  { index, size, root }: { index: number; size: number; root: Uint8Array },
): boolean {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const p of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(p, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else hash = nodeHash(hash, p);
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && sameBytes(hash, root);
}

/** One tree: its size and its root. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Whether the proof shows that `old` is the beginning of `now` (RFC 9162, 2.1.4.2). */
export function verifyConsistency(
  old: TreeHead,
  now: TreeHead,
  proof: readonly Uint8Array[],
): boolean {
  if (old.size > now.size) return false;
  if (old.size === now.size) return proof.length === 0 && sameBytes(old.root, now.root);
  if (old.size === 0) return proof.length === 0 && sameBytes(old.root, emptyRoot());
  // A full subtree from 0: its root is the old root, and the proof leaves it out.
  const whole = Number.isInteger(Math.log2(old.size));
  const path = whole ? [old.root, ...proof] : [...proof];
  const first = path.shift();
  if (!first) return false;
  let [fn, sn] = [old.size - 1, now.size - 1];
  while (fn % 2 === 1) [fn, sn] = [(fn - 1) / 2, Math.floor(sn / 2)];
  let [then, later] = [first, first];
  for (const p of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      then = nodeHash(p, then);
      later = nodeHash(p, later);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else later = nodeHash(later, p);
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && sameBytes(then, old.root) && sameBytes(later, now.root);
}

/** Subtrees over leaf hashes in memory. */
export function memorySubtrees(leaves: readonly Uint8Array[]): Subtrees {
  const at = (level: number, index: number): Uint8Array =>
    level === 0 ? leaves[index]! : nodeHash(at(level - 1, index * 2), at(level - 1, index * 2 + 1));
  return async (level, index) => at(level, index);
}
