/** State roots and sketches: every byte, name, shape and position counts; the vector code is the formula. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../formats/dtype.ts";
import { utf8 } from "../sign/encoding.ts";
import { sha256 } from "../sign/sha256.ts";
import { createSketcher, differingTensors, stateRoot } from "./index.ts";

const SECRET = utf8("a secret of some length");
const vector = (data: Float32Array): Tensor => ({ dtype: "float32", shape: [data.length], data });
const count = (n: number) => vector(Float32Array.from({ length: n }, (_, i) => i + 1));

/** The beginning of the key, as long as the messages below. */
const KEY = new Uint8Array(256);
for (let i = 0; i < KEY.length; i += 32)
  KEY.set(sha256(utf8("sketch key"), SECRET, new Uint8Array(Uint32Array.of(i).buffer)), i);

/** NH word by word in big integers: what the vector code must compute. */
function nh(bytes: Uint8Array): Uint8Array {
  const word = (from: Uint8Array, i: number) =>
    BigInt([0, 1, 2, 3].reduce((n, b) => n + (from[4 * i + b] ?? 0) * 256 ** b, 0));
  const lanes = [0n, 0n];
  for (let i = 0; i < Math.ceil(bytes.length / 32) * 8; i += 8)
    for (let lane = 0; lane < 4; lane++) {
      const part = (w: number) => BigInt.asUintN(32, word(bytes, w) + word(KEY, w));
      lanes[lane % 2]! += part(i + lane) * part(i + lane + 4);
    }
  return new Uint8Array(BigUint64Array.from(lanes, (l) => BigInt.asUintN(64, l)).buffer);
}

describe("a sketch", () => {
  const sketcher = createSketcher(SECRET);

  test("is NH, also for lengths that fill no vector", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const tensor: Tensor = { dtype: "uint8", shape: [bytes.length], data: bytes };
        const sums = bytes.length > 0 ? [nh(bytes)] : [];
        const wanted = sha256(utf8(`uint8 ${bytes.length}\n`), ...sums).subarray(0, 8);
        expect(sketcher.tensor(tensor)).toEqual(wanted);
      }),
      { numRuns: 30 },
    );
  });

  test("changes with any bit, in any piece, also where signs are flipped in pairs", () => {
    const tensor = count(40_000); // more than two pieces
    const before = sketcher.tensor(tensor);
    for (const flipped of [[0], [39_999], [0, 8], [16_384, 32_768], [1, 2, 3, 4]]) {
      const data = (tensor.data as Float32Array).slice();
      for (const i of flipped) data[i] = -data[i]!;
      expect(sketcher.tensor(vector(data))).not.toEqual(before);
    }
    expect(sketcher.tensor(tensor)).toEqual(before);
  });

  test("tells types, shapes, zeros and keys apart", () => {
    const sketches = [
      sketcher.tensor(count(8)),
      sketcher.tensor({ ...count(8), shape: [2, 4] }),
      createSketcher(utf8("another secret, as long")).tensor(count(8)),
      sketcher.tensor(vector(new Float32Array(8))),
      sketcher.tensor(vector(new Float32Array(9))),
      sketcher.tensor(vector(new Float32Array(0))),
    ].map(String);
    expect(new Set(sketches).size).toBe(sketches.length);
  });

  test("of a state names the tensors that changed", () => {
    const state = new Map([
      ["b", count(3)],
      ["a", count(4)],
      ["c", count(5)],
    ]);
    const before = sketcher.state(state);
    (state.get("c")!.data as Float32Array)[4]! += 1e-3;
    expect(differingTensors(["a", "b", "c"], before, sketcher.state(state))).toEqual(["c"]);
    expect(() => differingTensors(["a"], before, before)).toThrow(/two different models/);
  });

  test("refuses a key that can be guessed", () => {
    expect(() => createSketcher(new Uint8Array(8))).toThrow(/can be guessed/);
  });
});

describe("a state root", () => {
  const state = () => new Map([["w", count(300_000)], ...[["b", count(2)] as const]]);

  test("does not depend on the order or the memory of the tensors", () => {
    const wide = new Float32Array(5);
    wide.set([1, 2], 2);
    const moved = new Map([
      ["b", vector(wide.subarray(2, 4))],
      ...[["w", count(300_000)] as const],
    ]);
    const position = { cursor: 1, next: [2] };
    expect(stateRoot({ tensors: moved, position: { next: [2], cursor: 1 } })).toBe(
      stateRoot({ tensors: state(), position }),
    );
  });

  test("changes with a bit, a name, a shape, a type and the position", () => {
    const edited = state();
    edited.get("w")!.data[299_999] = 0;
    const roots = [
      stateRoot({ tensors: state() }),
      stateRoot({ tensors: edited }),
      stateRoot({ tensors: new Map([...state()].map(([n, t]) => [`${n}.`, t])) }),
      stateRoot({
        tensors: new Map([...state()].map(([n, t]) => [n, { ...t, shape: [1, ...t.shape] }])),
      }),
      stateRoot({ tensors: state(), position: { cursor: 1 } }),
      stateRoot({ tensors: new Map() }),
    ];
    expect(new Set(roots).size).toBe(roots.length);
  });
});
