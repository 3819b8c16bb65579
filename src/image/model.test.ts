/** Loading: our files, small storage, the official files, and everything that is refused. */

import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { sharedTest } from "../../test/shared.ts";
import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { readWeight } from "../formats/lazy.ts";
import { quantizeWeights } from "../formats/quantize.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { initWeights } from "../nn/spec.ts";
import type { Backend } from "../tensor/backend.ts";
import { ortNode } from "../tensor/backends/ort-node.ts";
import { rng } from "../tensor/rng.ts";
import { parseRanges, writeRanges } from "./calibrate.ts";
import { varConfig, vqvaeConfig } from "./config.ts";
import { type LoadOptions, loadVar, type Var } from "./model.ts";
import { loadVarFrom } from "./node.ts";
import { modelMetadata } from "./note.ts";
import type { SampleOptions } from "./orders.ts";
import { type DecoderRanges, type Precision, resolvePrecision } from "./precision.ts";
import { sample } from "./sampler.ts";
import { varSpecs } from "./var-layout.ts";
import { vqvaeSpecs } from "./vqvae-layout.ts";

const shared = { patchNums: [1, 2], codes: 128, latent: 32 };
const tokenizer = vqvaeConfig({ channels: 8, chMult: [1, 2], resBlocks: 1, groups: 4, ...shared });
const config = varConfig(1, { width: 64, heads: 2, classes: 3, ...shared });
const classes = ["a/x", "a/y", "b/x"];
const weights = initWeights(varSpecs(config), rng(1));
const vqvaeWeights = initWeights(vqvaeSpecs(tokenizer), rng(1));
const metadata = modelMetadata("var", config, { classes });
const vqvaeMetadata = modelMetadata("vqvae", tokenizer);
const vqvae = { tensors: vqvaeWeights, metadata: vqvaeMetadata };

test("two safetensors files are a model, and it tells what it is", async () => {
  const model = await loadVar({
    var: writeSafetensors(weights, { metadata }),
    vqvae: writeSafetensors(vqvaeWeights, { metadata: vqvaeMetadata }),
  });
  expect(model.labels).toEqual(classes);
  expect(model.config).toEqual(config);
  expect(model.tokenizer).toEqual(tokenizer);
  expect([model.size, model.patchNums]).toEqual([{ width: 4, height: 4 }, [1, 2]]);
  expect(model.info).toMatchObject({
    depth: 1,
    width: 64,
    classes: 3,
    codes: 128,
    size: { width: 4, height: 4 },
    tokens: 5,
  });
});

test.each(["float16", "int8"] as const)("%s storage gives nearly the same weights", async (to) => {
  const bytes = writeSafetensors(quantizeWeights(weights, { to }), { metadata });
  const full = writeSafetensors(weights, { metadata });
  expect(bytes.length).toBeLessThan(full.length * { float16: 0.6, int8: 0.4 }[to]);
  const model = await loadVar({ var: bytes, vqvae });
  for (const [name, weight] of model.parts.weights) {
    const { data, dtype } = await readWeight(weight);
    const before = weights.get(name)!;
    expect(dtype).toBe(before.dtype);
    const finite = Array.from(before.data as Float32Array, Number).filter(Number.isFinite);
    const most = finite.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    for (const [i, v] of Array.from(before.data as Float32Array).entries())
      if (Number.isFinite(Number(v)))
        expect(Math.abs(Number(v) - Number(data[i]))).toBeLessThanOrEqual(most / 200);
  }
});

test("a model's own way of drawing is the default, and every setting can be said otherwise", async () => {
  const recommends = (drawing?: object) =>
    loadVar({
      var: { tensors: weights, metadata: modelMetadata("var", config, { classes, drawing }) },
      vqvae,
    });
  const last = async (model: Var, options: SampleOptions) => {
    let ids: unknown;
    for await (const step of sample(model, { label: 0, count: 8, ...options })) ids = step.ids.data;
    return ids;
  };
  const drawing = { guidance: 0, topK: 1, temperature: 0.5 };
  const [plain, own] = [await recommends(), await recommends(drawing)];
  expect(plain.drawing).toEqual({
    guidance: 2,
    topK: 900,
    topP: 0.96,
    temperature: 1,
    unguidedLast: 0,
  });
  expect(own.drawing).toEqual({ ...drawing, topP: 0.96, unguidedLast: 0 });
  expect(await last(own, {})).toEqual(await last(plain, drawing));
  expect(await last(own, {})).not.toEqual(await last(plain, {}));
  expect(await last(own, { ...plain.drawing, topK: undefined })).toEqual(
    await last(plain, { topK: 1 }),
  );
  for (const bad of [{ topK: "all" }, { guidance: -1 }, { topp: 0.5 }, [1]])
    await expect(recommends(bad)).rejects.toThrow(InputError);
});

