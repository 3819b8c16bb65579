/** From two tiny runs to a model folder: the stored model is the trained one, and the card's numbers are measured. */

import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ImageDataset, pixelsOf } from "../data/index.ts";
import { decodePng } from "../formats/png.ts";
import { varConfig, vqvaeConfig } from "../image/config.ts";
import { loadVarFrom } from "../image/node.ts";
import { sample } from "../image/sampler.ts";
import { sheet } from "../image/sheet.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { trainLoop } from "../train/loop.ts";
import { openRun } from "../train/run.node.ts";
import { type TokenSet, tokenize } from "../train/tokens.ts";
import { VAR_RECIPE, varTask } from "../train/var.ts";
import { vqvaeTask } from "../train/vqvae.ts";
import { VQVAE_RECIPE } from "../train/vqvae-recipe.ts";
import { type EmbedOptions, type EmbedProgress, embedModel } from "./embed.node.ts";
import { parseMetrics } from "./metrics.ts";
import { predict } from "./predict.ts";
import { chosen, classGroups } from "./showcase.ts";
import { codeUse, psnrOf, throughTokenizer } from "./through.ts";
import { readRun } from "./trained.node.ts";

const patchNums = [1, 2, 4];
const tokenizer = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums },
});
const transformer = varConfig(2, {
  ...{ width: 32, heads: 2, classes: 4, patchNums, codes: 16, latent: 4 },
});
const classes = ["disc/green", "disc/red", "square/green", "square/red"];

/** Discs and squares of two colours on white, 8 pixels. */
function shapes(split: "train" | "test", count: number): ImageDataset {
  const size = 8;
  const pixels = new Uint8Array(count * size * size * 3).fill(255);
  const chance = rng(split);
  const label = (i: number) => i % 4;
  for (let i = 0; i < count; i++) {
    const [cx, cy, radius] = [2 + chance.int(4), 2 + chance.int(4), 2 + chance.uniform()];
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) {
        const [dx, dy] = [Math.abs(x - cx), Math.abs(y - cy)];
        if ((label(i) < 2 ? Math.hypot(dx, dy) : Math.max(dx, dy)) >= radius) continue;
        const at = ((i * size + y) * size + x) * 3;
        pixels[at + (i % 2)] = 0;
        pixels[at + 2] = 0;
      }
  }
  const id = (i: number) => `${split} ${i}`;
  const attribution = [
    { name: "Shapes, the tests", licence: "MIT", url: "https://shapes.invalid" },
  ];
  const common = {
    name: "shapes",
    split,
    width: size,
    height: size,
    channels: 3,
    count,
    pixels,
  } as const;
  return { ...common, classes, label, id, concept: id, attribution };
}
const data = { word: "shapes", train: shapes("train", 40), test: shapes("test", 12) };
const backend = ortNode();
const STEPS = 30;

let home: string;
let options: EmbedOptions;
const steps: EmbedProgress[] = [];
const card = () => readFile(join(options.out, "README.md"), "utf8");

async function trainTokenizer(folder: string, ancestor?: string): Promise<void> {
  const older = ancestor === undefined ? undefined : await readRun(ancestor, "vqvae");
  const recipe = {
    ...{ ...VQVAE_RECIPE, model: tokenizer, data: "shapes" },
    ...{ batch: 4, steps: STEPS, lr: 3e-3, warmup: 2, reviveEvery: 5 },
    ...(older && {
      ...{ from: { file: join(ancestor!, "vqvae.safetensors"), hash: older.hash! } },
      ...{ only: "decoder" as const, codebookAt: -1, reviveEvery: 0 },
    }),
  };
  const { run } = await openRun(folder, recipe);
  const task = await vqvaeTask(recipe, data, { backend, ancestor: older });
  for await (const _ of trainLoop(task, run, { steps: STEPS, evaluateEvery: 10 }));
}

