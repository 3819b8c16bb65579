/** Our side of the VAR benchmark: a batch of pictures for every line on stdin. Its peer: peers/var_torch.py. */

import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Tensor } from "../src/formats/dtype.ts";
import { writeSafetensors } from "../src/formats/safetensors.ts";
import { fastestBatch } from "../src/image/memory.ts";
import type { Var } from "../src/image/model.ts";
import { loadVarFrom } from "../src/image/node.ts";
import { ordersOf } from "../src/image/orders.ts";
import { RowFilter } from "../src/image/row-filter.ts";
import { stack } from "../src/image/rows.ts";
import { drawOrders, idsOf, type ScaleStep, sample } from "../src/image/sampler.ts";
import { scaleStarts } from "../src/image/scales.ts";
import type { Session } from "../src/tensor/backend.ts";
import { uniformsOf } from "./uniforms.ts";
import type { DrawAnswer, DrawQuestion, Job, WhyAnswer, WhyQuestion } from "./var-d16-case.ts";

const say = (facts: object) => console.log(JSON.stringify(facts));

/** Largest resident memory so far in bytes, as Linux counts it. */
const peak = () =>
  1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]);

/** Which stage a graph belongs to, by the first word of its name. */
const STAGES: Readonly<Record<string, (scale: number) => string>> = {
  class: () => "class",
  scale: (k) => `scale ${k + 1}`,
  head: (k) => `scale ${k + 1}`,
  advance: () => "next",
  decode: () => "decoder",
};

type Name = Parameters<Var["session"]>[0];

/** Times every run of a model's graphs, and their compilation apart. */
function watch(model: Var) {
  const clock = { scale: 0, stages: {} as Record<string, number>, compileMs: 0 };
  const watched = new Set<Session>();
  const open = model.session.bind(model);
  model.session = async (name: Name) => {
    const start = performance.now();
    const session = await open(name);
    if (watched.has(session)) return session;
    clock.compileMs += performance.now() - start;
    watched.add(session);
    const run = session.run.bind(session);
    session.run = (...given) => lap(name, () => run(...given));
    return session;
  };
  // Compiled for the run alone, so that belongs to the stage.
  const once = model.runOnce.bind(model);
  model.runOnce = (name, feeds) => lap(name, () => once(name, feeds));
  async function lap<T>(name: Name, run: () => Promise<T>): Promise<T> {
    const stage = STAGES[name.split(" ")[0]!]?.(clock.scale);
    if (!stage) throw new Error(`graph "${name}" belongs to no stage; add it to STAGES`);
    const start = performance.now();
    const result = await run();
    clock.stages[stage] = (clock.stages[stage] ?? 0) + performance.now() - start;
    return result;
  }
  return clock;
}

const total = (stages: Readonly<Record<string, number>>) =>
  Object.values(stages).reduce((sum, ms) => sum + ms, 0);

const job = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Job;
const started = performance.now();
const model = await loadVarFrom(
  { var: job.var, vqvae: job.vqvae },
  { threads: job.threads, ...job.load },
);
const loadMs = performance.now() - started;
const clock = watch(model);

/** As many at a time as the library takes by itself. */
const together = fastestBatch(model);

async function draw({ classes, guidance, topK, topP, out }: DrawQuestion): Promise<DrawAnswer> {
  clock.stages = {};
  const ids: number[][] = [];
  const images: Tensor[] = [];
  const ms = { scales: 0, decoder: 0 };
  // Compiling is told apart.
  const part = async (name: keyof typeof ms, work: () => Promise<void>) => {
    const [start, compiled] = [performance.now(), clock.compileMs];
    await work();
    ms[name] += performance.now() - start - (clock.compileMs - compiled);
  };
  const start = performance.now();
  for (let at = 0; at < classes.length; at += together) {
    const labels = classes.slice(at, at + together);
    const options = { labels, first: at, seed: job.seed, batch: together, guidance, topK, topP };
    const steps: ScaleStep[] = [];
    clock.scale = 0;
    await part("scales", async () => {
      for await (const step of sample(model, options)) {
        steps.push(step);
        clock.scale = step.scale + 1;
      }
    });
    const graphs = clock.stages;
    clock.stages = { ...graphs }; // the decoder's own time is that around it
    await part("decoder", async () => void images.push(await steps.at(-1)!.images()));
    clock.stages = graphs;
    for (const [i] of labels.entries()) ids.push(steps.flatMap((step) => idsOf(step, i)));
  }
  const end = performance.now();
  // What is left of the scales is ours, not the graphs': guidance, filters, draws, and moving tensors about.
  const choice = ms.scales - total(clock.stages);
  if (out) writeFileSync(out, writeSafetensors(new Map([["images", stack(images)]])));
  return { ms: end - start, stages: { ...clock.stages, choice, decoder: ms.decoder }, ids };
}

/** Draws a picture once more as far as the token, and looks where its uniform number fell. */
async function why(question: WhyQuestion): Promise<WhyAnswer> {
  const { classes, picture, scale, token, ours, theirs, ...how } = question;
  const options = { labels: [classes[picture]!], first: picture, seed: job.seed, ...how };
  const { codes } = model.config;
  const filter = new RowFilter(codes, how);
  const watch = (k: number, logits: Float32Array) => {
    if (k === scale) filter.select(logits, token * codes);
  };
  const [order] = ordersOf(model, options);
  for await (const step of drawOrders(model, [{ ...order!, watch }]))
    if (step.scale >= scale) break;
  const starts = scaleStarts(job.patchNums);
  const uniforms = uniformsOf({ seed: job.seed, batch: picture + 1, patchNums: job.patchNums });
  const at = picture * starts.at(-1)! + starts[scale]! + token;
  const u = (uniforms.data as Float32Array)[at]!;
  let [sum, margin] = [0, 1];
  for (let i = 0; i < filter.count; i++) {
    sum += filter.weights[i]! / filter.total;
    margin = Math.min(margin, Math.abs(u - sum));
  }
  const kept = filter.codes.subarray(0, filter.count);
  const apart = Math.abs(kept.indexOf(ours) - kept.indexOf(theirs));
  return { margin, left: filter.count, areNeighbours: kept.includes(theirs) && apart === 1 };
}

const answers = {
  draw: (question: DrawQuestion | WhyQuestion): Promise<object> => draw(question as DrawQuestion),
  why: (question: DrawQuestion | WhyQuestion): Promise<object> => why(question as WhyQuestion),
  memory: async () => ({ peak: peak(), compileMs: clock.compileMs }),
};

say({ loadMs });
for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line) as { do: keyof typeof answers };
  say(await answers[question.do](question as DrawQuestion | WhyQuestion));
}
