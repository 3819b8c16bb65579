/** Training steps of our engine and of PyTorch on the CPU, side by side in one run. How and why: README.md. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeSafetensors } from "../src/formats/safetensors.ts";
import { type Contestant, contestant, median, type Spread, type Step, spread } from "./contest.ts";
import { fastEnv, machine, PYTHON } from "./machine.ts";
import { batchOf, CASES, type Case, type ModelConfig, TRAINING, weightsOf } from "./models.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Steps from the same weights whose losses must agree; they are the warm-up as well. */
const CHECKED = 3;
/** Of a loss, relative: two orders above what float32 sums in another order differ by here. */
const TOLERANCE = 1e-4;
/** Both runtimes' threads spin on for a while after a step; the other side waits until they sleep. */
const PAUSE_MS = 60;

interface Side {
  readonly ms: Spread;
  readonly peakBytes: number;
}
interface Result {
  readonly name: string;
  readonly title: string;
  readonly target?: number;
  readonly tolerance?: number;
  readonly model: ModelConfig;
  readonly date: string;
  readonly rounds: number;
  readonly ours: Side & { readonly compileMs: number };
  readonly torch: Side & { readonly variant: string; readonly trials: Record<string, number> };
  /** Of each pair of neighbouring steps, ours / PyTorch's. */
  readonly ratio: Spread;
  readonly losses: { readonly ours: number[]; readonly torch: number[] };
  readonly machine: Record<string, unknown>;
}

const torch = (job: string, variant: string) =>
  contestant(PYTHON, ["-B", here("peers/torch_steps.py"), job, variant], { env: fastEnv });

/** What PyTorch can be told to do: the optimizer in a loop or for all at once, images either way round. */
const variantsOf = ({ kind }: ModelConfig): string[] =>
  (kind === "gpt" || kind === "var" ? ["contiguous"] : ["contiguous", "channels_last"]).flatMap(
    (layout) => ["foreach", "loop"].map((fusing) => `${fusing}-${layout}`),
  );

async function take(side: Contestant, count: number): Promise<Step[]> {
  const steps: Step[] = [];
  while (steps.length < count) steps.push(await side.step());
  return steps;
}

/** PyTorch at its best: the variant with the fastest median of a few steps, each in a process of its own. */
async function bestVariant(job: string, model: ModelConfig, given?: string) {
  const trials: Record<string, number> = {};
  if (given) return { variant: given, trials };
  for (const variant of variantsOf(model)) {
    const side = await torch(job, variant);
    await take(side, 1);
    trials[variant] = median((await take(side, 3)).map((s) => s.ms));
    side.stop();
  }
  const [variant] = Object.entries(trials).sort((a, b) => a[1] - b[1])[0]!;
  return { variant, trials };
}

