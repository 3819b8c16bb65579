/** Edits with a small model: what stays stays, what is drawn fits, and what is refused. Parity with the reference: test/golden. */

import { afterAll, describe, expect, test } from "vitest";
import { louderModel } from "../../../test/louder-var.ts";
import { InputError } from "../../formats/errors.ts";
import { initWeights } from "../../nn/spec.ts";
import { rng } from "../../tensor/rng.ts";
import { varConfig, vqvaeConfig } from "../config.ts";
import { loadVar, type Var } from "../model.ts";
import { modelMetadata } from "../note.ts";
import type { ScaleStep } from "../sampler.ts";
import type { Picture } from "../sheet.ts";
import { varSpecs } from "../var-layout.ts";
import { vqvaeSpecs } from "../vqvae-layout.ts";
import { BLENDS, type Blend, blendInto, seamError, softEdge } from "./blend.ts";
import { type CanvasStep, extend, extendedSize, paintCanvas } from "./canvas.ts";
import { enlarge, type PaintOptions, paint, vary } from "./edit.ts";
import { COURSES, interpolate } from "./interpolate.ts";
import {
  boxMask,
  cellsKept,
  type Mask,
  maskFromAlpha,
  maskFromGrey,
  plainMask,
  tokensKept,
} from "./mask.ts";
import { encodePicture, scalesSeen } from "./tokens.ts";

const tokenizer = vqvaeConfig({
  channels: 8,
  chMult: [1, 2],
  resBlocks: 1,
  groups: 4,
  latent: 4,
  codes: 24,
  codebookInit: 1,
  patchNums: [1, 2, 4],
});
const transformer = varConfig(1, {
  width: 16,
  heads: 2,
  classes: 3,
  codes: 24,
  latent: 4,
  patchNums: [1, 2, 4],
});
let opened: Promise<Var> | undefined;
const model = () => {
  opened ??= loadVar(
    {
      var: {
        tensors: initWeights(varSpecs(transformer), rng(1)),
        metadata: modelMetadata("var", transformer),
      },
      vqvae: {
        tensors: initWeights(vqvaeSpecs(tokenizer), rng(2)),
        metadata: modelMetadata("vqvae", tokenizer),
      },
    },
    { threads: 1 },
  );
  return opened;
};
afterAll(async () => (await opened)?.release());

/** A picture of noise, so that neighbouring pixels differ. */
const noise = (width: number, height = width, seed = 7): Picture => ({
  width,
  height,
  channels: 3,
  data: rng(seed)
    .fillUniform(new Float32Array(width * height * 3))
    .reduce((bytes, v, i) => bytes.fill(256 * v, i, i + 1), new Uint8Array(width * height * 3)),
});

const pixel = ({ data, width }: Picture, x: number, y: number) => [
  ...data.slice((y * width + x) * 3, (y * width + x) * 3 + 3),
];

async function last(
  steps: AsyncGenerator<ScaleStep>,
): Promise<{ step: ScaleStep; ids: number[][] }> {
  const ids: number[][] = [];
  let step: ScaleStep | undefined;
  for await (step of steps) ids.push(Array.from(step.ids.data as BigInt64Array, Number));
  return { step: step!, ids };
}
async function ends(steps: AsyncGenerator<CanvasStep>): Promise<CanvasStep[]> {
  const all: CanvasStep[] = [];
  for await (const step of steps) all.push(step);
  return all;
}

/** 8x8 pixels, 4x4 cells: the right half is drawn. */
const RIGHT = boxMask({ left: 0.5, top: 0, right: 1, bottom: 1 }, { width: 8, height: 8 });
const wild = { guidance: 0, topK: 0, topP: 0, temperature: 10 };