async function trainTransformer(folder: string, from: string): Promise<void> {
  const recipe = {
    ...{ ...VAR_RECIPE, model: transformer, data: "shapes" },
    ...{ batch: 4, steps: STEPS, lr: 3e-3, warmup: 2, variants: 1 },
  };
  const fixed = { ...(await readRun(from, "vqvae")), backend };
  const tokens = async (set: ImageDataset): Promise<TokenSet> => {
    for await (const { tokens } of tokenize(set, fixed)) if (tokens) return tokens;
    throw new Error("tokenize ended without tokens");
  };
  const { run } = await openRun(folder, recipe);
  const task = await varTask(
    recipe,
    { ...data, trainTokens: await tokens(data.train), testTokens: await tokens(data.test) },
    {
      ...{ backend, tokenizer: fixed },
      draw: async () => sheet([{ width: 8, height: 8, channels: 3, data: pixelsOf(data.test, 0) }]),
    },
  );
  for await (const _ of trainLoop(task, run, { steps: STEPS, evaluateEvery: 10, saveEvery: 10 }));
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "underpaint-embed-"));
  const [vqvaeRun, varRun] = [join(home, "vq"), join(home, "var")];
  await trainTokenizer(vqvaeRun);
  await trainTransformer(varRun, vqvaeRun);
  options = {
    ...{ vqvaeRun, varRun, out: join(home, "models", "shapes8"), name: "shapes8" },
    ...{ data: { tokenizer: data, transformer: data }, backend, samples: 10 },
    machine: "a test bench",
  };
  for await (const step of embedModel(options)) steps.push(step);
}, 120_000);
afterAll(() => rm(home, { recursive: true, force: true }));