test("a folder is loaded by its file names", async () => {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-model-"));
  try {
    await expect(loadVarFrom(join(folder, "nowhere"))).rejects.toThrow(/cannot be listed/);
    await expect(loadVarFrom(folder)).rejects.toThrow(
      /wanted one file var.safetensors, the folder has none/,
    );
    await writeFile(join(folder, "var.safetensors"), writeSafetensors(weights, { metadata }));
    await writeFile(
      join(folder, "vqvae.safetensors"),
      writeSafetensors(vqvaeWeights, { metadata: vqvaeMetadata }),
    );
    expect((await loadVarFrom(folder)).labels).toEqual(classes);
    await writeFile(join(folder, "var.safetensors"), new Uint8Array(20));
    await expect(loadVarFrom(folder)).rejects.toThrow(InputError);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("refused, with nothing built", () => {
  const without = (name: string) => new Map([...weights].filter(([key]) => key !== name));
  const noted = (changes: object): Record<string, string> => ({
    underpaint: JSON.stringify({
      format: 1,
      kind: "var",
      config: { ...config, ...changes },
      classes,
    }),
  });
  const wrong: Tensor = { dtype: "float32", shape: [2, 2], data: new Float32Array(4) };

  test.each<[string, Parameters<typeof loadVar>[0], RegExp]>([
    [
      "a missing tensor",
      { var: { tensors: without("head.bias"), metadata }, vqvae },
      /lacks tensor "head.bias" of \[128\] float32/,
    ],
    [
      "a wrong shape",
      {
        var: {
          tensors: new Map([...weights, ["word_embed.weight", wrong]]),
          metadata,
          what: "my.safetensors",
        },
        vqvae,
      },
      /my.safetensors has tensor "word_embed.weight" as \[2, 2\] float32, expected \[64, 32\] float32/,
    ],
    [
      "an extra tensor",
      { var: { tensors: new Map([...weights, ["extra", wrong]]), metadata }, vqvae },
      /unknown tensor "extra"/,
    ],
    [
      "files the wrong way round",
      { var: vqvae, vqvae: { tensors: weights, metadata } },
      /holds a vqvae, wanted a var/,
    ],
    [
      "a file of something else",
      { var: { tensors: new Map([["x", wrong]]) }, vqvae },
      /holds neither a VAR nor a VQVAE/,
    ],
    [
      "a newer format",
      { var: { tensors: weights, metadata: { underpaint: '{"format":2}' } }, vqvae },
      /is of format 2, this version reads 1/,
    ],
    [
      "a note that is no JSON",
      { var: { tensors: weights, metadata: { underpaint: "{" } }, vqvae },
      /metadata "underpaint"/,
    ],
    [
      "another kind",
      { var: { tensors: weights, metadata: vqvaeMetadata }, vqvae },
      /says it is a "vqvae", wanted "var"/,
    ],
    [
      "an unknown dial",
      { var: { tensors: weights, metadata: noted({ colour: 1 }) }, vqvae },
      /unknown key "colour"/,
    ],
    [
      "a dial of another type",
      { var: { tensors: weights, metadata: noted({ heads: "2" }) }, vqvae },
      /has heads "2", wanted something like 1/,
    ],
    [
      "a monstrous size",
      { var: { tensors: weights, metadata: noted({ depth: 1e9 }) }, vqvae },
      /has depth 1000000000, at most 1024/,
    ],
    [
      "a monstrous token map",
      { var: { tensors: weights, metadata: noted({ patchNums: [1, 1e6] }) }, vqvae },
      /more than 16384 tokens/,
    ],
    [
      "a size that is not the file's",
      { var: { tensors: weights, metadata: noted({ classes: 9 }) }, vqvae },
      /3 labels|class_emb/,
    ],
    [
      "a foreign tokenizer",
      { var: { tensors: weights, metadata: noted({ latent: 16 }) }, vqvae },
      /do not fit: latent is 16/,
    ],
    ["bytes of nothing", { var: new Uint8Array(3), vqvae }, /^the transformer's file: /],
  ])("%s", async (_, files, message) => {
    await expect(loadVar(files)).rejects.toThrow(InputError);
    await expect(loadVar(files)).rejects.toThrow(message);
  });

  test("labels for another number of classes", async () => {
    const files = { var: { tensors: weights, metadata }, vqvae };
    await expect(loadVar(files, { labels: ["one"] })).rejects.toThrow(
      /has 3 classes, got 1 labels/,
    );
  });
});

const OFFICIAL = ["fixtures/var/var_tiny.pth", "fixtures/var/vae_tiny.pth.gz"];

sharedTest(
  "official .pth files need no metadata, and sample",
  OFFICIAL,
  async (varFile, vaeFile) => {
    const vae = new Uint8Array(gunzipSync(readFileSync(vaeFile!)));
    const model = await loadVar(
      { var: new Uint8Array(readFileSync(varFile!)), vqvae: vae },
      { threads: 1 },
    );
    expect(model.info).toMatchObject({
      depth: 2,
      width: 64,
      heads: 4,
      classes: 10,
      codes: 64,
      size: { width: 64, height: 64 },
    });
    expect(model.labels[3]).toBe("class 3");
    const ids: number[] = [];
    for await (const step of sample(model, { labels: [3], guidance: 1.5, topK: 1 }))
      ids.push(...Array.from(step.ids.data as BigInt64Array, Number));
    expect(ids).toHaveLength(30);
    await model.release();
  },
);

sharedTest(
  "the official trainer's resume checkpoint holds a transformer",
  "fixtures/var/trainer_ckpt_like.pth.gz",
  async (file) => {
    const bytes = new Uint8Array(gunzipSync(readFileSync(file)));
    const attempt = loadVar({ var: bytes, vqvae: bytes });
    // Its tokenizer was cut to the quantizer, so loading gets past the transformer and stops there.
    await expect(attempt).rejects.toThrow(/tokenizer's file holds neither/);
  },
);

describe("in 8 bits", () => {
  // Wide enough that its matrices are worth the trouble.
  const large = varConfig(2, { width: 256, heads: 4, classes: 3, ...shared });
  const files = {
    var: {
      tensors: initWeights(varSpecs(large), rng(3)),
      metadata: modelMetadata("var", large, { classes, drawing: { topK: 8 } }),
    },
    vqvae,
  };
  const drawn = async (model: Var, count: number) => {
    for await (const step of sample(model, { label: 1, count, seed: 5 }))
      if (step.scale === step.of - 1)
        return { ids: step.ids.data, images: (await step.images()).data as Float32Array };
    throw new Error("no scale");
  };

  test("pictures are nearly those of float32 and the same at every call", async () => {
    const ops: Record<string, Set<string>> = { fp32: new Set(), int8: new Set() };
    const load = (precision: Precision) => {
      const backend: Backend = {
        ...ortNode(),
        compile: (g, options) => {
          for (const { op } of g.nodes) ops[precision]!.add(`${g.name} ${op}`);
          return ortNode().compile(g, options);
        },
      };
      return loadVar(files, { precision, backend });
    };
    const [full, small] = [await load("fp32"), await load("int8")];
    expect([full.precision, small.precision]).toEqual(["fp32", "int8"]);
    const [a, b, again] = [await drawn(full, 4), await drawn(small, 4), await drawn(small, 4)];
    expect(again).toEqual(b);
    const same = Array.from(b.ids as BigInt64Array).filter((id, i) => id === a.ids[i]).length;
    expect(same).toBeGreaterThan(0.7 * a.ids.length);
    expect(b.images).not.toEqual(a.images);
    const int8 = ["class MatMulIntegerToFloat", "scale MatMulIntegerToFloat", "decode QLinearConv"];
    expect([...ops.int8!]).toEqual(expect.arrayContaining(int8));
    for (const op of int8) expect(ops.fp32!.has(op)).toBe(false);
  });

  test("auto is float32 for small models, and int8 where it is faster", async () => {
    expect((await loadVar(files, { precision: "auto" })).precision).toBe("fp32");
    const on = (backend: string, parameters: number) =>
      resolvePrecision("auto", { backend, parameters });
    expect(on("ort-node", 400e6)).toBe("int8");
    expect(on("ort-web", 400e6)).toBe("fp32");
    expect(resolvePrecision("int8", { backend: "ort-web", parameters: 1 })).toBe("int8");
  });

  test("ranges survive as text, and other text is not taken for them", async () => {
    let found: DecoderRanges | undefined;
    const ranges: LoadOptions["ranges"] = async (find) => (found = await find());
    const model = await loadVar(files, { precision: "int8", ranges });
    await drawn(model, 1);
    const text = writeRanges(found!);
    expect(parseRanges(text, model)).toEqual(found);
    const broken = ["", "{}", "[]", text.replace(/"low":[^,]*/, '"low":null'), `${text} x`];
    for (const other of broken) expect(parseRanges(other, model)).toBeUndefined();
  });

  test("ranges that are kept are not looked for again, and give the same pictures", async () => {
    let found = 0;
    let kept: Parameters<NonNullable<LoadOptions["ranges"]>>[0] | undefined;
    const ranges: LoadOptions["ranges"] = (find) => {
      kept ??= () => {
        found++;
        const once = find();
        kept = () => once;
        return once;
      };
      return kept();
    };
    const [one, two] = [
      await loadVar(files, { precision: "int8", ranges }),
      await loadVar(files, { precision: "int8", ranges }),
    ];
    expect(await drawn(two, 2)).toEqual(await drawn(one, 2));
    expect(found).toBe(1);
  });
});
