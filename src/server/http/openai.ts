/** The routes that OpenAI's clients use: models, generations, edits, with their streams. */

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { sizeText } from "../../formats/picture-size.ts";
import type { Job, JobEvent } from "../job.ts";
import { isOver } from "../job.ts";
import type { ServedModel } from "../protocol.ts";
import { type DrawFields, modelFacts } from "../wish.ts";
import { base64, FAILURES, json } from "./answers.ts";
import { askedJob, type Context, labelNames, modelNamed, readInput } from "./context.ts";
import { HttpError } from "./errors.ts";
import { EditRequest, GenerationRequest, ImagesResponse, Model, ModelList } from "./schemas.ts";
import { eventStream, type ServerEvent } from "./sse.ts";

const images = {
  200: {
    description: "The pictures, or with `stream` their events",
    content: {
      "application/json": { schema: ImagesResponse },
      "text/event-stream": { schema: z.string() },
    },
  },
  ...FAILURES,
};

const MODELS = createRoute({
  method: "get",
  path: "/v1/models",
  summary: "The models that are served",
  responses: { 200: json(ModelList, "All of them"), ...FAILURES },
});
const MODEL = createRoute({
  method: "get",
  path: "/v1/models/{model}",
  summary: "One model",
  request: { params: z.object({ model: z.string() }) },
  responses: { 200: json(Model, "The model"), ...FAILURES },
});
const GENERATE = createRoute({
  method: "post",
  path: "/v1/images/generations",
  summary: "Draws pictures of a class",
  request: {
    body: { required: true, content: { "application/json": { schema: GenerationRequest } } },
  },
  responses: images,
});
const EDIT = createRoute({
  method: "post",
  path: "/v1/images/edits",
  summary: "Draws a part of a picture anew, or varies it",
  request: {
    body: { required: true, content: { "multipart/form-data": { schema: EditRequest } } },
  },
  responses: images,
});

const modelBody = (model: ServedModel) => ({
  ...modelFacts(model),
  object: "model" as const,
  created: 0,
  owned_by: "underpaint",
});

export function addOpenAi(app: OpenAPIHono, context: Context): void {
  app.openapi(MODELS, (c) =>
    c.json({ object: "list" as const, data: context.queue.models.map(modelBody) }, 200),
  );
  app.openapi(MODEL, (c) =>
    c.json(modelBody(modelNamed(context, c.req.valid("param").model)), 200),
  );
  app.openapi(GENERATE, async (c) => {
    const fields = c.req.valid("json");
    const { model, prompts } = asked(context, fields);
    const request = askedJob(model, fields, { prompts, scales: wantsScales(fields) });
    const job = await context.queue.submit(request);
    return reply(c.req.raw, { context, job, fields, model, kind: "image_generation" });
  });
  app.openapi(EDIT, async (c) => {
    const fields = c.req.valid("form");
    const { model, prompts } = asked(context, fields);
    const image = fileOf(fields.image ?? fields["image[]"]);
    if (!image)
      throw new HttpError(
        400,
        "image: a picture is wanted as a file of the form; see /openapi.json",
        {
          param: "image",
        },
      );
    const input = await readInput(context, {
      image: await bytesOf(image),
      mask: fields.mask && (await bytesOf(fields.mask)),
    });
    const request = askedJob(model, fields, { prompts, scales: wantsScales(fields), input });
    const job = await context.queue.submit(request, input);
    return reply(c.req.raw, { context, job, fields, model, kind: "image_edit" });
  });
}

const bytesOf = async (file: File): Promise<Uint8Array> => new Uint8Array(await file.arrayBuffer());
const fileOf = (value: unknown): File | undefined => {
  const one = Array.isArray(value) ? value[0] : value;
  return one instanceof File ? one : undefined;
};

interface Fields extends DrawFields {
  readonly prompt: string;
  readonly n: number;
  readonly size?: string;
  readonly response_format?: "b64_json" | "url";
  readonly stream?: boolean;
  readonly partial_images?: number;
  readonly scales?: boolean;
}

function asked(context: Context, { model: name, prompt, n, size }: Fields) {
  const model = modelNamed(context, name);
  const own = sizeText(model.info.size);
  if (size !== undefined && size !== "auto" && size !== own)
    throw new HttpError(400, `size: this model draws ${own}, got "${size}"; use "auto"`, {
      param: "size",
    });
  return { model, prompts: new Array<string>(n).fill(prompt) };
}

const wantsScales = ({ scales = false, stream = false, partial_images = 0 }: Fields): boolean =>
  scales || (stream && partial_images > 0);

interface Reply {
  readonly context: Context;
  readonly job: Job;
  readonly fields: Fields;
  readonly model: ServedModel;
  readonly kind: "image_generation" | "image_edit";
}

