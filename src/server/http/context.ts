/** What the routes share: the queue, the store, limits, and how a request becomes a job. Answers nothing itself. */

import { randomInt } from "node:crypto";
import { greyOf, readPictureFile } from "../../data/picture-file.ts";
import { InputError } from "../../formats/errors.ts";
import { withDrawing } from "../../image/drawing.ts";
import type { Blend } from "../../image/edit/blend.ts";
import { checkMask, type Mask, maskFromAlpha, maskFromGrey } from "../../image/edit/mask.ts";
import type { Branch } from "../../image/orders.ts";
import type { Job, JobRequest } from "../job.ts";
import { classesFor } from "../labels.ts";
import type { ServedModel } from "../protocol.ts";
import type { JobQueue } from "../queue.node.ts";
import type { JobInput, JobStore } from "../store.node.ts";
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

/** The fields that requests of every kind share, as they are written. */
export interface DrawFields {
  readonly model?: string;
  readonly seed?: number;
  readonly first?: number;
  readonly guidance?: number;
  readonly top_k?: number;
  readonly top_p?: number;
  readonly temperature?: number;
  readonly keep_scales?: number;
  readonly blend?: Blend;
  readonly feather?: number;
}

interface Asked {
  readonly prompts: readonly string[];
  readonly scales: boolean;
  readonly branches?: readonly Branch[];
  readonly input?: JobInput;
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

/** A whole job from what was asked for. @throws InputError, HttpError */
export function jobRequest(
  model: ServedModel,
  fields: DrawFields,
  { prompts, scales, branches = [], input }: Asked,
): JobRequest {
  const { seed = randomInt(2 ** 32), first = 0, guidance, temperature } = fields;
  const drawing = withDrawing(model.drawing, {
    guidance,
    temperature,
    topK: fields.top_k,
    topP: fields.top_p,
  });
  const labels = prompts.flatMap((prompt, i) =>
    classesFor(model, prompt, { count: 1, seed, first: first + i }),
  );
  const edit = input && editOf(model, fields, input);
  return { model: model.name, labels, seed, first, drawing, branches, scales, edit };
}

function editOf(model: ServedModel, fields: DrawFields, { mask }: JobInput): JobRequest["edit"] {
  const K = model.patchNums.length;
  const { keep_scales = mask ? 0 : Math.floor(K / 2), blend = "seamless", feather = 0 } = fields;
  if (keep_scales > K)
    throw new InputError(`keep_scales must be 0 to ${K} for this model, got ${keep_scales}`, {
      param: "keep_scales",
    });
  return { masked: mask !== undefined, keepScales: keep_scales, blend, feather };
}

/**
 * The picture and mask of an edit. Without a mask, transparent pixels of the picture are what is drawn; where there
 * are none either, it is varied as a whole.
 */
export async function readInput(
  { limits }: Context,
  { image, mask }: { image: Uint8Array; mask?: Uint8Array },
): Promise<JobInput> {
  const maxPixels = limits.pixels;
  const picture = await readPictureFile(image, { what: "image", maxPixels });
  const plain = {
    width: picture.width,
    height: picture.height,
    channels: 3,
    data: picture.data,
  } as const;
  const from = mask
    ? await readPictureFile(mask, { what: "mask", maxPixels })
    : picture.transparent
      ? picture
      : undefined;
  if (!from) return { picture: plain };
  const { width, height, alpha } = from;
  const found: Mask = from.transparent
    ? maskFromAlpha({ width, height, alpha })
    : maskFromGrey({ width, height, grey: greyOf(from) });
  checkMask(found, plain);
  return { picture: plain, mask: found };
}

/** The class names of a job's pictures. */
export function labelNames({ queue }: Context, { request }: Job): string[] {
  const labels = queue.models.find(({ name }) => name === request.model)?.labels ?? [];
  return request.labels.map((label) => labels[label] ?? "none");
}
