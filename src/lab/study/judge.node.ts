/** The judge of a study: one network, one reference, FID, KID and Inception Score. How they are computed is eval/. */

import { compareSets, type Metric, type Network, openNetwork } from "../../eval/index.ts";
import { InputError } from "../../formats/errors.ts";
import type { Backend } from "../../tensor/backend.ts";
import type { Pictures } from "../nearest.ts";
import type { Figures, Judge } from "./rows.node.ts";

const METRICS: readonly Metric[] = ["fid", "kid", "is"];

/** @param network what `openNetwork` takes, e.g. "lab:emoji" @param reference pictures of the training split */
export async function openJudge(
  network: string,
  reference: Pictures,
  { backend, seed = 0 }: { backend: Backend; seed?: number },
): Promise<Judge> {
  const opened: Network = await openNetwork(network, { backend });
  const { name, hash, size, resize } = opened;
  return {
    recipe: { network: name, hash, size, resize, reference: reference.count, seed },
    async judge(pictures): Promise<Figures> {
      const options = { network: opened, backend, seed, metrics: METRICS };
      const found = await compareSets(pictures, reference, options);
      const figure = (metric: Metric) => {
        const { value, refused, ...rest } = found.get(metric)!;
        if (value !== undefined) return { value, ...rest };
        throw new InputError(`${metric}: ${refused}; draw more pictures, or use another network`);
      };
      const [fid, kid, is] = [figure("fid"), figure("kid"), figure("is")];
      return {
        fid: fid.value,
        kid: kid.value,
        ...(kid.interval ? { kidInterval: kid.interval } : {}),
        is: is.value,
        ...(is.std === undefined ? {} : { isStd: is.std }),
      };
    },
    release: () => opened.release(),
  };
}
