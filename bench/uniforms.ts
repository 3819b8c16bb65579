/** The chance that both sides of the VAR benchmark draw from. Draws nothing itself. */

import type { Tensor } from "../src/formats/dtype.ts";
import { mapTokens, type PatchNum, tokenCount } from "../src/image/scales.ts";
import { rng } from "../src/tensor/rng.ts";

/** The numbers that `sample` draws a seed's tokens with: scale k of picture i has a stream of its own. B L */
export function uniformsOf({
  seed,
  batch,
  patchNums,
}: {
  seed: number;
  batch: number;
  patchNums: readonly PatchNum[];
}): Tensor {
  const L = tokenCount({ patchNums });
  const data = new Float32Array(batch * L);
  let at = 0;
  for (let i = 0; i < batch; i++)
    for (const [k, pn] of patchNums.entries()) {
      const T = mapTokens(pn);
      rng(seed)
        .child(i)
        .child(k)
        .fillUniform(data.subarray(at, at + T));
      at += T;
    }
  return { dtype: "float32", shape: [batch, L], data };
}
