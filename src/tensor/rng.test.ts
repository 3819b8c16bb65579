/** The random streams: known answers, golden values, shapes of the distributions, independence of children. */

import { describe, expect, test } from "vitest";
import { philox } from "./philox.ts";
import { fromState, type Rng, rng } from "./rng.ts";
import { ln, normal } from "./variates.ts";

const hex = (words: ArrayLike<number>) =>
  Array.from(words, (w) => w.toString(16).padStart(8, "0")).join(" ");

/** Mean and standard deviation. */
function moments(x: Float32Array) {
  let sum = 0;
  let squares = 0;
  for (const v of x) {
    sum += v;
    squares += v * v;
  }
  const mean = sum / x.length;
  return { mean, std: Math.sqrt(squares / x.length - mean * mean) };
}

/** Largest distance between the empirical CDF and `cdf`, times sqrt n (Kolmogorov-Smirnov; 1.95 is p = 0.001). */
function kolmogorov(x: Float32Array, cdf: (v: number) => number): number {
  const sorted = x.slice().sort();
  let worst = 0;
  sorted.forEach((v, i) => {
    worst = Math.max(worst, Math.abs(cdf(v) - (i + 0.5) / sorted.length));
  });
  return worst * Math.sqrt(sorted.length);
}

/** Normal CDF by Simpson's rule from 0: slow, independent of the code under test. */
function normalCdf(x: number): number {
  const steps = 200;
  const h = x / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    sum += (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2) * Math.exp(-((i * h) ** 2) / 2);
  }
  return 0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}

test.each([
  [
    "00000000 00000000 00000000 00000000",
    "00000000 00000000",
    "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
  ],
  [
    "ffffffff ffffffff ffffffff ffffffff",
    "ffffffff ffffffff",
    "408f276d 41c83b0e a20bc7c6 6d5451fd",
  ],
  [
    "243f6a88 85a308d3 13198a2e 03707344",
    "a4093822 299f31d0",
    "d16cfe09 94fdcceb 5001e420 24126ea1",
  ],
])("philox encrypts %s as the Random123 known-answer file says", (counter, key, answer) => {
  const words = (text: string) => text.split(" ").map((w) => Number.parseInt(w, 16));
  const out = new Uint32Array(4);
  philox(out, 0, { counter: words(counter), key: words(key) });
  expect(hex(out)).toBe(answer);
});

test("the first words of a seed never change", () => {
  const r = rng(42);
  expect(hex([r.uint32(), r.uint32(), r.uint32(), r.uint32(), r.uint32()])).toMatchInlineSnapshot(
    `"ad2aa400 267a16f6 7d491fe7 3289e92e a7c8d6c8"`,
  );
  expect(hex([rng("emoji").uint32(), rng(42).child("noise").uint32()])).toMatchInlineSnapshot(
    `"bf0bf67b ea28cf63"`,
  );
  expect(rng(1).permutation(12).join(" ")).toMatchInlineSnapshot(`"4 1 7 6 2 0 8 3 9 11 5 10"`);
});

test("the first variates of a seed never change, bit for bit", () => {
  const bits = (x: Float32Array) => hex(new Uint32Array(x.buffer));
  const lines = [
    bits(rng(7).fillUniform(new Float32Array(6), { low: -1, high: 1 })),
    bits(rng(7).fillNormal(new Float32Array(6))),
    bits(rng(7).fillTruncNormal(new Float32Array(6))),
    bits(rng(7).fillExponential(new Float32Array(6))),
    bits(rng(7).fillGumbel(new Float32Array(6))),
  ];
  expect(`\n${lines.join("\n")}\n`).toMatchInlineSnapshot(`
    "
    3dae3a10 3f107522 bf7e4228 3ef429c4 bf158b22 bed47b60
    3ddac6cd 3f478a42 c02d3494 3f2377b4 bf504b55 bf0bcd4c
    3ddac6cd 3f478a42 3f2377b4 bf504b55 bf0bcd4c bd305cd7
    3f1c8b55 3e7b9d32 40b5df7b 3e9b3ef2 3fc90907 3f9d599a
    3efbd246 3fb3a85c bfde68c7 3f98be87 bee72476 be5365a5
    "
  `);
});

