/**
 * Two finished runs become one small model folder: weights stored small and checked, a card with measured figures.
 * Trains nothing; the command is scripts/embed-model.ts.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Attribution } from "../data/index.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { encodePng } from "../formats/png.ts";
import { quantizeWeights, type Storage } from "../formats/quantize.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { checkPair, type VarConfig, type VqvaeConfig } from "../image/config.ts";
import type { Drawing } from "../image/drawing.ts";
import { loadVar, type Var } from "../image/model.ts";
import { loadVarFrom } from "../image/node.ts";
import { modelMetadata } from "../image/note.ts";
import { type Picture, sheet } from "../image/sheet.ts";
import type { Backend } from "../tensor/backend.ts";
import { type Beside, standBeside } from "./beside.ts";
import { modelCard } from "./card.ts";
import { recipeRows, trainCommand, untold } from "./command.ts";
import { trainingCurves } from "./curves.ts";
import { type Measured, measureModel, measureNovelty, type NamedData } from "./measure.ts";
import { effort } from "./metrics.ts";
import type { Prediction } from "./predict.ts";
import {
  besideSheet,
  classGroups,
  drawLabels,
  drawRows,
  nearestSheet,
  pictureAt,
  reconstructionSheet,
  spreadOver,
} from "./showcase.ts";
import { readRun, type TrainedRun } from "./trained.node.ts";

export interface EmbedOptions {
  readonly vqvaeRun: string;
  /** A run that trained the decoder of `vqvaeRun`'s tokenizer further, alone: its tokens stay what they were. */
  readonly decoderRun?: string;
  readonly varRun: string;
  /** Folder for the model; its last part is the model's name. */
  readonly out: string;
  readonly name: string;
  readonly data: { readonly tokenizer: NamedData; readonly transformer: NamedData };
  /** The folder of a model whose place this one takes: the card shows both, and what the judges say. */
  readonly before?: string;
  /** Networks that judge both, as in `underpaint eval --network`; default lab:emoji. */
  readonly judges?: readonly string[];
  /** Pictures of either that they judge; default 2,000. */
  readonly judged?: number;
  readonly backend: Backend;
  /** The machine, in words. */
  readonly machine: string;
  /** How its pictures look best: what the model recommends and the card's samples are drawn with. */
  readonly drawing?: Partial<Drawing>;
  /** Names the chance of the card's samples; default 0. */
  readonly seed?: number;
  /** Samples whose nearest training pictures are looked for; default 128. */
  readonly samples?: number;
  /** Most bytes of the whole folder; default 20 MB. */
  readonly mostBytes?: number;
  readonly signal?: AbortSignal;
}

/** What is being done; at the end, what was written. */
export interface EmbedProgress {
  readonly doing: string;
  readonly files?: readonly { readonly name: string; readonly bytes: number }[];
}

/** Beyond these, storage has changed the model, and it is not written. */
const MOST_PSNR_LOSS = 0.1; // dB
const MOST_LOSS_RISE = 0.02; // nats per token

const MODEL = { vqvae: "vqvae.safetensors", var: "var.safetensors" } as const;
const SHEET_ROWS = 4;
const SHEET_COLUMNS = 8;
const STRIPS = 3;
const MOST_CLASSES_SHOWN = 100;
const CLASS_COLUMNS = 10;
const utf8 = new TextEncoder();

/**
 * Stores both runs small, measures what is stored, and writes weights, figures and card into `out`, or nothing.
 * @throws InputError when the runs do not fit each other or the data, storage changes the model, or it is too large
 */
export async function* embedModel(options: EmbedOptions): AsyncGenerator<EmbedProgress> {
  const { data, backend, signal, out, mostBytes = 20_000_000 } = options;
  yield { doing: "reading the runs" };
  const { decoderRun } = options;
  const runs: Runs = {
    tokenizer: await readRun(options.vqvaeRun, "vqvae"),
    decoder: decoderRun === undefined ? undefined : await readRun(decoderRun, "vqvae"),
    transformer: await readRun(options.varRun, "var"),
  };
  checkRuns(runs, options);
  const { classes } = data.transformer.train;
  const weights = {
    vqvae: stored("vqvae", runs.decoder ?? runs.tokenizer),
    var: stored("var", runs.transformer, { classes, drawing: options.drawing }),
  };
  checkBytes(weights.vqvae.length + weights.var.length, options, mostBytes);
  const model = await loadVar(weights, { backend });
  let card: ReadonlyMap<string, Uint8Array>;
  try {
    card = yield* describe(model, runs, { ...options, weights });
  } finally {
    await model.release();
  }
  // The weights last: a folder is a model only when both are there.
  const files = new Map([...card, [MODEL.vqvae, weights.vqvae], [MODEL.var, weights.var]]);
  const sizes = [...files].map(([name, content]) => ({ name, bytes: content.length }));
  checkBytes(
    sizes.reduce((sum, { bytes }) => sum + bytes, 0),
    options,
    mostBytes,
  );
  signal?.throwIfAborted();
  await mkdir(out, { recursive: true });
  for (const [file, content] of files) await writeFileAtomic(join(out, file), content);
  yield { doing: `wrote ${out}`, files: sizes };
}

