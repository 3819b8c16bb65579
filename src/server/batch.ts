/** Jobs on their way, and which of their pictures are drawn together next. Draws nothing. */

import { isCanvas } from "./drawer.ts";
import type { Job, JobEvent } from "./job.ts";
import type { ServedModel } from "./protocol.ts";
import { editSource, type JobInput } from "./wish.ts";

/** A job on its way. */
export interface Live {
  job: Job;
  readonly input: JobInput | undefined;
  /** Places still to be drawn. */
  readonly waiting: number[];
  /** Places being drawn. */
  drawing: number;
  readonly events: JobEvent[];
  /** Its end has been told. */
  told: boolean;
  /** Is drawn in batches of its own: one with others failed. */
  alone: boolean;
  /** Wakes those who listen. */
  readonly listeners: Set<() => void>;
}

/** Pictures of one model, of one job or of many. */
export interface Batch {
  readonly model: string;
  readonly picked: { readonly live: Live; readonly place: number }[];
}

/** The next batch: one picture of each job in turn, of one model; a canvas goes alone. @param most pictures of a batch */
export function nextBatch(
  lives: readonly Live[],
  { models, most }: { models: readonly ServedModel[]; most: number },
): Batch | undefined {
  const first = lives.find(({ waiting }) => waiting.length > 0);
  if (!first) return undefined;
  const { model } = first.job.request;
  const one = models.find(({ name }) => name === model)!;
  const canvas = (live: Live) => {
    const edit = editSource(live.job.request, { place: 0, input: live.input });
    return edit !== undefined && isCanvas(one.info, { edit });
  };
  if (first.alone || canvas(first))
    return { model, picked: [{ live: first, place: first.waiting[0]! }] };
  const open = lives.filter(
    (live) =>
      live.job.request.model === model && live.waiting.length > 0 && !live.alone && !canvas(live),
  );
  const picked: Batch["picked"] = [];
  for (let turn = 0; picked.length < most; turn++) {
    const left = open.filter(({ waiting }) => waiting.length > turn);
    if (left.length === 0) break;
    for (const live of left.slice(0, most - picked.length))
      picked.push({ live, place: live.waiting[turn]! });
  }
  return { model, picked };
}
