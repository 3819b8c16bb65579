/** From what is asked for to a job's request, and from that to wishes: the same at a server and in a page. Draws nothing. */

import { greyOf, type PictureFile } from "../data/picture-pixels.ts";
import { InputError } from "../formats/errors.ts";
import { withDrawing } from "../image/drawing.ts";
import type { Blend } from "../image/edit/blend.ts";
import { checkMask, type Mask, maskFromAlpha, maskFromGrey } from "../image/edit/mask.ts";
import { type Branch, checkBranches } from "../image/orders.ts";
import type { Picture } from "../image/sheet.ts";
import type { JobRequest } from "./job.ts";
import { classesFor } from "./labels.ts";
import type { EditSource, ServedModel, Wish } from "./protocol.ts";

/** What an edit starts from. */
export interface JobInput {
  readonly picture: Picture;
  readonly mask?: Mask;
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

export interface Asked {
  /** One for each picture. */
  readonly prompts: readonly string[];
  readonly scales: boolean;
  readonly branches?: readonly Branch[];
  readonly input?: JobInput;
}

/** A whole job from what was asked for. @throws InputError */
export function jobRequest(
  model: ServedModel,
  { seed, ...fields }: DrawFields & { readonly seed: number },
  { prompts, scales, branches = [], input }: Asked,
): JobRequest {
  const { first = 0, guidance, temperature } = fields;
  checkBranches(branches, model.patchNums.length);
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
 * are none either, it is varied as a whole. @throws InputError where they do not fit
 */
export function jobInput(picture: PictureFile, mask?: PictureFile): JobInput {
  const { data, ...size } = picture;
  const plain = { width: size.width, height: size.height, channels: 3, data } as const;
  const from = mask ?? (picture.transparent ? picture : undefined);
  if (!from) return { picture: plain };
  const { width, height, alpha } = from;
  const found: Mask = from.transparent
    ? maskFromAlpha({ width, height, alpha })
    : maskFromGrey({ width, height, grey: greyOf(from) });
  checkMask(found, plain);
  return { picture: plain, mask: found };
}

/** What an edit starts from; undefined for a job that edits nothing. */
export function editSource(
  request: JobRequest,
  input: JobInput | undefined,
): EditSource | undefined {
  if (!request.edit || !input) return undefined;
  const { keepScales, blend, feather } = request.edit;
  return { picture: input.picture, mask: input.mask, keepScales, blend, feather };
}

/** The wish for the picture at `place` of a job; its note tells everything that it was drawn with. */
export function wishFor(
  model: ServedModel,
  request: JobRequest,
  { place, input }: { place: number; input: JobInput | undefined },
): Wish {
  const { seed, first, drawing, branches, scales, labels } = request;
  const label = labels[place]!;
  const index = first + place;
  const note = JSON.stringify({
    format: 1,
    model: request.model,
    label: labelName(model, label),
    class: label,
    seed,
    index,
    ...drawing,
    precision: model.precision,
    ...(branches.length ? { branches } : {}),
    ...(request.edit ? { edit: request.edit } : {}),
  });
  const edit = editSource(request, input);
  return { label, seed, index, drawing, branches, scales, edit, note };
}

export const labelName = ({ labels }: ServedModel, label: number): string =>
  labels[label] ?? "none";

/** A model as clients are told of it. */
export const modelFacts = ({ name, labels, patchNums, drawing, info, precision }: ServedModel) => ({
  id: name,
  labels: [...labels],
  size: info.size,
  patch_nums: [...patchNums],
  guidance: drawing.guidance,
  top_k: drawing.topK,
  top_p: drawing.topP,
  temperature: drawing.temperature,
  precision,
});