interface Runs {
  readonly tokenizer: TrainedRun<VqvaeConfig>;
  readonly decoder: TrainedRun<VqvaeConfig> | undefined;
  readonly transformer: TrainedRun<VarConfig>;
}

function checkRuns({ tokenizer, decoder, transformer }: Runs, options: EmbedOptions): void {
  const { data, decoderRun, varRun, vqvaeRun } = options;
  const { from, only } = (decoder?.recipe ?? {}) as { from?: { hash: string }; only?: string };
  if (decoder && !(only === "decoder" && from?.hash === tokenizer.hash))
    throw new InputError(
      `${decoderRun} trained ${only === "decoder" ? `the decoder of ${from?.hash}` : "more than a decoder"}, ${vqvaeRun} holds ${tokenizer.hash}; give a run of train vqvae --from ${vqvaeRun} --only decoder`,
      { only, from: from?.hash, wanted: tokenizer.hash },
    );
  checkPair(transformer.config, tokenizer.config);
  const wanted = (transformer.recipe.tokenizer as { hash?: string } | undefined)?.hash;
  if (wanted !== undefined && tokenizer.hash !== undefined && wanted !== tokenizer.hash)
    throw new InputError(
      `${varRun} learnt the tokens of the tokenizer ${wanted}, ${vqvaeRun} holds ${tokenizer.hash}; give the run of the tokenizer it was trained with`,
      { wanted, got: tokenizer.hash },
    );
  const [had, learnt] = [data.transformer.train.classes.length, transformer.config.classes];
  if (had !== learnt)
    throw new InputError(
      `${data.transformer.word} has ${had} classes, the transformer of ${varRun} learnt ${learnt}; name the data it was trained on`,
      { had, learnt },
    );
}

function checkBytes(bytes: number, { name }: EmbedOptions, mostBytes: number): void {
  if (bytes > mostBytes)
    throw new InputError(
      `${name} would take ${bytes} bytes, at most ${mostBytes} are allowed; train a smaller model`,
      { bytes, mostBytes },
    );
}

/** A run's weights as the bytes of a model file: matrices in int8 for the transformer, float16 for the tokenizer. */
function stored(
  kind: "vqvae" | "var",
  { config, weights }: TrainedRun<VqvaeConfig | VarConfig>,
  note: { classes?: readonly string[]; drawing?: Partial<Drawing> } = {},
): Uint8Array {
  const to: Storage = kind === "var" ? "int8" : "float16";
  const small = quantizeWeights(weights, { to });
  return writeSafetensors(small, { metadata: modelMetadata(kind, config, note) });
}

/** The card and its figures by file name. */
async function* describe(
  model: Var,
  { tokenizer, decoder, transformer }: Runs,
  options: EmbedOptions & { weights: { vqvae: Uint8Array; var: Uint8Array } },
): AsyncGenerator<EmbedProgress, ReadonlyMap<string, Uint8Array>> {
  const { data, name, samples = 128, seed, signal, weights } = options;
  const { train } = data.transformer;
  const flip = ((transformer.recipe.augment as { flip?: number } | undefined)?.flip ?? 0) > 0;
  const how = { ...options, samples, flip, signal };
  const trained = {
    config: transformer.config,
    weights: transformer.weights,
    tokenizer: tokenizer.config,
    tokenizerWeights: (decoder ?? tokenizer).weights,
  };
  const measured = yield* measureModel(trained, model, how);
  checkStored(measured, name);
  const novelty = yield* measureNovelty(model, how);

  yield { doing: "drawing the sheets" };
  const rows = classGroups(train).slice(0, SHEET_ROWS);
  const drawn = await drawRows(model, rows, { seed, columns: SHEET_COLUMNS, signal });
  const every = spreadOver(train.classes.length, MOST_CLASSES_SHOWN);
  const oneEach = await drawLabels(model, every, { seed, signal });
  const beside = options.before === undefined ? undefined : yield* standing(model, rows, options);
  const strips = drawn.strips.slice(0, STRIPS * model.patchNums.length);
  const sheets: Readonly<Record<string, Picture>> = {
    "samples.png": sheet(drawn.rows, { columns: SHEET_COLUMNS, zoom: 2 }),
    "scales.png": sheet(strips, { columns: model.patchNums.length, zoom: 2 }),
    "classes.png": sheet(
      every.map((_, i) => pictureAt(oneEach, i)),
      { columns: Math.min(CLASS_COLUMNS, every.length) },
    ),
    "reconstructions.png": reconstructionSheet(data.tokenizer.test, measured.rebuilt),
    "nearest.png": nearestSheet(novelty.samples, novelty.train, novelty),
    ...(beside && {
      "beside.png": besideSheet(beside.rows, drawn.rows, { columns: SHEET_COLUMNS }),
    }),
  };
  const curves = {
    tokenizer: trainingCurves("vqvae", tokenizer.metrics),
    decoder: decoder ? trainingCurves("decoder", decoder.metrics) : [],
    transformer: trainingCurves("var", transformer.metrics),
  };

  const lossFacts = ({ count, loss, scaleLosses, accuracy }: Prediction) => ({
    ...{ pictures: count, loss, accuracy, lastLoss: scaleLosses.at(-1)! },
  });
  const { parameters } = model.info;
  const text = modelCard({
    name,
    size: model.size,
    patchNums: model.patchNums,
    codes: model.tokenizer.codes,
    classes: train.classes,
    attribution: sources([...data.tokenizer.train.attribution, ...train.attribution]),
    tokenizer: {
      ...half("vqvae", tokenizer, data.tokenizer),
      ...{ file: MODEL.vqvae, bytes: weights.vqvae.length, parameters: parameters.tokenizer },
      ...{ curves: curves.tokenizer, psnr: measured.psnr, use: measured.use },
    },
    decoder: decoder && {
      ...half("vqvae", decoder, data.tokenizer, { run: DECODER_RUN, from: VQVAE_RUN }),
      curves: curves.decoder,
    },
    transformer: {
      ...half("var", transformer, data.transformer),
      ...{ file: MODEL.var, bytes: weights.var.length, parameters: parameters.transformer },
      ...{ curves: curves.transformer },
      ...{ test: lossFacts(measured.test), train: lossFacts(measured.train) },
    },
    stored: measured.stored,
    beside: beside?.facts,
    nearest: novelty.facts,
    mirrored: flip,
    rows,
    columns: SHEET_COLUMNS,
    strips: STRIPS,
    drawing: drawingWords(model.drawing),
    seed: seed === undefined ? "" : ` --seed ${seed}`,
    machine: options.machine,
  });

  const files = new Map<string, Uint8Array>([["README.md", utf8.encode(text)]]);
  for (const [file, picture] of Object.entries(sheets)) files.set(file, await encodePng(picture));
  for (const [part, figures] of Object.entries(curves))
    for (const { name: figure, svg } of figures)
      files.set(`${part}-${figure}.svg`, utf8.encode(svg));
  return files;
}

