/** Convolutions and norms against PyTorch, where it is installed. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { ortNode } from "../../src/tensor/backends/ort-node.ts";
import { grad } from "../../src/tensor/grad.ts";
import { constant, createGraph, input, output, type Value } from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import { rng } from "../../src/tensor/rng.ts";
import { floats, numbers, tensor } from "../conformance/tensors.ts";

const PYTHON = "/usr/bin/python3";
const TORCH = "/usr/lib/python3/dist-packages/torch"; // looked for as a folder: importing it takes seconds
const ORACLE = fileURLToPath(new URL("torch_oracle.py", import.meta.url));

interface Case {
  readonly op: string;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly ours: (v: Readonly<Record<string, Value>>) => Value;
}

const r = rng(3);
const f = (name: string, shape: number[]) => floats(r.child(name), shape, { low: -1, high: 1 });

const convCase = (stride: number, pad: [number, number, number, number], k = 3): Case => ({
  op: "conv",
  feeds: { x: f("x", [2, 3, 9, 8]), w: f("w", [4, 3, k, k]), b: f("b", [4]) },
  options: { stride, pad },
  ours: ({ x, w, b }) => o.conv2d(x!, w!, { stride, pad, bias: b! }),
});
const targets = [0, 3, 3, 1];

const CASES: readonly Case[] = [
  convCase(1, [1, 1, 1, 1]),
  convCase(2, [0, 0, 1, 1]),
  convCase(2, [1, 2, 0, 1]),
  convCase(3, [2, 0, 1, 1]),
  convCase(1, [3, 3, 3, 3], 2), // more padding than kernel
  convCase(2, [0, 0, 0, 0], 1),
  {
    op: "layerNorm",
    feeds: { x: f("ln", [3, 4, 16]), w: f("lw", [16]), b: f("lb", [16]) },
    options: { eps: 1e-6 },
    ours: ({ x, w, b }) => o.layerNorm(x!, { weight: w!, bias: b!, eps: 1e-6 }),
  },
  {
    op: "groupNorm",
    feeds: { x: f("gn", [2, 8, 4, 4]), w: f("gw", [8]), b: f("gb", [8]) },
    options: { eps: 1e-6, groups: 4 },
    ours: ({ x, w, b }) => o.groupNorm(x!, { weight: w!, bias: b!, groups: 4 }),
  },
  {
    op: "crossEntropy",
    feeds: { x: f("logits", [4, 5]) },
    options: { targets },
    ours: ({ x }) => o.crossEntropy(x!, constant(x!.graph, tensor([4], targets, "int64"))),
  },
];

/** float32 on both sides, squares of sums of up to a few hundred terms: relative to the largest gradient. */
const TOLERANCE = 2e-5;

const present = existsSync(PYTHON) && existsSync(TORCH);
const title = "gradients of convolutions, norms and cross entropy agree with PyTorch";

test.skipIf(!present)(
  present ? title : `${title} (skipped: no PyTorch for ${PYTHON})`,
  async () => {
    const question = CASES.map(({ op, feeds, options }) => ({
      op,
      ...options,
      feeds: Object.fromEntries(
        Object.entries(feeds).map(([k, t]) => [k, { shape: t.shape, data: numbers(t) }]),
      ),
    }));
    const { OPENBLAS_CORETYPE: _, ...env } = process.env;
    const answer = JSON.parse(
      execFileSync(PYTHON, [ORACLE], { input: JSON.stringify(question), env, encoding: "utf8" }),
    ) as Record<string, number | number[]>[];
    for (const [i, { op, feeds, options, ours }] of CASES.entries()) {
      const g = createGraph();
      const values = Object.fromEntries(
        Object.entries(feeds).map(([k, t]) => [k, input(g, k, t.shape)]),
      );
      const loss = o.sum(o.square(ours(values)));
      output(g, "loss", loss);
      const names = Object.keys(feeds);
      grad(
        loss,
        names.map((k) => values[k]!),
      ).forEach((v, j) => {
        output(g, `d ${names[j]}`, v);
      });
      const session = await (await ortNode()).compile(g);
      const got = await session.run(feeds);
      await session.release();
      for (const k of ["loss", ...names]) {
        const mine = numbers(got[k === "loss" ? k : `d ${k}`]!);
        const theirs = [answer[i]![k]!].flat();
        const scale = Math.max(1, ...theirs.map(Math.abs));
        const worst = Math.max(...mine.map((x, j) => Math.abs(x - theirs[j]!))) / scale;
        expect(mine.length).toBe(theirs.length);
        expect(worst, `${op} ${JSON.stringify(options)} ${k}`).toBeLessThan(TOLERANCE);
      }
    }
  },
  120_000,
);
