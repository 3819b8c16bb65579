/** All routes behind their checks, and the OpenAPI document. Listens to nothing: see serve.node.ts. */

import { OpenAPIHono } from "@hono/zod-openapi";
import { bodyLimit } from "hono/body-limit";
import { secureHeaders } from "hono/secure-headers";
import { PAGE_POLICY, type StudioFiles } from "../studio.node.ts";
import { allowOrigins, type KeyHash, onlyOwnNames, requireKey } from "./access.ts";
import type { Context } from "./context.ts";
import { type Answer, answerTo, HttpError } from "./errors.ts";
import { addJobs } from "./jobs.ts";
import { addOpenAi } from "./openai.ts";
import { addRuns } from "./runs.ts";
import { refusal } from "./schemas.ts";
import { serveStudio } from "./studio.ts";

export interface AppOptions extends Context {
  readonly version: string;
  /** Hashes of the keys that are let in; none for everybody. */
  readonly keys: readonly KeyHash[];
  /** Origins of pages that may ask. */
  readonly origins: readonly string[];
  /** The server is reached from this machine only. */
  readonly loopback: boolean;
  /** Milliseconds that only grow. */
  readonly clock: () => number;
  /** Pages, open to everybody that may reach the server: they hold nothing but the program. */
  readonly studio?: StudioFiles;
  /** For errors that are our own. */
  readonly log: (line: string) => void;
}

/** Small bodies: everything but pictures. */
const SMALL_BODY = 1_000_000;
const WITH_PICTURES = new Set(["/v1/images/edits", "/jobs"]);

export function createApp(options: AppOptions): OpenAPIHono {
  const { limits, counters, keys, origins, loopback, clock, log, version, studio } = options;
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw refusal(result.error);
    },
  });
  const send = ({ status, body, headers }: Answer) =>
    Response.json(body, { status, headers: { ...headers, "Cache-Control": "no-store" } });

  app.use(async (c, next) => {
    const begin = clock();
    await next();
    counters.request(c.req.routePath, c.res.status, (clock() - begin) / 1000);
  });
  const guarded = (policy: Readonly<Record<string, string[]>>) =>
    secureHeaders({
      contentSecurityPolicy: { ...policy, frameAncestors: ["'none'"] },
      crossOriginOpenerPolicy: "same-origin",
      crossOriginEmbedderPolicy: "require-corp", // both together give pages threads
    });
  const [answers, pages] = [guarded({ defaultSrc: ["'none'"] }), guarded(PAGE_POLICY)];
  app.use((c, next) => (studio?.has(c.req.path) ? pages : answers)(c, next));
  if (loopback) app.use(onlyOwnNames);
  app.use(allowOrigins(origins));
  if (studio) app.use(serveStudio(studio));
  app.use(requireKey(keys));
  app.use(async (c, next) => {
    const maxSize = WITH_PICTURES.has(c.req.path) ? limits.body : SMALL_BODY;
    const tooLarge = () => {
      throw new HttpError(
        413,
        `the request is larger than ${maxSize} bytes; send smaller pictures`,
      );
    };
    return bodyLimit({ maxSize, onError: tooLarge })(c, next);
  });

  addOpenAi(app, options);
  addJobs(app, options);
  addRuns(app, options);
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/metrics", (c) =>
    c.text(counters.text(), 200, { "Content-Type": "text/plain; version=0.0.4" }),
  );
  app.openAPIRegistry.registerComponent("securitySchemes", "key", {
    type: "http",
    scheme: "bearer",
  });
  app.doc31("/openapi.json", {
    openapi: "3.1.0",
    info: {
      title: "Underpaint",
      version,
      description:
        "Pictures by next-scale prediction: OpenAI's image routes, and jobs that tell every scale.",
      license: { name: "MIT" },
    },
    servers: [{ url: "/" }],
    security: keys.length ? [{ key: [] }] : [],
  });
  app.notFound((c) =>
    send(
      answerTo(
        new HttpError(404, `there is nothing at ${c.req.method} ${c.req.path}; see /openapi.json`),
      ),
    ),
  );
  app.onError((error, c) => {
    const answer = answerTo(isMalformed(error) ? malformed(error) : error);
    if (answer.status === 500)
      log(`${c.req.method} ${c.req.path}: ${error.stack ?? error.message}`);
    return send(answer);
  });
  return app;
}

/** Hono's own refusals: a body that is no JSON, or of another type. */
const isMalformed = (error: Error): boolean =>
  "getResponse" in error || error instanceof SyntaxError;
const malformed = (error: Error): HttpError =>
  new HttpError(400, `the request cannot be read (${error.message}); see /openapi.json`);