test("2^16 normals from evenly spread words keep one checksum on every engine", () => {
  let sum = 0;
  for (let i = 0; i < 65536; i++) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, normal(i * 65536 + 1234));
    sum = (Math.imul(sum, 31) + (view.getUint32(0) ^ view.getUint32(4))) >>> 0;
  }
  expect(hex([sum])).toMatchInlineSnapshot(`"b9957333"`);
});

test("ln agrees with the engine's logarithm to 4 ulp over the whole range", () => {
  const r = rng("ln");
  for (let i = 0; i < 20_000; i++) {
    const x = (r.uniform() + 2 ** -25) * 2 ** (r.int(2000) - 1000);
    expect(Math.abs(ln(x) - Math.log(x))).toBeLessThanOrEqual(
      4 * 2 ** -52 * Math.abs(Math.log(x)) + 1e-16,
    );
  }
  expect(ln(1)).toBe(0);
});

test("normal is the inverse of the normal CDF, symmetric, and finite at both ends", () => {
  for (const word of [1e8, 3e8, 4e8, 2e9, 3e9, 4e9, 2 ** 32 - 1e7]) {
    expect(normalCdf(normal(word))).toBeCloseTo((word + 0.5) / 2 ** 32, 10);
    expect(normal(2 ** 32 - 1 - word)).toBe(-normal(word));
  }
  expect(normal(0)).toBeCloseTo(-6.3379, 3);
  expect(normal(2 ** 32 - 1)).toBeCloseTo(6.3379, 3);
});

describe("distributions of 200,000 values", () => {
  const n = 200_000;
  const cases: [string, (r: Rng) => Float32Array, (x: number) => number, number, number][] = [
    ["uniform", (r) => r.fillUniform(new Float32Array(n)), (x) => x, 0.5, Math.sqrt(1 / 12)],
    ["normal", (r) => r.fillNormal(new Float32Array(n)), normalCdf, 0, 1],
    ["exponential", (r) => r.fillExponential(new Float32Array(n)), (x) => 1 - Math.exp(-x), 1, 1],
    [
      "gumbel",
      (r) => r.fillGumbel(new Float32Array(n)),
      (x) => Math.exp(-Math.exp(-x)),
      0.57722,
      Math.PI / Math.sqrt(6),
    ],
    [
      "truncated normal",
      (r) => r.fillTruncNormal(new Float32Array(n)),
      (x) => (normalCdf(x) - normalCdf(-2)) / (normalCdf(2) - normalCdf(-2)),
      0,
      0.8796,
    ],
  ];
  test.each(cases)("%s has its CDF, mean and deviation", (name, fill, cdf, mean, std) => {
    const x = fill(rng(`statistics of ${name}`));
    expect(kolmogorov(x.slice(0, 20_000), cdf)).toBeLessThan(1.95);
    const got = moments(x);
    expect(Math.abs(got.mean - mean)).toBeLessThan((4 * std) / Math.sqrt(n));
    expect(Math.abs(got.std - std)).toBeLessThan(0.01);
  });
});

test("truncation bounds are absolute, not multiples of the deviation", () => {
  const wide = rng(1).fillTruncNormal(new Float32Array(10_000), { std: 3 });
  expect(Math.max(...wide)).toBeLessThanOrEqual(2);
  expect(Math.max(...wide)).toBeGreaterThan(1.9);
  const narrow = rng(1).fillTruncNormal(new Float32Array(10_000), { std: 0.02 });
  expect(Math.max(...narrow)).toBeGreaterThan(0.05);
  expect(() => rng(1).fillTruncNormal(new Float32Array(1), { mean: 5 })).toThrow(/hardly ever/);
});

