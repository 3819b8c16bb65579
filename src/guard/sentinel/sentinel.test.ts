/** The detectors on simulated runs: how often they are wrong, and how soon they see what they are for. */

import { mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../formats/dtype.ts";
import { fromHex, toHex, utf8 } from "../sign/encoding.ts";
import { alarm, describeAlarm } from "./alarm.ts";
import { differingFeed, recordData } from "./batch.ts";
import { createChain } from "./chain.ts";
import { createClocks } from "./clocks.ts";
import {
  across,
  along,
  appliedNorm,
  clippedNorm,
  gradientAcross,
  moveAcross,
  moveAlong,
} from "./direction.ts";
import { hmacSha256, type SecretStream, secretStream } from "./secret.ts";
import { adamwFactors, checkCoordinate } from "./shadow.ts";
import { recordSources } from "./sources.node.ts";
import { outlierDetector } from "./statistics.ts";
import { robustScale, shiftDetector, stallDetector } from "./timing.ts";

const secret = utf8("a secret of these tests");
const uniform = (s: SecretStream) => (s.word() + 0.5) / 2 ** 32;
const normal = (s: SecretStream) =>
  Math.sqrt(-2 * Math.log(uniform(s))) * Math.cos(2 * Math.PI * uniform(s));
const floats = (...values: number[]): Tensor => ({
  dtype: "float32",
  shape: [values.length],
  data: Float32Array.from(values),
});

describe("what is chosen in secret", () => {
  test("uses HMAC-SHA-256 as RFC 4231 has it", () => {
    const tag = hmacSha256(utf8("Jefe"), utf8("what do ya want for nothing?"));
    expect(toHex(tag)).toBe("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    const long = hmacSha256(
      fromHex("aa".repeat(131), "key"),
      utf8("Test Using Larger Than Block-Size Key - Hash Key First"),
    );
    expect(toHex(long)).toBe("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  });

  test("is the same for the same secret and purpose, and another for any other", () => {
    const words = (key: Uint8Array, ...purpose: (string | number)[]) =>
      Array.from({ length: 4 }, secretStream(key, ...purpose).word);
    expect(words(secret, "a", 1)).toEqual(words(secret, "a", 1));
    for (const other of [words(secret, "a", 2), words(secret, "a1"), words(utf8("x"), "a", 1)])
      expect(other).not.toEqual(words(secret, "a", 1));
  });

  test("is uniform", () => {
    const stream = secretStream(secret, "uniform");
    const counts = new Array(10).fill(0);
    for (let i = 0; i < 20_000; i++) counts[stream.below(10)]++;
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200); // 4.7 sigma
  });
});

describe("the chain of states", () => {
  test("names the tensor of which one bit changed between two updates", () => {
    const chain = createChain({ secret });
    const tensors = new Map(Object.entries({ b: floats(4, 5), a: floats(1, 2, 3) }));
    expect(chain.changed(tensors)).toBeUndefined(); // nothing is known yet
    chain.left(1, tensors, "{}");
    expect(chain.changed(tensors, "{}")).toBeUndefined();
    expect(chain.changed(tensors, '{"position":8}')).toBe("position");
    new Uint32Array(tensors.get("b")!.data.buffer)[1]! ^= 1;
    expect(chain.changed(tensors, "{}")).toBe("b");
  });

  test("covers a large state in shares: one edit is seen with the chance of the share", () => {
    const big = new Map([
      ["w", { dtype: "float32", shape: [2 ** 20], data: new Float32Array(2 ** 20) } as Tensor],
    ]);
    const chain = createChain({ secret, budget: 2 ** 20 });
    expect(chain.coverage(big)).toBe(0.25);
    const where = secretStream(secret, "where");
    let seen = 0;
    for (let step = 0; step < 400; step++) {
      chain.left(step, big);
      big.get("w")!.data[where.below(2 ** 20)] = step + 1;
      if (chain.changed(big)) seen++;
    }
    expect(Math.abs(seen / 400 - 0.25)).toBeLessThan(0.08); // 3.7 sigma
  });
});

describe("the shadow of the optimizer", () => {
  const numbers = { step: 7, lr: 3e-3, weightDecay: 0.05, betas: [0.9, 0.95], eps: 1e-8 } as const;
  const f = Math.fround;
  /** AdamW of nn/optim.ts on one coordinate, in float32. */
  function updated(factors: ReturnType<typeof adamwFactors>, stream: SecretStream) {
    const [p, m, g] = [f(normal(stream)), f(normal(stream)), f(normal(stream))];
    const v = f(normal(stream) ** 2 * 10);
    const nextM = f(f(m * factors.beta1) + g);
    const nextV = f(f(v * factors.beta2) + f(g * g));
    const move = f(f(nextM / f(f(Math.sqrt(nextV)) + factors.floor)) * factors.rate);
    return { p, m, v, nextM, nextV, nextP: f(f(p * factors.shrink) - move) };
  }
  const share = (change: Partial<typeof numbers> | ((c: ReturnType<typeof updated>) => object)) => {
    const used = adamwFactors(typeof change === "function" ? numbers : { ...numbers, ...change });
    const declared = adamwFactors(numbers);
    const stream = secretStream(secret, "coordinates");
    let found = 0;
    for (let i = 0; i < 2000; i++) {
      const honest = updated(used, stream);
      const c = typeof change === "function" ? { ...honest, ...change(honest) } : honest;
      if (checkCoordinate(c, declared, true)) found++;
    }
    return found / 2000;
  };

  test("finds nothing in honest updates", () => {
    expect(share({})).toBe(0);
  });
  test.each([
    ["lr x 1.2", { lr: 3.6e-3 }, 0.9],
    ["lr x 1.0001", { lr: 3.0003e-3 }, 0.05],
    ["weight decay x 2", { weightDecay: 0.1 }, 0.9],
    ["beta1 0.9 -> 0.8", { betas: [0.8, 0.95] as const }, 0.9],
    ["beta2 0.95 -> 0.96", { betas: [0.9, 0.96] as const }, 0.9],
    ["another step's bias correction", { step: 8 }, 0.9],
    ["mean reset inside the engine", (c: { m: number }) => ({ m: c.m + 0.1 }), 0.9],
    ["second moment x 4 inside the engine", (c: { v: number }) => ({ v: c.v / 4 }), 0.9],
  ] as const)("finds %s on most coordinates", (_, change, least) => {
    expect(share(change as Parameters<typeof share>[0])).toBeGreaterThan(least);
  });
});

describe("directional checks", () => {
  /** A parameter at 0, mean m before, gradient g. */
  function place(m: readonly number[], g: readonly number[]) {
    const before = Float32Array.from(m);
    const after = before.map((x, i) => Math.fround(x * Math.fround(0.9)) + g[i]!);
    return { at: new Float32Array(g.length), before, after, moved: new Float32Array(g.length) };
  }

  test("get the applied gradient back from the mean's two values", () => {
    const one = place([1, -2], [3, 4]);
    expect(appliedNorm([one], 0.9)).toBeCloseTo(5, 6);
    moveAlong([one], 0.9, 0.5);
    expect(one.moved[0]).toBeCloseTo(1.5, 6);
    expect(one.moved[1]).toBeCloseTo(2, 6);
  });

  test("signs are balanced, and the same for the move and for the slope", () => {
    const stream = () => secretStream(secret, "signs").word;
    const g = Array.from({ length: 9_999 }, (_, i) => Math.sin(i));
    const one = place(new Array(g.length).fill(0.5), g);
    moveAcross([one], stream(), 1);
    expect([...new Set(one.moved)].sort()).toEqual([-1, 1]);
    expect(Math.abs(one.moved.reduce((a, b) => a + b))).toBeLessThan(400); // 4 sigma
    const slope = one.moved.reduce((sum, u, i) => sum + u * g[i]!, 0);
    expect(gradientAcross([one], stream(), 0.9)).toBeCloseTo(slope, 3);
  });

  test("a norm is left alone below the limit, and becomes the limit above it", () => {
    expect(clippedNorm(1, 2)).toBe(1);
    expect(clippedNorm(5, 2)).toBeCloseTo(2, 6);
    expect(clippedNorm(5, 0)).toBe(5);
  });

  test("a true slope has no error; flipped, scaled and noised ones have the error of their size", () => {
    expect(along(3, 3).error).toBe(0);
    expect(along(-3, 3).error).toBe(2);
    expect(along(10, 3).error).toBeCloseTo(7 / 3);
    expect(across(0.5, -0.5, 2).error).toBe(0.5);
  });
});

describe("step times", () => {
  /** Milliseconds of updates: 5 % jitter, 0.5 % natural stalls. */
  const trace = (name: string) => {
    const stream = secretStream(secret, "trace", name);
    return () => 100 * (1 + 0.05 * normal(stream)) * (uniform(stream) < 0.005 ? 2 : 1);
  };
  /** Updates until the alarm after `onset`; undefined within `patience`. */
  function delay(name: string, sabotage: (ms: number, chance: number) => number, patience = 3000) {
    const [natural, chance] = [trace(name), secretStream(secret, "sabotage", name)];
    const [shift, stall] = [shiftDetector(), stallDetector()];
    for (let step = 1; step < 200; step++) stall.push(step, shift.push(step, natural()).z);
    for (let n = 1; n <= patience; n++) {
      const found = shift.push(200 + n, sabotage(natural(), uniform(chance)));
      if (found.shift || stall.push(200 + n, found.z)) return n;
    }
    return undefined;
  }
  const delays = (sabotage: (ms: number, chance: number) => number) =>
    Array.from({ length: 60 }, (_, i) => delay(`${i}`, sabotage));
  const medianOf = (found: readonly (number | undefined)[]) =>
    robustScale(found.map((n) => n ?? Number.POSITIVE_INFINITY)).median;

  test("a robust scale is the standard deviation of normal values, whatever a few outliers are", () => {
    const stream = secretStream(secret, "scale");
    const values = Array.from({ length: 4001 }, (_, i) => (i < 200 ? 1e6 : 5 + 2 * normal(stream)));
    const { median, scale } = robustScale(values);
    expect(Math.abs(median - 5)).toBeLessThan(0.3);
    expect(Math.abs(scale - 2)).toBeLessThan(0.3);
  });

  test("rarely raise a false alarm: below 2 in 10,000 updates", () => {
    let alarms = 0;
    for (let i = 0; i < 20; i++) {
      const [natural, shift, stall] = [trace(`clean ${i}`), shiftDetector(), stallDetector()];
      for (let step = 1; step <= 5000; step++) {
        const found = shift.push(step, natural());
        if (found.shift) alarms++;
        if (stall.push(step, found.z)) alarms++;
      }
    }
    expect(alarms).toBeLessThan(20); // of 100,000
  });

  test.each([
    ["+10 %", 1.1, 8],
    ["+5 %", 1.05, 21],
    ["+3 %", 1.03, 62],
  ])("%s is found as soon as the design says", (_, factor, expected) => {
    const found = delays((ms) => ms * factor);
    expect(found.every(Boolean)).toBe(true);
    expect(medianOf(found)).toBeLessThan(1.6 * expected);
  });

  test.each([
    [0.1, 52],
    [0.05, 101],
    [0.02, 271],
  ])(
    "updates twice as long, at a chance of %d, are found by their frequency",
    (chance, expected) => {
      const found = delays((ms, draw) => (draw < chance ? 2 * ms : ms));
      expect(found.every(Boolean)).toBe(true);
      expect(medianOf(found)).toBeLessThan(1.6 * expected);
    },
  );

  test("a change says since when, and what is usual then and now; it is told once", () => {
    const [natural, shift] = [trace("once"), shiftDetector()];
    const found = [];
    for (let step = 1; step <= 1500; step++) {
      const { shift: s } = shift.push(step, natural() * (step >= 700 ? 1.2 : 1));
      if (s) found.push({ step, ...s });
    }
    expect(found).toHaveLength(1);
    expect(Math.abs(found[0]!.since - 700)).toBeLessThan(6);
    expect(found[0]!.now / found[0]!.usual).toBeGreaterThan(1.12);
  });
});

describe("clocks", () => {
  const clock = () => {
    const now = { mono: 0, wall: 1e12 };
    const clocks = createClocks({ monotonic: () => now.mono, wall: () => now.wall });
    const pass = (ms: number, wall = ms) => {
      now.mono += ms;
      now.wall += wall;
    };
    const update = () => {
      const found = clocks.begin();
      pass(100);
      clocks.end();
      pass(5);
      return found;
    };
    for (let i = 0; i < 20; i++) expect(update()).toEqual({});
    return { clocks, pass, update };
  };

  test("a stopped process shows as a gap, the system's time set as drift", () => {
    const { pass, update } = clock();
    pass(60_000);
    expect(update()).toEqual({ gap: 60_005 });
    pass(1, 3_600_000);
    expect(update()).toEqual({ drift: 3_599_999 });
  });

  test("a long save is no gap", () => {
    const { clocks, pass, update } = clock();
    clocks.pause();
    pass(60_000);
    expect(update()).toEqual({});
  });
});

describe("statistics", () => {
  test("a spike and a NaN are outliers, a slow descent and noise are not", () => {
    const [stream, detector] = [secretStream(secret, "loss"), outlierDetector({ upward: true })];
    for (let i = 0; i < 20_000; i++)
      expect(detector.push(4 * Math.exp(-i / 3000) + 0.1 * normal(stream)).outlier).toBe(false);
    expect(detector.push(10).outlier).toBe(true);
    expect(detector.push(Number.NaN).outlier).toBe(true);
    expect(detector.push(0.01).outlier).toBe(false);
  });
});

describe("data", () => {
  test("a changed row and a picture that was not there are told", () => {
    const rows = Array.from({ length: 10 }, (_, i) => floats(i, 2 * i, 7));
    const record = recordData(10, (i) => rows[i]!, { secret });
    expect(record.changed([1, 2, 2, 3], (i) => rows[i]!)).toEqual([]);
    rows[2] = floats(2, 4, 8);
    expect(record.changed([1, 2, 2, 3, 12], (i) => rows[i] ?? rows[0]!)).toEqual([2, 12]);
  });

  test("a feed of other bytes, another type or none is named", () => {
    const fed = { ids: floats(1, 2), labels: floats(3) };
    expect(differingFeed(fed, { ...fed, more: floats(1) })).toBeUndefined();
    expect(differingFeed(fed, { ...fed, labels: floats(4) })).toBe("labels");
    expect(differingFeed(fed, { labels: floats(3) })).toBe("ids");
    expect(differingFeed({ z: floats(0) }, { z: floats(-0) })).toBe("z");
  });
});

describe("sources", () => {
  test("changed, replaced and missing files are told; touched ones are not", async () => {
    const folder = await mkdtemp(join(tmpdir(), "underpaint-sources-"));
    try {
      const file = (name: string) => join(folder, name);
      for (const name of ["a", "b", "c", "d"]) await writeFile(file(name), name);
      const record = await recordSources(["a", "b", "c", "d"].map(file));
      expect(record.hashes.get(file("a"))).toMatch(/^[0-9a-f]{64}$/);
      await utimes(file("d"), 1, 1);
      expect(await record.changes()).toEqual([]);
      await writeFile(file("a"), "A");
      await utimes(file("a"), 1, 1);
      await writeFile(file("new"), "B");
      await rename(file("new"), file("b"));
      await rm(file("c"));
      const told = [
        { file: file("a"), change: "content" },
        { file: file("b"), change: "content" },
        { file: file("c"), change: "gone" },
      ];
      expect(await record.changes()).toEqual(told);
      expect(await record.changes({ whole: true })).toEqual(told);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

test("an alarm says what, since when, why, and what to do, in one line", () => {
  const line = describeAlarm(alarm("state-chain", 41, { since: 40, tensor: "param.head.weight" }));
  expect(line).toMatch(
    /^update 41: weights or optimizer state changed .* \(since update 40, tensor param.head.weight\); stop, go back/,
  );
});
