/** Training runs over HTTP: what there is, how it stands, and new lines of metrics as they are written. */

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { FAILURES, png, STREAM } from "./answers.ts";
import type { Context } from "./context.ts";
import { HttpError } from "./errors.ts";
import type { RunsFolder } from "./run-files.ts";
import { RunBody, RunList } from "./schemas.ts";
import { eventStream, type ServerEvent } from "./sse.ts";

const params = z.object({ name: z.string().max(256) });
const LIST = createRoute({
  method: "get",
  path: "/runs",
  summary: "Training runs of the served folder",
  responses: {
    200: { description: "All of them", content: { "application/json": { schema: RunList } } },
    ...FAILURES,
  },
});
const GET = createRoute({
  method: "get",
  path: "/runs/{name}",
  summary: "One run as it stands",
  request: { params },
  responses: {
    200: { description: "The run", content: { "application/json": { schema: RunBody } } },
    ...FAILURES,
  },
});
const EVENTS = createRoute({
  method: "get",
  path: "/runs/{name}/events",
  summary:
    "Lines of metrics from the beginning and as they are written (event metrics), then alarms (event alarm)",
  request: { params },
  responses: {
    200: STREAM,
    ...FAILURES,
  },
});
const SHEET = createRoute({
  method: "get",
  path: "/runs/{name}/sheets/{file}",
  summary: "A sample sheet",
  request: { params: params.extend({ file: z.string().max(256) }) },
  responses: {
    200: png("PNG"),
    ...FAILURES,
  },
});

/** How often the files are looked at. */
const EVERY = 1000;

export function addRuns(app: OpenAPIHono, { runs, streams }: Context): void {
  const missing = (name: string) =>
    new HttpError(404, `there is no run "${name}"; GET /runs lists them`, { param: "name" });
  app.openapi(LIST, async (c) => c.json({ data: (await runs?.list())?.map(bodyOf) ?? [] }, 200));
  app.openapi(GET, async (c) => {
    const { name } = c.req.valid("param");
    const state = await runs?.read(name);
    if (!state) throw missing(name);
    return c.json(bodyOf(state), 200);
  });
  app.openapi(EVENTS, async (c) => {
    const { name } = c.req.valid("param");
    if (!runs || !(await runs.read(name))) throw missing(name);
    return eventStream(c.req.raw, { events: (signal) => follow(runs, name, signal), streams });
  });
  app.openapi(SHEET, async (c) => {
    const { name, file } = c.req.valid("param");
    const png = await runs?.sheet(name, file);
    if (!png) throw missing(`${name}/sheets/${file}`);
    return c.body(new Uint8Array(png), 200, { "Content-Type": "image/png" });
  });
}

const bodyOf = (
  state: Awaited<ReturnType<RunsFolder["list"]>>[number],
): z.infer<typeof RunBody> => ({
  ...state,
  sheets: [...state.sheets],
});

/** Until the client goes: a run has no end that its files tell. */
async function* follow(
  runs: RunsFolder,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<ServerEvent> {
  let [from, told] = [0, 0];
  while (!signal.aborted) {
    const part = await runs.lines(name, from);
    if (!part) return;
    from = part.next;
    for (const line of part.lines) yield { event: "metrics", data: JSON.parse(line) as object };
    const alarms = (await runs.alarms(name)) ?? [];
    for (const line of alarms.slice(told))
      yield { event: "alarm", data: JSON.parse(line) as object };
    told = alarms.length;
    if (part.lines.length === 0) await rest(EVERY, signal);
  }
}

const rest = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
  });