/** @throws InputError when the stored model is not nearly the trained one */
function checkStored({ stored: { psnr, loss } }: Measured, name: string): void {
  const [lost, risen] = [psnr.before - psnr.after, loss.after - loss.before];
  if (lost <= MOST_PSNR_LOSS && risen <= MOST_LOSS_RISE) return;
  throw new InputError(
    `${name}: small storage takes ${lost.toFixed(3)} dB of PSNR and adds ${risen.toFixed(4)} nats of loss, at most ${MOST_PSNR_LOSS} and ${MOST_LOSS_RISE} are allowed; store more of it in float16`,
    { lost, risen },
  );
}

/** The model before beside this one: the rows that it draws, and the judges' figures. */
async function* standing(
  now: Var,
  rows: readonly string[],
  { before, backend, data, judges = ["lab:emoji"], judged, seed, signal }: EmbedOptions,
): AsyncGenerator<EmbedProgress, { rows: Picture[]; facts: Beside }> {
  const older = await loadVarFrom(before!, { backend });
  try {
    const drawn = await drawRows(older, rows, { seed, columns: SHEET_COLUMNS, signal });
    const models = { before: older, now };
    const how = { data: data.transformer, judges, samples: judged, backend, seed, signal };
    return { rows: drawn.rows, facts: yield* standBeside(models, how) };
  } finally {
    await older.release();
  }
}

/** Where the card's commands put the runs. */
const [VQVAE_RUN, DECODER_RUN] = ["runs/vqvae", "runs/decoder"];

/** What the card says of one half, as far as its run and its data tell. */
function half(
  kind: "vqvae" | "var",
  { recipe: own, metrics }: TrainedRun<VqvaeConfig | VarConfig>,
  { word, train, test }: NamedData,
  { run = `runs/${kind}`, from }: { run?: string; from?: string } = {},
) {
  const tokenizer = kind === "var" ? VQVAE_RUN : undefined;
  const recipe = from === undefined ? own : { ...own, from: { file: from } };
  return {
    data: { word, train: train.count, test: test.count, classes: train.classes.length },
    recipe: recipeRows(recipe),
    command: trainCommand(recipe, { kind, data: word, run, tokenizer }),
    untold: untold(recipe, kind),
    network: (own.network ?? undefined) as { name: string; hash: string } | undefined,
    effort: effort(metrics),
    planned: Number(recipe.steps),
    batch: Number(recipe.batch),
  };
}

/** Each source once. */
const sources = (all: readonly Attribution[]): Attribution[] => [
  ...new Map(all.map((source) => [source.name, source])).values(),
];

/** Settings of sampling, for people. */
const drawingWords = ({ guidance, topK, topP, temperature }: Drawing): string =>
  `guidance ${guidance}, top-k ${topK}, top-p ${topP}, temperature ${temperature}`;
