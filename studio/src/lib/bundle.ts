/** Pictures of the gallery as one archive: each PNG with its parameters inside, and a list of them all. Shows nothing. */

import { zipStored } from "../../../src/formats/zip-write.ts";
import type { Engine, Job, JobPicture } from "../engine/engine.ts";
import { bytesOf } from "./files.ts";

/** A picture, and the job it belongs to. */
export interface Item {
  readonly key: string;
  readonly job: Job;
  readonly picture: JobPicture;
}

export const itemsOf = (jobs: readonly Job[]): Item[] =>
  jobs.flatMap((job) =>
    job.pictures.map((picture) => ({ key: `${job.id}/${picture.place}`, job, picture })),
  );

interface Packing {
  /** How many are here. */
  readonly onPicture?: (done: number) => void;
  readonly signal?: AbortSignal;
}

/** The archive. @throws what the engine throws; the signal's reason */
export async function bundle(
  engine: Engine,
  items: readonly Item[],
  { onPicture, signal }: Packing = {},
): Promise<Blob> {
  const files = [];
  const index = [];
  for (const [i, { job, picture }] of items.entries()) {
    signal?.throwIfAborted();
    const name = fileName(job, picture);
    const bytes = await bytesOf(await engine.png(picture, { signal }));
    files.push({ name, bytes, time: job.created });
    index.push(entryOf(name, job, picture));
    onPicture?.(i + 1);
  }
  const list = `${JSON.stringify({ format: 1, pictures: index }, null, 2)}\n`;
  const whole = [{ name: "index.json", bytes: new TextEncoder().encode(list) }, ...files];
  return new Blob(zipStored(whole) as BlobPart[], { type: "application/zip" });
}

/** Sorts by time, and says what it is; the job's name keeps two of one seed apart. */
const fileName = ({ id }: Job, { label, place }: JobPicture): string =>
  `${id.slice(0, 9)}-${id.slice(-4)}-${place}-${label.replace(/[^\p{L}\p{N}_-]+/gu, "-") || "none"}.png`;

/** As `underpaint/client` names things. */
function entryOf(file: string, job: Job, { place, index, label, width, height }: JobPicture) {
  const { id, created, model, seed, guidance, top_k, top_p, temperature, branches, edit } = job;
  return {
    ...{ file, job: id, place, created: new Date(created).toISOString() },
    ...{ model, label, seed, index, guidance, top_k, top_p, temperature },
    ...{ width, height },
    ...(branches.length ? { branches } : {}),
    ...(edit ? { edit } : {}),
  };
}

const AT_ONCE = 200;

/** Every picture there is, newest first. */
export async function everyItem(engine: Engine, { signal }: Packing = {}): Promise<Item[]> {
  const jobs: Job[] = [];
  for (;;) {
    const next = await engine.jobs({ limit: AT_ONCE, before: jobs.at(-1)?.id, signal });
    jobs.push(...next);
    if (next.length < AT_ONCE) return itemsOf(jobs);
  }
}
