/** Our own routes: jobs with every scale as it is drawn, and the gallery of what was drawn. */

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { InputError } from "../../formats/errors.ts";
import { editFacts } from "../edits.ts";
import { isJobId, isOver, type Job, type JobEvent } from "../job.ts";
import { type JobInput, promptsOf } from "../wish.ts";
import { base64, FAILURES, png, STREAM } from "./answers.ts";
import { askedJob, type Context, labelNames, modelNamed, readInput } from "./context.ts";
import { HttpError } from "./errors.ts";
import { JobBody, JobList, JobRequestBody } from "./schemas.ts";
import { eventStream } from "./sse.ts";

const job = (description: string) => ({
  description,
  content: { "application/json": { schema: JobBody } },
});
const params = z.object({ id: z.string().openapi({ example: "0mz4k8a1c-0123456789abcdef" }) });

const SUBMIT = createRoute({
  method: "post",
  path: "/jobs",
  summary: "Asks for pictures; they are drawn when their turn comes",
  request: {
    body: { required: true, content: { "application/json": { schema: JobRequestBody } } },
  },
  responses: {
    202: job("Accepted: it is on disk and will be drawn, also after a restart"),
    ...FAILURES,
  },
});
const LIST = createRoute({
  method: "get",
  path: "/jobs",
  summary: "The gallery: jobs, newest first",
  request: {
    query: z.object({
      limit: z.coerce.number().int().min(1).max(200).default(50),
      before: z.string().max(64).optional(),
    }),
  },
  responses: {
    200: { description: "A page", content: { "application/json": { schema: JobList } } },
    ...FAILURES,
  },
});
const GET = createRoute({
  method: "get",
  path: "/jobs/{id}",
  summary: "One job as it stands",
  request: { params },
  responses: { 200: job("The job"), ...FAILURES },
});
const CANCEL = createRoute({
  method: "delete",
  path: "/jobs/{id}",
  summary: "Cancels a job on its way; removes one that is over",
  request: { params },
  responses: { 200: job("The job as it was left"), ...FAILURES },
});
const EVENTS = createRoute({
  method: "get",
  path: "/jobs/{id}/events",
  summary: "What happens to a job, from the beginning: events state, scale and picture",
  request: { params },
  responses: {
    200: STREAM,
    ...FAILURES,
  },
});
const PICTURE = createRoute({
  method: "get",
  path: "/jobs/{id}/{file}",
  summary: "A finished picture: place and .png, such as 0.png",
  request: { params: params.extend({ file: z.string() }) },
  responses: {
    200: png("PNG with its parameters inside"),
    ...FAILURES,
  },
});

