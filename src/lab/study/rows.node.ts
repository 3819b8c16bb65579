/** Rows of a study's table: a trained model with a way of drawing, measured once and kept. Trains nothing. */

import { node } from "../../formats/builtins.node.ts";
import { writeFileAtomic } from "../../formats/node.ts";
import { encodePng } from "../../formats/png.ts";
import { baselineDrawing, baselineSamplingFlops } from "../../image/baselines/index.ts";
import { samplingFlops } from "../../image/cost.ts";
import { imageSize } from "../../image/scales.ts";
import type { Picture } from "../../image/sheet.ts";
import type { Pictures } from "../nearest.ts";
import { hashOf } from "../trained.node.ts";
import { drawnFile, readKept, writeKept } from "./kept.node.ts";
import {
  finishedFile,
  openPainter,
  type Painter,
  parametersOf,
  type Study,
  type StudyDrawing,
  type StudyRun,
  sheetOf,
  updateFlops,
} from "./runs.node.ts";

/** Pictures that are drawn or looked at. */
export interface Step {
  readonly doing: "drawing" | "judging" | "rebuilding";
  readonly done: number;
  readonly of: number;
}

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
  /** Fewest pictures it has figures for. */
  readonly least: number;
  judge(pictures: Pictures, signal?: AbortSignal): AsyncGenerator<Step, Figures>;
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
  /** Pictures that were judged. */
  readonly samples: number;
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
 * Draws and judges; what was measured with the same recipe before is read from the run's folder instead, and so are
 * pictures that were drawn before, also for fewer samples: those are the first of them. Also writes the row's sheet
 * there, as `NAME.png`.
 * @throws the signal's reason when stopped; whole batches are kept
 */
export async function* measureRow(
  study: Study,
  row: StudyRow,
  { judge, samples, seed }: MeasureRowOptions,
): AsyncGenerator<Step, MeasuredRow> {
  const { name, title, run, drawing } = row;
  const { train, signal, folder } = study;
  const place = node.path.join(folder, run.name);
  const weights = await node.fs.readFile(finishedFile(study, run));
  const hash = hashOf(weights);
  const drawn = {
    ...{ run: run.name, weights: hash, model: run.model, tokenizer: run.tokenizer.hash },
    ...{ data: study.data, pictures: train.count, drawing, seed },
  };
  const recipe = { ...drawn, study: study.recipe, samples, judge: judge.recipe };
  const file = node.path.join(place, `measured-${name}-${samples}.json`);
  const kept = await readKept<MeasuredRow>(file, recipe);
  if (kept) return kept;
  const size = imageSize(run.tokenizer.config);
  const pictures = await drawnFile(place, { recipe: drawn, size, batch: BATCH });
  const painter = await openPainter(study, run);
  try {
    const times: number[] = [];
    const batch = async (first: number): Promise<Picture[]> => {
      const begin = performance.now();
      const labels = Array.from({ length: BATCH }, (_, i) =>
        train.label(placeOf(first + i, train)),
      );
      const some: Picture[] = [];
      const options = { ...drawing, labels, seed, first, batch: BATCH, signal };
      for await (const { picture } of painter.draw(options)) some.push(picture);
      times.push(performance.now() - begin);
      return some;
    };
    while (pictures.count() < samples) {
      await pictures.add(await batch(pictures.count()));
      const done = Math.min(samples, pictures.count());
      yield { doing: "drawing", done, of: samples };
    }
    while (times.length < 2) await batch(0); // all were there: only the pace is wanted
    const figures = yield* judge.judge(pictures.first(samples), signal);
    const sheet = await sheetOf(painter, { classes: train.classes.length, ...drawing, signal });
    await writeFileAtomic(node.path.join(place, `${name}.png`), await encodePng(sheet));
    const measured: MeasuredRow = {
      ...{ name, title, kind: run.kind, depth: run.model.depth, width: run.model.width },
      ...{ drawing, samples, figures, parameters: parametersOf(run), updates: run.steps },
      trainingFlops: updateFlops(run) * study.recipe.batch * run.steps,
      flopsPerImage: drawingFlops(run, drawing),
      imagesPerSecond: (1000 * BATCH) / median(times.slice(1)), // the first also compiles
      msAlone: await alone(painter, drawing, study),
    };
    await writeKept(file, { recipe, measured });
    return measured;
  } finally {
    await painter.release();
  }
}

/** The training picture whose class the i-th drawn one has. Steps of the golden ratio: any first few lie evenly over the set. */
const placeOf = (i: number, { count }: Pick<Pictures, "count">): number =>
  Math.floor((((i + 0.5) * 0.6180339887498949) % 1) * count);

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function alone(painter: Painter, drawing: StudyDrawing, { signal }: Study): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i <= ALONE; i++) {
    const begin = performance.now();
    for await (const _ of painter.draw({ ...drawing, labels: [0], first: i, batch: 1, signal }));
    times.push(performance.now() - begin);
  }
  return median(times.slice(1)); // the first compiles
}
