/** The command in a model card starts the run it is told of: what it parses to is the recipe it was made from. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../src/cli/program.ts";
import { encodePng } from "../src/formats/png.ts";
import { writeSafetensors } from "../src/formats/safetensors.ts";
import { labVqvaeConfig, varConfig } from "../src/image/config.ts";
import { modelMetadata } from "../src/image/note.ts";
import { vqvaeSpecs } from "../src/image/vqvae-layout.ts";
import { recipeRows, trainCommand, untold } from "../src/lab/command.ts";
import { initWeights } from "../src/nn/spec.ts";
import { rng } from "../src/tensor/rng.ts";
import { VAR_RECIPE } from "../src/train/var.ts";
import { VQVAE_RECIPE } from "../src/train/vqvae-recipe.ts";

/** The recipe that a command would run with. */
async function parsed(command: string): Promise<Record<string, unknown>> {
  const [said, printed]: [string[], string[]] = [[], []];
  const words = command.split(" ").slice(2); // without npx underpaint
  await run([...words, "--dry-run", "--json"], {
    say: (line) => said.push(line),
    print: (line) => printed.push(line),
    draw: () => {},
    dim: (text) => text,
    live: false,
    columns: 80,
  });
  if (!printed[0]) throw new Error(said.join("\n"));
  return (JSON.parse(printed[0]) as { recipe: Record<string, unknown> }).recipe;
}
/** As run.json holds it. */
const plain = <T>(value: T): Record<string, unknown> => JSON.parse(JSON.stringify(value));

const NO_AUGMENT = { flip: 0, shift: 0, scale: 0, hue: 0, saturation: 0, brightness: 0 };
const tokenizer = labVqvaeConfig({
  ...{ channels: 8, groups: 4, chMult: [1, 2], latent: 4, codes: 32, patchNums: [1, 2, 4] },
  ...{ attention: false, midAttention: false },
});

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "underpaint-command-"));
  const picture = { width: 8, height: 8, channels: 3, data: new Uint8Array(8 * 8 * 3) };
  for (const split of ["train", "val"])
    for (const name of ["a", "b"]) {
      await mkdir(join(home, "pets", split, name), { recursive: true });
      await writeFile(join(home, "pets", split, name, "1.png"), await encodePng(picture));
    }
  await writeFile(
    join(home, "vqvae.safetensors"),
    writeSafetensors(initWeights(vqvaeSpecs(tokenizer), rng(0)), {
      metadata: modelMetadata("vqvae", tokenizer),
    }),
  );
});
afterAll(() => rm(home, { recursive: true, force: true }));

const vqvaeRecipes = {
  "the defaults": { ...VQVAE_RECIPE, model: labVqvaeConfig() },
  "other numbers": {
    ...{ ...VQVAE_RECIPE, model: labVqvaeConfig({ channels: 64, codes: 512, beta: 0.5 }) },
    ...{ batch: 16, steps: 5000, lr: 8e-4, clip: 0, weightDecay: 0, reviveEvery: 0 },
    augment: { flip: 0.5, hue: 0.02 },
  },
  "another shape": { ...VQVAE_RECIPE, seed: 7, model: tokenizer },
  "pictures that are no squares": {
    ...VQVAE_RECIPE,
    model: labVqvaeConfig({ patchNums: [1, [1, 2], [2, 3], [4, 6]] }),
  },
  "all losses": {
    ...{ ...VQVAE_RECIPE, model: labVqvaeConfig({ usingZnorm: true }), gan: 0.4, ganStart: 100 },
    perceptualWeight: 0.5,
  },
};
describe("the command of a tokenizer with", () => {
  test.each(Object.entries(vqvaeRecipes))("%s gives its recipe back", async (_, recipe) => {
    const place = { kind: "vqvae", data: "emoji", run: join(home, "vq") } as const;
    const got = await parsed(trainCommand(plain(recipe), place));
    const augment = { ...NO_AUGMENT, ...recipe.augment };
    expect(got).toEqual({ ...plain(recipe), augment, data: "emoji" });
  });
});

const varModel = (depth: number, over = {}) =>
  varConfig(depth, { ...{ classes: 2, patchNums: [1, 2, 4], codes: 32, latent: 4 }, ...over });
const varRecipes = {
  "the defaults": { ...VAR_RECIPE, model: varModel(6) },
  "other numbers": {
    ...{ ...VAR_RECIPE, model: varModel(4, { width: 192, dropPath: 0.1, labelDrop: 0.2 }) },
    ...{ schedule: "cos", weightDecay: [0.05, 0.1], lrEnd: 0.01, variants: 2, batch: 8 },
    augment: { flip: 0, shift: 4 },
  },
  "another attention": {
    ...VAR_RECIPE,
    model: varModel(3, { heads: 6, sharedAdaLN: true, attnL2Norm: false, mlpRatio: 2 }),
  },
};
describe("the command of a transformer with", () => {
  test.each(Object.entries(varRecipes))("%s gives its recipe back", async (_, recipe) => {
    const data = join(home, "pets");
    const place = { kind: "var", data, run: join(home, "var"), tokenizer: home } as const;
    const { tokenizer: _from, ...got } = await parsed(trainCommand(plain(recipe), place));
    const augment = { ...NO_AUGMENT, ...recipe.augment };
    expect(got).toEqual({ ...plain(recipe), augment, data });
  });
});

test("a network is told by its name, with the layers that are compared", () => {
  const network = { name: "my net.onnx", hash: "0123 a,b" };
  const recipe = plain({ ...VQVAE_RECIPE, network, model: labVqvaeConfig() });
  expect(trainCommand(recipe, { kind: "vqvae", data: "emoji", run: "r" })).toContain(
    "--perceptual 'my net.onnx' --perceptual-layers a,b",
  );
});

test("what no flag sets is told beside the command", () => {
  const recipe = plain({ ...VQVAE_RECIPE, model: labVqvaeConfig({ codebookInit: 0.1 }) });
  expect(untold(recipe, "vqvae")).toEqual(["codebookInit 0.1"]);
  expect(untold(plain({ ...VAR_RECIPE, model: varModel(6) }), "var")).toEqual([]);
});

test("the table of a recipe holds every setting once", () => {
  const rows = recipeRows(plain({ ...VAR_RECIPE, model: varModel(2) }));
  const names = rows.map(([name]) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(Object.fromEntries(rows)).toMatchObject({
    ...{ "model.depth": "2", "model.patchNums": "1, 2, 4", "augment.flip": "0.5", lr: "0.001" },
  });
  const wide = recipeRows(plain({ ...VAR_RECIPE, model: varModel(2, { patchNums: [1, [2, 3]] }) }));
  expect(Object.fromEntries(wide)).toMatchObject({ "model.patchNums": "1, 3x2" });
});
