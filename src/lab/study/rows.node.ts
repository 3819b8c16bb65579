/** Rows of a study's table: a trained model with a way of drawing, measured once and kept. Trains nothing. */

import { node } from "../../formats/builtins.node.ts";
import { writeFileAtomic } from "../../formats/node.ts";
import { encodePng } from "../../formats/png.ts";
import { baselineDrawing, baselineSamplingFlops } from "../../image/baselines/index.ts";
import { samplingFlops } from "../../image/cost.ts";
import type { Picture } from "../../image/sheet.ts";
import type { Pictures } from "../nearest.ts";
import {
  openPainter,
  type Painter,
  parametersOf,
  type Study,
  type StudyDrawing,
  type StudyRun,
  sheetOf,
  updateFlops,
} from "./runs.node.ts";

/** What a judge says of pictures against the study's reference. */
export interface Figures {
  readonly fid: number;
  readonly kid: number;
  readonly kidInterval?: readonly [number, number];
  readonly is: number;
  readonly isStd?: number;
}

/** Looks at pictures through a fixed network and compares them with a fixed reference. Has a life: release it. */
export interface Judge {
  /** Everything the figures depend on: network, hash, reference, sizes. */
  readonly recipe: Readonly<Record<string, unknown>>;
  judge(pictures: Pictures): Promise<Figures>;
  release(): Promise<void>;
}

/** One line of a table. */
export interface StudyRow {
  readonly name: string;
  readonly title: string;
  readonly run: StudyRun;
  readonly drawing: StudyDrawing;
}

export interface MeasuredRow {
  readonly name: string;
  readonly title: string;
  readonly kind: string;
  readonly depth: number;
  readonly width: number;
  readonly drawing: StudyDrawing;
  readonly figures: Figures;
  readonly parameters: number;
  readonly updates: number;
  /** FLOPs of the whole training. */
  readonly trainingFlops: number;
  /** FLOPs of the transformer for one picture; the decoder, the same for all rows, is left out. */
  readonly flopsPerImage: number;
  /** Whole pictures, decoder included, drawn together. */
  readonly imagesPerSecond: number;
  /** One picture alone: median. */
  readonly msAlone: number;
}

export interface MeasureRowOptions {
  readonly judge: Judge;
  /** Pictures that are judged. */
  readonly samples: number;
  readonly seed: number;
}

/** Pictures drawn together. */
const BATCH = 32;
const ALONE = 5;

/** FLOPs of drawing one picture this way. */
export function drawingFlops({ kind, model }: StudyRun, drawing: StudyDrawing): number {
  const guided = (drawing.guidance ?? 0) > 0;
  if (kind === "var") return samplingFlops(model, { guided }).total;
  const { steps } = baselineDrawing(kind, { labels: [], ...drawing });
  return baselineSamplingFlops(kind, model, { steps, guided }).total;
}

/**
 * Draws and judges; what was measured with the same recipe before is read from the run's folder instead. Also writes
 * the row's sheet there, as `NAME.png`.
 * @throws the signal's reason when stopped
 */
export async function* measureRow(
  study: Study,
  row: StudyRow,
  { judge, samples, seed }: MeasureRowOptions,
): AsyncGenerator<{ doing: "drawing"; row: string; done: number; of: number }, MeasuredRow> {
  const { name, title, run, drawing } = row;
  const recipe = {
    ...{ run: run.name, model: run.model, steps: run.steps, tokenizer: run.tokenizer.hash },
    ...{ study: study.recipe, drawing, samples, seed, judge: judge.recipe },
  };
  const place = node.path.join(study.folder, run.name);
  const file = node.path.join(place, `measured-${name}.json`);
  const kept = await readKept(file, JSON.stringify(recipe));
  if (kept) return kept;
  const painter = await openPainter(study, run);
  const { signal } = study;
  try {
    const { train } = study;
    const labels = Array.from({ length: samples }, (_, i) =>
      train.label(Math.floor((i * train.count) / samples)),
    );
    const all: Picture[] = [];
    let ms = 0;
    // A batch at a time: the first also compiles and does not count.
    for (let at = 0; at < samples; at += BATCH) {
      const begin = performance.now();
      const own = labels.slice(at, at + BATCH);
      const options = { ...drawing, labels: own, seed, first: at, batch: BATCH, signal };
      for await (const { picture } of painter.draw(options)) all.push(picture);
      if (at > 0) ms += performance.now() - begin;
      yield { doing: "drawing", row: name, done: all.length, of: samples };
    }
    const figures = await judge.judge(joinedPictures(all));
    const sheet = await sheetOf(painter, { classes: train.classes.length, ...drawing, signal });
    await writeFileAtomic(node.path.join(place, `${name}.png`), await encodePng(sheet));
    const measured: MeasuredRow = {
      ...{ name, title, kind: run.kind, depth: run.model.depth, width: run.model.width },
      ...{ drawing, figures, parameters: parametersOf(run), updates: run.steps },
      trainingFlops: updateFlops(run) * study.recipe.batch * run.steps,
      flopsPerImage: drawingFlops(run, drawing),
      imagesPerSecond: (1000 * Math.max(0, samples - BATCH)) / ms,
      msAlone: await alone(painter, drawing, study),
    };
    const text = JSON.stringify({ recipe, measured }, null, 2);
    await writeFileAtomic(file, new TextEncoder().encode(`${text}\n`));
    return measured;
  } finally {
    await painter.release();
  }
}

async function readKept(file: string, recipe: string): Promise<MeasuredRow | undefined> {
  const text = await node.fs.readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const found = JSON.parse(text) as { recipe: unknown; measured: MeasuredRow };
    return JSON.stringify(found.recipe) === recipe ? found.measured : undefined;
  } catch {
    return undefined; // cut off or not ours: measured anew
  }
}

async function alone(painter: Painter, drawing: StudyDrawing, { signal }: Study): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i <= ALONE; i++) {
    const begin = performance.now();
    for await (const _ of painter.draw({ ...drawing, labels: [0], first: i, batch: 1, signal }));
    if (i > 0) times.push(performance.now() - begin); // the first compiles
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

/** Pictures of one size as one set. */
export function joinedPictures(pictures: readonly Picture[]): Pictures {
  const { width, height } = pictures[0]!;
  if (width !== height) throw new RangeError(`joinedPictures: ${width} x ${height} is not square`);
  const bytes = width * height * 3;
  const pixels = new Uint8Array(pictures.length * bytes);
  for (const [i, { data }] of pictures.entries()) pixels.set(data, i * bytes);
  return { count: pictures.length, size: width, pixels };
}
