/** Our side of the engine benchmark: one training step for every line on stdin. Its peer: peers/torch_steps.py. */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { adamw } from "../src/nn/optim.ts";
import { compileStep } from "../src/nn/step.ts";
import { openBackend } from "../src/tensor/backend.ts";
import { batchOf, lossOf, type ModelConfig, TRAINING, weightsOf } from "./models.ts";

const say = (facts: object) => console.log(JSON.stringify(facts));

/** Largest resident memory so far in bytes, as Linux counts it. */
const peak = () =>
  1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]);

const model = JSON.parse(process.argv[2]!) as ModelConfig;
const { betas, eps, clip, ...pace } = TRAINING;
const backend = await openBackend("ort-node");
const started = performance.now();
const stepper = await compileStep(
  { optimizer: adamw({ betas, eps }), clip, ...lossOf(model) },
  backend,
  { weights: weightsOf(model) },
);
say({ compileMs: performance.now() - started });
const batch = batchOf(model);
let step = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "memory") {
    say({ peak: peak() });
    continue;
  }
  const start = performance.now();
  const { loss } = await stepper.step(batch, { ...pace, step: ++step });
  say({ ms: performance.now() - start, loss: Number(loss!.data[0]) });
}
