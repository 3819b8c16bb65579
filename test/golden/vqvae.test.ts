/** The tokenizer against the reference: encode, quantize, decode, every layer, and the quantizer's gradients. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import type { VqvaeConfig } from "../../src/image/config.ts";
import {
  fHatsFromIds,
  growingFHats,
  inputFromIds,
  quantize,
  quantizeForTraining,
} from "../../src/image/quantizer.ts";
import { areaMatrix, bicubicMatrix, phiIndex, resizeMaps } from "../../src/image/quantizer-math.ts";
import { mapTokens, PATCH_NUMS, scaleStarts } from "../../src/image/scales.ts";
import { decode, encode } from "../../src/image/vqvae.ts";
import { vqvaeSpecs } from "../../src/image/vqvae-layout.ts";
import { bindConstants, bindInputs } from "../../src/nn/bind.ts";
import { grad } from "../../src/tensor/grad.ts";
import { constant, input, type Value } from "../../src/tensor/graph.ts";
import { add, clip, concat, mul, sum, upsample2x } from "../../src/tensor/ops.ts";
import { evaluate, fixture, layerOutput, score, tinyVqvae, tinyVqvaeWeights } from "./golden.ts";

const { arrays, facts, check, input: given } = score("vae");
const weights = tinyVqvaeWeights();

/** Token ids of all scales of the fixture picture in a row: B L (int64). */
function allIds(prefix: string, { patchNums }: VqvaeConfig): Tensor {
  const starts = scaleStarts(patchNums);
  const L = starts.at(-1)!;
  const data = new BigInt64Array(2 * L);
  for (const [k, pn] of patchNums.entries()) {
    const ids = given(`${prefix}.idx.${k}`).data as Int32Array;
    for (const [i, id] of ids.entries())
      data[Math.floor(i / mapTokens(pn)) * L + starts[k]! + (i % mapTokens(pn))] = BigInt(id);
  }
  return { dtype: "int64", shape: [2, L], data };
}

const firstImage = ({ shape, data }: Tensor): Tensor => ({
  dtype: "float32",
  shape: [1, ...shape.slice(1)],
  data: (data as Float32Array).slice(0, data.length / shape[0]!),
});

const numbered = (name: string, values: readonly Value[]): Record<string, Value> =>
  Object.fromEntries(values.map((value, k) => [`${name}.${k}`, value]));

test("a picture becomes the feature map and the tokens of the reference", async () => {
  const image = given("vae.img");
  const got = await evaluate(
    (g) => {
      const p = bindConstants(g, weights);
      const f = encode(input(g, "image", image.shape), p, tinyVqvae);
      const { ids, fHats } = quantize(f, p, tinyVqvae);
      const encoderOut = layerOutput(g, "encoder.conv_out");
      return { f, encoder_out: encoderOut, ...numbered("idx", ids), ...numbered("f_hat", fHats) };
    },
    { image },
  );
  for (const [name, tensor] of Object.entries(got)) check(`vae.${name}`, tensor);
});

test("tokens become fHat, the transformer's input and the picture", async () => {
  const got = await evaluate(
    (g) => {
      const p = bindConstants(g, weights);
      const ids = input(g, "ids", [2, 30], "int64");
      const fHats = fHatsFromIds(ids, p, tinyVqvae);
      return {
        ...numbered("f_hat", fHats),
        var_input: inputFromIds(ids, p, tinyVqvae),
        rec_img_noclamp: decode(fHats.at(-1)!, p, tinyVqvae),
        coarse: clip(decode(fHats[0]!, p, tinyVqvae), -1, 1),
        grown: clip(decode(growingFHats(ids, p, tinyVqvae).at(-1)!, p, tinyVqvae), -1, 1),
      };
    },
    { ids: allIds("vae", tinyVqvae) },
  );
  const { coarse, grown: big, ...same } = got;
  for (const [name, tensor] of Object.entries(same)) check(`vae.${name}`, tensor);
  check("vae.idxBl_to_img.scale0.b0", firstImage(coarse!));
  // The first row of pixels: y = 0 of each channel.
  const grown = big!.data as Float32Array;
  const row = Float32Array.from(
    { length: 3 * 64 },
    (_, i) => grown[Math.floor(i / 64) * 64 ** 2 + (i % 64)]!,
  );
  check("vae.idxBl_to_img.same_shape_false.last.b0.row0", {
    dtype: "float32",
    shape: [1, 3, 64],
    data: row,
  });
});

