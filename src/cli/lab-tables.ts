/** `underpaint lab compare` and `lab ablation`: models trained with equal budgets, and their tables. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { buckets, parseMetrics, seriesOf } from "../lab/metrics.ts";
import {
  ablationPlan,
  ablationReport,
  bestRows,
  comparePlan,
  compareReport,
  type Judge,
  type MeasuredRow,
  measureRow,
  openJudge,
  type Plan,
  type PlanOptions,
  type Rebuilt,
  type ReportFacts,
  type Study,
  type StudyRun,
  studyPlot,
  updateFlops,
} from "../lab/study/index.ts";
import { psnrOf, throughTokenizer } from "../lab/through.ts";
import { interruptible } from "./errors.ts";
import { readNumber } from "./flags.ts";
import {
  addStudyFlags,
  breathe,
  commandLine,
  type OpenedStudy,
  openStudy,
  stoppable,
  trainAll,
  writeResults,
} from "./lab-study.ts";
import { tokenizerFile } from "./package.ts";
import { progress } from "./progress.ts";
import { addRecipeFlags, type RecipeFlags, readRecipe } from "./recipe-flags.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

const TABLE_FLAGS: RecipeFlags<
  "depth" | "width" | "samples" | "topK" | "topP" | "temperature" | "ditSteps" | "maskgitSteps"
> = {
  depth: { sentence: "Depth of VAR", unit: "blocks", min: 1, max: 1024, fallback: 4 },
  width: { sentence: "Of all models", unit: "channels", min: 32, max: 65_536, fallback: 256 },
  samples: { sentence: "Drawn and judged", unit: "pictures", min: 64, max: 1e6, fallback: 2000 },
  topK: { sentence: "Top-k of rows that have it", min: 0, max: 1e6, fallback: 200 },
  topP: { sentence: "Top-p of compare", real: true, min: 0, max: 1, fallback: 0.96 },
  temperature: { sentence: "Of all rows", real: true, min: 1e-4, max: 100, fallback: 1 },
  ditSteps: { sentence: "Passes of DiT", min: 1, max: 1000, fallback: 50 },
  maskgitSteps: { sentence: "Passes of MaskGIT", min: 1, max: 1000, fallback: 12 },
};
const TABLE_KEYS = Object.keys(TABLE_FLAGS) as (keyof typeof TABLE_FLAGS)[];

/** The two tables: what is trained and measured, and what is written about it. */
const TABLES = {
  compare: {
    description: "VAR beside raster AR, MaskGIT and DiT: same data, parameters and training FLOPs",
    plan: comparePlan,
    guidances: [0, 1, 2],
    title: "VAR and its baselines at equal budget",
    notes: [
      "All four models are made of the same blocks; AR and MaskGIT are half again as deep, which is what AdaLN's weights are worth.",
      "Each row shows the guidance of the least FID; the others stand below. Top-k and top-p are ignored by DiT.",
    ],
  },
  ablation: {
    description: "From raster AR to VAR step by step, as the paper's table 3",
    plan: ablationPlan,
    guidances: [2],
    title: "Ablation: from AR to VAR",
    notes: [
      "All rows but the last have the training FLOPs of the row + AdaLN; the last, 1.5 times as deep and wide, as many updates.",
      "Rows without attention norm scale scores by 0.25/√d, as the official code does.",
    ],
  },
} as const;
type TableName = keyof typeof TABLES;

export function addTables(parent: Command, terminal: Terminal): void {
  for (const name of Object.keys(TABLES) as TableName[]) {
    const { description, guidances } = TABLES[name];
    const command = parent.command(name).description(description);
    addStudyFlags(command, name)
      .requiredOption("--network <name>", "The judge: lab:emoji, a classifier's file or another's")
      .option("--raster-tokenizer <path>", "Tokenizer of AR and MaskGIT; default VAR's");
    addRecipeFlags(command, TABLE_FLAGS, {});
    command
      .addOption(
        new Option("--guidances <list>", "Strengths of guidance that are tried, as 0,1.5,3")
          .argParser((text) =>
            text
              .split(",")
              .map((part) => readNumber("--guidances", part, { real: true, min: 0, max: 100 })),
          )
          .default(guidances, guidances.join(",")),
      )
      .action(async (data: string) => {
        process.exitCode = await interruptible((signal) =>
          stoppable(terminal, {
            again: commandLine(command, data),
            work: () => makeTable(terminal, { name, data, command, signal }),
          }),
        );
      });
  }
}

interface Job {
  readonly name: TableName;
  readonly data: string;
  readonly command: Command;
  readonly signal: AbortSignal;
}