describe("painting under a mask", () => {
  test("keeps the picture's tokens outside at the finest scale, and the 1x1 token", async () => {
    const picture = noise(8);
    const { ids: own } = await encodePicture(await model(), picture);
    const drawn = await Promise.all(
      [1, 2, 3].map(async (seed) =>
        last(paint(await model(), picture, { mask: RIGHT, seed, ...wild })),
      ),
    );
    for (const { ids } of drawn) {
      expect(ids[0]).toEqual([...own[0]!]);
      for (const t of [0, 1, 4, 5, 8, 9, 12, 13]) expect(ids[2]![t]).toBe(own[2]![t]);
    }
    const right = drawn.map(({ ids }) => [2, 3, 6, 7].map((t) => ids[2]![t]).join());
    expect(new Set(right).size).toBeGreaterThan(1);
  });

  test.each(["feather", "seamless"] as const)(
    "with blend %s gives kept pixels back byte by byte",
    async (blend) => {
      const picture = noise(8);
      const { step } = await last(
        paint(await model(), picture, { mask: RIGHT, blend, feather: 1 }),
      );
      const [result] = await step.pictures();
      for (let y = 0; y < 8; y++)
        for (let x = 0; x < 4; x++) expect(pixel(result!, x, y)).toEqual(pixel(picture, x, y));
      const changed = (result!.data as Uint8Array).some((v, i) => v !== picture.data[i]);
      expect(changed).toBe(true);
    },
  );

  test("with blend none gives what the decoder gives", async () => {
    const steps = paint(await model(), noise(8), { mask: RIGHT, blend: "none", seed: 3 });
    const { step } = await last(steps);
    const images = (await step.images()).data as Float32Array;
    const [picture] = await step.pictures();
    expect(pixel(picture!, 0, 0)).toEqual([0, 64, 128].map((i) => Math.round(images[i]! * 255)));
  });

  test("is the same for the same seed, and a count gives each its own", async () => {
    const options: PaintOptions = { mask: RIGHT, seed: 5, count: 2, ...wild };
    const picture = noise(8);
    const [a, b] = [
      await last(paint(await model(), picture, options)),
      await last(paint(await model(), picture, options)),
    ];
    expect(a.ids).toEqual(b.ids);
    expect(a.ids[2]!.slice(0, 16)).not.toEqual(a.ids[2]!.slice(16));
  });

  const wrong: [string, Partial<PaintOptions>, RegExp][] = [
    [
      "a mask of another size",
      { mask: plainMask({ width: 4, height: 8 }, 0) },
      /4x8 pixels, the picture 8x8/,
    ],
    ["a mask that keeps all", { mask: plainMask({ width: 8, height: 8 }, 1) }, /keeps every pixel/],
    ["too many scales", { keepScales: 4 }, /0 to 3/],
    ["a negative feather", { feather: -1 }, /feather must be/],
  ];
  test.each(wrong)("refuses %s", async (_, options, message) => {
    const attempt = last(paint(await model(), noise(8), { mask: RIGHT, ...options }));
    await expect(attempt).rejects.toThrow(InputError);
    await expect(attempt).rejects.toThrow(message);
  });

  test("refuses a picture of another size, naming both", async () => {
    const attempt = last(
      paint(await model(), noise(9), { mask: plainMask({ width: 9, height: 9 }, 0) }),
    );
    await expect(attempt).rejects.toThrow(/9x9 pixels, the model draws 8x8/);
  });
});

describe("variations", () => {
  test("keep the first scales and draw the rest; keeping all gives the tokenizer's own picture", async () => {
    const picture = noise(8);
    const { ids: own } = await encodePicture(await model(), picture);
    const some = await last(vary(await model(), picture, { keepScales: 2, ...wild }));
    expect(some.ids.slice(0, 2)).toEqual(own.slice(0, 2).map((ids) => [...ids]));
    expect(some.ids[2]).not.toEqual([...own[2]!]);
    const all = await last(vary(await model(), picture, { keepScales: 3, seed: 1 }));
    expect(all.ids).toEqual(own.map((ids) => [...ids]));
  });
});

describe("enlarging", () => {
  test("gives a picture that shrinks to the small one more nearly for more rounds", async () => {
    const small = noise(4);
    const error = async (faithful: number) => {
      const { step } = await last(enlarge(await model(), small, { faithful }));
      const [large] = await step.pictures();
      const back = { ...small, data: new Uint8Array(48) };
      for (let y = 0; y < 4; y++)
        for (let x = 0; x < 4; x++)
          for (let c = 0; c < 3; c++) {
            const at = (dx: number, dy: number) => pixel(large!, 2 * x + dx, 2 * y + dy)[c]!;
            back.data[(y * 4 + x) * 3 + c] = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4;
          }
      return back.data.reduce((sum, v, i) => sum + Math.abs(v - small.data[i]!), 0) / 48;
    };
    expect(await error(3)).toBeLessThan(0.5 * (await error(0)));
  });

  test("takes the scales the small picture can tell, and refuses one that is not smaller", async () => {
    const m = await model();
    expect([scalesSeen(m, 1), scalesSeen(m, 2), scalesSeen(m, 4)]).toEqual([1, 2, 3]);
    await expect(last(enlarge(m, noise(8)))).rejects.toThrow(/smaller square picture, got 8x8/);
  });
});

