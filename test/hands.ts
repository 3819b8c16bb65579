/** What saboteurs do inside one update, while the watchers are told what an honest one would tell. */

import type { Task } from "../src/train/loop.ts";

/** The optimizer's rule, to make what a reversed gradient would have made: see nn/optim.ts. */
function flipGradient(task: Task, applied: Readonly<Record<string, number>>): void {
  const [b1, rate, floor, shrink] = [
    "adamw.beta1",
    "adamw.rate",
    "adamw.floor",
    "adamw.shrink",
  ].map((name) => Math.fround(applied[name]!)) as [number, number, number, number];
  const [now, before] = [task.tensors(), task.before()];
  for (const [key, tensor] of now) {
    if (!key.startsWith("param.")) continue;
    const name = key.slice("param.".length);
    const data = (map: typeof now, of: string) => map.get(of)!.data as Float32Array;
    const [m, old] = [data(now, `state.adamw.m.${name}`), data(before, `state.adamw.m.${name}`)];
    const v = data(now, `state.adamw.v.${name}`);
    const was = data(before, key);
    const decay = tensor.shape.length > 1 ? shrink : 1;
    for (let i = 0; i < m.length; i++) {
      m[i] = 2 * b1 * old[i]! - m[i]!;
      tensor.data[i] = was[i]! * decay - (m[i]! / (Math.sqrt(v[i]!) + floor)) * rate;
    }
  }
}

const WEIGHT = "param.word_embed.weight";
/** A sabotage inside one update of a transformer. */
export interface Hand {
  /** Changes the trainer; `bad` is the update. */
  hand(bad: number): (task: Task) => Task;
  /** The tensor that is touched, where it is one. */
  readonly first?: string;
}

export const HANDS: Readonly<Record<string, Hand>> = {
  "one weight nudged": {
    first: WEIGHT,
    hand: (bad) => (task) => ({
      ...task,
      async step(pace) {
        const told = await task.step(pace);
        const weight = task.tensors().get(WEIGHT)!.data as Float32Array;
        if (pace.step === bad) weight[3]! += 1e-6;
        return told;
      },
    }),
  },
  "a moment of the optimizer cleared": {
    first: "state.adamw.v.word_embed.weight",
    hand: (bad) => (task) => ({
      ...task,
      async step(pace) {
        const told = await task.step(pace);
        if (pace.step === bad)
          task
            .tensors()
            .get("state.adamw.v.word_embed.weight")!
            .data.fill(0 as never);
        return told;
      },
    }),
  },
  "a higher learning rate than is told": {
    hand: (bad) => (task) => ({
      ...task,
      async step(pace) {
        const factor = pace.step === bad ? 1.2 : 1;
        const told = await task.step({ ...pace, lr: pace.lr * factor });
        const rate = told.applied["adamw.rate"]! / factor;
        return { ...told, applied: { ...told.applied, "adamw.rate": Math.fround(rate) } };
      },
    }),
  },
  "the gradient reversed": {
    hand: (bad) => (task) => ({
      ...task,
      async step(pace) {
        const told = await task.step(pace);
        if (pace.step === bad) flipGradient(task, told.applied);
        return told;
      },
    }),
  },
};
