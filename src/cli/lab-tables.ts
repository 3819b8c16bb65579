/** `underpaint lab compare` and `lab ablation`: models trained with equal budgets, and their tables. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { scalesText } from "../image/scales.ts";
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
  measureTokenizer,
  openJudge,
  type Plan,
  type PlanOptions,
  type Rebuilt,
  type ReportFacts,
  type Step,
  type Study,
  type StudyRow,
  type StudyRun,
  studyPlot,
  updateFlops,
} from "../lab/study/index.ts";
import { interruptible } from "./errors.ts";
import { readNumber } from "./flags.ts";
import {
  addStudyFlags,
  breathe,
  commandLine,
  machineNote,
  type OpenedStudy,
  openStudy,
  stoppable,
  tokenizerCommands,
  trainAll,
  writeResults,
} from "./lab-study.ts";
import { tokenizerFile } from "./package.ts";
import { type Progress, progress } from "./progress.ts";
import { addRecipeFlags, type RecipeFlags, readRecipe } from "./recipe-flags.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

const TABLE_FLAGS: RecipeFlags<
  | "depth"
  | "width"
  | "samples"
  | "chooseOn"
  | "topK"
  | "topP"
  | "temperature"
  | "ditSteps"
  | "maskgitSteps"
> = {
  depth: { sentence: "Depth of VAR", unit: "blocks", min: 1, max: 1024, fallback: 4 },
  width: { sentence: "Of all models", unit: "channels", min: 32, max: 65_536, fallback: 256 },
  samples: { sentence: "Drawn and judged", unit: "pictures", min: 64, max: 1e6, fallback: 2000 },
  chooseOn: {
    sentence: "Drawn for each strength of guidance to choose one; of compare",
    unit: "pictures",
    min: 64,
    max: 1e6,
    fallback: 500,
  },
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
      "Each model's guidance is the one of the least FID among those tried, which stand below; the pictures of the choice are the first of the row's. Top-k and top-p are ignored by DiT.",
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
  const { backend } = study;
  const network = String(command.getOptionValue("network"));
  const { seed } = study.recipe;
  const judge = await openJudge(network, study.train, { backend, samples, seed });
  try {
    await trainAll(terminal, study, plan.runs);
    const judged: Judged = { study, judge };
    const facts = factsOf(job, opened, { judge, options });
    let rows: readonly MeasuredRow[];
    let extra = {};
    let report: string;
    if (name === "compare") {
      const tokenizers = raster ? [tokenizer, raster] : [tokenizer];
      const rebuilt = await rebuildAll(terminal, judged, tokenizers);
      const few = Math.min(samples, Math.max(values.chooseOn, judge.least));
      const tried = await measureAll(terminal, judged, { rows: plan.rows, samples: few });
      const names = new Set(bestRows(tried).map((row) => row.name));
      const chosen = plan.rows.filter((row) => names.has(row.name));
      rows = await measureAll(terminal, judged, { rows: chosen, samples });
      extra = { tried, rebuilt };
      report = compareReport(facts, { best: rows, tried, rebuilt });
    } else {
      rows = await measureAll(terminal, judged, { rows: plan.rows, samples });
      report = ablationReport(facts, rows);
    }
    await writeResults(terminal, flags.out, {
      report,
      json: { commands: facts.commands, judge: judge.recipe, study: study.recipe, rows, ...extra },
      figures: { curves: await lossCurves(study, plan.runs) },
      pictures: await sheets(study, plan, rows),
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
  { judge, options }: { judge: Judge; options: PlanOptions },
): ReportFacts {
  const { train, test, recipe } = study;
  const raster = options.rasterTokenizer ?? tokenizer;
  const { network, hash, reference } = judge.recipe;
  return {
    title: `${TABLES[name].title}: ${data}`,
    commands: [...tokenizerCommands(command), commandLine(command, data)],
    notes: [
      ...TABLES[name].notes,
      `Tokens: VAR over maps ${scalesText(tokenizer.config.patchNums)}; AR and MaskGIT over ${scalesText(raster.config.patchNums)}${raster === tokenizer ? " (VAR's own tokens, one after the other)" : " (a tokenizer of their own)"}; DiT over the latent map of VAR's tokens.`,
      `FID, KID and IS of as many pictures as stated against ${reference} training pictures, whose classes they have in turn, through ${network} (${hash}); seed ${recipe.seed}. KID's interval is a 95 % jackknife. rFID: the training pictures through the tokenizer against themselves, the floor of what is drawn with it; PSNR: of the test pictures.`,
      `${train.count} pictures to learn in ${recipe.variants} variants, ${test.count} to test; batch ${recipe.batch}, learning rate ${recipe.lr}, no averaging of weights.`,
      "FLOPs count the transformer alone (2 per multiply-add); pictures per second include the decoder, 32 together, on this machine.",
      machineNote(),
    ],
  };
}

interface Judged {
  readonly study: Study;
  readonly judge: Judge;
}

async function measureAll(
  terminal: Terminal,
  { study, judge }: Judged,
  { rows, samples }: { rows: readonly StudyRow[]; samples: number },
): Promise<MeasuredRow[]> {
  const all: MeasuredRow[] = [];
  for (const [i, row] of rows.entries()) {
    const steps = measureRow(study, row, { judge, samples, seed: study.recipe.seed });
    const measured = await withBars(terminal, steps, {
      what: `${row.name} (${i + 1} of ${rows.length})`,
      signal: study.signal,
    });
    all.push(measured);
    const { fid, kid } = measured.figures;
    terminal.say(
      `${row.name}: FID ${fid.toFixed(2)}  KID ${kid.toExponential(2)} of ${samples} pictures`,
    );
  }
  return all;
}

/** Training pictures through the tokenizers, judged like samples; PSNR on the test split. */
async function rebuildAll(
  terminal: Terminal,
  { study, judge }: Judged,
  tokenizers: readonly Tokenizer[],
): Promise<Rebuilt[]> {
  const all: Rebuilt[] = [];
  for (const tokenizer of tokenizers) {
    const what = `through tokenizer ${tokenizer.hash}`;
    const steps = measureTokenizer(study, tokenizer, judge);
    const rebuilt = await withBars(terminal, steps, { what, signal: study.signal });
    all.push(rebuilt);
    terminal.say(`${what}: rFID ${rebuilt.fid.toFixed(2)}  PSNR ${rebuilt.psnr.toFixed(2)} dB`);
  }
  return all;
}

/** Runs steps to their end with a bar for each kind of them. @returns what they return */
async function withBars<T>(
  terminal: Terminal,
  steps: AsyncGenerator<Step, T>,
  { what, signal }: { what: string; signal: AbortSignal | undefined },
): Promise<T> {
  let shown: { doing: string; of: number; bar: Progress } | undefined;
  try {
    for (;;) {
      const step = await steps.next();
      if (step.done) return step.value;
      const { doing, done, of } = step.value;
      if (shown?.doing !== doing || shown.of !== of) {
        shown?.bar.clear();
        shown = { doing, of, bar: progress(terminal, { of, what: `${doing} ${what}` }) };
      }
      shown.bar.update(done);
      await breathe();
      signal?.throwIfAborted();
    }
  } finally {
    shown?.bar.clear();
  }
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
