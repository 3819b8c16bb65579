/** `underpaint eval SOURCE --reference SOURCE`: figures of pictures, each with its recipe. Computes none itself. */

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import {
  compare,
  type Figure,
  lookAt,
  METRICS,
  type Metric,
  type Summary,
} from "../eval/evaluate.ts";
import type { Network } from "../eval/network.ts";
import { NETWORK_SYNTAX, openNetwork } from "../eval/networks.ts";
import { openProducts, type Products } from "../eval/products.ts";
import { RESIZE_KERNELS, type ResizeKernel } from "../eval/resize.ts";
import { savePictures } from "../eval/save-npz.ts";
import {
  modelSource,
  openSource,
  type PictureSource,
  SOURCE_SYNTAX,
  type Source,
} from "../eval/sources.ts";
import { keepSummary, keptSummary } from "../eval/summary-file.ts";
import { tokenizerSource } from "../eval/tokenizer-source.ts";
import { InputError } from "../formats/errors.ts";
import type { PictureSize } from "../formats/picture-size.ts";
import type { Var } from "../image/model.ts";
import { loadVarFrom } from "../image/node.ts";
import { PRECISIONS, type Precision } from "../image/precision.ts";
import { imageSize } from "../image/scales.ts";
import type { Backend } from "../tensor/backend.ts";
import { interruptible } from "./errors.ts";
import { addSizeFlag, numberFlag } from "./flags.ts";
import { figure, count as grouped, table } from "./format.ts";
import { findModel, isModelName } from "./package.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer } from "./tokenizer.ts";
import { backendWith } from "./training.ts";

interface EvalFlags {
  readonly reference?: string;
  readonly network: string;
  readonly metrics: readonly Metric[];
  readonly resize?: ResizeKernel;
  readonly tokenizer?: string;
  readonly count?: number;
  readonly referenceCount?: number;
  readonly size?: PictureSize;
  readonly seed: number;
  readonly keep: number;
  readonly guidance?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly temperature?: number;
  readonly precision: Precision;
  readonly batch: number;
  readonly threads?: number;
  readonly saveNpz?: string;
  readonly cache: boolean;
  readonly strict: boolean;
  readonly json: boolean;
}

/** Drawn where --count says nothing. */
const MODEL_COUNT = 1000;
const SIZE = 64;

/** "fid,kid" -> metrics. @throws InputError */
function readMetrics(text: string): Metric[] {
  return text.split(",").map((word) => {
    const metric = METRICS.find((name) => name === word.trim());
    if (metric) return metric;
    throw new InputError(`--metrics "${word}": want some of ${METRICS.join(", ")}`, { word });
  });
}

export function addEval(program: Command, terminal: Terminal): void {
  const command = program
    .command("eval")
    .description("Measures pictures against a reference: FID, sFID, KID, IS, precision, recall")
    .argument("<source>", `Pictures: ${SOURCE_SYNTAX.join("; ")}; or a model, which then draws`)
    .option("--reference <source>", "What they are measured against, likewise")
    .option("--network <name>", `What looks at them: ${NETWORK_SYNTAX.join("; ")}`, "lab:emoji")
    .addOption(
      new Option("--metrics <list>", `Some of ${METRICS.join(",")}`)
        .argParser(readMetrics)
        .default(METRICS, "all"),
    )
    .addOption(
      new Option(
        "--resize <kernel>",
        "How pictures are resized; default the network's own",
      ).choices(RESIZE_KERNELS),
    )
    .option(
      "--tokenizer <file>",
      "Measure this tokenizer's reconstructions of the source: rFID against the source itself, PSNR, SSIM",
    );
  const number = (flags: string, rule: Parameters<typeof numberFlag>[2]) =>
    numberFlag(command, flags, rule);
  number("-n, --count <n>", {
    sentence: `At most so many pictures; of a model, to draw, default ${MODEL_COUNT}`,
    unit: "pictures",
    min: 1,
    max: 10_000_000,
  });
  number("--reference-count <n>", {
    sentence: "At most so many of the reference",
    unit: "pictures",
    min: 1,
    max: 10_000_000,
  });
  addSizeFlag(command, {
    sentence: "Of data sets' pictures; default the network's, or the model's",
  });
  number("--seed <n>", {
    sentence: "Chance of drawing, of what is kept, of KID's subsets",
    min: 0,
    max: 2 ** 32 - 1,
    fallback: 0,
  });
  number("--keep <n>", {
    sentence: "Feature vectors of each set for KID, precision and recall",
    min: 50,
    max: 1_000_000,
    fallback: 10_000,
  });
  number("--guidance <n>", { sentence: "As in sample", real: true, min: 0, max: 100 });
  number("--top-k <n>", { sentence: "As in sample", min: 0, max: 1_048_576 });
  number("--top-p <n>", { sentence: "As in sample", real: true, min: 0, max: 1 });
  number("--temperature <n>", { sentence: "As in sample", real: true, min: 0.0001, max: 100 });
  command.addOption(
    new Option("--precision <name>", "Of a model that draws")
      .choices(PRECISIONS)
      .default(PRECISIONS[0]),
  );
  number("--batch <n>", {
    sentence: "Drawn together",
    unit: "pictures",
    min: 1,
    max: 1024,
    fallback: 16,
  });
  number("--threads <n>", { sentence: "Processor threads, default all", min: 1, max: 1024 });
  command
    .option("--save-npz <file>", "Also write the pictures as the official evaluator reads them")
    .option("--no-cache", "Look at the reference again, though it was looked at before")
    .option("--strict", "Stop at a file that is no readable picture", false)
    .option("--json", "Print one JSON object with figures and recipe on stdout", false)
    .action((source: string, flags: EvalFlags) =>
      interruptible((signal) => run(terminal, { source, flags, signal })),
    );
}

