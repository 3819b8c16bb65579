/** Every number of a model's card: quality of both halves, what storage changed, how new samples are. Draws no sheets. */

import type { ImageDataset } from "../data/index.ts";
import { concatBytes } from "../formats/bytes.ts";
import type { PictureSize } from "../formats/picture-size.ts";
import type { Var } from "../image/model.ts";
import type { VarParts } from "../image/var-step.ts";
import type { Backend } from "../tensor/backend.ts";
import type { NearestFacts } from "./card.ts";
import {
  channelSpread,
  closeness,
  evenly,
  joined,
  mirrored,
  type Nearest,
  nearestOf,
  type Pictures,
  type Points,
  shrunkPixels,
} from "./nearest.ts";
import { type Prediction, predict } from "./predict.ts";
import { chosen, drawLabels, spreadOver } from "./showcase.ts";
import {
  type CodeUse,
  codeUse,
  featuresOf,
  psnrOf,
  sameShare,
  throughTokenizer,
} from "./through.ts";

/** A data set with the word that opens it. */
export interface NamedData {
  readonly word: string;
  readonly train: ImageDataset;
  readonly test: ImageDataset;
}

export interface MeasureOptions {
  readonly data: { readonly tokenizer: NamedData; readonly transformer: NamedData };
  readonly backend: Backend;
  /** Samples whose nearest training pictures are looked for. */
  readonly samples: number;
  /** The transformer saw mirrored pictures. */
  readonly flip: boolean;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

export interface Measured {
  readonly psnr: { readonly train: number; readonly test: number };
  readonly use: readonly CodeUse[];
  /** Reconstructions of the tokenizer's test split. */
  readonly rebuilt: Pictures;
  /** The stored transformer; as many training pictures as there are test pictures. */
  readonly test: Prediction;
  readonly train: Prediction;
  readonly stored: {
    readonly sameTokens: number;
    readonly psnr: { readonly before: number; readonly after: number };
    readonly sameLikeliest: number;
    readonly loss: { readonly before: number; readonly after: number };
  };
}

/**
 * Measures the stored model beside the trained one.
 * @param trained both halves as they came from training @param model the same as loaded from the stored files
 */
export async function* measureModel(
  trained: VarParts,
  model: Var,
  { data, backend, signal }: MeasureOptions,
): AsyncGenerator<{ doing: string }, Measured> {
  const life = { backend, signal };
  const now = { config: model.tokenizer, weights: model.parts.tokenizerWeights };
  const before = { config: trained.tokenizer, weights: trained.tokenizerWeights };

  yield { doing: "measuring the tokenizer on the test split" };
  const test = await throughTokenizer(data.tokenizer.test, now, life);
  yield { doing: "measuring the tokenizer on the training split" };
  const train = await throughTokenizer(data.tokenizer.train, now, life);

  yield { doing: "measuring the transformer and what storage changed" };
  const own = data.transformer;
  const [stored, original] = [
    await throughTokenizer(own.test, now, life),
    await throughTokenizer(own.test, before, life),
  ];
  const labelsOf = ({ label }: NamedData["test"], indices: readonly number[]) => indices.map(label);
  const testIndices = spreadOver(own.test.count, own.test.count);
  const examples = { ids: original.ids, labels: labelsOf(own.test, testIndices) };
  const [after, trainedPrediction] = [
    await predict(model.parts, examples, life),
    await predict(trained, examples, life),
  ];
  const trainIndices = spreadOver(own.train.count, own.test.count);
  const trainPart = await throughTokenizer(chosen(own.train, trainIndices), now, life);
  const seen = { ids: trainPart.ids, labels: labelsOf(own.train, trainIndices) };
  return {
    psnr: { train: psnrOf(train), test: psnrOf(test) },
    use: codeUse(train.ids, model.tokenizer),
    rebuilt: test.rebuilt,
    test: after,
    train: await predict(model.parts, seen, life),
    stored: {
      sameTokens: sameShare(original.ids, stored.ids),
      psnr: { before: psnrOf(original), after: psnrOf(stored) },
      sameLikeliest: sameShare(trainedPrediction.likeliest, after.likeliest),
      loss: { before: trainedPrediction.loss, after: after.loss },
    },
  };
}

/** Samples with their nearest training pictures in two spaces. */
export interface Novelty {
  readonly facts: readonly NearestFacts[];
  readonly samples: Pictures;
  /** The training pictures that the neighbours number, mirrored ones after the others. */
  readonly train: Pictures;
  readonly pixels: Nearest;
  readonly features: Nearest;
}

/** Pixels are averaged over squares of this many pixels, so that a shift of a pixel or two matters little. */
const SQUARE = 4;

/**
 * How near samples are to training pictures, beside test pictures and beside copies. All three went through the
 * tokenizer once, so that they are equally soft. Samples have the classes of the test split, in turn.
 */
export async function* measureNovelty(
  model: Var,
  { data: { transformer: data }, backend, samples: count, flip, seed, signal }: MeasureOptions,
): AsyncGenerator<{ doing: string }, Novelty> {
  const tokenizer = { config: model.tokenizer, weights: model.parts.tokenizerWeights };
  const life = { backend, signal };
  const once = async (pictures: Pictures): Promise<Pictures> =>
    (await throughTokenizer(pictures, tokenizer, life)).rebuilt;
  yield { doing: `drawing ${count} samples` };
  const labels = Array.from({ length: count }, (_, i) =>
    data.test.label(Math.floor((i * data.test.count) / count) % data.test.count),
  );
  const samples = await drawLabels(model, labels, { seed, signal });
  yield { doing: "reading the features of the training pictures" };
  const copies = flip ? [data.train, mirrored(data.train)] : [data.train];
  const train: Points[] = [];
  for (const part of copies) train.push(await featuresOf(part, tokenizer, life));
  const some = chosen(data.train, spreadOver(data.train.count, data.test.count));
  const sets = {
    samples,
    test: await once(data.test),
    copies: await once(some),
  };
  const features = {
    samples: await featuresOf(sets.samples, tokenizer, life),
    test: await featuresOf(sets.test, tokenizer, life),
    copies: await featuresOf(sets.copies, tokenizer, life),
  };

  yield { doing: "looking for the nearest training pictures" };
  const cell = cellOf(model.size);
  const shrunk = (pictures: Pictures) => shrunkPixels(pictures, cell);
  const all = joined(train);
  const spread = channelSpread(all, model.tokenizer.latent);
  const near = {
    pixels: nearestIn(mapped(sets, shrunk), joined(copies.map(shrunk))),
    features: nearestIn(
      mapped(features, (f) => evenly(f, spread)),
      evenly(all, spread),
    ),
  };
  return {
    facts: [
      {
        space: `pixels in 0..1, averaged over ${cell} x ${cell}`,
        ...near.pixels.facts,
      },
      { space: "features of the tokenizer, in standard deviations", ...near.features.facts },
    ],
    samples,
    train: together(copies),
    pixels: near.pixels.samples,
    features: near.features.samples,
  };
}

/** Side of the squares that are averaged: the least from SQUARE pixels on that divides both sides of the picture. */
function cellOf({ width, height }: PictureSize): number {
  const least = Math.min(SQUARE, width, height);
  for (let cell = least; cell <= Math.min(width, height); cell++)
    if (width % cell === 0 && height % cell === 0) return cell;
  return 1;
}

interface Sets<T> {
  readonly samples: T;
  readonly test: T;
  readonly copies: T;
}

const mapped = <T, U>({ samples, test, copies }: Sets<T>, f: (x: T) => U): Sets<U> => ({
  samples: f(samples),
  test: f(test),
  copies: f(copies),
});

function nearestIn(sets: Sets<Points>, train: Points) {
  const near = mapped(sets, (points) => nearestOf(points, train));
  const facts = mapped(near, ({ distance }) => closeness(distance, near.test.distance));
  return { facts, samples: near.samples };
}

function together(parts: readonly Pictures[]): Pictures {
  const pixels = concatBytes(parts.map((part) => part.pixels));
  return { ...parts[0]!, count: parts.reduce((sum, p) => sum + p.count, 0), pixels };
}
