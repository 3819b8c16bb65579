/** Kinds of answers that routes share, as the OpenAPI document tells them, and bytes as text. Answers nothing. */

import { z } from "@hono/zod-openapi";
import { ErrorBody } from "./schemas.ts";

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

/** What any route may answer. */
export const FAILURES = Object.fromEntries(
  [400, 401, 404, 413, 429, 500, 503].map((status) => [
    status,
    json(ErrorBody, "A sentence that says what is wrong"),
  ]),
);

export const STREAM = {
  description: "Server-sent events",
  content: { "text/event-stream": { schema: z.string() } },
};

export const png = (description: string) => ({
  description,
  content: { "image/png": { schema: z.string().openapi({ format: "binary" }) } },
});

export const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
