/** `underpaint sample`: pictures from a class and a seed. What is drawn is the sampler's; here are files and flags. */

import { freemem } from "node:os";
import { type Command, Option } from "commander";
import { candidates } from "../eval/reject.ts";
import { withDrawing } from "../image/drawing.ts";
import { findLabel, type Label } from "../image/labels.ts";
import { fittingBatch } from "../image/memory.ts";
import type { Var } from "../image/model.ts";
import { loadVarFrom } from "../image/node.ts";
import { PRECISION_CHOICES, type PrecisionChoice } from "../image/precision.ts";
import { sample } from "../image/sampler.ts";
import type { Picture } from "../image/sheet.ts";
import { shellWord } from "../lab/shell-word.ts";
import { openBackend } from "../tensor/backend.ts";
import { type DrawingFlags, drawingFlags } from "./drawing-flags.ts";
import { Interrupted, interruptible } from "./errors.ts";
import { numberFlag, readNumber } from "./flags.ts";
import { duration, count as grouped, plural } from "./format.ts";
import { DEFAULT_MODEL, findModel, type ModelPlace, modelHash, VERSION } from "./package.ts";
import { type Made, type Outputs, openOutput, type Settings } from "./pictures.ts";
import { profileTable, Stopwatch, timedBackend } from "./profile.ts";
import { type Progress, progress } from "./progress.ts";
import { openJudge } from "./reject.ts";
import type { Terminal } from "./terminal.ts";
import { type Watching, watching } from "./terminal-picture.ts";

const MAX_COUNT = 100_000;

interface SampleFlags extends DrawingFlags, Outputs {
  readonly label: readonly string[];
  readonly count?: number;
  readonly smooth: boolean;
  readonly batch?: number;
  readonly memory?: number;
  readonly precision: PrecisionChoice;
  readonly json: boolean;
  readonly profile: boolean;
  readonly reject?: number;
  readonly classifier: string;
  readonly watch: boolean;
}

const collect = (label: string, before: readonly string[]): string[] => [...before, label];

export function addSample(program: Command, terminal: Terminal): void {
  const command = program
    .command("sample")
    .description("Generates pictures")
    .argument(
      "[labels...]",
      'What to draw: names of classes such as "food" or "food/fluent", or numbers, taken in turn; "none" for no class; nothing for any class',
    )
    .option("--label <label>", "The same as an argument; may be repeated", collect, []);
  numberFlag(command, "-n, --count <n>", {
    sentence: "How many; default one per label",
    unit: "pictures",
    min: 1,
    max: MAX_COUNT,
  });
  drawingFlags(command);
  command
    .option(
      "--smooth",
      "Mix codes instead of choosing one: smoother pictures, not for statistics",
      false,
    )
    .option(
      "--out <path>",
      "A file for one picture (name.png), a folder for more; default the folder out",
    )
    .option("--sheet <file>", "One picture of all pictures, side by side")
    .option("--scales <file>", "One picture of every scale from 1x1 up, a row per picture");
  numberFlag(command, "--batch <n>", {
    sentence:
      "Together at a time: for speed and memory, not for results; default what --memory allows and is useful",
    unit: "pictures",
    min: 1,
    max: 1024,
  });
  numberFlag(command, "--memory <n>", {
    sentence: "Memory that drawing may take, default what is free",
    unit: "GiB",
    min: 0.1,
    max: 1e6,
    real: true,
  });
  numberFlag(command, "--reject <share>", {
    sentence: "Draw more, and keep this share, in which a classifier sees the class most surely",
    real: true,
    min: 0.001,
    max: 1,
  });
  command
    .addOption(
      new Option(
        "--precision <name>",
        "int8 is faster and takes less memory, at some loss of quality; auto is that for large models",
      )
        .choices(PRECISION_CHOICES)
        .default(PRECISION_CHOICES[0]),
    )
    .option(
      "--classifier <name>",
      "Who judges for --reject: lab:emoji, lab:fashion-mnist, or a file of train classifier",
      "lab:emoji",
    )
    .option("--watch", "Show the pictures in the terminal as they grow", false)
    .option("--json", "Print one JSON object per picture on stdout", false)
    .option("--profile", "Say where the time went", false)
    .action((labels: string[], flags: SampleFlags) =>
      interruptible((signal) =>
        run(terminal, { labels: [...labels, ...flags.label], flags, signal }),
      ),
    );
}

interface Job {
  readonly labels: readonly string[];
  readonly flags: SampleFlags;
  readonly signal: AbortSignal;
}