describe("interpolation", () => {
  test.each(["together", "coarse", "fine"] as const)(
    "by course %s begins and ends at the two pictures",
    async (course) => {
      const pair = [noise(8, 8, 1), noise(8, 8, 2)] as const;
      const m = await model();
      const { step, ids } = await last(interpolate(m, pair, { steps: 5, course }));
      const own = await Promise.all(pair.map((p) => encodePicture(m, p)));
      for (const [k, pn] of [1, 2, 4].entries()) {
        expect(ids[k]!.slice(0, pn * pn)).toEqual([...own[0]!.ids[k]!]);
        expect(ids[k]!.slice(-pn * pn)).toEqual([...own[1]!.ids[k]!]);
      }
      const pictures = await step.pictures();
      expect(pictures).toHaveLength(5);
      for (const [end, picture] of pair.entries()) {
        const whole = await last(vary(m, picture, { keepScales: 3 }));
        expect(pictures[4 * end]).toEqual((await whole.step.pictures())[0]);
      }
    },
  );
});

test("courses say which scales have gone how far half-way", () => {
  const half = (course: keyof typeof COURSES) =>
    [0, 1, 2, 3].map((k) => COURSES[course](0.5, k, 4));
  expect(half("together")).toEqual([0.5, 0.5, 0.5, 0.5]);
  expect(half("coarse")).toEqual([1, 1, 0, 0]);
  expect(half("fine")).toEqual([0, 0, 1, 1]);
});

describe("a canvas larger than the model", () => {
  const picture = noise(24, 16);
  const size = { width: 24, height: 16 };

  test("is changed only where the mask says", async () => {
    const mask = boxMask({ left: 0.5, top: 0.25, right: 0.75, bottom: 0.5 }, size);
    const all = await ends(paintCanvas(await model(), picture, { mask, seed: 1 }));
    expect(all.map(({ done }) => done)).toEqual([1 / 3, 2 / 3, 1]);
    const result = all.at(-1)!.picture;
    expect([result.width, result.height]).toEqual([24, 16]);
    let changed = 0;
    for (let i = 0; i < mask.data.length; i++) {
      const same = [0, 1, 2].every((c) => result.data[i * 3 + c] === picture.data[i * 3 + c]);
      if (mask.data[i] === 1) expect(same).toBe(true);
      else changed += same ? 0 : 1;
    }
    expect(changed).toBeGreaterThan(10);
  });

  test("grows by what is asked for, and the picture stays in it", async () => {
    const all = await ends(extend(await model(), picture, { left: 5, bottom: 11, seed: 2 }));
    const { picture: result, done } = all.at(-1)!;
    expect([result.width, result.height, done]).toEqual([29, 27, 1]);
    for (const [x, y] of [
      [0, 0],
      [23, 15],
      [11, 7],
    ] as const)
      expect(pixel(result, x + 5, y)).toEqual(pixel(picture, x, y));
    const windows = all.at(-1)!.windows;
    expect(windows).toBeGreaterThan(2);
    expect(all.map(({ window, scale }) => [window, scale])).toEqual(
      Array.from({ length: 3 * windows }, (_, i) => [Math.floor(i / 3), i % 3]),
    );
    expect(all.map(({ done }) => done)).toEqual([...all.keys()].map((i) => (i + 1) / all.length));
  });

  test("refuses to grow by nothing, by halves, or without bound", async () => {
    const m = await model();
    await expect(ends(extend(m, picture, {}))).rejects.toThrow(/no side/);
    await expect(ends(extend(m, picture, { left: 0.5 }))).rejects.toThrow(/whole number/);
    await expect(ends(extend(m, picture, { left: 1e7 }))).rejects.toThrow(/million pixels/);
    await expect(ends(extend(m, picture, { left: 3000 }))).rejects.toThrow(/at most 256 are drawn/);
    const line = noise(40_000, 1); // as many windows as pixels: refused without listing them
    await expect(ends(extend(m, line, { left: 1 }))).rejects.toThrow(/some 40001 windows of 1x1 /);
  });
});