describe("the embedded model", () => {
  test("lies in one folder with its card, and every picture of the card is there", async () => {
    const names = await readdir(options.out);
    expect(names).toEqual(expect.arrayContaining(["var.safetensors", "vqvae.safetensors"]));
    const shown = [...(await card()).matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map((m) => m[1]!);
    expect(shown.length).toBeGreaterThan(8);
    expect(names).toEqual(expect.arrayContaining(shown));
    expect(names.sort()).toEqual(
      [...new Set([...shown, "README.md", "var.safetensors", "vqvae.safetensors"])].sort(),
    );
    expect(
      steps
        .at(-1)!
        .files!.map(({ name }) => name)
        .sort(),
    ).toEqual(names);
  });

  test("is loaded by its folder, knows its classes and draws", async () => {
    const model = await loadVarFrom(options.out, { backend });
    expect(model.labels).toEqual(classes);
    const again: Uint8Array[] = [];
    for await (const step of sample(model, { label: "disc", count: 8 }))
      if (step.scale === step.of - 1)
        again.push(...(await step.pictures()).map((picture) => picture.data));
    await model.release();
    // The card's first row is what its first command draws.
    const { width, data: pixels } = await decodePng(
      await readFile(join(options.out, "samples.png")),
    );
    for (const [i, picture] of again.entries())
      for (const [x, y] of [
        [0, 0],
        [3, 4],
        [7, 7],
      ] as const) {
        const at = ((2 + 2 * y) * width + 2 + i * 18 + 2 * x) * 3;
        expect([...pixels.subarray(at, at + 3)]).toEqual([
          ...picture.subarray((y * 8 + x) * 3, (y * 8 + x) * 3 + 3),
        ]);
      }
  });

  test("is smaller than half of what was trained", async () => {
    const size = async (file: string) => (await readFile(file)).length;
    expect(await size(join(options.out, "vqvae.safetensors"))).toBeLessThan(
      0.6 * (await size(join(options.vqvaeRun, "vqvae.safetensors"))),
    );
    expect(await size(join(options.out, "var.safetensors"))).toBeLessThan(
      0.6 * (await size(join(options.varRun, "var.safetensors"))),
    );
  });
});

describe("the card", () => {
  test("tells the quality that the trainers measured, and what storage changed is little", async () => {
    const text = await card();
    const logged = (file: string, metric: string) =>
      readFile(join(file, "metrics.jsonl"), "utf8").then(
        (lines) => parseMetrics(lines).findLast((line) => metric in line)![metric]!,
      );
    const psnr = Number(/PSNR ([\d.]+) dB on the test/.exec(text)![1]);
    expect(Math.abs(psnr - (await logged(options.vqvaeRun, "testPsnr")))).toBeLessThan(0.05);
    const loss = Number(/\| test \| 12 \| ([\d.]+) \|/.exec(text)![1]);
    expect(Math.abs(loss - (await logged(options.varRun, "testLoss")))).toBeLessThan(0.02);
    const same = [...text.matchAll(/\| ([\d.]+) % \|$/gm)].map((m) => Number(m[1]));
    expect(Math.max(...same)).toBeGreaterThan(95);
  });

  test("tells licences, updates, pictures seen, the machine, and commands", async () => {
    const text = await card();
    expect(text).toContain("| Shapes, the tests | MIT | https://shapes.invalid |");
    expect(text).toMatch(/\| tokenizer \| 30 \| 4 \| 120 \| \d+ s \|/);
    expect(text).toContain("a test bench");
    expect(text).toMatch(/npx underpaint train vqvae shapes --run runs\/vqvae .*--steps 30/);
    expect(text).toMatch(/train var shapes --tokenizer runs\/vqvae --run runs\/var --depth 2/);
    expect(text).toContain("npx underpaint sample disc --model shapes8 --count 8");
    expect(text).not.toMatch(/NaN|undefined|\[object|Infinity/);
    expect(text).not.toContain(home);
  });
});

describe("a model whose decoder was trained further", () => {
  const again = () => ({
    ...{ ...options, out: join(home, "models", "again"), judged: 110 },
    data: { tokenizer: data, transformer: { ...data, train: shapes("train", 120) } },
  });

  test("draws other pictures from the same tokens, and its card shows and judges both", async () => {
    const decoderRun = join(home, "decoder");
    await trainTokenizer(decoderRun, options.vqvaeRun);
    const { out } = again();
    for await (const _ of embedModel({ ...again(), decoderRun, before: options.out }));
    const [old, young] = [
      await loadVarFrom(options.out, { backend }),
      await loadVarFrom(out, { backend }),
    ];
    const ends = [];
    for (const model of [old, young])
      for await (const step of sample(model, { label: "disc", count: 2 }))
        if (step.scale === step.of - 1)
          ends.push({ ids: step.ids, pixels: (await step.pictures())[0]!.data });
    await Promise.all([old.release(), young.release()]);
    expect(ends[1]!.ids).toEqual(ends[0]!.ids);
    expect(ends[1]!.pixels).not.toEqual(ends[0]!.pixels);
    const text = await readFile(join(out, "README.md"), "utf8");
    expect(await readdir(out)).toContain("beside.png");
    const row = /\| `lab:emoji` \([0-9a-f]{16}\) \|(.*)\|/.exec(text)![1]!;
    const [before, now, fell] = row.split("|").map((cell) => Number.parseFloat(cell));
    expect(before).toBeGreaterThan(0);
    expect(Math.abs(before! - now! - fell!)).toBeLessThan(0.02); // rounding
    expect(text).toMatch(
      /train vqvae shapes --run runs\/decoder .*--from runs\/vqvae --only decoder/,
    );
    expect(text).toMatch(/\| its decoder alone \| 30 \| 4 \| 120 \|/);
    expect(text).toMatch(/Judged: 110 samples .* all 120 of these/);
    expect(text).not.toMatch(/NaN|undefined|\[object|Infinity/);
    expect(text).not.toContain(home);
  });

  test("is refused before its training has ended", async () => {
    const decoderRun = join(home, "half-trained");
    await cp(join(home, "decoder"), decoderRun, { recursive: true });
    await rm(join(decoderRun, "vqvae.safetensors"));
    await expect(readRun(decoderRun, "vqvae")).rejects.toThrow(/half-trained .* is not finished/);
  });

  test("is refused where more than a decoder was trained", async () => {
    const wrong = { ...again(), decoderRun: options.vqvaeRun };
    await expect(async () => {
      for await (const _ of embedModel(wrong));
    }).rejects.toThrow(/trained more than a decoder.* --only decoder/);
  });
});

describe("embedding refuses", () => {
  const drain = async (over: Partial<EmbedOptions>) => {
    for await (const _ of embedModel({ ...options, out: join(home, "refused"), ...over }));
  };
  test.each([
    ["a model above the limit", { mostBytes: 1000 }, /would take \d+ bytes, at most 1000/],
    ["a folder that is no run", { vqvaeRun: "nowhere" }, /nowhere\/run.json is not there/],
    [
      "data of other classes",
      {
        data: {
          tokenizer: data,
          transformer: { ...data, train: { ...data.train, classes: ["a", "b"] } },
        },
      },
      /has 2 classes, the transformer of .* learnt 4/,
    ],
  ] as const)("%s, and writes nothing", async (_, over, message) => {
    await expect(drain(over)).rejects.toThrow(message);
    expect(await readdir(home)).not.toContain("refused");
  });

  test("a tokenizer that the transformer was not trained with", async () => {
    const varRun = join(home, "elsewhere");
    await cp(options.varRun, varRun, { recursive: true });
    const recipe = JSON.parse(await readFile(join(varRun, "run.json"), "utf8"));
    const told = { ...recipe, tokenizer: { file: "other.safetensors", hash: "0123456789abcdef" } };
    await writeFile(join(varRun, "run.json"), JSON.stringify(told));
    await expect(drain({ varRun })).rejects.toThrow(
      /learnt the tokens of the tokenizer 0123456789abcdef, .* holds [0-9a-f]{16};/,
    );
  });

  test("the two runs given in each other's place", async () => {
    const { vqvaeRun, varRun } = options;
    await expect(drain({ vqvaeRun: varRun, varRun: vqvaeRun })).rejects.toThrow(/run\.json/);
  });
});

describe("measurements", () => {
  test("a run that is not finished is read from its checkpoint", async () => {
    const whole = await readRun(options.varRun, "var");
    await rm(join(options.varRun, "var.safetensors"));
    await appendFile(join(options.varRun, "metrics.jsonl"), '{"step":31,"loss":9}\n');
    const early = await readRun(options.varRun, "var");
    expect(early.metrics).toEqual(whole.metrics); // update 31 came after the checkpoint
    expect([...early.weights.keys()].sort()).toEqual([...whole.weights.keys()].sort());
    for (const [name, { data }] of whole.weights)
      expect(early.weights.get(name)!.data).toEqual(data);
  });

  test("of a run with a running mean of its weights that mean is the model, from its checkpoint too", async () => {
    const whole = await readRun(options.vqvaeRun, "vqvae");
    expect(whole.recipe.ema).toBeGreaterThan(0);
    const folder = join(home, "unfinished");
    await cp(options.vqvaeRun, folder, { recursive: true });
    await rm(join(folder, "vqvae.safetensors"));
    const early = await readRun(folder, "vqvae");
    expect([...early.weights.keys()].sort()).toEqual([...whole.weights.keys()].sort());
    for (const [name, { data }] of whole.weights)
      if (!name.startsWith("quantize.quant_resi.qresi_ls.1"))
        // no scale of three chooses it
        expect(early.weights.get(name)!.data, name).toEqual(data);
  });

  test("do not depend on the batch, also where it does not divide the pictures", async () => {
    const run = await readRun(options.vqvaeRun, "vqvae");
    const [one, five] = [
      await throughTokenizer(data.test, run, { backend, batch: 1 }),
      await throughTokenizer(data.test, run, { backend, batch: 5 }),
    ];
    expect(one.ids).toEqual(five.ids);
    expect(psnrOf(one)).toBeCloseTo(psnrOf(five), 4);
    const parts = {
      ...{ config: transformer, weights: (await readRun(options.varRun, "var")).weights },
      ...{ tokenizer, tokenizerWeights: run.weights },
    };
    const labels = Array.from({ length: 12 }, (_, i) => i % 4);
    const [alone, together] = [
      await predict(parts, { ids: one.ids, labels }, { backend, batch: 1 }),
      await predict(parts, { ids: one.ids, labels }, { backend, batch: 5 }),
    ];
    expect(alone.loss).toBeCloseTo(together.loss, 4);
    expect(alone.likeliest).toEqual(together.likeliest);
    expect(alone.scaleLosses.at(-1)).toBeCloseTo(together.scaleLosses.at(-1)!, 4);
  });

  test("count codes by scale", () => {
    const ids = Int32Array.from({ length: 2 * 21 }, (_, t) => (t % 21 === 0 ? 3 : t % 2));
    const use = codeUse(ids, tokenizer);
    expect(use.map(({ tokens }) => tokens)).toEqual([2, 8, 32, 42]);
    expect(use.map(({ used }) => used)).toEqual([1, 2, 2, 3]);
    expect(use[0]!.perplexity).toBeCloseTo(1, 10);
    expect(use[1]!.perplexity).toBeCloseTo(2, 10);
  });

  test("groups of classes come with the largest first", () => {
    expect(classGroups(data.train)).toEqual(["disc", "square"]);
    const few = { classes, count: 5, label: (i: number) => [2, 3, 2, 3, 0][i]! };
    expect(classGroups(few)).toEqual(["square", "disc"]);
    expect(chosen(data.train, [3, 0]).pixels.subarray(192)).toEqual(pixelsOf(data.train, 0));
  });
});
