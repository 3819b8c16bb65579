/** `underpaint lab` as a process, at the smallest size: three commands, their files, stopping and going on. */

import { readdirSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decodePng } from "../../src/formats/png.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { modelMetadata } from "../../src/image/note.ts";
import { vqvaeSpecs } from "../../src/image/vqvae-layout.ts";
import { initWeights } from "../../src/nn/spec.ts";
import { rng } from "../../src/tensor/rng.ts";
import { VQVAE_RECIPE } from "../../src/train/vqvae-recipe.ts";
import { newFolder, tinyModel, tinyPictures, tinyTokenizer, underpaint } from "./cli.ts";

const pictures = await tinyPictures(80);
const tokenizer = join(await tinyModel(), "vqvae.safetensors");
const folder = await newFolder();
/** As a run leaves it: reports then tell how it was trained. */
const oneScale = join(folder, "one-scale");
const config = { ...tinyTokenizer, patchNums: [4] };
await mkdir(oneScale);
const recipe = { ...VQVAE_RECIPE, model: config, data: pictures, steps: 7 };
await writeFile(join(oneScale, "run.json"), JSON.stringify(recipe));
await writeFile(
  join(oneScale, "vqvae.safetensors"),
  writeSafetensors(initWeights(vqvaeSpecs(config), rng("one")), {
    metadata: modelMetadata("vqvae", config),
  }),
);
await mkdir(join(folder, "out"));
const out = (name: string) => join(folder, "out", name);
const SHARED = [
  ...["--tokenizer", tokenizer, "--steps", "4", "--batch", "8", "--warmup", "1"],
  ...["--threads", "1", "--test-pictures", "16"],
];
const JUDGED = [
  ...[...SHARED, "--network", "lab:fashion-mnist", "--depth", "2", "--width", "32"],
  ...["--samples", "160", "--top-k", "8"],
];
const lab = (name: string, more: readonly string[]) =>
  underpaint(["lab", name, pictures, "--run", join(folder, name), "--out", out(name), ...more]);

const report = (name: string) => readFile(`${out(name)}.md`, "utf8");
const json = async (name: string) => JSON.parse(await readFile(`${out(name)}.json`, "utf8"));

/** Rows of the table that begins with this heading cell, as records. */
function tableOf(text: string, first: string): Record<string, string>[][] {
  const cells = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const lines = text.split("\n");
  return lines.flatMap((line, at) => {
    if (!line.startsWith(`| ${first} |`)) return [];
    const end = lines.findIndex((other, i) => i > at && !other.startsWith("|"));
    const names = cells(line);
    return [
      lines
        .slice(at + 2, end)
        .map((row) => Object.fromEntries(cells(row).map((cell, i) => [names[i], cell]))),
    ];
  });
}

/** Every figure of a judged row is a finite number. */
function expectWhole(rows: readonly Record<string, string>[]) {
  for (const row of rows)
    for (const column of [
      ...["FID", "KID·1000", "IS", "pictures/s", "ms alone", "GFLOP/picture"],
      ...["M parameters", "updates", "training TFLOP"],
    ]) {
      expect(row[column], `${row.model}: ${column}`).toMatch(/^-?\d/);
      expect(Number(row[column]), `${row.model}: ${column}`).not.toBeNaN();
    }
}

async function expectFigures(name: string, figures: readonly string[], sheets: readonly string[]) {
  const text = await report(name);
  for (const figure of figures)
    expect(await readFile(`${out(name)}-${figure}.svg`, "utf8")).toMatch(/^<svg[\s\S]*<\/svg>/);
  for (const picture of [...figures, ...sheets]) {
    expect(text).toContain(`](${name}-${picture}.png)`);
    const { width, height } = await decodePng(await readFile(`${out(name)}-${picture}.png`));
    expect(Math.min(width, height)).toBeGreaterThan(16);
  }
}

