/** `underpaint lab scaling`: VARs of several depths, and the laws of their losses. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { parseMetrics } from "../lab/metrics.ts";
import { predictLaw } from "../lab/power-law.ts";
import {
  evaluationOf,
  type PlotSeries,
  runModel,
  type ScalingLaws,
  type Study,
  type StudyRun,
  scalingLaws,
  scalingReport,
  studyPlot,
  type TrainedSize,
  tokensPerPicture,
  updateFlops,
} from "../lab/study/index.ts";
import { interruptible } from "./errors.ts";
import { listFlag, numberFlag } from "./flags.ts";
import {
  addStudyFlags,
  commandLine,
  openStudy,
  stoppable,
  tokenizerCommands,
  trainAll,
  writeResults,
} from "./lab-study.ts";
import type { Terminal } from "./terminal.ts";

const DEPTHS = [1, 2, 3, 4, 5, 6];
/** Sizes that a law without floor can be fitted to. */
const LEAST = 3;
const EVALUATIONS = 8;

export function addScaling(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("scaling")
    .description("Trains VARs of rising depth and fits power laws to their losses and errors");
  addStudyFlags(command, "scaling");
  listFlag(command, "--depths <list>", { sentence: "Depths that are trained", fallback: DEPTHS });
  numberFlag(command, "--width-per-depth <n>", {
    sentence: "Width of a model over its depth; the paper's is 64",
    ...{ unit: "channels", min: 8, max: 1024, fallback: 64 },
  });
  command.action(async (data: string) => {
    process.exitCode = await interruptible((signal) =>
      stoppable(terminal, {
        again: commandLine(command, data),
        work: () => scaling(terminal, { data, command, signal }),
      }),
    );
  });
}

async function scaling(
  terminal: Terminal,
  job: { data: string; command: Command; signal: AbortSignal },
): Promise<void> {
  const { command, data } = job;
  const { depths, widthPerDepth, out } = command.opts() as {
    depths: number[];
    widthPerDepth: number;
    out: string;
  };
  const sizesWanted = new Set(depths).size;
  if (sizesWanted < LEAST)
    throw new InputError(
      `--depths ${depths.join(",")} names ${sizesWanted} sizes, a law needs at least ${LEAST}; six or more foretell the largest well`,
      { depths },
    );
  const { study, tokenizer, classes, steps } = await openStudy(terminal, job);
  const evaluateEvery = Math.max(1, Math.round(steps / EVALUATIONS));
  const runs = [...new Set(depths)]
    .sort((a, b) => a - b)
    .map((depth): StudyRun => {
      const width = widthPerDepth * depth;
      // As many heads as blocks, the paper's rule: a head is as wide in every size.
      const model = runModel("var", tokenizer, { depth, width, heads: depth, classes });
      return { name: `depth-${depth}`, kind: "var", model, tokenizer, steps, evaluateEvery };
    });
  await trainAll(terminal, study, runs);
  const sizes = await Promise.all(runs.map((run) => sizeOf(study, run)));
  const { seed, batch, lr, variants } = study.recipe;
  const laws = scalingLaws(sizes, { seed });
  const commands = [...tokenizerCommands(command), commandLine(command, data)];
  const report = scalingReport(
    {
      title: `Scaling laws: ${data}`,
      commands,
      notes: [
        `${study.train.count} pictures in ${variants} variants, ${study.test.count} to test; ${steps} updates of ${batch} pictures, learning rate ${lr}, seed ${seed}; every size sees the same tokens in the same order.`,
        "A law is y = floor + (c·x)^exponent, least squares of log y; without floor as the paper has it (eq. 11 to 16). Intervals: bootstrap of residuals, 95 %.",
        "Points before the end of a run were measured at a learning rate not yet lowered, so the frontier lies a little above what runs of that length would reach.",
        "The held-out column fits all sizes but the largest and foretells that one.",
      ],
    },
    { sizes, laws },
  );
  await writeResults(terminal, out, {
    report,
    json: { commands, study: study.recipe, sizes, laws },
    figures: figuresOf(laws),
  });
  terminal.say(report);
  terminal.say(terminal.dim("next: underpaint lab ablation --help"));
}

/** A finished run as a point of the laws. */
async function sizeOf(study: Study, run: StudyRun): Promise<TrainedSize> {
  const file = join(study.folder, run.name, "metrics.jsonl");
  const lines = parseMetrics(await readFile(file, "utf8"), { what: file });
  const byStep = new Map(lines.flatMap((line) => evaluationOf(line) ?? []).map((e) => [e.step, e]));
  const { depth, width } = run.model;
  const { batch } = study.recipe;
  return {
    ...{ depth, width, parameters: 18 * depth * width ** 2 },
    tokensPerUpdate: batch * tokensPerPicture(run),
    flopsPerUpdate: batch * updateFlops(run),
    evaluations: [...byStep.values()].sort((a, b) => a.step - b.step),
  };
}

/** A law between the least and the largest x, as a line of many points. */
function lineOf(points: readonly { x: number }[], law: Parameters<typeof predictLaw>[0]) {
  const [low, high] = [Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x))];
  return Array.from({ length: 60 }, (_, i) => {
    const x = low * (high / low) ** (i / 59);
    return { x, y: predictLaw(law, x) };
  });
}

const AXES = {
  parameters: "parameters of the blocks (log scale)",
  compute: "training FLOPs (log scale)",
} as const;

function figuresOf({ laws, curves, frontier }: ScalingLaws): Record<string, string> {
  const figure = (kind: "Loss" | "Error", against: "parameters" | "compute") => {
    const own = laws.filter((l) => l.against === against && l.measure.endsWith(kind));
    const measures = [...new Set(own.map(({ measure }) => measure))];
    const series = own.flatMap(({ measure, floor, points, law }): PlotSeries[] => {
      const colour = measures.indexOf(measure);
      const where = measure.includes("Last") ? "last scale" : "all scales";
      const line = { points: lineOf(points, law), colour };
      return floor
        ? [{ ...line, as: "dashes", label: `${where}, with floor ${law.floor.toFixed(2)}` }]
        : [
            { points, as: "dots", label: "", colour },
            { ...line, as: "line", label: `${where}: exponent ${law.exponent.toFixed(3)}` },
          ];
    });
    const y =
      kind === "Loss"
        ? "test loss, nats per token (log scale)"
        : "share of tokens missed (log scale)";
    const title = `VAR: ${kind.toLowerCase()} against ${against}`;
    return studyPlot(series, { title, x: AXES[against], y, logX: true, logY: true });
  };
  return {
    "loss-parameters": figure("Loss", "parameters"),
    "error-parameters": figure("Error", "parameters"),
    "loss-compute": figure("Loss", "compute"),
    frontier: studyPlot(
      [
        ...curves.map(({ depth, points }) => ({
          label: `depth ${depth}`,
          points,
          as: "line" as const,
        })),
        { label: "best for the compute", points: frontier, as: "dots" as const, colour: 5 },
      ],
      {
        title: "VAR: loss against compute",
        x: AXES.compute,
        y: "test loss, nats per token (log scale)",
        ...{ logX: true, logY: true },
      },
    ),
  };
}
