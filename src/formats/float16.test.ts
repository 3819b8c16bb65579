/** Half precision over all 65536 patterns, and every rounding boundary between neighbours. */

import { expect, test } from "vitest";
import {
  bfloat16Bits,
  bfloat16ToFloat32,
  float16Bits,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  toFloat32,
} from "./float16.ts";

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The float32 just above (or below) a positive one. */
const step = (x: number, by: 1 | -1) => {
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0]! += by;
  return new Float32Array(bits.buffer)[0]!;
};

const known: [number, number][] = [
  [0x0000, 0],
  [0x8000, -0],
  [0x3c00, 1],
  [0xc000, -2],
  [0x7bff, 65504],
  [0x7c00, Number.POSITIVE_INFINITY],
  [0xfc00, Number.NEGATIVE_INFINITY],
  [0x0001, 2 ** -24],
  [0x03ff, 1023 * 2 ** -24],
  [0x0400, 2 ** -14],
  [0x3555, 0.333251953125],
];

test("float16 has the values of the standard", () => {
  for (const [bits, value] of known) {
    expect(float16ToFloat32(Uint16Array.of(bits))[0]).toBe(value);
    expect(float16Bits(value)).toBe(bits);
  }
});

for (const [name, widen, narrow, infinity] of [
  ["float16", float16ToFloat32, float32ToFloat16, 0x7c00],
  ["bfloat16", bfloat16ToFloat32, float32ToBfloat16, 0x7f80],
] as const) {
  test(`every ${name} survives the way to float32 and back`, () => {
    const back = narrow(widen(all));
    for (let b = 0; b < 65536; b++)
      if ((b & 0x7fff) > infinity) expect(back[b]! & 0x7fff).toBeGreaterThan(infinity);
      else if (back[b] !== b) expect([b, back[b]]).toEqual([b, b]);
  });

  test(`between any two neighbouring ${name}s float32 rounds to the nearer, ties to the even`, () => {
    const values = widen(all);
    const limit = 2 * values[infinity - 1]! - values[infinity - 2]!; // where infinity would stand
    for (let b = 0; b < infinity; b++) {
      const middle = (values[b]! + (b + 1 < infinity ? values[b + 1]! : limit)) / 2;
      const even = b % 2 === 0 ? b : b + 1;
      // bfloat16's smallest subnormal has a middle that float32 still holds, down to 2^-134
      const [below, at, above] = narrow(Float32Array.of(step(middle, -1), middle, step(middle, 1)));
      if (below !== b || at !== even || above !== b + 1)
        expect({ b, below, at, above }).toEqual({ b, below: b, at: even, above: b + 1 });
      const [minus] = narrow(Float32Array.of(-middle));
      if (minus !== (even | 0x8000)) expect(minus).toBe(even | 0x8000);
    }
  });
}

test("bfloat16 keeps NaN when its payload lies in the dropped bits", () => {
  const nan = new Float32Array(Uint32Array.of(0x7f800001).buffer)[0]!;
  expect(bfloat16Bits(nan) & 0x7fff).toBeGreaterThan(0x7f80);
});

test("any dtype becomes float32", () => {
  const shape = [2];
  expect(toFloat32({ dtype: "int64", shape, data: BigInt64Array.of(-1n, 5n) })).toEqual(
    Float32Array.of(-1, 5),
  );
  expect(toFloat32({ dtype: "bool", shape, data: Uint8Array.of(0, 1) })).toEqual(
    Float32Array.of(0, 1),
  );
  expect(toFloat32({ dtype: "bfloat16", shape, data: Uint16Array.of(0x3f80, 0xc000) })).toEqual(
    Float32Array.of(1, -2),
  );
});