test("compare trains four models, chooses guidance on a few pictures and writes a whole table; it goes on where it was killed", async () => {
  const flags = [
    ...[...JUDGED, "--raster-tokenizer", oneScale, "--guidances", "0,2", "--choose-on", "64"],
    ...["--dit-steps", "3", "--maskgit-steps", "3"],
  ];
  const killed = await underpaint(
    [
      ...["lab", "compare", pictures, "--run", join(folder, "compare")],
      ...["--out", out("compare"), ...flags],
    ],
    {
      started: (child) =>
        child.stderr!.on("data", (text) => {
          // The second row of figures is being made: some are kept, some are not.
          if (String(text).includes("var-g0: FID")) child.kill("SIGKILL");
        }),
    },
  );
  expect(killed.signal).toBe("SIGKILL");
  const ended = await lab("compare", flags);
  expect(ended.code, ended.stderr).toBe(0);
  expect(ended.stderr).not.toMatch(/update 4/); // trained before the kill

  const text = await report("compare");
  expect(text).toContain("npx underpaint lab compare");
  expect(text).toMatch(/^npx underpaint train vqvae .* --patch-nums 4 .*--steps 7/m);
  expect(text).toMatch(/Measured on .* Node \d+/);
  expect(text).toContain("seed 0");
  const [best, tried] = tableOf(text, "model") as [
    Record<string, string>[],
    Record<string, string>[],
  ];
  expectWhole([...best, ...tried]);
  expect(best.map((row) => row.model)).toEqual([
    "VAR",
    "raster AR (VQGAN)",
    "masked tokens (MaskGIT)",
    "diffusion (DiT)",
  ]);
  expect(best.map((row) => row.pictures)).toEqual(Array(4).fill("160"));
  // FID wants more pictures than the network's 112 features, so 64 became 113.
  expect(tried.map((row) => row.pictures)).toEqual(Array(8).fill("113"));
  const [tokenizers] = tableOf(text, "tokenizer") as [Record<string, string>[]];
  expect(tokenizers.map((row) => row.maps)).toEqual(["1, 2, 4", "4"]);
  for (const row of tokenizers) expect(Number(row.rFID)).toBeGreaterThan(0);
  const { rows, study } = await json("compare");
  expect(study).toMatchObject({ seed: 0, batch: 8 });
  // Equal budgets: a whole number of updates comes within half an update of VAR's FLOPs.
  for (const row of rows)
    expect(Math.abs(row.trainingFlops - rows[0].trainingFlops)).toBeLessThanOrEqual(
      row.trainingFlops / row.updates / 2,
    );
  await expectFigures(
    "compare",
    ["curves"],
    rows.map((row: { name: string }) => row.name),
  );

  const again = await lab("compare", flags);
  expect(again.code, again.stderr).toBe(0);
  expect((await json("compare")).rows).toEqual(rows); // timings too: nothing was measured again
}, 180_000);

test("ablation writes the paper's seven rows and names those that go against it", async () => {
  const ended = await lab("ablation", JUDGED);
  expect(ended.code, ended.stderr).toBe(0);
  const text = await report("ablation");
  const [rows] = tableOf(text, "model") as [Record<string, string>[]];
  expect(rows.map((row) => row.model)).toEqual([
    ...["AR", "AR to VAR", "+ AdaLN", "+ top-k", "+ CFG", "+ attention norm", "+ scale"],
  ]);
  expectWhole(rows);
  const fids = rows.map((row) => Number(row.FID));
  for (const [i, row] of rows.entries())
    expect(text.includes(`**${row.model}** goes against the paper`)).toBe(
      i > 0 && fids[i]! > fids[i - 1]!,
    );
  const names = (await json("ablation")).rows.map((row: { name: string }) => row.name);
  await expectFigures("ablation", ["curves"], names);
}, 120_000);

test("scaling fits laws to five sizes, foretells the largest and draws four figures", async () => {
  const sizes = ["--depths", "1,2,3,4,5", "--width-per-depth", "16"];
  const ended = await lab("scaling", [...SHARED, ...sizes]);
  expect(ended.code, ended.stderr).toBe(0);
  const text = await report("scaling");
  const [models] = tableOf(text, "depth") as [Record<string, string>[]];
  expect(models.map((row) => row.depth)).toEqual(["1", "2", "3", "4", "5"]);
  for (const row of models)
    for (const cell of Object.values(row)) expect(Number(cell)).toBeGreaterThan(0);
  const [laws] = tableOf(text, "measure") as [Record<string, string>[]];
  expect(laws.length).toBe(16); // four measures, against two, with and without a floor
  for (const law of laws) {
    expect(Math.abs(Number(law.Pearson))).toBeLessThanOrEqual(1);
    expect(law["largest foretold (95 %)"]).toMatch(/^\d/);
  }
  await expectFigures(
    "scaling",
    ["loss-parameters", "error-parameters", "loss-compute", "frontier"],
    [],
  );
}, 120_000);

test("what cannot be judged or fitted is said before anything is trained", async () => {
  const few = await lab("compare", [...JUDGED, "--samples", "100", "--run", join(folder, "few")]);
  expect(few.code).toBe(2);
  expect(few.stderr).toContain("use --samples 113 or more");
  const two = await lab("scaling", [...SHARED, "--depths", "1,2", "--run", join(folder, "two")]);
  expect(two.code).toBe(2);
  expect(two.stderr).toContain("--depths 1,2 names 2 sizes, a law needs at least 3");
  expect(readdirSync(folder)).not.toContain("few");
  expect(readdirSync(folder)).not.toContain("two");
});
