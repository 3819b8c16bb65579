/** Sampling: what a picture depends on, what it may not depend on, and what is refused. */

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { louderModel, rowsOfIds, steps } from "../../test/louder-var.ts";
import { rawLogits } from "../../test/raw-logits.ts";
import { InputError } from "../formats/errors.ts";
import { bindConstants } from "../nn/bind.ts";
import { openBackend } from "../tensor/backend.ts";
import { grad } from "../tensor/grad.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { mul, slice, square, sum } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";
import type { Var } from "./model.ts";
import type { SampleOptions } from "./orders.ts";
import { inputFromIds } from "./quantizer.ts";
import { generate, sample } from "./sampler.ts";
import { type PatchNum, scaleStarts, tokenCount } from "./scales.ts";
import { trainingLogits } from "./var.ts";

let opened: Promise<Var> | undefined;
const model = () => {
  opened ??= louderModel();
  return opened;
};
afterAll(async () => (await opened)?.release());

describe("a picture", () => {
  test("comes scale by scale, with tokens, latent map and pixels", async () => {
    const all = await steps(await model(), { label: "food/noto", count: 2, seed: 3 });
    expect(all.map(({ scale, of, shape }) => [scale, of, ...shape])).toEqual([
      [0, 3, 1, 1],
      [1, 3, 2, 2],
      [2, 3, 3, 3],
    ]);
    expect(all[1]!.ids.shape).toEqual([2, 4]);
    expect(all[1]!.classes).toEqual([1, 1]);
    const images = await all[0]!.images();
    expect(images.shape).toEqual([2, 3, 6, 6]);
    for (const v of images.data as Float32Array) expect(v >= 0 && v <= 1).toBe(true);
    const [picture] = await all[2]!.pictures();
    expect(picture).toMatchObject({ width: 6, height: 6, channels: 3 });
  });

  test("is the same byte for byte when drawn again", async () => {
    const options = { label: 2, count: 3, seed: "again", moreSmooth: true };
    const [a, b] = [await steps(await model(), options), await steps(await model(), options)];
    expect(a.map(({ ids }) => ids.data)).toEqual(b.map(({ ids }) => ids.data));
    expect(await a.at(-1)!.images()).toEqual(await b.at(-1)!.images());
  });

  test.each([false, true])("does not depend on its batch (moreSmooth %s)", async (moreSmooth) => {
    const common = { seed: 5, topK: 0, topP: 0, guidance: 3, moreSmooth };
    const together = await steps(await model(), { ...common, count: 8 });
    const inThrees = await steps(await model(), { ...common, count: 8, batch: 3 });
    expect(rowsOfIds(inThrees)).toEqual(rowsOfIds(together));
    const whole = (await together.at(-1)!.images()).data as Float32Array;
    const size = whole.length / 8;
    for (let i = 0; i < 8; i++) {
      const alone = await steps(await model(), { ...common, first: i });
      expect(rowsOfIds(alone)[0]).toEqual(rowsOfIds(together)[i]);
      expect(alone[0]!.classes[0]).toBe(together[0]!.classes[i]);
      const pixels = (await alone.at(-1)!.images()).data as Float32Array;
      for (let j = 0; j < size; j++)
        expect(Math.abs(pixels[j]! - whole[i * size + j]!)).toBeLessThan(1e-5);
    }
  });

  test("changes with the seed and with its number", async () => {
    const at = async (o: SampleOptions) =>
      rowsOfIds(await steps(await model(), { topK: 0, topP: 0, label: 0, ...o }))[0];
    expect(await at({ seed: 1 })).not.toEqual(await at({ seed: 2 }));
    expect(await at({ first: 0 })).not.toEqual(await at({ first: 1 }));
  });

  test("of no class needs no guidance, and guidance changes the others", async () => {
    const at = async (o: SampleOptions) =>
      rowsOfIds(await steps(await model(), { topK: 1, topP: 0, count: 4, ...o }));
    expect(await at({ label: null, guidance: 7 })).toEqual(await at({ label: null, guidance: 0 }));
    expect(await at({ label: 1, guidance: 7 })).not.toEqual(await at({ label: 1, guidance: 0 }));
  });
});

test("generate gives the same pictures, a batch at a time", async () => {
  const options = { seed: 9, count: 5, batch: 2 };
  const all = await steps(await model(), options);
  const pictures = await all.at(-1)!.pictures();
  let i = 0;
  for await (const { index, label, ids, picture } of generate(await model(), options)) {
    expect(index).toBe(i);
    expect(label).toBe(all[0]!.classes[i]);
    expect([...ids]).toEqual(rowsOfIds(all)[i]);
    expect(picture).toEqual(pictures[i++]);
  }
  expect(i).toBe(5);
});

