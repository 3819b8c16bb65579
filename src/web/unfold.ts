/** A picture through the tokenizer, scale by scale: what each scale says, and what is still missing. Draws nothing by chance. */

import type { Tensor } from "../formats/dtype.ts";
import { encodePng } from "../formats/png.ts";
import { encodePicture } from "../image/edit/tokens.ts";
import type { Var } from "../image/model.ts";
import { float } from "../image/rows.ts";
import { decodeMaps } from "../image/sampler.ts";
import { latentShape, mapShape } from "../image/scales.ts";
import { type Picture, toPictures } from "../image/sheet.ts";
import type { UnfoldedScale } from "./protocol.ts";

/** VAR, arXiv 2404.02905, algorithms 1 and 2: f is the sum of what K scales add, coarse to fine. `picture` of any size. */
export async function* unfold(
  model: Var,
  picture: Picture,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<UnfoldedScale> {
  const { latent: C } = model.tokenizer;
  const [h, w] = latentShape(model.tokenizer);
  const codebook = model.codebook.data as Float32Array;
  const { f, ids } = await encodePicture(model, picture);
  const whole = length(f.data as Float32Array);
  let fHat: Tensor = float([1, C, h, w]);
  for (const [k, pn] of model.patchNums.entries()) {
    signal.throwIfAborted();
    const own = ids[k]!;
    const rows = float([1, own.length, C]);
    for (const [t, id] of own.entries())
      (rows.data as Float32Array).set(codebook.subarray(id * C, (id + 1) * C), t * C);
    fHat = (await (await model.session(`advance ${k}`)).run({ rows, before: fHat })).fHat!;
    const rest = (f.data as Float32Array).map((v, i) => v - (fHat.data[i] as number));
    const [decoded] = toPictures(await decodeMaps(model, fHat, { signal }));
    yield {
      scale: k,
      of: ids.length,
      shape: mapShape(pn),
      ids: own.slice(),
      latent: [h, w],
      missing: lengthAt(rest, h * w),
      lengths: [whole, length(rest)],
      png: await encodePng(decoded!),
    };
  }
}

const length = (values: Float32Array): number =>
  Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));

/** Over the channels: C places -> places. */
function lengthAt(values: Float32Array, places: number): Float32Array {
  const out = new Float32Array(places);
  for (let i = 0; i < values.length; i++) out[i % places]! += values[i]! ** 2;
  return out.map(Math.sqrt);
}
