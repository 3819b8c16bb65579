/**
 * Sketches: fast keyed fingerprints of tensors, taken before and after every update where SHA-256 over everything is too
 * dear. Whoever knows the key can make two tensors with one sketch; SHA-256 every few updates (root.ts) is for that.
 *
 * The hash is NH (Black et al. 1999, UMAC): sum of (m[i] + k[i]) * (m[i+4] + k[i+4]), words modulo 2^32, products and
 * sums modulo 2^64. Two messages that differ in any way collide with a chance of 2^-32 over the keys, for each of two
 * lanes. Its inner loop is a few vector instructions, so it is written in them: about 11 GB/s on one core.
 */

import type { Tensor, TensorMap } from "../../formats/dtype.ts";
import { InputError } from "../../formats/errors.ts";
import { joinBytes, utf8 } from "../sign/encoding.ts";
import { sha256 } from "../sign/sha256.ts";

/** Some parts to 32 bytes; Node's own hash in place of ours is twenty times as fast. */
export type Hash = (...parts: readonly Uint8Array[]) => Uint8Array;

/** Bytes of a tensor that are hashed with the whole key: the key is as long. */
export const PIECE = 65_536;
/** Bytes of one sketch. */
export const SKETCH = 8;

// The memory: a piece of the message, the key, the two lanes of the sum.
const [MESSAGE, KEY, OUT] = [0, PIECE, 2 * PIECE];

/** An unsigned number as WebAssembly writes it (LEB128). */
const leb = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const section = (id: number, ...content: number[]): number[] => [
  id,
  ...leb(content.length),
  ...content,
];
const name = (text: string): number[] => [text.length, ...utf8(text)];
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const vector = (op: number): number[] => [0xfd, ...leb(op)];
const load = (offset: number): number[] => [...vector(0), 4, ...leb(offset)]; // v128.load, aligned to 16
const ADD_WORDS = vector(174); // i32x4.add
const ADD_LONGS = vector(206); // i64x2.add
const TIMES = { low: vector(222), high: vector(223) }; // i64x2.extmul_{low,high}_i32x4_u

// Locals: 0 the bytes of the message, 1 where we are, 2 and 3 the sums, 4 and 5 eight words with their keys added.
const keyed = (at: number): number[] => [
  ...[...get(1), ...load(MESSAGE + at)],
  ...[...get(1), ...load(KEY + at), ...ADD_WORDS],
];
const add = (sum: number, half: number[]): number[] => [
  ...[...get(sum), ...get(4), ...get(5), ...half],
  ...[...ADD_LONGS, ...set(sum)],
];
const BODY = [
  ...[2, 1, 0x7f, 4, 0x7b], // locals: one i32, four v128
  ...[0x03, 0x40], // loop
  ...[...keyed(0), ...set(4), ...keyed(16), ...set(5)],
  ...[...add(2, TIMES.low), ...add(3, TIMES.high)],
  ...[...get(1), 0x41, 32, 0x6a, 0x22, 1], // i32.const 32, i32.add, local.tee
  ...[...get(0), 0x49, 0x0d, 0, 0x0b], // i32.lt_u, br_if, end
  ...[0x41, 0, ...get(2), ...get(3), ...ADD_LONGS],
  ...[...vector(11), 4, ...leb(OUT), 0x0b], // v128.store, end
];
const MODULE = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, 1, 0x60, 1, 0x7f, 0), // one type: (i32) -> ()
  ...section(3, 1, 0),
  ...section(5, 1, 0, 3), // three pages of memory
  ...section(7, 2, ...name("memory"), 2, 0, ...name("nh"), 0, 0),
  ...section(10, 1, ...leb(BODY.length), ...BODY),
]);

/** Takes sketches with one key. */
export interface Sketcher {
  /** One tensor: 8 bytes over its data, dtype and shape. */
  tensor(tensor: Tensor): Uint8Array;
  /** All tensors, 8 bytes each, in the order of their names. */
  state(tensors: TensorMap): Uint8Array;
}

/** Names of a state's tensors in the order in which sketches and roots take them. */
export const sortedNames = (tensors: TensorMap): string[] =>
  [...tensors.keys()].sort((a, b) => (a < b ? -1 : 1));

/** @param secret at least 16 bytes that nobody can guess @param hash SHA-256, by default ours */
export function createSketcher(secret: Uint8Array, hash: Hash = sha256): Sketcher {
  if (secret.length < 16)
    throw new InputError(`sketch: a key of ${secret.length} bytes can be guessed; use 16 or more`);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE));
  const nh = exports.nh as (bytes: number) => void;
  const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer);
  for (let i = 0; i < PIECE; i += 32)
    memory.set(hash(utf8("sketch key"), secret, littleEndian(i)), KEY + i);
  const tensor = ({ data, dtype, shape }: Tensor): Uint8Array => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const sums: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      const whole = (piece.length + 31) & ~31;
      memory.set(piece, MESSAGE);
      memory.fill(0, MESSAGE + piece.length, MESSAGE + whole);
      nh(whole);
      sums.push(memory.slice(OUT, OUT + 16));
    }
    return hash(utf8(`${dtype} ${shape.join(" ")}\n`), ...sums).subarray(0, SKETCH);
  };
  return {
    tensor,
    state: (tensors) =>
      joinBytes(...sortedNames(tensors).map((name) => tensor(tensors.get(name)!))),
  };
}

const littleEndian = (n: number): Uint8Array =>
  Uint8Array.of(n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24);

/** Names of the tensors whose sketches differ, in order; both lists are of the same tensors. */
export function differingTensors(
  names: readonly string[],
  one: Uint8Array,
  other: Uint8Array,
): string[] {
  if (one.length !== names.length * SKETCH || other.length !== one.length)
    throw new InputError(
      `sketch: ${one.length} and ${other.length} bytes are no sketches of ${names.length} tensors; these are two different models`,
    );
  return names.filter((_, i) =>
    Array.from({ length: SKETCH }, (_, b) => i * SKETCH + b).some((at) => one[at] !== other[at]),
  );
}