interface Job {
  readonly source: string;
  readonly flags: EvalFlags;
  readonly signal: AbortSignal;
}

/** What was opened and must be closed. */
interface Opened {
  readonly backend: Backend;
  readonly network: Network;
  readonly products: Products;
}

async function run(terminal: Terminal, job: Job): Promise<void> {
  const { source, flags, signal } = job;
  const { reference: against = flags.tokenizer ? source : undefined } = flags;
  if (against === undefined)
    throw new InputError(
      `--reference is missing: name the pictures that ${source} is measured against, such as fashion-mnist:test`,
    );
  const backend = await backendWith(flags.threads);
  const network = await openNetwork(flags.network, { backend, resize: flags.resize });
  const products = await openProducts({ backend });
  const opened: Opened = { backend, network, products };
  let model: Var | undefined;
  try {
    if (isModel(source)) model = await loadModel(source, flags, backend);
    const size = flags.size ?? model?.size ?? (await tokenizerSize(flags)) ?? network.size ?? SIZE;
    const open = (word: string, count: number | undefined, split: "train" | "test") =>
      openSource(word, { size, split, count, signal, broken: flags.strict ? "throw" : "skip" });
    const first = model
      ? modelSource(model, { ...flags, name: source, count: flags.count ?? MODEL_COUNT })
      : await open(source, flags.count, "test");
    const { samples, fidelity } = await throughTokenizer(first, { flags, backend, signal });
    const reference =
      flags.reference === undefined ? first : await open(against, flags.referenceCount, "train");
    if (samples.kind === "statistics")
      throw new InputError(`${source} holds statistics; name it with --reference, pictures first`);
    for (const { what, notes } of [samples, reference])
      for (const note of notes) terminal.say(`${what}: ${note}`);
    let shown: PictureSource = samples;
    if (flags.saveNpz !== undefined) {
      const bar = progress(terminal, { of: samples.count, what: "writing pictures" });
      for await (const done of savePictures(samples, flags.saveNpz, { signal })) bar.update(done);
      bar.clear();
      terminal.say(`wrote ${flags.saveNpz}`);
      // What was drawn or rebuilt once is not made again.
      shown = { ...((await openSource(flags.saveNpz)) as PictureSource), what: samples.what };
    }
    const two = {
      samples: await look(terminal, shown, { opened, job }),
      reference: await known(terminal, reference, { opened, job }),
    };
    await report(terminal, { two, sources: { samples, reference }, fidelity, opened, job });
  } finally {
    await model?.release();
    await products.release();
    await network.release();
  }
}

/** A model's name, a folder with a transformer, or a transformer's file. */
function isModel(word: string): boolean {
  if (isModelName(word)) return true;
  if (!existsSync(word)) return false;
  return statSync(word).isDirectory()
    ? existsSync(join(word, "var.safetensors"))
    : /\.(safetensors|pth)$/.test(word);
}

const loadModel = (name: string, flags: EvalFlags, backend: Backend): Promise<Var> =>
  loadVarFrom(findModel(name).files, { backend, precision: flags.precision });

async function tokenizerSize({ tokenizer }: EvalFlags): Promise<PictureSize | undefined> {
  if (tokenizer === undefined) return undefined;
  return imageSize((await loadTokenizer(tokenizer)).config);
}

