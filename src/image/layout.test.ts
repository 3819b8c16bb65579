/** Layouts against the official files, tensor by tensor, and the way back from a file to its configuration. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readGolden } from "../../test/read-safetensors.ts";
import { sharedTest } from "../../test/shared.ts";
import type { Tensor } from "../formats/dtype.ts";
import { countParams, initWeights, type ParamSpec } from "../nn/spec.ts";
import { rng } from "../tensor/rng.ts";
import {
  labVqvaeConfig,
  type VarConfig,
  type VqvaeConfig,
  varConfig,
  vqvaeConfig,
} from "./config.ts";
import { inferVarConfig, inferVqvaeConfig, modelKind } from "./infer-config.ts";
import { PATCH_NUMS } from "./scales.ts";
import { blockCausalMask, scaleOfToken, varSpecs } from "./var-layout.ts";
import { checkVqvaeWeights, phiNames, vaeLevels, vqvaeSpecs } from "./vqvae-layout.ts";

const FIXTURES = "fixtures/var";
const tiny = { width: 64, heads: 4, classes: 10, patchNums: PATCH_NUMS[4]!, codes: 64, latent: 8 };
const tinyVae = vqvaeConfig({ channels: 32, latent: 8, codes: 64, patchNums: PATCH_NUMS[4]! });
const d36 = varConfig(36, { sharedAdaLN: true, patchNums: PATCH_NUMS[32]! });

const official: Record<
  string,
  { config: VarConfig | VqvaeConfig; specs: ParamSpec[]; params: number }
> = {
  vae_ch160v4096z32: vae({}, 108_948_355),
  vae_ch160v4096z32_512pn: vae({ patchNums: PATCH_NUMS[32]! }, 108_948_355),
  var_d16: transformer(varConfig(16), 310_283_520),
  var_d20: transformer(varConfig(20), 600_917_136),
  var_d24: transformer(varConfig(24), 1_033_399_360),
  var_d30: transformer(varConfig(30), 2_010_020_356),
  var_d36: transformer(d36, 2_353_893_904),
};

function vae(overrides: Partial<VqvaeConfig>, params: number) {
  const config = vqvaeConfig(overrides);
  return { config, specs: vqvaeSpecs(config), params };
}

function transformer(config: VarConfig, params: number) {
  return { config, specs: varSpecs(config), params };
}

const shapesOf = (specs: readonly ParamSpec[]) => new Map(specs.map((spec) => [spec.name, spec]));

describe("official layouts", () => {
  for (const [name, { specs, params }] of Object.entries(official)) {
    sharedTest(
      `${name} has the official names, shapes, types and buffers in the official order`,
      `${FIXTURES}/layouts/${name}.tsv`,
      (file) => {
        const ours = specs.map((s) => `${s.name}\t${s.shape.join("x")}\t${s.dtype}\t${s.kind}`);
        expect(ours).toEqual(readFileSync(file, "utf8").trim().split("\n"));
      },
    );
    test(`${name} has ${params} parameters`, () => expect(countParams(specs)).toBe(params));
  }

  const tinies: Record<string, ParamSpec[]> = {
    vae_tiny: vqvaeSpecs(tinyVae),
    var_tiny: varSpecs(varConfig(2, tiny)),
    var_tiny_saln: varSpecs(varConfig(2, { ...tiny, sharedAdaLN: true })),
  };
  for (const [name, specs] of Object.entries(tinies)) {
    sharedTest(
      `${name} has the parameters of its fixture`,
      `${FIXTURES}/${name}.weights.json`,
      (file) => {
        const { tensors } = JSON.parse(readFileSync(file, "utf8")) as {
          tensors: { name: string; shape: number[] }[];
        };
        const params = specs
          .filter((s) => s.kind === "param")
          .map(({ name, shape }) => ({ name, shape }));
        expect(params).toEqual(tensors.map(({ name, shape }) => ({ name, shape })));
      },
    );
  }

  test("the parts of the official tokenizer have the published sizes", () => {
    const specs = official.vae_ch160v4096z32!.specs;
    const size = (prefix: string) => countParams(specs.filter((s) => s.name.startsWith(prefix)));
    expect(
      ["encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv."].map(size),
    ).toEqual([44_107_872, 64_653_923, 168_064, 9_248, 9_248]);
  });
});

describe("decay groups", () => {
  for (const sharedAdaLN of [false, true]) {
    const key = sharedAdaLN ? "saln" : "l2";
    sharedTest(
      `${key} decays what the official trainer decays`,
      `${FIXTURES}/golden_train.safetensors`,
      (file) => {
        const { metadata } = readGolden(file);
        const params = varSpecs(varConfig(2, { ...tiny, sharedAdaLN })).filter(
          (s) => s.kind === "param",
        );
        const names = (decay: boolean) =>
          params.filter((s) => s.decay === decay).map((s) => s.name);
        expect(names(true)).toEqual(JSON.parse(metadata[`${key}.decay`]!));
        expect(names(false)).toEqual(JSON.parse(metadata[`${key}.no_decay`]!));
      },
    );
  }
});

describe("fixed buffers", () => {
  test("every query sees its own scale and coarser ones, and no finer one", () => {
    const levels = scaleOfToken([1, 2, 3]);
    expect(levels.shape).toEqual([1, 14]);
    const level = Array.from(levels.data, Number);
    const mask = blockCausalMask([1, 2, 3]);
    expect(mask.shape).toEqual([1, 1, 14, 14]);
    for (let q = 0; q < 14; q++) {
      for (let k = 0; k < 14; k++) {
        expect(mask.data[q * 14 + k]).toBe(level[q]! >= level[k]! ? 0 : Number.NEGATIVE_INFINITY);
      }
    }
  });
});

describe("starting weights", () => {
  const std = (t: Tensor, from = 0, to = t.data.length) => {
    let sum = 0;
    for (let i = from; i < to; i++) sum += Number(t.data[i]) ** 2;
    return Math.sqrt(sum / (to - from));
  };
  const expectStd = (got: number, want: number) => {
    expect(got / want).toBeGreaterThan(0.97);
    expect(got / want).toBeLessThan(1.03);
  };

  test("the transformer starts as the official init_weights says", () => {
    const config = varConfig(3, { ...tiny, width: 192, heads: 3 });
    const w = initWeights(varSpecs(config), rng(7));
    const base = Math.sqrt(1 / 192 / 3);
    expectStd(std(w.get("blocks.1.attn.mat_qkv.weight")!), base);
    expectStd(std(w.get("blocks.1.ffn.fc1.weight")!), base);
    expectStd(std(w.get("blocks.1.attn.proj.weight")!), base / Math.sqrt(6));
    expectStd(std(w.get("blocks.1.ffn.fc2.weight")!), base / Math.sqrt(6));
    expectStd(std(w.get("head.weight")!), base * 0.02);
    expectStd(std(w.get("head_nm.ada_lin.1.weight")!), base * 0.5);
    const ada = w.get("blocks.2.ada_lin.1.weight")!;
    expectStd(std(ada, 0, 2 * 192 * 192), base * 1e-3);
    expectStd(std(ada, 2 * 192 * 192), base * 0.5);
    expect(w.get("blocks.0.attn.scale_mul_1H11")!.data).toEqual(
      new Float32Array(3).fill(Math.log(4)),
    );
    for (const [name, tensor] of w) {
      if (name.endsWith("bias")) expect(std(tensor), name).toBe(0);
    }
  });

  test("shared modulation starts with small gates per block", () => {
    const config = varConfig(2, {
      ...tiny,
      width: 1024,
      heads: 16,
      sharedAdaLN: true,
      gammaInit: 0.01,
    });
    const w = initWeights(varSpecs(config), rng(7));
    const gss = w.get("blocks.0.ada_gss")!;
    expectStd(std(gss, 0, 2048), 0.01 / 32);
    expectStd(std(gss, 2048), 0.5 / 32);
    expectStd(std(w.get("shared_ada_lin.1.weight")!), Math.sqrt(1 / 1024 / 3));
  });

  test("the tokenizer starts as PyTorch's layers do, with a uniform codebook", () => {
    const w = initWeights(vqvaeSpecs(tinyVae), rng(1));
    const conv = w.get("encoder.down.0.block.0.conv1.weight")!.data as Float32Array;
    const bound = 1 / Math.sqrt(32 * 9);
    expect(Math.max(...conv.map(Math.abs))).toBeLessThanOrEqual(Math.fround(bound));
    expect(Math.max(...conv)).toBeGreaterThan(0.99 * bound);
    expect(w.get("encoder.norm_out.weight")!.data).toEqual(new Float32Array(128).fill(1));
    const codes = w.get("quantize.embedding.weight")!.data as Float32Array;
    expect(Math.max(...codes.map(Math.abs))).toBeLessThanOrEqual(1 / 64);
    expect(Math.max(...codes)).toBeGreaterThan(0.97 / 64);
  });

  test("a positive codebookInit is a standard deviation", () => {
    const specs = vqvaeSpecs(vqvaeConfig({ ...tinyVae, codes: 4096, codebookInit: 0.5 }));
    expectStd(std(initWeights(specs, rng(1)).get("quantize.embedding.weight")!), 0.5);
  });
});

describe("from a file back to its configuration", () => {
  for (const [name, { config, specs }] of Object.entries(official)) {
    test(`${name} is recognised from names and shapes`, () => {
      const shapes = shapesOf(specs);
      if ("depth" in config) {
        expect(modelKind(shapes.keys())).toBe("var");
        expect(inferVarConfig(shapes)).toEqual(config);
      } else {
        expect(modelKind(shapes.keys())).toBe("vqvae");
        expect(inferVqvaeConfig(shapes, { patchNums: config.patchNums })).toEqual(config);
      }
    });
  }

  test("any valid transformer comes back from its fresh weights, unusual scales included", () => {
    const configs = fc.record({
      depth: fc.integer({ min: 1, max: 4 }),
      heads: fc.integer({ min: 1, max: 4 }),
      headWidth: fc.integer({ min: 1, max: 8 }),
      mlpRatio: fc.integer({ min: 1, max: 5 }),
      classes: fc.integer({ min: 1, max: 9 }),
      codes: fc.integer({ min: 2, max: 20 }),
      latent: fc.integer({ min: 1, max: 5 }),
      norms: fc.constantFrom({}, { sharedAdaLN: true }, { adaLN: false }),
      attnL2Norm: fc.boolean(),
      rest: fc.uniqueArray(fc.integer({ min: 2, max: 6 }), { maxLength: 4 }),
    });
    fc.assert(
      fc.property(configs, ({ depth, headWidth, rest, norms, ...dials }) => {
        const parts = { ...dials, ...norms };
        const patchNums = [1, ...rest.sort((a, b) => a - b)];
        const config = varConfig(depth, { ...parts, width: headWidth * parts.heads, patchNums });
        const weights = initWeights(varSpecs(config), rng(1));
        const given = config.attnL2Norm ? {} : { heads: config.heads };
        expect(inferVarConfig(weights, given)).toEqual(config);
      }),
      { numRuns: 60 },
    );
  });

  test("any valid tokenizer comes back from its layout", () => {
    const configs = fc.record({
      channels: fc.constantFrom(32, 64),
      chMult: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
      resBlocks: fc.integer({ min: 1, max: 3 }),
      latent: fc.integer({ min: 1, max: 40 }),
      codes: fc.integer({ min: 1, max: 99 }),
      attention: fc.boolean(),
      midAttention: fc.boolean(),
      phiSharing: fc.constantFrom("partial", "shared", "each"),
      patchNums: fc.constantFrom(...Object.values(PATCH_NUMS)),
    });
    fc.assert(
      fc.property(configs, (parts) => {
        const config = vqvaeConfig(parts as Partial<VqvaeConfig>);
        const { patchNums } = config;
        expect(inferVqvaeConfig(shapesOf(vqvaeSpecs(config)), { patchNums })).toEqual(config);
      }),
      { numRuns: 60 },
    );
  });

  test("the number of scales finds the list in use", () => {
    const lab = labVqvaeConfig();
    expect(inferVqvaeConfig(shapesOf(vqvaeSpecs(lab)))).toEqual(lab);
  });

  test("without phi there are no phi convolutions, here and back", () => {
    const config = vqvaeConfig({ quantResi: 0 });
    expect(phiNames(config)).toEqual([]);
    expect(inferVqvaeConfig(shapesOf(vqvaeSpecs(config))).quantResi).toBe(0);
  });

  test("a file of another kind is refused by name", () => {
    const shapes = shapesOf(vqvaeSpecs(tinyVae));
    expect(() => inferVarConfig(shapes, { what: "a.pth" })).toThrow(
      'a.pth is not a VAR transformer: "word_embed.weight" should have 2 dimensions and it is absent; give a checkpoint of that model',
    );
    expect(modelKind(["foo"])).toBeUndefined();
  });

  test("unknown scales are asked for, wrong ones are refused", () => {
    const config = varConfig(2, { ...tiny, patchNums: [1, 3, 4] });
    const shapes = shapesOf(varSpecs(config)); // shapes only: the buffer that tells the scales is not at hand
    expect(() => inferVarConfig(shapes)).toThrow(
      /has 3 scales and 26 tokens, .* give the patchNums/,
    );
    expect(inferVarConfig(shapes, { patchNums: [1, 3, 4] })).toEqual(config);
    expect(() => inferVarConfig(shapes, { patchNums: [1, 2, 4] })).toThrow(/mean 3 and 21/);
  });

  test("heads that a file does not tell are asked for", () => {
    const config = varConfig(1, { ...tiny, width: 96, heads: 3, attnL2Norm: false });
    expect(() => inferVarConfig(shapesOf(varSpecs(config)))).toThrow(/give heads/);
  });
});

test("a tokenizer file made with another number of scales is accepted, its usage counts start afresh", () => {
  const weights = initWeights(vqvaeSpecs(tinyVae), rng(1));
  const more = vqvaeConfig({ ...tinyVae, patchNums: [1, 2, 3, 4, 5] });
  const checked = checkVqvaeWeights(more, weights);
  expect(checked.get("quantize.ema_vocab_hit_SV")!.shape).toEqual([5, 64]);
  expect(checked.get("quant_conv.weight")).toBe(weights.get("quant_conv.weight"));
});

test("decoder levels come from the deeper level's channels, encoder levels from the shallower one's", () => {
  const { encoder, decoder } = vaeLevels(vqvaeConfig());
  expect(encoder.map((l) => l.blocks[0])).toEqual([
    { from: 160, to: 160 },
    { from: 160, to: 160 },
    { from: 160, to: 320 },
    { from: 320, to: 320 },
    { from: 320, to: 640 },
  ]);
  expect(decoder.map((l) => l.blocks[0]!.from)).toEqual([160, 320, 320, 640, 640]);
  expect(decoder.map((l) => l.resample)).toEqual([false, true, true, true, true]);
});