async function makeTable(terminal: Terminal, job: Job): Promise<void> {
  const { name, command, data } = job;
  const opened = await openStudy(terminal, job);
  const { study, tokenizer, classes, steps } = opened;
  const flags = command.opts() as { rasterTokenizer?: string; guidances: number[]; out: string };
  const raster =
    flags.rasterTokenizer && (await loadTokenizer(tokenizerFile(flags.rasterTokenizer)));
  const values = readRecipe(command, TABLE_KEYS, undefined) as Record<
    keyof typeof TABLE_FLAGS,
    number
  >;
  const { depth, width, topK, topP, temperature, samples } = values;
  const options: PlanOptions = {
    ...{ tokenizer, classes, depth, width, steps, batch: study.recipe.batch },
    ...(raster ? { rasterTokenizer: raster } : {}),
    drawing: { topK, topP, temperature },
    passes: { dit: values.ditSteps, maskgit: values.maskgitSteps },
    guidances: flags.guidances,
  };
  const plan: Plan = TABLES[name].plan(options);
  await trainAll(terminal, study, plan.runs);
  const { backend } = study;
  const network = String(command.getOptionValue("network"));
  const judge = await openJudge(network, study.train, { backend, seed: study.recipe.seed });
  try {
    const rows = await measureAll(terminal, { study, plan, judge, samples });
    const tokenizers = raster ? [tokenizer, raster] : [tokenizer];
    const rebuilt = name === "compare" ? await rebuild(opened, tokenizers, judge) : [];
    const facts = factsOf(job, opened, { judge, options, samples });
    const report =
      name === "compare" ? compareReport(facts, { rows, rebuilt }) : ablationReport(facts, rows);
    await writeResults(terminal, flags.out, {
      report,
      json: { command: facts.command, judge: judge.recipe, study: study.recipe, rows, rebuilt },
      figures: { curves: await lossCurves(study, plan.runs) },
      pictures: await sheets(study, plan, name === "compare" ? bestRows(rows) : rows),
    });
    terminal.say(report);
    terminal.say(
      terminal.dim(`next: underpaint lab scaling ${data} --tokenizer ${tokenizer.file}`),
    );
  } finally {
    await judge.release();
  }
}

function factsOf(
  { name, data, command }: Job,
  { study, tokenizer }: OpenedStudy,
  { judge, options, samples }: { judge: Judge; options: PlanOptions; samples: number },
): ReportFacts {
  const { train, test, recipe } = study;
  const raster = options.rasterTokenizer ?? tokenizer;
  const { network, hash, reference } = judge.recipe;
  return {
    title: `${TABLES[name].title}: ${data}`,
    command: commandLine(command, data),
    notes: [
      ...TABLES[name].notes,
      `Tokens: VAR over maps ${tokenizer.config.patchNums.join(", ")}; AR and MaskGIT over ${raster.config.patchNums.join(", ")}${raster === tokenizer ? " (VAR's own tokens, one after the other)" : " (a tokenizer of their own)"}; DiT over the latent map of VAR's tokens.`,
      `FID, KID and IS of ${samples} pictures against ${reference} training pictures, through ${network} (${hash}); seed ${recipe.seed}. KID's interval is a 95 % jackknife.`,
      `${train.count} pictures to learn in ${recipe.variants} variants, ${test.count} to test; batch ${recipe.batch}, learning rate ${recipe.lr}, no averaging of weights.`,
      "FLOPs count the transformer alone (2 per multiply-add); pictures per second include the decoder, 32 together, on the machine of the run.",
    ],
  };
}

async function measureAll(
  terminal: Terminal,
  { study, plan, judge, samples }: { study: Study; plan: Plan; judge: Judge; samples: number },
): Promise<MeasuredRow[]> {
  const rows: MeasuredRow[] = [];
  for (const [i, row] of plan.rows.entries()) {
    const what = `drawing ${row.name} (${i + 1} of ${plan.rows.length})`;
    const shown = progress(terminal, { of: samples, what });
    const steps = measureRow(study, row, { judge, samples, seed: study.recipe.seed });
    try {
      let step = await steps.next();
      while (!step.done) {
        shown.update(step.value.done);
        await breathe();
        study.signal?.throwIfAborted();
        step = await steps.next();
      }
      rows.push(step.value);
    } finally {
      shown.clear();
    }
    const { figures } = rows.at(-1)!;
    terminal.say(`${row.name}: FID ${figures.fid.toFixed(2)}  KID ${figures.kid.toExponential(2)}`);
  }
  return rows;
}

/** Training pictures through the tokenizers, judged like samples; PSNR on the test split. */
async function rebuild(
  { study }: OpenedStudy,
  tokenizers: readonly Tokenizer[],
  judge: Judge,
): Promise<Rebuilt[]> {
  const { backend, train, test, signal } = study;
  const all: Rebuilt[] = [];
  for (const tokenizer of tokenizers) {
    const through = await throughTokenizer(test, tokenizer, { backend, signal });
    const { rebuilt } = await throughTokenizer(train, tokenizer, { backend, signal });
    const { fid, kid } = await judge.judge(rebuilt);
    const { patchNums } = tokenizer.config;
    all.push({ name: tokenizer.hash, maps: patchNums.join(" "), fid, kid, psnr: psnrOf(through) });
  }
  return all;
}

/** Loss of every model over its training FLOPs; losses over different tokens do not compare in height. */
async function lossCurves(study: Study, runs: readonly StudyRun[]): Promise<string> {
  const series = [];
  for (const run of runs) {
    const file = join(study.folder, run.name, "metrics.jsonl");
    const lines = parseMetrics(await readFile(file, "utf8"), { what: file });
    const perUpdate = updateFlops(run) * study.recipe.batch;
    const points = buckets(seriesOf(lines, "loss")).map(({ step, mean }) => ({
      x: (step * perUpdate) / 1e12,
      y: mean,
    }));
    series.push({ label: run.name, points, as: "line" as const });
  }
  const y = "training loss: nats per token; DiT: squared error of the velocity";
  return studyPlot(series, { title: "Training at equal budget", x: "training TFLOP", y });
}

async function sheets(study: Study, plan: Plan, rows: readonly MeasuredRow[]) {
  const found: Record<string, Uint8Array> = {};
  for (const { name } of rows) {
    const { run } = plan.rows.find((row) => row.name === name)!;
    found[name] = await readFile(join(study.folder, run.name, `${name}.png`));
  }
  return found;
}
