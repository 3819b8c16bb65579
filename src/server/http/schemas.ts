/** What goes in and out over HTTP, as schemas: they check requests and become the OpenAPI document. Handles nothing. */

import { z } from "@hono/zod-openapi";
import { InputError } from "../../formats/errors.ts";
import { BLENDS, type Blend } from "../../image/edit/blend.ts";
import { COURSES, type Course } from "../../image/edit/interpolate.ts";
import { PRECISIONS } from "../../image/precision.ts";
import { EDIT_KINDS } from "../edits.ts";
import { JOB_STATES } from "../job.ts";

/** Pictures of one request to the OpenAI routes; OpenAI's own limit. */
const MOST_AT_ONCE = 10;

const seed = z.coerce
  .number()
  .int()
  .min(0)
  .max(2 ** 32 - 1);
const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((v) => v === "true")]);

/** How pictures are drawn; what is absent is the model's own choice. */
const drawing = {
  seed: seed
    .optional()
    .openapi({ description: "Same seed, same pictures; absent: a random one, told in the answer" }),
  first: seed.optional().openapi({ description: "Number of the first picture within its seed; 0" }),
  guidance: z.coerce
    .number()
    .min(0)
    .max(100)
    .optional()
    .openapi({ description: "How strongly the class is followed" }),
  top_k: z.coerce.number().int().min(0).max(1_048_576).optional(),
  top_p: z.coerce.number().min(0).max(1).optional(),
  temperature: z.coerce.number().min(0.0001).max(100).optional(),
};

const blend = z.enum(Object.keys(BLENDS) as [Blend, ...Blend[]]);

/** What an edit keeps of its picture. */
const editing = {
  keep_scales: z.coerce.number().int().min(0).max(100).optional().openapi({
    description:
      "Coarse scales that stay the picture's own; absent: with a mask none, varied half of them, enlarged what the small picture tells, between two pictures all",
  }),
  blend: blend.optional(),
  feather: z.coerce.number().min(0).max(1024).optional().openapi({
    description:
      "Softness of the edge in pixels, reaching into what is drawn; absent: 2, less where that is thin",
  }),
};

const kind = z.enum(EDIT_KINDS);
const course = z.enum(Object.keys(COURSES) as [Course, ...Course[]]);
const added = (side: string) =>
  z
    .number()
    .int()
    .min(0)
    .max(100_000)
    .openapi({ description: `Pixels to add ${side}` });
/** What only jobs can ask for. */
const kinds = {
  kind: kind.optional().openapi({
    description:
      "What is done with the image: paint draws what the mask says, vary keeps coarse scales, extend draws beyond the edges, enlarge makes a small square picture as large as the model draws, interpolate goes the way to `other` in `count` pictures. Absent: paint where there is a mask or transparency, else vary",
  }),
  left: added("on the left: kind extend").optional(),
  top: added("above: kind extend").optional(),
  right: added("on the right: kind extend").optional(),
  bottom: added("below: kind extend").optional(),
  course: course.optional().openapi({
    description: "Which scales of the way go first: kind interpolate; absent: together",
  }),
};

/** Fields that OpenAI knows and that change nothing here. */
const ignored = {
  quality: z.string().max(64).optional(),
  background: z.string().max(64).optional(),
  moderation: z.string().max(64).optional(),
  style: z.string().max(64).optional(),
  user: z.string().max(512).optional(),
  output_compression: z.coerce.number().optional(),
  input_fidelity: z.string().max(64).optional(),
};

const openai = {
  model: z
    .string()
    .max(256)
    .optional()
    .openapi({ description: "A name of /v1/models; the first where absent" }),
  prompt: z.string().max(32_000).openapi({
    description:
      'A class, or a text that names one: "food", "a heart in noto style"; "none" for no class',
  }),
  n: z.coerce.number().int().min(1).max(MOST_AT_ONCE).default(1),
  size: z
    .string()
    .max(32)
    .optional()
    .openapi({ description: '"auto", or the size that the model draws, such as 64x64' }),
  response_format: z.enum(["b64_json", "url"]).optional(),
  output_format: z.enum(["png"]).optional(),
  stream: flag.optional(),
  partial_images: z.coerce.number().int().min(0).max(3).optional(),
  scales: flag.optional().openapi({
    description:
      "Not OpenAI's: every scale comes too, as an event of a stream or in `scales` of each picture",
  }),
  ...drawing,
  ...ignored,
};

export const GenerationRequest = z.object(openai).openapi("GenerationRequest");

const file = (description: string) =>
  z
    .custom<File>((v) => v instanceof File, "a file is wanted")
    .openapi({ type: "string", format: "binary", description });

export const EditRequest = z
  .object({
    ...openai,
    ...editing,
    image: file("PNG, JPEG or WebP").optional(),
    "image[]": z.union([file("The same"), z.array(z.any())]).optional(),
    mask: file("Transparent, or white where it has no transparency, is what is drawn").optional(),
  })
  .openapi("EditRequest");

const mapShape = z
  .array(z.number().int())
  .length(2)
  .openapi({ description: "Height and width of a token map" });

export const Scale = z
  .object({
    scale: z.number().int(),
    of: z.number().int(),
    shape: mapShape,
    b64_json: z.string(),
  })
  .openapi("Scale");