test("the quantizer's training loss, straight-through output and gradients", async () => {
  const f = given("vae.f");
  const upstream = given("vq_train.upstream_grad");
  const specs = vqvaeSpecs(tinyVqvae);
  const names = specs.map(({ name }) => name).filter((name) => /quant_resi|embedding/.test(name));
  const got = await evaluate(
    (g) => {
      const fIn = input(g, "f", f.shape);
      const p = bindInputs(g, specs);
      const { loss, fHat } = quantizeForTraining(fIn, p, tinyVqvae);
      const total = add(mul(loss, 1.7), sum(mul(fHat, constant(g, upstream)), {}));
      const gradients = grad(total, [fIn, ...names.map(p)]);
      return { loss, fHat, ...numbered("grad", gradients) };
    },
    { f, ...Object.fromEntries(names.map((name) => [name, weights.get(name)!])) },
  );
  check("vq_train.loss", got.loss!);
  check("vq_train.f_hat_ste", got.fHat!);
  check("vq_train.grad_f", got["grad.0"]!);
  for (const [i, name] of names.entries()) {
    const short = name.replace(/quantize\.(quant_resi\.qresi_ls\.)?/, "").replace(/^(\d)/, "phi$1");
    check(`vq_train.grad_${short.replace("embedding.weight", "embedding")}`, got[`grad.${i + 1}`]!);
  }
});

test("codes by cosine", async () => {
  const config = { ...tinyVqvae, usingZnorm: true };
  const f = given("vae.f");
  const got = await evaluate(
    (g) => {
      const { ids, fHats } = quantize(input(g, "f", f.shape), bindConstants(g, weights), config);
      return { ...numbered("idx", ids), "f_hat.last": fHats.at(-1)! };
    },
    { f },
  );
  for (const [name, tensor] of Object.entries(got)) check(`znorm.${name}`, tensor);
});

test("ten scales of 256 pixels", async () => {
  const config = { ...tinyVqvae, patchNums: PATCH_NUMS[16]! };
  const f = given("q256.f");
  expect(phiIndex(10, 4)).toEqual(JSON.parse(facts["q256.phi_index"]!));
  const got = await evaluate(
    (g) => {
      const p = bindConstants(g, weights);
      const { ids, fHats } = quantize(input(g, "f", f.shape), p, config);
      const row = concat(ids, 1);
      return {
        idx: row,
        var_input: inputFromIds(row, p, config),
        "f_hat.last": fHats.at(-1)!,
        ...Object.fromEntries([0, 2, 5, 7].map((k) => [`f_hat.${k}`, fHats[k]!])),
      };
    },
    { f },
  );
  for (const [name, tensor] of Object.entries(got)) check(`q256.${name}`, tensor);
});

test("resizing: area, bicubic, nearest", async () => {
  const x16 = given("interp.x16");
  for (const name of arrays.keys()) {
    const [, kind, from, to] = /^interp\.(area|bicubic)\.(\d+)to(\d+)$/.exec(name) ?? [];
    if (kind === undefined) continue;
    const matrix = (kind === "area" ? areaMatrix : bicubicMatrix)(Number(from), Number(to));
    const x = kind === "area" ? x16 : given(`interp.bicubic.in${from}`);
    const data = resizeMaps([matrix, matrix], x.data as Float32Array);
    check(name, { dtype: "float32", shape: [1, 2, Number(to), Number(to)], data });
  }
  const x = given("interp.nearest2x.in");
  const { y } = await evaluate((g) => ({ y: upsample2x(input(g, "x", x.shape)) }), { x });
  check("interp.nearest2x.out", y!);
});

describe("every layer of encoder and decoder", () => {
  interface Stats {
    shape: number[];
    mean: number;
    std: number;
    absmax: number;
    head8: number[];
    tail4: number[];
  }
  const stats: Record<string, Stats> = JSON.parse(
    readFileSync(fixture("vae_tiny_layer_stats.json"), "utf8"),
  );

  test.each(["encoder", "decoder"] as const)("%s", async (half) => {
    const layers = Object.keys(stats).filter(
      (name) => name.startsWith(half) && !/sample$/.test(name),
    );
    expect(layers.length).toBeGreaterThan(20);
    const x = given(half === "encoder" ? "vae.img" : "vae.f_hat.3");
    const got = await evaluate(
      (g) => {
        const run = half === "encoder" ? encode : decode;
        run(input(g, "x", x.shape), bindConstants(g, weights), tinyVqvae);
        return Object.fromEntries(layers.map((name) => [name, layerOutput(g, name)]));
      },
      { x },
    );
    for (const name of layers) {
      const { shape, absmax, head8, tail4, mean } = stats[name]!;
      const data = got[name]!.data as Float32Array;
      expect(got[name]!.shape, name).toEqual(shape);
      const worst = data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      const some = [
        ...data.slice(0, 8),
        ...data.slice(-4),
        worst,
        data.reduce((a, b) => a + b, 0) / data.length,
      ];
      const wanted = [...head8, ...tail4, absmax, mean];
      for (const [i, v] of some.entries())
        expect(Math.abs(v - wanted[i]!), `${name} ${i}`).toBeLessThan(2e-5);
    }
  });
});