async function run(terminal: Terminal, { labels, flags, signal }: Job): Promise<void> {
  const watch = new Stopwatch();
  const begin = performance.now();
  const count = flags.count ?? Math.max(1, labels.length);
  const output = openOutput(flags, count);
  const place = findModel(flags.model, { vqvae: flags.tokenizer });
  const firstUse = once(() =>
    terminal.say(`compiling ${flags.model} in ${flags.precision} (once: it is kept in the cache)`),
  );
  const model = await watch.time("load", () => load(place, flags, { watch, firstUse }));
  try {
    const wanted = readLabels(model, labels);
    const hash = await watch.time("hash the model", () => modelHash(place));
    const { judge, rejection } = await openJudge(model, flags);
    const settings: Settings = {
      format: 1,
      version: VERSION,
      model: flags.model,
      modelHash: hash,
      seed: flags.seed,
      ...withDrawing(model.drawing, flags),
      smooth: flags.smooth,
      precision: model.precision,
      ...(flags.branch.length ? { branches: flags.branch } : {}),
      ...(rejection && { rejection }),
    };
    let made = 0;
    const drawn = pictures(terminal, model, {
      wanted,
      count: flags.reject === undefined ? count : candidates(count, flags.reject),
      flags,
      signal,
      watch,
    });
    for await (const picture of judge ? judge(drawn, count) : drawn) {
      const file = await watch.time("encode PNG", () => output.add(picture, settings));
      const { pictures: _, ...facts } = picture;
      if (flags.json)
        terminal.print(
          JSON.stringify({ ...facts, seed: flags.seed, precision: model.precision, file }),
        );
      made++;
    }
    const files = await watch.time("encode PNG", () => output.finish(settings));
    const took = performance.now() - begin;
    terminal.say(`${plural(made, "picture")} in ${duration(took)}: ${files.join(", ")}`);
    if (flags.profile) terminal.say(profileTable(watch, took));
    terminal.say(terminal.dim(`next: ${nextCommand(model, flags)}`));
  } finally {
    await model.release();
  }
}

async function load(
  place: ModelPlace,
  { threads, precision }: SampleFlags,
  { watch, firstUse }: { watch: Stopwatch; firstUse: () => void },
): Promise<Var> {
  const backend = timedBackend(await openBackend(undefined, { firstUse }), watch);
  return loadVarFrom(place.files, { backend, threads, precision, firstUse });
}

/** Does it at the first call alone. */
function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) action();
    isDone = true;
  };
}

/** Labels as the sampler takes them, each checked before anything is drawn. */
function readLabels(model: Var, labels: readonly string[]): Label[] {
  return labels.map((text) => {
    if (text === "none") return null;
    const number = /^\d+$/.test(text) && !model.labels.includes(text);
    const label = number ? readNumber("label", text, { min: 0 }) : text;
    findLabel(model.labels, label);
    return label;
  });
}

/** All pictures in order, a batch at a time, with a bar that moves with every scale. */
async function* pictures(
  terminal: Terminal,
  model: Var,
  {
    wanted,
    count,
    flags,
    signal,
    watch,
  }: {
    wanted: readonly Label[];
    count: number;
    flags: SampleFlags;
    signal: AbortSignal;
    watch: Stopwatch;
  },
): AsyncGenerator<Made> {
  const { first, seed, branch: branches } = flags;
  const drawing = withDrawing(model.drawing, flags);
  const memory = flags.memory === undefined ? freemem() : flags.memory * 2 ** 30;
  const batch = flags.batch ?? fittingBatch(model, { memory, guided: drawing.guidance > 0 });
  const options = { ...drawing, batch, seed, branches, moreSmooth: flags.smooth, signal };
  const tokens = model.info.tokens;
  const shown: Progress & Partial<Watching> = flags.watch
    ? watching(terminal)
    : progress(terminal, { of: count * tokens, what: `drawing ${grouped(count)}` });
  try {
    for (let at = 0; at < count; at += batch) {
      const n = Math.min(batch, count - at);
      const labels = wanted.length
        ? Array.from({ length: n }, (_, i) => wanted[(at + i) % wanted.length]!)
        : undefined;
      const scales: Picture[][] = [];
      let classes: readonly number[] = [];
      let done = at * tokens;
      const from = performance.now();
      const graphs = watch.total();
      for await (const step of sample(model, { ...options, labels, count: n, first: first + at })) {
        const last = step.scale === step.of - 1;
        const seen = flags.watch || flags.scales !== undefined || last ? await step.pictures() : [];
        await shown.show?.(seen, { fresh: step.scale === 0 });
        if (flags.scales !== undefined || last) scales.push(seen);
        classes = step.classes;
        done += n * step.shape[0] * step.shape[1];
        shown.update(done);
        await new Promise((resolve) => setImmediate(resolve)); // Ctrl-C gets its turn
      }
      // What the graphs did not take is the choice of codes and moving tensors about.
      watch.add("choose codes", performance.now() - from - (watch.total() - graphs));
      for (let i = 0; i < n; i++) {
        const label = classes[i]!;
        yield {
          index: first + at + i,
          label: model.labels[label] ?? "none",
          class: label,
          pictures: scales.map((all) => all[i]!),
        };
      }
      if (signal.aborted) throw new Interrupted(`stopped after ${at + n} of ${count} pictures`);
    }
  } finally {
    shown.clear();
  }
}

function nextCommand(model: Var, flags: SampleFlags): string {
  const label = model.labels[0]?.split("/")[0] ?? "none";
  const named = flags.model === DEFAULT_MODEL ? "" : ` --model ${flags.model}`;
  return flags.scales
    ? `underpaint info ${flags.scales}`
    : `underpaint sample ${shellWord(label)}${named} --scales scales.png`;
}