export function addJobs(app: OpenAPIHono, context: Context): void {
  const { queue, store } = context;
  const found = async (id: string): Promise<Job> => {
    const one = isJobId(id) ? await queue.get(id) : undefined;
    if (one) return one;
    throw new HttpError(404, `there is no job "${id}"; GET /jobs lists them`, { param: "id" });
  };

  app.openapi(SUBMIT, async (c) => {
    const body = c.req.valid("json");
    const model = modelNamed(context, body.model);
    const input = await inputOf(context, body);
    const prompts = promptsOf(body, { edits: input !== undefined });
    if (prompts.length === 0)
      throw new InputError("labels: at least one is wanted", { param: "labels" });
    const request = askedJob(model, body, {
      prompts,
      scales: body.scales,
      branches: body.branches,
      input,
    });
    const accepted = await queue.submit(request, input);
    if (body.attached) context.attached.add(accepted.id);
    return c.json(bodyOf(context, accepted), 202, { Location: `/jobs/${accepted.id}` });
  });
  app.openapi(LIST, async (c) => {
    const { limit, before } = c.req.valid("query");
    const jobs = await store.list({ most: limit, before });
    const now = await Promise.all(jobs.map(async (one) => (await queue.get(one.id)) ?? one));
    const next = jobs.length === limit ? jobs.at(-1)!.id : undefined;
    return c.json({ data: now.map((one) => bodyOf(context, one)), next }, 200);
  });
  app.openapi(GET, async (c) => c.json(bodyOf(context, await found(c.req.valid("param").id)), 200));
  app.openapi(CANCEL, async (c) => {
    const one = await found(c.req.valid("param").id);
    if (isOver(one)) {
      await store.remove(one.id);
      return c.json(bodyOf(context, one), 200);
    }
    return c.json(bodyOf(context, (await queue.cancel(one.id))!), 200);
  });
  app.openapi(EVENTS, async (c) => {
    const one = await found(c.req.valid("param").id);
    const last = Number(c.req.header("Last-Event-ID") ?? -1);
    const from = Number.isSafeInteger(last) && last >= 0 ? last + 1 : 0;
    return eventStream(c.req.raw, {
      events: (signal) => jobEvents(context, one.id, { from, signal }),
      streams: context.streams,
      onGone: () => {
        if (context.attached.delete(one.id)) void queue.cancel(one.id);
      },
    });
  });
  app.openapi(PICTURE, async (c) => {
    const { id, file } = c.req.valid("param");
    const one = await found(id);
    const place = /^(\d{1,4})\.png$/.exec(file)?.[1];
    const png = place === undefined ? undefined : await store.readPicture(one.id, Number(place));
    if (!png)
      throw new HttpError(404, `job ${id} has no picture "${file}" (yet); GET /jobs/${id} tells`, {
        param: "file",
      });
    return c.body(new Uint8Array(png), 200, {
      "Content-Type": "image/png",
      "Cache-Control": "private, max-age=31536000, immutable",
    });
  });
}

async function* jobEvents(
  { queue }: Context,
  id: string,
  { from, signal }: { from: number; signal: AbortSignal },
) {
  let number = from;
  for await (const event of queue.events(id, { from, signal }))
    yield { id: number++, event: event.kind, data: eventBody(id, event) };
}

/** PNGs as base64; a finished picture by its address. */
function eventBody(id: string, event: JobEvent): object {
  if (event.kind === "scale") {
    const { kind: _, png, ...rest } = event;
    return { ...rest, b64_json: base64(png) };
  }
  if (event.kind === "picture")
    return {
      ...event.picture,
      url: `/jobs/${id}/${event.picture.place}.png`,
      b64_json: base64(event.png),
    };
  return { state: event.state, error: event.error };
}

/** @throws InputError for a mask or another picture without an image, and where they cannot be read */
async function inputOf(
  context: Context,
  { image, mask, other, kind }: z.infer<typeof JobRequestBody>,
): Promise<JobInput | undefined> {
  for (const [param, given] of Object.entries({ mask, other }))
    if (given && !image) throw new InputError(`${param}: it needs an image; send both`, { param });
  if (!image) return undefined;
  const bytes = (text: string | undefined, param: string) =>
    text === undefined ? undefined : bytesOf(text, param);
  const files = { image: bytesOf(image, "image"), mask: bytes(mask, "mask") };
  return readInput(context, { ...files, other: bytes(other, "other") }, kind);
}

function bytesOf(text: string, param: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0)
    throw new InputError(`${param}: it is no base64; send the bytes of a PNG, JPEG or WebP so`, {
      param,
    });
  return Buffer.from(text, "base64");
}

function bodyOf(context: Context, one: Job): z.infer<typeof JobBody> {
  const { id, created, ended, state, error, request, pictures } = one;
  const { model, seed, first, drawing, branches, edit } = request;
  return {
    id,
    created,
    ended,
    state,
    error,
    model,
    labels: labelNames(context, one),
    seed,
    first,
    guidance: drawing.guidance,
    top_k: drawing.topK,
    top_p: drawing.topP,
    temperature: drawing.temperature,
    branches: [...branches],
    edit: edit && editFacts(edit),
    pictures: pictures.map((picture) => ({ ...picture, url: `/jobs/${id}/${picture.place}.png` })),
    events: `/jobs/${id}/events`,
  };
}
