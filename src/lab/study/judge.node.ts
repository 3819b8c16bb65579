/** The judge of a study: one network, one reference, FID, KID and Inception Score. How they are computed is eval/. */

import {
  compare,
  inParts,
  lookAt,
  type Metric,
  type Network,
  openNetwork,
  openProducts,
  type Summary,
} from "../../eval/index.ts";
import { InputError } from "../../formats/errors.ts";
import { pictureSize } from "../../formats/picture-size.ts";
import type { Backend } from "../../tensor/backend.ts";
import type { Pictures } from "../nearest.ts";
import type { Figures, Judge, Step } from "./rows.node.ts";

const METRICS: readonly Metric[] = ["fid", "kid", "is"];
/** Ten splits of ten for the Inception Score; KID needs fewer. */
const LEAST = 100;

/**
 * Opens the network and looks whether it can judge so few pictures, which is better known before days of training.
 * The reference is looked at once, when the first pictures are judged. Has a life: release it.
 * @param network what `openNetwork` takes, e.g. "lab:emoji" @param reference pictures of the training split
 * @throws InputError where the network is no classifier, or fewer than `least` pictures or references are there
 */
export async function openJudge(
  network: string,
  reference: Pictures,
  { backend, samples, seed = 0 }: { backend: Backend; samples: number; seed?: number },
): Promise<Judge> {
  const opened: Network = await openNetwork(network, { backend });
  const products = await openProducts({ backend });
  const release = async () => {
    await products.release();
    await opened.release();
  };
  const { name, hash, size, resize } = opened;
  const blank = { count: 1, ...pictureSize(size), pixels: new Uint8Array(3 * size * size) };
  const seen = await opened.look(blank);
  const { width } = seen.features;
  const least = Math.max(LEAST, width + 1);
  const wanting = !seen.probabilities
    ? "it is no classifier, so it gives no Inception Score; choose a lab: network or Inception"
    : samples < least
      ? `FID needs more pictures than its ${width} features: use --samples ${least} or more, or a network with fewer features`
      : reference.count < least
        ? `FID needs more pictures than its ${width} features, and there are ${reference.count} to learn from: raise --pictures to ${least} or more, or use a network with fewer features`
        : undefined;
  if (wanting) {
    await release();
    throw new InputError(`--network ${network}: ${wanting}`, { width, samples });
  }
  async function* look(pictures: Pictures, signal?: AbortSignal): AsyncGenerator<Step, Summary> {
    const of = pictures.count;
    const options = { products, of, seed, signal, spatial: false };
    const steps = lookAt(inParts(pictures), opened, options);
    for (;;) {
      const step = await steps.next();
      if (step.done) return step.value;
      yield { doing: "judging", ...step.value };
    }
  }
  let known: Summary | undefined;
  return {
    least,
    recipe: { network: name, hash, size, resize, reference: reference.count, seed },
    async *judge(pictures, signal): AsyncGenerator<Step, Figures> {
      known ??= yield* look(reference, signal);
      const found = new Map<
        Metric,
        { value: number; std?: number; interval?: readonly [number, number] }
      >();
      const options = { products, seed, signal, metrics: METRICS };
      const summary = yield* look(pictures, signal);
      for await (const { metric, value, refused, ...rest } of compare(summary, known, options)) {
        if (value === undefined)
          throw new InputError(`${metric}: ${refused}; draw more pictures, or use another network`);
        found.set(metric, { value, ...rest });
      }
      const [fid, kid, is] = [found.get("fid")!, found.get("kid")!, found.get("is")!];
      return {
        fid: fid.value,
        kid: kid.value,
        ...(kid.interval ? { kidInterval: kid.interval } : {}),
        is: is.value,
        ...(is.std === undefined ? {} : { isStd: is.std }),
      };
    },
    release,
  };
}
