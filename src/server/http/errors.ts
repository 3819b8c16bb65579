/** From whatever was thrown to an answer in OpenAI's error form. One table; throws nothing. */

import { InputError } from "../../formats/errors.ts";
import { Closing, QueueFull } from "../queue.node.ts";

export interface ApiError {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export interface Answer {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 429 | 500 | 503;
  readonly body: ApiError;
  readonly headers?: Record<string, string>;
}

/** Thrown by routes that know their status. */
export class HttpError extends Error {
  readonly status: Answer["status"];
  readonly param: string | null;
  readonly code: string | null;
  constructor(
    status: Answer["status"],
    message: string,
    { param = null, code = null }: { param?: string | null; code?: string | null } = {},
  ) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

/** OpenAI's names of kinds of errors. */
const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "server_error",
};

const answer = (
  status: Answer["status"],
  message: string,
  {
    param = null,
    code = null,
    headers,
  }: { param?: string | null; code?: string | null; headers?: Record<string, string> } = {},
): Answer => ({
  status,
  body: { error: { message, type: TYPES[status] ?? "invalid_request_error", param, code } },
  headers,
});

/** The answer to an error. What is our own fault tells nothing of the inside. */
export function answerTo(error: unknown): Answer {
  if (error instanceof HttpError) return answer(error.status, error.message, error);
  if (error instanceof QueueFull)
    return answer(429, error.message, {
      code: "queue_full",
      headers: { "Retry-After": String(error.seconds) },
    });
  if (error instanceof Closing)
    return answer(503, error.message, { headers: { "Retry-After": "5" } });
  if (error instanceof InputError) {
    const { param, tooLarge } = error.data as { param?: string; tooLarge?: boolean };
    return answer(tooLarge ? 413 : 400, error.message, { param: param ?? null });
  }
  return answer(500, "something went wrong in the server; its log says more", {
    code: "internal_error",
  });
}
