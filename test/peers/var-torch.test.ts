/** The benchmark's PyTorch peer is the same model: against the reference's arrays, and against our sampler. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { contestant } from "../../bench/contest.ts";
import { fastEnv, PYTHON } from "../../bench/machine.ts";
import { uniformsOf } from "../../bench/uniforms.ts";
import type { DrawAnswer, DrawQuestion, Job } from "../../bench/var-d16-case.ts";
import type { Tensor, TensorMap } from "../../src/formats/dtype.ts";
import { readSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { loadVar } from "../../src/image/model.ts";
import { modelMetadata } from "../../src/image/note.ts";
import { idsOf, type ScaleStep, sample } from "../../src/image/sampler.ts";
import {
  golden,
  largestDifference,
  TOLERANCE,
  tinyVar,
  tinyVarWeights,
  tinyVqvae,
  tinyVqvaeWeights,
} from "../golden/golden.ts";

const found = spawnSync(PYTHON, ["-c", "import torch, numpy"], { env: fastEnv }).status === 0;
const folder = mkdtempSync(join(tmpdir(), "var-peer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SEED = 3;
const CLASSES = [3, 7];
const { patchNums } = tinyVqvae;

/** Models by name, with their weights. */
const MODELS = {
  l2: { config: tinyVar(), weights: () => tinyVarWeights("l2") },
  saln: { config: tinyVar({ sharedAdaLN: true }), weights: () => tinyVarWeights("saln") },
  nol2: {
    config: tinyVar({ attnL2Norm: false }),
    weights: () =>
      new Map([...tinyVarWeights("l2")].filter(([name]) => !name.includes("scale_mul"))),
  },
};
type Name = keyof typeof MODELS;

/** Asks the peer once; its answer and the arrays it wrote. */
async function peer(
  name: Name,
  question: Pick<DrawQuestion, "guidance" | "topK" | "topP" | "ada" | "trace">,
  variant = "contiguous",
): Promise<{ answer: DrawAnswer; arrays: TensorMap }> {
  const at = (file: string) => join(folder, file);
  const { config, weights } = MODELS[name];
  const write = (file: string, tensors: TensorMap) => {
    writeFileSync(at(file), writeSafetensors(tensors));
    return at(file);
  };
  const job: Job = {
    var: write("var.safetensors", weights()),
    vqvae: write("vqvae.safetensors", tinyVqvaeWeights()),
    uniforms: write(
      "uniforms.safetensors",
      new Map([["uniforms", uniformsOf({ seed: SEED, batch: CLASSES.length, patchNums })]]),
    ),
    patchNums,
    heads: config.heads,
    threads: 1,
    seed: SEED,
    load: {},
  };
  writeFileSync(at("job.json"), JSON.stringify(job));
  const script = fileURLToPath(new URL("../../bench/peers/var_torch.py", import.meta.url));
  const side = await contestant(PYTHON, ["-B", script, at("job.json"), variant], { env: fastEnv });
  const out = at("out.safetensors");
  const asked: DrawQuestion = { do: "draw", classes: CLASSES, out, ...question };
  const answer = await side.ask<DrawAnswer>(asked);
  side.stop();
  return { answer, arrays: readSafetensors(readFileSync(out)).tensors };
}

const GREEDY = { guidance: 1.5, topK: 1, topP: 0, ada: "once" } as const;
const DRAWN = { guidance: 1.5, topK: 40, topP: 0.9 } as const;

describe.skipIf(!found)(
  `PyTorch's peer${found ? "" : " (skipped: no torch in the system's Python)"}`,
  () => {
    const { arrays: wanted } = golden("var");
    const close = (got: Tensor | undefined, want: Tensor | undefined, tolerance = TOLERANCE) => {
      expect(got!.shape).toEqual(want!.shape);
      expect(largestDifference(got!, want!)).toBeLessThanOrEqual(tolerance);
    };

    test("gives every array of the reference, scale by scale", async () => {
      expect([...(wanted.get("l2.label")!.data as Int32Array)]).toEqual(CLASSES);
      const { answer, arrays } = await peer("l2", { ...GREEDY, trace: true });
      const ids = patchNums.map((_, k) => wanted.get(`l2.ar.idx.${k}`)!);
      const rows = CLASSES.map((_, i) =>
        ids.flatMap(({ data, shape }) => {
          const n = shape[1]!;
          return Array.from(data.subarray(i * n, (i + 1) * n) as Int32Array);
        }),
      );
      expect(answer.ids).toEqual(rows);
      for (const k of patchNums.keys()) {
        close(arrays.get(`logits_raw.${k}`), wanted.get(`l2.ar.logits_raw.${k}`));
        // A combination (1 + t) a - t b of two arrays multiplies their rounding by up to 1 + 2t.
        close(
          arrays.get(`logits_cfg.${k}`),
          wanted.get(`l2.ar.logits_cfg.${k}`),
          TOLERANCE * (1 + k),
        );
        close(arrays.get(`f_hat.${k}`), wanted.get(`l2.ar.f_hat.${k}`));
        if (k < 3) close(arrays.get(`next_map.${k}`), wanted.get(`l2.ar.next_map.${k}`));
      }
      close(arrays.get("images"), wanted.get("l2.ar.img"));
    });

    test.for(["channels_last", "compiled"])(
      "decodes the same pictures the way %s",
      async (variant) => {
        const { arrays } = await peer("l2", GREEDY, variant);
        close(arrays.get("images"), wanted.get("l2.ar.img"));
      },
    );

    test.for([
      ["l2", "each"],
      ["saln", "once"],
      ["saln", "each"],
      ["nol2", "once"],
    ] as const)(
      "draws our sampler's tokens and pictures from the same chance: %s, modulation %s",
      async ([name, ada]) => {
        const { config, weights } = MODELS[name];
        const model = await loadVar({
          var: { tensors: weights(), metadata: modelMetadata("var", config) },
          vqvae: { tensors: tinyVqvaeWeights(), metadata: modelMetadata("vqvae", tinyVqvae) },
        });
        const steps: ScaleStep[] = [];
        for await (const step of sample(model, { labels: CLASSES, seed: SEED, ...DRAWN }))
          steps.push(step);
        const images = await steps.at(-1)!.images();
        await model.release();
        const { answer, arrays } = await peer(name, { ...DRAWN, ada });
        const ours = CLASSES.map((_, i) => steps.flatMap((step) => idsOf(step, i)));
        expect(answer.ids).toEqual(ours);
        close(arrays.get("images"), images);
      },
    );
  },
);
