/** What the routes share: the queue, the store, limits, and how a request becomes a job. Answers nothing itself. */

import { randomInt } from "node:crypto";
import { readPictureFile } from "../../data/picture-file.ts";
import type { EditKind } from "../edits.ts";
import type { Job, JobRequest } from "../job.ts";
import type { ServedModel } from "../protocol.ts";
import type { JobQueue } from "../queue.node.ts";
import type { JobStore } from "../store.node.ts";
import {
  type Asked,
  type DrawFields,
  type JobInput,
  jobInput,
  jobRequest,
  labelName,
} from "../wish.ts";
import type { Counters } from "./counters.ts";
import { HttpError } from "./errors.ts";
import type { RunsFolder } from "./run-files.ts";
import type { Streams } from "./sse.ts";

export interface Limits {
  /** Bytes of a request with pictures. */
  readonly body: number;
  /** Pixels of a picture that is sent. */
  readonly pixels: number;
  /** Seconds until a request that waits for its pictures is told where to find them instead. */
  readonly patience: number;
}

export const LIMITS: Limits = { body: 25_000_000, pixels: 25_000_000, patience: 300 };

export interface Context {
  readonly queue: JobQueue;
  readonly store: JobStore;
  readonly limits: Limits;
  readonly counters: Counters;
  readonly runs?: RunsFolder;
  /** Open streams of events. */
  readonly streams: Streams;
  /** Jobs that end with their stream. */
  readonly attached: Set<string>;
}

/** @throws HttpError 404 with the names there are */
export function modelNamed({ queue }: Context, name: string | undefined): ServedModel {
  const [first] = queue.models;
  const found = name === undefined ? first : queue.models.find((model) => model.name === name);
  if (found) return found;
  const names = queue.models.map((model) => model.name).join(", ");
  throw new HttpError(404, `there is no model "${name}" here; there is: ${names}`, {
    param: "model",
    code: "model_not_found",
  });
}

/** A whole job from what was asked for; chance names a seed where the request does not. @throws InputError */
export const askedJob = (model: ServedModel, fields: DrawFields, asked: Asked): JobRequest =>
  jobRequest(model, { ...fields, seed: fields.seed ?? randomInt(2 ** 32) }, asked);

/** The pictures and mask of an edit, from the bytes of files. @throws InputError */
export async function readInput(
  { limits }: Context,
  files: { image: Uint8Array; mask?: Uint8Array; other?: Uint8Array },
  kind?: EditKind,
): Promise<JobInput> {
  const read = (what: keyof typeof files) =>
    files[what] && readPictureFile(files[what], { what, maxPixels: limits.pixels });
  const image = (await read("image"))!;
  return jobInput({ image, mask: await read("mask"), other: await read("other") }, kind);
}

/** The class names of a job's pictures. */
export function labelNames({ queue }: Context, { request }: Job): string[] {
  const model = queue.models.find(({ name }) => name === request.model);
  return request.labels.map((label) => (model ? labelName(model, label) : "none"));
}