/** Reconstructions instead of the pictures, where a tokenizer is named; PSNR and SSIM are gathered on the way. */
async function throughTokenizer(
  source: Source,
  { flags, backend, signal }: { flags: EvalFlags; backend: Backend; signal: AbortSignal },
) {
  if (flags.tokenizer === undefined) return { samples: source };
  if (source.kind === "statistics")
    throw new InputError("a tokenizer rebuilds pictures, and the source holds statistics");
  const tokenizer = await loadTokenizer(flags.tokenizer);
  const rebuilt = tokenizerSource(source, tokenizer, { backend, signal });
  return { samples: rebuilt.source, fidelity: rebuilt.fidelity };
}

interface Looking {
  readonly opened: Opened;
  readonly job: Job;
}

/** Looks at all pictures, with a bar. */
async function look(
  terminal: Terminal,
  source: PictureSource,
  { opened: { network, products }, job: { flags, signal } }: Looking,
): Promise<Summary> {
  const { count: of } = source;
  const bar = progress(terminal, { of, what: `looking at ${grouped(of)} pictures` });
  const options = { of, products, keep: flags.keep, seed: flags.seed, signal };
  const steps = lookAt(source.pictures({ signal }), network, {
    ...options,
    spatial: flags.metrics.includes("sfid"),
  });
  try {
    for (;;) {
      const step = await steps.next();
      if (step.done) return step.value;
      bar.update(step.value.done);
      await new Promise((resolve) => setImmediate(resolve)); // Ctrl-C gets its turn
    }
  } finally {
    bar.clear();
  }
}

/** The reference's summary: from a file of statistics, from the cache, or by looking. */
async function known(terminal: Terminal, source: Source, looking: Looking): Promise<Summary> {
  if (source.kind === "statistics") return source.summary;
  const { network } = looking.opened;
  const { flags } = looking.job;
  const key = [
    ...[source.key, source.count, network.hash, network.size, network.resize],
    ...[flags.keep, flags.seed, flags.metrics.includes("sfid")],
  ].join(" | ");
  // A model's file may change under its name: what it draws is not kept.
  const kept = flags.cache && source.kind !== "model" ? await keptSummary(key) : undefined;
  if (kept) return kept;
  const summary = await look(terminal, source, looking);
  if (source.kind !== "model") await keepSummary(key, summary);
  return summary;
}

interface Report extends Looking {
  readonly two: { readonly samples: Summary; readonly reference: Summary };
  readonly sources: { readonly samples: Source; readonly reference: Source };
  readonly fidelity?: (() => { readonly psnr: number; readonly ssim: number }) | undefined;
}

async function report(terminal: Terminal, given: Report): Promise<void> {
  const { two, sources, fidelity, opened, job } = given;
  const { network, products } = opened;
  const { flags, signal } = job;
  const figures: Figure[] = [];
  const bar = progress(terminal, { of: flags.metrics.length, what: "computing" });
  const options = { products, metrics: flags.metrics, seed: flags.seed, signal };
  for await (const found of compare(two.samples, two.reference, options)) {
    figures.push(found);
    bar.update(figures.length);
  }
  bar.clear();
  const recipe = {
    samples: sources.samples.what,
    reference: sources.reference.what,
    network: network.name,
    networkHash: network.hash,
    resize: `${network.resize} to ${network.size}`,
    seed: flags.seed,
    precision: "features float32, figures float64",
  };
  const rebuilt = fidelity?.();
  if (flags.json) terminal.print(JSON.stringify({ figures, fidelity: rebuilt, recipe }));
  else terminal.print(table([...figures.map(row), ...fidelityRows(rebuilt)]));
  terminal.say(table(Object.entries(recipe).map(([name, value]) => [name, String(value)])));
  terminal.say(terminal.dim("next: docs/reading-the-numbers.md says what they mean"));
}

const NAMES: Readonly<Record<Metric, string>> = {
  fid: "FID",
  sfid: "sFID",
  kid: "KID",
  is: "Inception Score",
  precision: "precision",
  recall: "recall",
};

/** A figure as name, number and how it was made. */
function row({ metric, value, std, interval, how, refused }: Figure): string[] {
  if (value === undefined) return [NAMES[metric], "-", `no number: ${refused}`];
  const around = interval
    ? ` [${figure(interval[0])}, ${figure(interval[1])}]`
    : std === undefined
      ? ""
      : ` ± ${figure(std)}`;
  return [NAMES[metric], `${figure(value)}${around}`, how];
}

const fidelityRows = (rebuilt: { psnr: number; ssim: number } | undefined): string[][] =>
  rebuilt
    ? [
        ["PSNR", `${figure(rebuilt.psnr)} dB`, "of the mean squared error over all pictures"],
        ["SSIM", figure(rebuilt.ssim), "mean over pictures, luma, windows of 11 x 11"],
      ]
    : [];