test("an abort stops between scales with the signal's reason", async () => {
  const stop = new AbortController();
  const seen: number[] = [];
  const run = async () => {
    for await (const { scale } of sample(await model(), { signal: stop.signal })) {
      seen.push(scale);
      if (scale === 1) stop.abort(new Error("enough"));
    }
  };
  await expect(run()).rejects.toThrow("enough");
  expect(seen).toEqual([0, 1]);
});

describe("labels", () => {
  const classesOf = async (options: SampleOptions) =>
    (await steps(await model(), options))[0]!.classes;

  test("by name, number, text number, part of the name, none, and list", async () => {
    expect(await classesOf({ label: "faces/noto" })).toEqual([3]);
    expect(await classesOf({ label: 4 })).toEqual([4]);
    expect(await classesOf({ label: "4" })).toEqual([4]);
    expect(await classesOf({ label: null })).toEqual([5]);
    expect(await classesOf({ labels: ["food/flat", null, 2] })).toEqual([0, 5, 2]);
    const food = await classesOf({ label: "food", count: 20 });
    expect([...new Set(food)].sort()).toEqual([0, 1]);
    expect(await classesOf({ label: "food", count: 20 })).toEqual(food);
    expect(new Set(await classesOf({ count: 40 })).size).toBe(5);
  });

  test.each([
    ["fod", /no class "fod"; near it: food/],
    ["animal", /near it: animals/],
    ["zzzzzzzzzz", /some of the 5: food\/flat/],
    [5, /label 5 is not a class: there are 5, numbered from 0 to 4/],
    [-1, /label -1 is not a class/],
    ["17", /label 17 is not a class/],
  ])("%s is refused with what is near", async (label, message) => {
    const attempt = steps(await model(), { label });
    await expect(attempt).rejects.toThrow(InputError);
    await expect(attempt).rejects.toThrow(message);
  });
});