describe("a model of pictures twice as wide as high", () => {
  const patchNums = [1, [1, 2], [2, 4]] as const;
  let wide: Promise<Var> | undefined;
  const wideModel = () => {
    wide ??= louderModel({ patchNums });
    return wide;
  };
  afterAll(async () => (await wide)?.release());
  const size = { width: 8, height: 4 };

  test("keeps what the mask keeps, by token at every scale and by pixel", async () => {
    const m = await wideModel();
    expect(m.size).toEqual(size);
    const picture = noise(8, 4);
    const mask = boxMask({ left: 0.5, top: 0, right: 1, bottom: 1 }, size);
    expect(tokensKept(cellsKept(mask, m.tokenizer), m.tokenizer).map((keep) => [...keep])).toEqual([
      [1],
      [1, 1],
      [1, 1, 0, 0, 1, 1, 0, 0],
    ]);
    const { ids: own } = await encodePicture(m, picture);
    const { ids, step } = await last(paint(m, picture, { mask, seed: 1, ...wild }));
    for (const t of [0, 1, 4, 5]) expect(ids[2]![t]).toBe(own[2]![t]);
    const [drawn] = await step.pictures();
    expect([drawn!.width, drawn!.height]).toEqual([8, 4]);
    for (let y = 0; y < 4; y++) expect(pixel(drawn!, 0, y)).toEqual(pixel(picture, 0, y));
    await expect(last(paint(m, noise(8), { mask: plainMask(noise(8), 0) }))).rejects.toThrow(
      /8x8 pixels, the model draws 8x4/,
    );
  });

  test("edits a larger canvas through windows of its own proportions", async () => {
    const m = await wideModel();
    const picture = noise(24, 16);
    const mask = boxMask({ left: 0.5, top: 0.25, right: 0.75, bottom: 0.75 }, picture);
    const painted = (await ends(paintCanvas(m, picture, { mask, seed: 1 }))).at(-1)!.picture;
    let changed = 0;
    for (let i = 0; i < mask.data.length; i++) {
      const same = [0, 1, 2].every((c) => painted.data[i * 3 + c] === picture.data[i * 3 + c]);
      if (mask.data[i] === 1) expect(same).toBe(true);
      else changed += same ? 0 : 1;
    }
    expect(changed).toBeGreaterThan(20);
    const all = await ends(extend(m, picture, { left: 5, bottom: 11, seed: 2 }));
    const { picture: grown } = all.at(-1)!;
    expect([grown.width, grown.height]).toEqual([29, 27]);
    for (const [x, y] of [
      [0, 0],
      [23, 15],
    ] as const)
      expect(pixel(grown, x + 5, y)).toEqual(pixel(picture, x, y));
    expect(extendedSize(picture, { left: 5, top: 0, right: 0, bottom: 11 }, m)).toEqual({
      width: 29,
      height: 27,
    });
  });

  test("enlarges pictures of its proportions alone, and goes from one to another", async () => {
    const m = await wideModel();
    const { step } = await last(enlarge(m, noise(4, 2), { seed: 1 }));
    const [large] = await step.pictures();
    expect([large!.width, large!.height]).toEqual([8, 4]);
    await expect(last(enlarge(m, noise(4)))).rejects.toThrow(
      /to 8x4 takes a smaller picture of the same proportions, got 4x4/,
    );
    const way = await last(interpolate(m, [noise(8, 4), noise(8, 4, 8)], { steps: 3 }));
    expect((await way.step.pictures()).map(({ width, height }) => [width, height])).toEqual([
      [8, 4],
      [8, 4],
      [8, 4],
    ]);
  });
});

