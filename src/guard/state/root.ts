/** The state root: one SHA-256 for weights, optimizer and cursors, from parsed tensors, whatever file they came from. */

import type { Tensor, TensorMap } from "../../formats/dtype.ts";
import { EMPTY, grow, rootOf } from "../ledger/merkle.ts";
import { canonicalBytes, type JsonValue } from "../sign/canonical.ts";
import { toHex, utf8 } from "../sign/encoding.ts";
import { sha256 } from "../sign/sha256.ts";
import { type Hash, sortedNames } from "./sketch.ts";

/** Bytes of a tensor under one leaf. */
const CHUNK = 2 ** 20;
const LEAF = Uint8Array.of(0);

/** What a root is over. Positions are plain JSON; what is no tensor and no JSON is no state. */
export interface State {
  readonly tensors: TensorMap;
  readonly position?: unknown;
}

/** Root over a tensor's bytes, in chunks of 1 MiB, as a tree of RFC 6962. */
function dataRoot({ data }: Tensor, hash: Hash): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let tree = EMPTY;
  for (let at = 0; at < bytes.length || at === 0; at += CHUNK)
    tree = grow(tree, hash(LEAF, bytes.subarray(at, at + CHUNK)));
  return rootOf(tree);
}

/**
 * Root over a state: an RFC 6962 tree whose leaves are, sorted by name, what each tensor is called, its type and the
 * root over its bytes; the last leaf is the position. Two states have one root if and only if they are the same.
 * @param hash SHA-256, by default ours @returns hexadecimal
 */
export function stateRoot({ tensors, position = null }: State, hash: Hash = sha256): string {
  const json = (value: unknown) => hash(LEAF, canonicalBytes(plain(value)));
  let tree = EMPTY;
  for (const name of sortedNames(tensors)) {
    const tensor = tensors.get(name)!;
    const { dtype, shape } = tensor;
    tree = grow(tree, json({ name, dtype, shape, root: toHex(dataRoot(tensor, hash)) }));
  }
  return toHex(rootOf(grow(tree, json({ position }))));
}

/** JSON as it would be read back: no undefined, no prototypes. */
const plain = (value: unknown): JsonValue => JSON.parse(JSON.stringify(value)) as JsonValue;

/** SHA-256 over the sketches of a state and its position, in hexadecimal. */
export const sketchRoot = (sketches: Uint8Array, position: unknown, hash: Hash = sha256): string =>
  toHex(hash(utf8("sketches\n"), sketches, canonicalBytes(plain({ position }))));
