/** What numbers a decoder's images hold: seen on pictures that the model itself draws. Changes no graph: see precision.ts. */

import type { Tensor } from "../formats/dtype.ts";
import type { Session, Tensors } from "../tensor/backend.ts";
import type { Graph } from "../tensor/graph.ts";
import {
  type ConvRanges,
  RANGES,
  type Range,
  rangeNames,
  readRanges,
  withRanges,
} from "../tensor/int8-conv.ts";
import type { Var } from "./model.ts";
import type { DecoderRanges } from "./precision.ts";
import { sample } from "./sampler.ts";
import { decodeGraph } from "./var-step.ts";

/** Pictures that are drawn for it, one by one to spare memory; the same for everybody, as a seed means one picture. */
const DRAWN = { count: 8, seed: "calibration" } as const;

/**
 * Ranges of all convolutions of the decoder, over 8 pictures of classes drawn at random. Takes as long as drawing them.
 * @param model draws them; released before the decoder, in float32, looks at them
 */
export async function decoderRanges(
  model: Var,
  compile: (g: Graph) => Promise<Session>,
): Promise<DecoderRanges> {
  const maps: Tensor[] = [];
  for (let first = 0; first < DRAWN.count; first++) {
    let last: Tensor | undefined;
    for await (const { fHat } of sample(model, { seed: DRAWN.seed, first })) last = fHat;
    maps.push(last!); // there is at least one scale
  }
  await model.release();
  const decoder = decodeGraph(model.parts);
  const session = await compile(withRanges(decoder));
  const runs: Tensors[] = [];
  try {
    for (const fHat of maps) {
      const { ranges } = await session.run({ fHat }, { outputs: [RANGES] });
      runs.push({ [RANGES]: ranges! });
    }
  } finally {
    await session.release();
  }
  return readRanges(decoder, runs);
}

/** Ranges as JSON. */
export const writeRanges = (ranges: DecoderRanges): string => JSON.stringify([...ranges]);

/** What `writeRanges` wrote; undefined where it is anything else, or not of the convolutions of this model. */
export function parseRanges(text: string, { parts }: Var): DecoderRanges | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const wanted = rangeNames(decodeGraph(parts));
  const isRange = (r: Partial<Range> | undefined) =>
    Number.isFinite(r?.low) && Number.isFinite(r?.high);
  const isEntry = (entry: unknown, i: number): entry is [string, ConvRanges] =>
    Array.isArray(entry) && entry[0] === wanted[i] && isRange(entry[1]?.x) && isRange(entry[1]?.y);
  if (!Array.isArray(json) || json.length !== wanted.length || !json.every(isEntry))
    return undefined;
  return new Map(json);
}
