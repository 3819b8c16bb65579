/** Sampling scale by scale against the reference: guided logits, tokens, latent maps, pictures. Greedy, so exact. */

import { expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { loadVar } from "../../src/image/model.ts";
import { modelMetadata } from "../../src/image/note.ts";
import { areaMatrix, resizeMaps } from "../../src/image/quantizer-math.ts";
import { type ScaleStep, sample } from "../../src/image/sampler.ts";
import { guide } from "../../src/image/sampling.ts";
import { rawLogits } from "../raw-logits.ts";
import {
  score,
  TOLERANCE,
  tinyVar,
  tinyVarWeights,
  tinyVqvae,
  tinyVqvaeWeights,
} from "./golden.ts";

const { check, input: given } = score("var");

const tinyModel = (which: "l2" | "saln") => {
  const config = tinyVar({ sharedAdaLN: which === "saln" });
  return loadVar({
    var: { tensors: tinyVarWeights(which), metadata: modelMetadata("var", config) },
    vqvae: { tensors: tinyVqvaeWeights(), metadata: modelMetadata("vqvae", tinyVqvae) },
  });
};

test("guidance 1.5 and the likeliest code: every array of every scale", async () => {
  const model = await tinyModel("l2");
  const raw = await rawLogits(model);
  const steps: ScaleStep[] = [];
  const labels = [...(given("l2.label").data as Int32Array)];
  for await (const step of sample(model, { labels, guidance: 1.5, topK: 1, topP: 0 }))
    steps.push(step);
  expect(steps.map(({ shape }) => shape[1])).toEqual([1, 2, 3, 4]);
  for (const {
    scale: k,
    of,
    ids,
    fHat,
    shape: [side],
  } of steps) {
    check(`l2.ar.idx.${k}`, ids);
    check(`l2.ar.logits_raw.${k}`, raw[k]!);
    const guided = guide((raw[k]!.data as Float32Array).slice(), (1.5 * k) / (of - 1));
    // A combination (1 + t)·a − t·b of two arrays multiplies their rounding by up to 1 + 2t.
    const tolerance = TOLERANCE * (1 + (3 * k) / (of - 1));
    const cfg: Tensor = { dtype: "float32", shape: [2, side ** 2, 64], data: guided };
    check(`l2.ar.logits_cfg.${k}`, cfg, { tolerance });
    check(`l2.ar.f_hat.${k}`, fHat);
    check(`l2.ar.h.${k}`, codeMaps(model.codebook, ids, side));
    const next = steps[k + 1]?.shape[0];
    if (next === undefined) continue;
    const small = resizeMaps([areaMatrix(4, next), areaMatrix(4, next)], fHat.data as Float32Array);
    check(`l2.ar.next_map.${k}`, { dtype: "float32", shape: [2, 8, next, next], data: small });
  }
  check("l2.ar.img", await steps.at(-1)!.images());
  await model.release();
});

/** Code vectors as maps: B C pn pn. */
function codeMaps(codebook: Tensor, ids: Tensor, side: number): Tensor {
  const C = codebook.shape[1]!;
  const cells = side ** 2;
  const data = new Float32Array(ids.data.length * C);
  for (const [i, id] of (ids.data as BigInt64Array).entries())
    for (let c = 0; c < C; c++)
      data[(Math.floor(i / cells) * C + c) * cells + (i % cells)] = codebook.data[
        Number(id) * C + c
      ] as number;
  return { dtype: "float32", shape: [ids.shape[0]!, C, side, side], data };
}