test.each<[SampleOptions, RegExp]>([
  [{ count: 0 }, /count must be a whole number of at least 1, got 0/],
  [{ count: 1_000_000 }, /count must be at most 4096 at once/],
  [{ count: 2, labels: [1] }, /count is 2, there are 1 labels/],
  [{ label: 1, labels: [1] }, /exclude each other/],
  [{ guidance: -1 }, /guidance must be 0 \(off\) or more, got -1/],
  [{ guidance: Number.NaN }, /guidance/],
  [{ seed: 0.5 }, /seed must be a whole number or a text, got 0.5/],
  [{ batch: 0 }, /batch must be/],
  [{ topP: 2 }, /top-p/],
  [{ branches: [{ from: 3, name: "a" }] }, /must start at scale 0 to 2, this model has 3, got 3/],
  [{ branches: [{ from: -1, name: "a" }] }, /a branch's scale must be a whole number/],
])("%o is refused in a sentence", async (options, message) => {
  const attempt = steps(await model(), options);
  await expect(attempt).rejects.toThrow(InputError);
  await expect(attempt).rejects.toThrow(message);
});

/** Logits of all scales at once from ids B L, by the training graph. */
async function teacherForced(
  m: Var,
  ids: readonly number[][],
  classes: readonly number[],
): Promise<Float32Array> {
  const g = createGraph();
  const [B, L] = [ids.length, tokenCount(m.config)];
  const given = input(g, "ids", [B, L], "int64");
  const read = inputFromIds(given, bindConstants(g, m.parts.tokenizerWeights), m.tokenizer);
  const labels = input(g, "labels", [B], "int64");
  const p = bindConstants(g, m.parts.weights);
  output(g, "logits", trainingLogits({ input: read, labels }, p, { config: m.config }));
  const session = await (await openBackend()).compile(g, { threads: 1 });
  const { logits } = await session.run({
    ids: { dtype: "int64", shape: [B, L], data: BigInt64Array.from(ids.flat(), BigInt) },
    labels: { dtype: "int64", shape: [B], data: BigInt64Array.from(classes, BigInt) },
  });
  await session.release();
  return logits!.data as Float32Array;
}

test("sampling with cached keys and values equals teacher-forced recomputation at every scale", async () => {
  const configs = fc.record({
    depth: fc.integer({ min: 1, max: 3 }),
    heads: fc.constantFrom(1, 2, 3),
    headWidth: fc.constantFrom(4, 8, 24, 40),
    attnL2Norm: fc.boolean(),
    norms: fc.constantFrom({}, { sharedAdaLN: true }, { adaLN: false }),
    patchNums: fc.constantFrom<readonly PatchNum[]>(
      [1],
      [1, 2, 4],
      [1, 3, 4, 5],
      [1, [1, 2], [3, 4]],
    ),
    codes: fc.integer({ min: 2, max: 40 }),
    classes: fc.integer({ min: 1, max: 4 }),
    seed: fc.nat(1000),
    guidance: fc.constantFrom(0, 2),
  });
  const check = async ({
    headWidth,
    seed,
    guidance,
    norms,
    ...rest
  }: typeof configs extends fc.Arbitrary<infer T> ? T : never) => {
    const dials = { ...rest, ...norms };
    const m = await louderModel({ ...dials, width: dials.heads * headWidth }, seed);
    const logits = await rawLogits(m);
    const all = await steps(m, { seed, count: 2, guidance, topK: 0, topP: 0 });
    const rows = rowsOfIds(all);
    const twice = guidance > 0;
    const none = m.config.classes;
    const classes = twice ? [...all[0]!.classes, none, none] : all[0]!.classes;
    const want = await teacherForced(m, twice ? [...rows, ...rows] : rows, classes);
    const [V, starts, L] = [m.config.codes, scaleStarts(m.patchNums), tokenCount(m.config)];
    // The first scale is never guided: where it is the only one, rows without a class have nothing to do.
    const used = m.patchNums.length === 1 ? rows.length : classes.length;
    for (const [k, { data: got }] of logits.entries())
      for (let row = 0; row < used; row++) {
        const width = (starts[k + 1]! - starts[k]!) * V;
        for (let j = 0; j < width; j++) {
          const there = want[(row * L + starts[k]!) * V + j]!;
          expect(
            Math.abs((got[row * width + j] as number) - there),
            `scale ${k} row ${row}`,
          ).toBeLessThan(1e-5);
        }
      }
    await m.release();
  };
  await fc.assert(fc.asyncProperty(configs, check), { numRuns: 15 });
}, 180_000);

test("a scale never sees its own tokens or finer ones", async () => {
  const m = await model();
  const [L, V] = [tokenCount(m.config), m.config.codes];
  const starts = scaleStarts(m.patchNums);
  const ids = Array.from({ length: L }, (_, t) => (t * 7) % V);
  const before = await teacherForced(m, [ids], [0]);
  for (const [k] of m.patchNums.entries()) {
    const changed = ids.map((id, t) => (t >= starts[k]! ? (id + 1) % V : id));
    const after = await teacherForced(m, [changed], [0]);
    const same = starts[k + 1]! * V;
    expect(after.slice(0, same)).toEqual(before.slice(0, same));
    if (same < after.length) expect(after.slice(same)).not.toEqual(before.slice(same));
  }
});

test("no gradient flows from a scale's logits to finer inputs", async () => {
  const m = await model();
  const L = tokenCount(m.config);
  const starts = scaleStarts(m.patchNums);
  const g = createGraph();
  const read = input(g, "read", [1, L - 1, 4]);
  const from = { input: read, labels: input(g, "labels", [1], "int64") };
  const logits = trainingLogits(from, bindConstants(g, m.parts.weights), { config: m.config });
  for (const [k] of m.patchNums.entries()) {
    const own = slice(logits, { axis: 1, start: starts[k]!, end: starts[k + 1]! });
    output(g, `grad ${k}`, grad(sum(mul(square(own), 1)), [read])[0]!);
  }
  const session = await (await openBackend()).compile(g, { threads: 1 });
  const got = await session.run({
    read: {
      dtype: "float32",
      shape: [1, L - 1, 4],
      data: rng(1).fillNormal(new Float32Array((L - 1) * 4)),
    },
    labels: { dtype: "int64", shape: [1], data: BigInt64Array.of(2n) },
  });
  for (const [k] of m.patchNums.entries()) {
    const data = got[`grad ${k}`]!.data as Float32Array;
    const end = (starts[k + 1]! - 1) * 4; // inputs have no start token
    expect(data.slice(end).every((v) => v === 0)).toBe(true);
    for (let t = 0; t < end / 4; t++)
      expect(
        data.slice(t * 4, t * 4 + 4).some((v) => v !== 0),
        `scale ${k} reads token ${t}`,
      ).toBe(true);
  }
  await session.release();
});