async function compare(item: Case, rounds: number, given?: string): Promise<Result> {
  const { model } = item;
  const folder = mkdtempSync(join(tmpdir(), "engine-bench-"));
  try {
    const batch = Object.entries(batchOf(model));
    const tensors = new Map([
      ...weightsOf(model),
      ...batch.map(([name, t]) => [`batch.${name}`, t] as const),
    ]);
    writeFileSync(join(folder, "tensors.safetensors"), writeSafetensors(tensors));
    const job = join(folder, "job.json");
    const names = batch.map(([name]) => name);
    const file = join(folder, "tensors.safetensors");
    writeFileSync(job, JSON.stringify({ model, training: TRAINING, batch: names, tensors: file }));

    const { variant, trials } = await bestVariant(job, model, given);
    const theirs = await torch(job, variant);
    const ours = await contestant(process.execPath, [
      "--import",
      "tsx",
      here("engine-worker.ts"),
      JSON.stringify(model),
    ]);
    const checked = {
      ours: (await take(ours, CHECKED)).map((s) => s.loss),
      torch: (await take(theirs, CHECKED)).map((s) => s.loss),
    };
    checked.ours.forEach((loss, i) => {
      const other = checked.torch[i]!;
      if (!(Math.abs(loss - other) <= (item.tolerance ?? TOLERANCE) * Math.abs(other)))
        throw new Error(
          `${item.name}: the loss of step ${i + 1} is ${loss}, PyTorch's ${other}; it is not the same work`,
        );
    });
    const times = { ours: [] as number[], torch: [] as number[] };
    for (let i = 0; i < rounds; i++) {
      await pause(PAUSE_MS);
      times.ours.push((await ours.step()).ms);
      await pause(PAUSE_MS);
      times.torch.push((await theirs.step()).ms);
    }
    const [ourPeak, theirPeak] = [await ours.peak(), await theirs.peak()];
    ours.stop();
    theirs.stop();
    return {
      ...item,
      date: new Date().toISOString().slice(0, 10),
      rounds,
      ours: {
        ms: spread(times.ours),
        peakBytes: ourPeak,
        compileMs: ours.facts.compileMs as number,
      },
      torch: { ms: spread(times.torch), peakBytes: theirPeak, variant, trials },
      ratio: spread(times.ours.map((ms, i) => ms / times.torch[i]!)),
      losses: checked,
      machine: machine(theirs.facts),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const ms = (s: Spread) => `${s.median.toFixed(0)} (${s.min.toFixed(0)}-${s.max.toFixed(0)})`;
const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
const verdict = ({ target, ratio }: Result) =>
  target ? `${ratio.median <= target ? "met" : "MISSED"} (${target})` : "-";

const row = (r: Result): string =>
  `| ${[
    r.title,
    ms(r.ours.ms),
    ms(r.torch.ms),
    r.torch.variant + (Object.keys(r.torch.trials).length > 0 ? "" : ", without a trial"),
    `**${r.ratio.median.toFixed(2)}** (${r.ratio.min.toFixed(2)}-${r.ratio.max.toFixed(2)})`,
    verdict(r),
    mib(r.ours.peakBytes),
    mib(r.torch.peakBytes),
  ].join(" | ")} |`;

const difference = ({ losses }: Result): number =>
  Math.max(...losses.ours.map((x, i) => Math.abs(x / losses.torch[i]! - 1)));

const sheet = (
  results: readonly Result[],
): string => `# Training steps: our engine and PyTorch on the CPU

One step is forward, backward, clipping by the global norm and AdamW, in float32. Steps of both sides alternate;
medians with least and greatest, in ms. The ratio is taken of each pair of neighbouring steps: below 1 we are faster.
PyTorch runs the variant that was fastest in a trial before. Peak is the largest resident memory of each process.
"VAR training" and "VQVAE training" are the graphs of our trainers as they run: VAR with input from the tokens, drop path
and accuracies; VQVAE with L1, L2, codebook, perceptual and adversarial term with adaptive weight and LeCam, two AdamW.

| step | ours | PyTorch | its variant | ratio | target | our peak, MiB | its peak, MiB |
|---|---|---|---|---|---|---|---|
${results.map(row).join("\n")}

Same work: over the first ${CHECKED} steps from the same weights the losses differ by at most ${Math.max(...results.filter((r) => !r.tolerance).map(difference)).toExponential(0)}, relative; where codes are chosen, and near ties fall either way, by ${Math.max(0, ...results.filter((r) => r.tolerance).map(difference)).toExponential(0)}.

${results
  .map(
    (r) =>
      `- ${r.name}: ${r.date}, ${r.rounds} rounds, compiled in ${r.ours.compileMs.toFixed(0)} ms; ${JSON.stringify(r.model)}`,
  )
  .join("\n")}
- machine: ${Object.entries(results.at(-1)!.machine)
  .map(([k, v]) => `${k} ${v}`)
  .join(", ")}
`;

const { values } = parseArgs({
  options: {
    case: { type: "string", multiple: true },
    rounds: { type: "string", default: "9" },
    variant: { type: "string" },
    dry: { type: "boolean", default: false },
  },
});
const wanted = values.case ?? CASES.map((c) => c.name);
const unknown = wanted.find((name) => !CASES.some((c) => c.name === name));
if (unknown) throw new Error(`no case "${unknown}"; use ${CASES.map((c) => c.name).join(", ")}`);
const path = here("results/engine.json");
const old = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Result[]) : [];
const results = new Map(old.map((r) => [r.name, r]));
for (const item of CASES.filter((c) => wanted.includes(c.name))) {
  const result = await compare(item, Number(values.rounds), values.variant);
  results.set(item.name, result);
  console.error(row(result));
}
if (!values.dry) {
  const all = CASES.flatMap((c) => results.get(c.name) ?? []);
  writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(here("results/engine.md"), sheet(all));
}
