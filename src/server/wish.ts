/** From what is asked for to a job's request, and from that to wishes: the same at a server and in a page. Draws nothing. */

import { greyOf, type PictureFile } from "../data/picture-pixels.ts";
import { InputError } from "../formats/errors.ts";
import { withDrawing } from "../image/drawing.ts";
import { checkMask, type Mask, maskFromAlpha, maskFromGrey } from "../image/edit/mask.ts";
import { type Branch, checkBranches } from "../image/orders.ts";
import type { Picture } from "../image/sheet.ts";
import { type EditFields, type EditKind, editOf } from "./edits.ts";
import type { JobRequest } from "./job.ts";
import { classesFor } from "./labels.ts";
import type { EditSource, ServedModel, Wish } from "./protocol.ts";

/** What an edit starts from. */
export interface JobInput {
  readonly picture: Picture;
  readonly mask?: Mask;
  /** A second picture, where the way leads to it. */
  readonly other?: Picture;
}

/** The fields that requests of every kind share, as they are written. */
export interface DrawFields extends EditFields {
  readonly model?: string;
  readonly seed?: number;
  readonly first?: number;
  readonly guidance?: number;
  readonly top_k?: number;
  readonly top_p?: number;
  readonly temperature?: number;
}

export interface Asked {
  /** One for each picture. */
  readonly prompts: readonly string[];
  readonly scales: boolean;
  readonly branches?: readonly Branch[];
  readonly input?: JobInput;
}

/** A prompt for each picture: `labels`, or `label` `count` times. Without one an edit has no class, a drawing any. */
export const promptsOf = (
  { labels, label, count = 1 }: { labels?: readonly string[]; label?: string; count?: number },
  { edits }: { edits: boolean },
): readonly string[] => labels ?? new Array<string>(count).fill(label ?? (edits ? "none" : ""));

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
  const edit = editOf(fields, { model, input, count: prompts.length });
  const one = { model: model.name, labels: [], seed, first, drawing, branches, scales, edit };
  const labels = prompts.flatMap((prompt, place) =>
    classesFor(model, prompt, { count: 1, seed, first: indexOf(one, place) }),
  );
  return { ...one, labels };
}

/** Number of a picture within its seed. The steps of a way have the same chance: only the mixture makes them differ. */
export const indexOf = ({ first, edit }: Pick<JobRequest, "first" | "edit">, place: number) =>
  edit?.kind === "interpolate" ? first : first + place;

/** Files of an edit, read. */
export interface InputFiles {
  readonly image: PictureFile;
  readonly mask?: PictureFile;
  readonly other?: PictureFile;
}

/**
 * The pictures and mask of an edit. Without a mask, transparent pixels of the picture are what is drawn; where there
 * are none either, or another kind is named, it is edited as a whole. @throws InputError where they do not fit
 */
export function jobInput({ image, mask, other }: InputFiles, kind?: EditKind): JobInput {
  const picture = plain(image);
  const input: JobInput = { picture, ...(other && { other: plain(other) }) };
  const masks = kind === undefined || kind === "paint";
  if (mask && !masks)
    throw new InputError(`mask: kind ${kind} takes none; leave it out, or paint`, {
      param: "mask",
    });
  if (other && kind !== "interpolate")
    throw new InputError("other: only kind interpolate goes to another picture; name it", {
      param: "other",
    });
  const from = mask ?? (masks && image.transparent ? image : undefined);
  if (!from) return input;
  const { width, height, alpha } = from;
  const found: Mask = from.transparent
    ? maskFromAlpha({ width, height, alpha })
    : maskFromGrey({ width, height, grey: greyOf(from) });
  checkMask(found, picture);
  return { ...input, mask: found };
}

const plain = ({ width, height, data }: PictureFile): Picture => ({
  ...{ width, height, channels: 3, data },
});

/** What a picture's edit starts from; undefined for a job that edits nothing. */
export function editSource(
  { edit, labels }: Pick<JobRequest, "edit" | "labels">,
  { place, input }: { place: number; input: JobInput | undefined },
): EditSource | undefined {
  if (!edit || !input) return undefined;
  const part = edit.kind === "interpolate" ? { part: place / (labels.length - 1) } : {};
  return { ...edit, ...input, ...part };
}

/** The wish for the picture at `place` of a job; its note tells everything that it was drawn with. */
export function wishFor(
  model: ServedModel,
  request: JobRequest,
  { place, input }: { place: number; input: JobInput | undefined },
): Wish {
  const { seed, drawing, branches, scales, labels } = request;
  const label = labels[place]!;
  const index = indexOf(request, place);
  const edit = editSource(request, { place, input });
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
    ...(edit ? { edit: { ...request.edit, part: edit.part } } : {}),
  });
  return { label, seed, index, drawing, branches, scales, edit, note };
}

export const labelName = ({ labels }: ServedModel, label: number): string =>
  labels[label] ?? "none";

/** A model as clients are told of it. */
export const modelFacts = ({ name, labels, patchNums, drawing, info, precision }: ServedModel) => ({
  id: name,
  labels: [...labels],
  width: info.size.width,
  height: info.size.height,
  patch_nums: patchNums.map((pn) => (typeof pn === "number" ? pn : ([...pn] as [number, number]))),
  guidance: drawing.guidance,
  top_k: drawing.topK,
  top_p: drawing.topP,
  temperature: drawing.temperature,
  precision,
});
