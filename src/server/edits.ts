/** The kinds of edits a job can ask for: what each starts from, which fields it takes, what is kept of them. Draws nothing. */

import { InputError } from "../formats/errors.ts";
import { extendedSize } from "../image/edit/canvas.ts";
import { checkFeather, checkSmall } from "../image/edit/edit.ts";
import { scalesSeen } from "../image/edit/tokens.ts";
import type { EditSettings, JobEdit } from "./job.ts";
import type { ServedModel } from "./protocol.ts";
import type { JobInput } from "./wish.ts";

export const EDIT_KINDS = ["paint", "vary", "extend", "enlarge", "interpolate"] as const;
export type EditKind = (typeof EDIT_KINDS)[number];

/** The fields of edits, as they are written. */
export interface EditFields extends EditSettings {
  /** Absent: "paint" where something is masked, else "vary". */
  readonly kind?: EditKind;
  readonly keep_scales?: number;
}
type FieldName = Exclude<keyof EditFields, "kind">;

interface Given {
  readonly model: ServedModel;
  readonly input: JobInput;
  /** Pictures that are asked for. */
  readonly count: number;
}

interface Rule {
  readonly takes: readonly FieldName[];
  /** The second file it needs. */
  readonly needs?: "mask" | "other";
  /** What the job keeps, with the kind's own defaults. @throws InputError */
  read(fields: EditFields, given: Given): Omit<JobEdit, "kind">;
}

/** Pixels of an extended picture: every window tells the whole of it. */
const MOST_EXTENDED = 4_000_000;

const RULES: Readonly<Record<EditKind, Rule>> = {
  paint: {
    takes: ["keep_scales", "blend", "feather"],
    needs: "mask",
    read: ({ keep_scales = 0, blend = "seamless", feather }, { input }) => {
      checkFeather(feather, input.picture);
      return { keepScales: keep_scales, blend, feather };
    },
  },
  vary: {
    takes: ["keep_scales"],
    read: ({ keep_scales }, { model }) => ({
      keepScales: keep_scales ?? Math.floor(model.patchNums.length / 2),
    }),
  },
  extend: {
    takes: ["left", "top", "right", "bottom", "blend", "feather"],
    read: (fields, { input, model: { info } }) => {
      const { left = 0, top = 0, right = 0, bottom = 0, blend = "seamless", feather } = fields;
      const { width, height } = extendedSize(input.picture, { left, top, right, bottom }, info);
      checkFeather(feather, input.picture);
      if (width * height > MOST_EXTENDED)
        throw new InputError(
          `the extended picture would have ${width}x${height} pixels, at most ${MOST_EXTENDED / 1e6} million are drawn; extend less`,
          { width, height },
        );
      return { keepScales: 0, blend, feather, left, top, right, bottom };
    },
  },
  enlarge: {
    takes: ["keep_scales"],
    read: ({ keep_scales }, { model: { patchNums, info }, input: { picture } }) => {
      checkSmall(info, picture);
      const seen = scalesSeen({ patchNums, size: info.size }, picture.width);
      return { keepScales: keep_scales ?? seen };
    },
  },
  interpolate: {
    takes: ["keep_scales", "course"],
    needs: "other",
    read: ({ keep_scales, course = "together" }, { model, count }) => {
      if (count < 2)
        throw new InputError(
          `the way between two pictures has both ends, got count ${count}; ask for 2 or more`,
          { param: "count" },
        );
      return { keepScales: keep_scales ?? model.patchNums.length, course };
    },
  },
};

/** What is sent with a request that only edits have. */
const FIELDS = [...new Set(Object.values(RULES).flatMap(({ takes }) => takes))];

/** The edit of a request; undefined where there is no picture to edit. @throws InputError for what does not fit */
export function editOf(
  { kind: named, ...fields }: EditFields,
  { model, input, count }: Omit<Given, "input"> & { input: JobInput | undefined },
): JobEdit | undefined {
  const given = FIELDS.filter((name) => fields[name] !== undefined && (named || !LOOSE.has(name)));
  if (!input) {
    const lost = named ? "kind" : given[0];
    if (!lost) return undefined;
    throw new InputError(`${lost}: there is no image to edit; send one`, { param: lost });
  }
  const kind = named ?? (input.mask ? "paint" : "vary");
  const { takes, needs, read } = RULES[kind];
  const foreign = given.find((name) => !takes.includes(name));
  if (foreign)
    throw new InputError(
      `${foreign}: kind ${kind} takes ${takes.join(", ")}; ${kindsWith(foreign)}`,
      {
        param: foreign,
      },
    );
  if (needs && !input[needs])
    throw new InputError(`${needs}: kind ${kind} needs one; send it beside the image`, {
      param: needs,
    });
  const edit = read(fields, { model, input, count });
  const K = model.patchNums.length;
  if (edit.keepScales > K)
    throw new InputError(`keep_scales must be 0 to ${K} for this model, got ${edit.keepScales}`, {
      param: "keep_scales",
    });
  return { kind, ...edit };
}

/** Where no kind is named these are taken even where they mean nothing: clients may send them always. */
const LOOSE: ReadonlySet<FieldName> = new Set(["keep_scales", "blend", "feather"]);

const kindsWith = (field: FieldName): string => {
  const kinds = EDIT_KINDS.filter((kind) => RULES[kind].takes.includes(field));
  return `${field} is for kind ${kinds.join(" or ")}`;
};

/** An edit as clients are told of it. */
export const editFacts = ({ keepScales, ...edit }: JobEdit) => ({
  ...edit,
  keep_scales: keepScales,
});