/** Waits for the pictures, or streams them. A client that goes away takes its job with it. */
async function reply(request: Request, all: Reply): Promise<Response> {
  if (all.fields.stream) return streamed(request, all);
  const { context, job } = all;
  const { queue, limits } = context;
  const gone = () => void queue.cancel(job.id);
  request.signal.addEventListener("abort", gone);
  const events: JobEvent[] = [];
  try {
    const patience = AbortSignal.timeout(limits.patience * 1000);
    for await (const event of queue.events(job.id, { signal: patience })) events.push(event);
  } catch {
    throw new HttpError(
      503,
      `the pictures are not ready after ${limits.patience} seconds; they will be at /jobs/${job.id}`,
      { code: "not_ready" },
    );
  } finally {
    request.signal.removeEventListener("abort", gone);
  }
  const ended = (await queue.get(job.id))!;
  if (ended.state !== "done") throw failed(ended, events);
  return Response.json(imagesBody(all, ended, events));
}

/** The way a job failed, as an error of its request. */
function failed(job: Job, events: readonly JobEvent[]): HttpError {
  const told = events.find((event) => event.kind === "state" && event.error);
  const text = job.error ?? (told?.kind === "state" ? told.error : undefined);
  if (job.state === "cancelled")
    return new HttpError(400, "the job was cancelled", { code: "cancelled" });
  const inner = text?.startsWith("drawing failed") ?? true;
  return new HttpError(inner ? 500 : 400, text ?? "drawing failed");
}

function imagesBody(
  { context, fields, model, job: { id } }: Reply,
  job: Job,
  events: readonly JobEvent[],
): z.infer<typeof ImagesResponse> {
  const { response_format = "b64_json" } = fields;
  const names = labelNames(context, job);
  const data = job.pictures.map(({ place, index }) => {
    const picture = events.find((e) => e.kind === "picture" && e.picture.place === place);
    const png = picture?.kind === "picture" ? picture.png : new Uint8Array(0);
    const scales = events.flatMap((e) =>
      e.kind === "scale" && e.place === place
        ? [{ scale: e.scale, of: e.of, shape: [...e.shape], b64_json: base64(e.png) }]
        : [],
    );
    return {
      ...(response_format === "url"
        ? { url: `/jobs/${id}/${place}.png` }
        : { b64_json: base64(png) }),
      revised_prompt: names[place]!,
      seed: job.request.seed,
      index,
      ...(fields.scales ? { scales } : {}),
    };
  });
  return {
    created: Math.floor(job.created / 1000),
    data,
    ...constant(job, model),
    usage: usageOf(data.length, model),
    job: id,
  };
}

const constant = ({ pictures: [one] }: Job, { info }: ServedModel) => ({
  background: "opaque" as const,
  output_format: "png" as const,
  quality: "auto" as const,
  size: sizeText(one ?? info.size),
});

/** A class is one token; a picture the tokens of all its scales. */
function usageOf(pictures: number, { info }: ServedModel) {
  const output_tokens = pictures * info.tokens;
  const input_tokens = pictures;
  const input_tokens_details = { text_tokens: input_tokens, image_tokens: 0 };
  return {
    total_tokens: input_tokens + output_tokens,
    input_tokens,
    output_tokens,
    input_tokens_details,
  };
}

/** Scales (of K) that are told as `partial_images`: spread evenly, the last one excepted, as that is the picture. */
export function partialScales(partials: number, K: number): number[] {
  const n = Math.min(partials, K - 1);
  return Array.from({ length: n }, (_, i) => Math.floor(((i + 1) * K) / (n + 1) - 0.5));
}

/** Server-sent events as OpenAI streams them: partial images, then each completed one. */
const streamed = (request: Request, all: Reply): Response =>
  eventStream(request, {
    events: () => openAiEvents(all),
    streams: all.context.streams,
    onGone: () => void all.context.queue.cancel(all.job.id),
  });

async function* openAiEvents({
  context,
  job,
  fields,
  model,
  kind,
}: Reply): AsyncGenerator<ServerEvent> {
  const K = model.patchNums.length;
  const partials = new Set(
    fields.scales
      ? model.patchNums.slice(0, -1).keys()
      : partialScales(fields.partial_images ?? 0, K),
  );
  const common = { created_at: Math.floor(job.created / 1000), ...constant(job, model) };
  const { seed } = job.request;
  const named = (event: string, data: object): ServerEvent => ({
    event,
    data: { type: event, ...data },
  });
  const indices = new Map<number, number>();
  for await (const event of context.queue.events(job.id)) {
    if (event.kind === "scale" && partials.has(event.scale)) {
      const { place, scale, shape, png } = event;
      const partial_image_index = indices.get(place) ?? 0;
      indices.set(place, partial_image_index + 1);
      const own = { b64_json: base64(png), partial_image_index, place, scale, shape };
      yield named(`${kind}.partial_image`, { ...common, ...own });
    } else if (event.kind === "picture") {
      const { place, width, height, index, label } = event.picture;
      const own = {
        size: sizeText({ width, height }),
        b64_json: base64(event.png),
        usage: usageOf(1, model),
      };
      const where = { place, index, seed, revised_prompt: label, job: job.id };
      yield named(`${kind}.completed`, { ...common, ...own, ...where });
    } else if (event.kind === "state" && isOver(event) && event.state !== "done") {
      const { message } = failed({ ...job, state: event.state, error: event.error }, []);
      yield named("error", {
        error: { message, type: "server_error", param: null, code: event.state },
      });
    }
  }
}
