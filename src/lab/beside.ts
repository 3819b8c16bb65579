/** A model beside the one whose place it takes: the same seeds from both, judged by networks. Trains and stores nothing. */

import { finished } from "../eval/evaluate.ts";
import {
  compare,
  type Figure,
  inParts,
  kernelGain,
  lookAt,
  type Metric,
  openNetwork,
  openProducts,
} from "../eval/index.ts";
import { InputError } from "../formats/errors.ts";
import type { Var } from "../image/model.ts";
import type { Backend } from "../tensor/backend.ts";
import type { NamedData } from "./measure.ts";
import type { Pictures } from "./nearest.ts";
import { drawLabels } from "./showcase.ts";

export interface BesideOptions {
  /** What both models learnt. */
  readonly data: NamedData;
  /** What `openNetwork` takes, each a judge. */
  readonly judges: readonly string[];
  readonly backend: Backend;
  /** Pictures drawn with either; default 2,000. */
  readonly samples?: number | undefined;
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A figure of either model. */
interface Pair<T> {
  readonly before: T;
  readonly now: T;
}
interface Spread {
  readonly value: number;
  /** 95 %, by jackknife. */
  readonly interval: readonly [number, number];
}

export interface Verdict {
  readonly judge: string;
  /** First 16 hex digits of SHA-256 of the network. */
  readonly hash: string;
  readonly kid: Pair<Spread>;
  /** KID before minus KID now, a pair of pictures of one seed left out together. */
  readonly gain: Spread;
  /** Absent where the network has more features than there are pictures. */
  readonly fid?: Pair<number>;
}

export interface Beside {
  /** Pictures of either model, and training pictures that they are held against. */
  readonly samples: number;
  readonly reference: number;
  readonly verdicts: readonly Verdict[];
}

/**
 * Draws as many pictures with either model from the same seeds, with the classes of the training pictures, and judges
 * both against these. Each model draws as it recommends. @throws InputError where they know other classes or sizes, and
 * where there are too few pictures
 */
export async function* standBeside(
  models: Pair<Var>,
  { data, judges, backend, samples = 2000, seed, signal }: BesideOptions,
): AsyncGenerator<{ doing: string }, Beside> {
  const told = ({ labels, size }: Var) => JSON.stringify({ labels, size });
  if (told(models.before) !== told(models.now))
    throw new InputError(
      "the model before draws other classes or sizes than the new one; such models cannot stand beside each other, leave --before out",
    );
  const { train } = data;
  const labels = Array.from({ length: samples }, (_, i) =>
    train.label(Math.floor((i * train.count) / samples)),
  );
  const drawn: Pair<Pictures> = {
    before: yield* doing(`drawing ${samples} samples as before`, () =>
      drawLabels(models.before, labels, { seed, signal }),
    ),
    now: yield* doing(`drawing ${samples} samples`, () =>
      drawLabels(models.now, labels, { seed, signal }),
    ),
  };
  const verdicts: Verdict[] = [];
  for (const judge of judges)
    verdicts.push(
      yield* doing(`judging both by ${judge}`, () =>
        verdictOf(judge, drawn, { reference: train, backend, signal }),
      ),
    );
  return { samples, reference: train.count, verdicts };
}

async function* doing<T>(
  words: string,
  work: () => Promise<T>,
): AsyncGenerator<{ doing: string }, T> {
  yield { doing: words };
  return work();
}

const METRICS: readonly Metric[] = ["kid", "fid"];

async function verdictOf(
  judge: string,
  { before, now }: Pair<Pictures>,
  life: { reference: Pictures; backend: Backend; signal: AbortSignal | undefined },
): Promise<Verdict> {
  const { reference, backend, signal } = life;
  const network = await openNetwork(judge, { backend });
  const products = await openProducts({ backend });
  const look = (set: Pictures) =>
    finished(
      lookAt(inParts(set), network, {
        ...{ of: set.count, keep: set.count, products, spatial: false, signal },
      }),
    );
  try {
    const data = await look(reference);
    const seen = { before: await look(before), now: await look(now) };
    const figures = async (which: keyof typeof seen) => {
      const found = new Map<Metric, Figure>();
      for await (const figure of compare(seen[which], data, { products, signal, metrics: METRICS }))
        found.set(figure.metric, figure);
      const [kid, fid] = [found.get("kid")!, found.get("fid")!.value];
      if (kid.value === undefined)
        throw new InputError(`KID ${kid.refused}; leave --before out, or take a larger data set`);
      return { kid: kid as Spread, fid };
    };
    const [old, young] = [await figures("before"), await figures("now")];
    const pairs = { products, signal, reference: data.kept };
    return {
      ...{ judge, hash: network.hash, kid: { before: old.kid, now: young.kid } },
      gain: await kernelGain(seen.before.kept, seen.now.kept, pairs),
      ...(old.fid !== undefined &&
        young.fid !== undefined && { fid: { before: old.fid, now: young.fid } }),
    };
  } finally {
    await products.release();
    await network.release();
  }
}