describe("the usual soft edge", () => {
  const hole = (width: number, size = 64): Mask => {
    const left = (size - width) / 2 / size;
    return boxMask({ left, top: 0, right: 1 - left, bottom: 1 }, { width: size, height: size });
  };

  test("is 2 pixels, and narrower in thin strokes, which would else bring back what was there", () => {
    expect([32, 16, 8, 4, 2].map((width) => softEdge(hole(width)))).toEqual([2, 2, 1, 0.5, 0.25]);
    expect(softEdge(plainMask({ width: 64, height: 64 }, 0))).toBe(2);
    const flat = (value: number): Picture => ({
      ...{ width: 64, height: 64, channels: 3 },
      data: new Uint8Array(64 * 64 * 3).fill(value),
    });
    const edit = { mask: hole(4), blend: "feather" } as const;
    const middle = (picture: Picture) => pixel(picture, 31, 31)[0]!;
    expect(middle(blendInto(flat(0), flat(200), edit))).toBeGreaterThan(190);
    expect(middle(blendInto(flat(0), flat(200), { ...edit, feather: 2 }))).toBeLessThan(100);
  });

  test("is what an edit has that asks for no other, in a window too", async () => {
    const m = await model();
    const result = async (feather?: number) =>
      (await last(paint(m, noise(8), { mask: RIGHT, feather }))).step.pictures();
    expect(await result()).toEqual(await result(1));
    expect(await result()).not.toEqual(await result(0));
    const right = boxMask({ left: 0.5, top: 0, right: 1, bottom: 1 }, { width: 24, height: 16 });
    const canvas = async (feather?: number) =>
      (await ends(paintCanvas(m, noise(24, 16), { mask: right, feather }))).at(-1)!.picture;
    expect(await canvas()).toEqual(await canvas(2));
    expect(await canvas()).not.toEqual(await canvas(0));
  });
});

describe("blending", () => {
  const flat = (value: number): Picture => ({
    ...noise(16),
    data: new Uint8Array(768).fill(value),
  });
  const mask = boxMask({ left: 0.25, top: 0.25, right: 0.75, bottom: 0.75 }, flat(0));

  test("seamlessly lifts a drawn part that is too dark to the level around it", () => {
    const result = blendInto(flat(200), flat(150), { mask, blend: "seamless" });
    for (const v of result.data) expect(Math.abs(v - 200)).toBeLessThanOrEqual(2);
  });

  test("by feather leaves the drawn part as it is away from the edge", () => {
    const result = blendInto(flat(200), flat(100), { mask, blend: "feather", feather: 0.5 });
    expect(pixel(result, 8, 8)).toEqual([100, 100, 100]);
    const [edge] = pixel(result, 4, 8);
    expect(edge).toBeGreaterThan(100);
    expect(edge).toBeLessThan(200);
  });

  test("a soft mask mixes as it says, whatever the edge", () => {
    const half: Mask = plainMask({ width: 16, height: 16 }, 0.25);
    const result = blendInto(flat(200), flat(100), { mask: half, blend: "feather" });
    expect(new Set(result.data)).toEqual(new Set([125]));
    // From kept to drawn over the whole width: beyond the reach of the soft edge it is as it was.
    const slope = {
      ...half,
      data: half.data.map((_, i) => 1 - (i % 16) / 15),
    };
    const sloped = blendInto(flat(200), flat(100), { mask: slope, blend: "feather", feather: 1 });
    expect(pixel(sloped, 6, 8)[0]).toBe(160);
    expect(pixel(sloped, 15, 8)[0]).toBe(100);
  });

  test("the seam's error is the mean step over the edge", () => {
    for (const blend of Object.keys(BLENDS) as Blend[]) {
      const result = blendInto(flat(200), flat(150), { mask, blend, feather: 0 });
      const wanted = { none: 0, feather: 50, seamless: 0 }[blend];
      expect(Math.abs(seamError(result, mask) - wanted)).toBeLessThanOrEqual(2);
    }
  });
});

describe("masks", () => {
  test("white is drawn, or transparent is", () => {
    const bytes = Uint8Array.of(0, 255, 51, 0);
    const size = { width: 2, height: 2 };
    expect([...maskFromGrey({ ...size, grey: bytes }).data].map((v) => +v.toFixed(2))).toEqual([
      1, 0, 0.8, 1,
    ]);
    expect([...maskFromAlpha({ ...size, alpha: bytes }).data].map((v) => +v.toFixed(2))).toEqual([
      0, 1, 0.2, 0,
    ]);
  });

  test("draw a cell whole when one of its pixels is drawn", () => {
    const mask = plainMask({ width: 8, height: 8 }, 1);
    mask.data[3 * 8 + 5] = 0; // the pixel at column 5, row 3: cell 2 of row 1
    expect(
      [...cellsKept(mask, tokenizer)].map((v, i) => (v ? -1 : i)).filter((i) => i >= 0),
    ).toEqual([6]);
  });

  test.each([
    [{ left: 0.5, top: 0, right: 0.2, bottom: 1 }, /holds no pixel/],
    [{ left: -1, top: 0, right: 1, bottom: 1 }, /shares of the picture/],
  ])("a box that is none is refused", (box, message) => {
    expect(() => boxMask(box, { width: 8, height: 8 })).toThrow(message);
  });
});
