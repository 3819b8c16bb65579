/** What numbers a decoder's images hold: seen on pictures that the model itself draws. Changes no graph: see precision.ts. */

import type { Tensor } from "../formats/dtype.ts";
import type { Session, Tensors } from "../tensor/backend.ts";
import type { Graph } from "../tensor/graph.ts";
import { readRanges, withRanges } from "../tensor/int8-conv.ts";
import type { Var } from "./model.ts";
import type { DecoderRanges } from "./precision.ts";
import { sample } from "./sampler.ts";

/** Pictures that are drawn for it, one by one to spare memory; the same for everybody, as a seed means one picture. */
const DRAWN = { count: 8, seed: "calibration", batch: 1 } as const;

/**
 * Ranges of all convolutions of the decoder, over 8 pictures of classes drawn at random. Takes as long as drawing them.
 * @param decoder the decoder's graph in float32 @param compile how to compile it
 */
export async function decoderRanges(
  model: Var,
  decoder: Graph,
  compile: (g: Graph) => Promise<Session>,
): Promise<DecoderRanges> {
  let last: Tensor | undefined;
  for await (const { fHat } of sample(model, DRAWN)) last = fHat;
  const { shape, data } = last as Tensor; // there is at least one scale
  const own = data.length / DRAWN.count;
  const session = await compile(withRanges(decoder));
  const runs: Tensors[] = [];
  try {
    for (let i = 0; i < DRAWN.count; i++) {
      const one = data.subarray(i * own, (i + 1) * own);
      runs.push(
        await session.run({ fHat: { dtype: "float32", shape: [1, ...shape.slice(1)], data: one } }),
      );
    }
  } finally {
    await session.release();
  }
  return readRanges(decoder, runs);
}