export const ImageData = z
  .object({
    b64_json: z.string().optional(),
    url: z.string().optional(),
    revised_prompt: z.string().openapi({ description: "The class that was drawn" }),
    seed: z.number().int(),
    index: z.number().int(),
    scales: z.array(Scale).optional(),
  })
  .openapi("ImageData");

export const Usage = z
  .object({
    total_tokens: z.number().int(),
    input_tokens: z.number().int(),
    output_tokens: z.number().int(),
    input_tokens_details: z.object({
      text_tokens: z.number().int(),
      image_tokens: z.number().int(),
    }),
  })
  .openapi("Usage");

export const ImagesResponse = z
  .object({
    created: z.number().int(),
    data: z.array(ImageData),
    background: z.literal("opaque"),
    output_format: z.literal("png"),
    quality: z.literal("auto"),
    size: z.string(),
    usage: Usage,
    job: z.string().openapi({ description: "Where the pictures stay: /jobs/{id}" }),
  })
  .openapi("ImagesResponse");

export const Model = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.number().int(),
    owned_by: z.string(),
    labels: z.array(z.string()),
    width: z.number().int().openapi({ description: "Of the pictures, in pixels" }),
    height: z.number().int().openapi({ description: "Of the pictures, in pixels" }),
    patch_nums: z.array(z.union([z.number().int(), mapShape])).openapi({
      description: "Token maps, coarse to fine: sides of squares, or height and width",
    }),
    guidance: z.number(),
    top_k: z.number().int(),
    top_p: z.number(),
    temperature: z.number(),
    precision: z.enum(PRECISIONS).openapi({ description: "What the model runs in" }),
  })
  .openapi("Model");

export const ModelList = z
  .object({ object: z.literal("list"), data: z.array(Model) })
  .openapi("ModelList");

export const ErrorBody = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

const base64 = z.string().max(40_000_000);

export const JobRequestBody = z
  .object({
    model: openai.model,
    label: z
      .string()
      .max(32_000)
      .optional()
      .openapi({ description: "A class or a text that names one; absent: any class" }),
    labels: z
      .array(z.string().max(32_000))
      .max(256)
      .optional()
      .openapi({ description: "One per picture, instead of `label` and `count`" }),
    count: z.number().int().min(1).max(256).default(1),
    scales: z.boolean().default(true),
    attached: z
      .boolean()
      .default(false)
      .openapi({ description: "The job is cancelled when its stream of events is closed" }),
    branches: z
      .array(
        z.object({
          from: z.number().int().min(0).max(100),
          name: z.union([z.string().max(256), z.number().int()]),
        }),
      )
      .max(32)
      .default([])
      .openapi({ description: "From scale `from` on, another chance, by its name" }),
    image: base64.optional().openapi({ description: "Base64 of a PNG, JPEG or WebP to edit" }),
    mask: base64.optional().openapi({ description: "What is drawn: kind paint" }),
    other: base64.optional().openapi({ description: "The way's other end: kind interpolate" }),
    ...drawing,
    ...editing,
    ...kinds,
  })
  .openapi("JobRequest");

export const JobPictureBody = z
  .object({
    place: z.number().int(),
    index: z.number().int(),
    label: z.string(),
    width: z.number().int(),
    height: z.number().int(),
    url: z.string(),
  })
  .openapi("JobPicture");

export const JobBody = z
  .object({
    id: z.string(),
    created: z.number().int().openapi({ description: "Milliseconds since 1970" }),
    ended: z.number().int().optional(),
    state: z.enum(JOB_STATES),
    error: z.string().optional(),
    model: z.string(),
    labels: z.array(z.string()),
    seed: z.number().int(),
    first: z.number().int(),
    guidance: z.number(),
    top_k: z.number().int(),
    top_p: z.number(),
    temperature: z.number(),
    branches: z.array(
      z.object({ from: z.number().int(), name: z.union([z.string(), z.number()]) }),
    ),
    edit: z
      .object({
        kind,
        keep_scales: z.number().int(),
        blend: blend.optional(),
        feather: z.number().optional(),
        left: z.number().int().optional(),
        top: z.number().int().optional(),
        right: z.number().int().optional(),
        bottom: z.number().int().optional(),
        course: course.optional(),
      })
      .optional(),
    pictures: z.array(JobPictureBody),
    events: z.string().openapi({ description: "Where its events stream" }),
  })
  .openapi("Job");

export const JobList = z
  .object({
    data: z.array(JobBody),
    next: z.string().optional().openapi({ description: "`before` of the next page" }),
  })
  .openapi("JobList");

export const RunBody = z
  .object({
    name: z.string(),
    config: z.record(z.string(), z.unknown()),
    step: z.number().int(),
    updated: z.number().int().openapi({ description: "Milliseconds since 1970" }),
    metrics: z.record(z.string(), z.number()),
    sheets: z.array(z.string()),
    alarms: z.number().int(),
  })
  .openapi("Run");

export const RunList = z.object({ data: z.array(RunBody) }).openapi("RunList");

/** The first thing that is wrong with a request, as a sentence. */
export function refusal(error: z.ZodError): InputError {
  const [issue] = error.issues;
  const param = issue?.path.join(".") ?? "";
  const what = issue?.message.replace(/^Invalid input: /, "") ?? "it cannot be read";
  return new InputError(`${param || "the request"}: ${what}; see /openapi.json`, {
    param: param || null,
  });
}