test("int is uniform, also where 2^32 is not a multiple of n", () => {
  const n = 3 * 2 ** 30; // without rejection the first third would come twice as often
  const r = rng("int");
  const thirds = [0, 0, 0];
  for (let i = 0; i < 30_000; i++) thirds[Math.floor(r.int(n) / 2 ** 30)]! += 1;
  for (const count of thirds) expect(Math.abs(count - 10_000)).toBeLessThan(350); // 4 sigma
  expect(() => r.int(0)).toThrow(/got n=0/);
  expect(r.int(1)).toBe(0);
});

test("every order of four comes equally often from permutation", () => {
  const r = rng("orders");
  const seen = new Map<string, number>();
  for (let i = 0; i < 24_000; i++) {
    const key = r.permutation(4).join("");
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  expect(seen.size).toBe(24);
  for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(140);
  expect(r.permutation(0).length).toBe(0);
});

test("filling is drawing one by one, from any position", () => {
  for (const skip of [0, 1, 2, 3, 5]) {
    const [a, b] = [rng(3), rng(3)];
    for (let i = 0; i < skip; i++) expect(a.uint32()).toBe(b.uint32());
    const filled = a.fillNormal(new Float32Array(2501));
    for (let i = 0; i < filled.length; i++) expect(filled[i]).toBe(Math.fround(b.normal()));
    expect(a.state()).toEqual(b.state());
    expect(a.uint32()).toBe(b.uint32());
  }
});

test("a child depends on the names above it and not on what was drawn", () => {
  const fresh = rng(5).child("weights").uint32();
  const used = rng(5);
  used.fillNormal(new Float32Array(999));
  expect(used.child("weights").uint32()).toBe(fresh);
  const [weights, noise] = used.split("weights", "noise");
  expect(weights.uint32()).toBe(fresh);
  expect(noise.uint32()).not.toBe(fresh);
  expect(used.child("a").child("b").uint32()).not.toBe(used.child("b").child("a").uint32());
});

test("seeds and names of different kinds are different, 42 and 42n are not", () => {
  expect(rng(42).uint32()).toBe(rng(42n).uint32());
  const names = [7, "7", "n7", "s7", "", "7\0", -7];
  const words = new Set(names.map((name) => rng(0).child(name).uint32()));
  expect(words.size).toBe(names.length);
  expect(() => rng(0.5)).toThrow(/safe integer/);
});

test("ten thousand numbered children share no first words and are uncorrelated with their neighbours", () => {
  const n = 10_000;
  const first = Array.from({ length: n }, (_, i) => rng(0).child(i).normal());
  expect(new Set(first).size).toBe(n);
  let lag = 0;
  for (let i = 1; i < n; i++) lag += first[i]! * first[i - 1]!;
  expect(Math.abs(lag / n)).toBeLessThan(4 / Math.sqrt(n));
});

test("a state survives JSON at every position, and past 2^32 blocks", () => {
  const r = rng("state");
  for (let i = 0; i < 9; i++) {
    const again = fromState(JSON.parse(JSON.stringify(r.state())));
    const next = [again.uint32(), again.normal(), again.child("x").uint32()];
    expect([r.uint32(), fromState({ ...r.state() }).normal(), r.child("x").uint32()]).toEqual(next);
  }
  const far = { ...r.state(), position: 2 ** 52 - 3 };
  const a = fromState(far);
  expect(a.fillUniform(new Float32Array(8))[7]).not.toBe(
    fromState({ ...far, position: 4 }).uniform(),
  );
});

test.each([
  [null],
  [{}],
  [{ kind: "mt19937", stream: [1, 2, 3, 4], position: 0 }],
  [{ kind: "philox4x32-10", stream: [1, 2, 3], position: 0 }],
  [{ kind: "philox4x32-10", stream: [1, 2, 3, -4], position: 0 }],
  [{ kind: "philox4x32-10", stream: [1, 2, 3, 4], position: 0.5 }],
])("fromState refuses %j with a sentence", (json) => {
  expect(() => fromState(json)).toThrow(/random state: got .*restore it/);
});
