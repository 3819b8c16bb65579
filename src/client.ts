/** A client for `underpaint serve` over fetch alone: browsers, Node, workers. Draws nothing itself. */

/** What a server answers when something is wrong: the sentence, the status and OpenAI's code. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly status: number;
  readonly code: string | null;
  /** Seconds to wait before asking again, where the server says so. */
  readonly retryAfter: number | undefined;
  constructor(
    message: string,
    status: number,
    { code = null as string | null, retryAfter = undefined as number | undefined } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export interface ClientOptions {
  /** Where the server is; default the page's own origin. */
  url?: string;
  key?: string;
  /** Default the global one. */
  fetch?: typeof globalThis.fetch;
}

export interface ModelInfo {
  readonly id: string;
  readonly labels: readonly string[];
  /** Of its pictures, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Its token maps, coarse to fine: sides of squares, or [height, width]. */
  readonly patch_nums: readonly (number | readonly [height: number, width: number])[];
  readonly guidance: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly temperature: number;
  /** What it runs in. */
  readonly precision: "fp32" | "int8";
}

/** What to draw; names and units as in the server's /openapi.json. */
export interface DrawRequest {
  model?: string;
  label?: string;
  labels?: readonly string[];
  count?: number;
  seed?: number;
  first?: number;
  guidance?: number;
  top_k?: number;
  top_p?: number;
  temperature?: number;
  branches?: readonly { from: number; name: string | number }[];
  /** Every scale is told. Default true. */
  scales?: boolean;
  /** The job ends when its events are no longer listened to. Default false. */
  attached?: boolean;
  /** Bytes of a PNG, JPEG or WebP to edit, and its mask. */
  image?: Uint8Array;
  mask?: Uint8Array;
  /** Bytes of the picture that the way leads to: "interpolate", whose steps are `count`. */
  other?: Uint8Array;
  /** What is done with the image. Default "paint" where there is a mask or transparency, else "vary". */
  kind?: EditKind;
  keep_scales?: number;
  blend?: "none" | "feather" | "seamless";
  /** Pixels; default 2, less where what is drawn is thin. */
  feather?: number;
  /** Pixels to add: "extend". */
  left?: number;
  top?: number;
  right?: number;
  bottom?: number;
  /** Which scales of the way go first. */
  course?: Course;
}

export type EditKind = "paint" | "vary" | "extend" | "enlarge" | "interpolate";
export type Course = "together" | "coarse" | "fine";

/** How a job changes its picture; which fields there are depends on the kind. */
export interface Edit {
  readonly kind: EditKind;
  readonly keep_scales: number;
  readonly blend?: "none" | "feather" | "seamless";
  readonly feather?: number;
  readonly left?: number;
  readonly top?: number;
  readonly right?: number;
  readonly bottom?: number;
  readonly course?: Course;
}

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

export interface JobPicture {
  readonly place: number;
  readonly index: number;
  readonly label: string;
  readonly width: number;
  readonly height: number;
  readonly url: string;
}

export interface Job {
  readonly id: string;
  readonly created: number;
  readonly ended?: number;
  readonly state: JobState;
  readonly error?: string;
  readonly model: string;
  readonly labels: readonly string[];
  readonly seed: number;
  readonly first: number;
  readonly guidance: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly temperature: number;
  readonly branches: readonly { readonly from: number; readonly name: string | number }[];
  /** Where it changes a picture. */
  readonly edit?: Edit;
  readonly pictures: readonly JobPicture[];
}

export type JobEvent =
  | { readonly kind: "state"; readonly state: JobState; readonly error?: string }
  | {
      readonly kind: "scale";
      /** Which picture of the request, from 0. */
      readonly place: number;
      /** k of K, from 0; an extension counts the scales of all its windows, and may leave some out. */
      readonly scale: number;
      readonly of: number;
      /** Of this scale's token map. */
      readonly shape: readonly [height: number, width: number];
      /** Tokens of this scale, row by row. */
      readonly ids: readonly number[];
      /** How undecided the model was about each token: entropy over log V, 0 to 1. */
      readonly doubt: readonly number[];
      readonly b64_json: string;
    }
  | ({ readonly kind: "picture"; readonly b64_json: string } & JobPicture);

export interface Run {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly step: number;
  readonly updated: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly sheets: readonly string[];
  readonly alarms: number;
}

export type RunEvent =
  | { readonly kind: "metrics"; readonly line: Readonly<Record<string, number>> }
  | { readonly kind: "alarm"; readonly line: Readonly<Record<string, unknown>> };

interface Wait {
  signal?: AbortSignal;
}

export interface Client {
  models(options?: Wait): Promise<readonly ModelInfo[]>;
  /** Hands in a job; it is drawn when its turn comes. */
  submit(request: DrawRequest, options?: Wait): Promise<Job>;
  /** What happens to a job, from its beginning to its end. */
  events(id: string, options?: Wait): AsyncGenerator<JobEvent>;
  /** Hands in a job and tells what happens to it; going away cancels it. */
  draw(request: DrawRequest, options?: Wait): AsyncGenerator<JobEvent>;
  job(id: string, options?: Wait): Promise<Job>;
  /** Newest first; `before` is the name of the last one of the page before. */
  jobs(options?: Wait & { limit?: number; before?: string }): Promise<readonly Job[]>;
  /** Cancels a job on its way, removes one that is over. */
  remove(id: string, options?: Wait): Promise<Job>;
  runs(options?: Wait): Promise<readonly Run[]>;
  /** Metrics and alarms of a training run, until the signal. */
  runEvents(name: string, options?: Wait): AsyncGenerator<RunEvent>;
  /** The bytes of something the server named: a picture, a sheet. */
  file(path: string, options?: Wait): Promise<Blob>;
  /** The address of something the server named. */
  address(path: string): string;
}

/** @throws ServerError from every call, where the server refuses */
export function connect({ url = "", key, fetch = globalThis.fetch }: ClientOptions = {}): Client {
  const base = url.replace(/\/+$/, "");
  const headers: Record<string, string> = key ? { Authorization: `Bearer ${key}` } : {};
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const response = await fetch(base + path, {
      ...init,
      headers: { ...headers, ...init.headers },
    });
    if (!response.ok) throw await refusal(response);
    return response;
  };
  const json = async <T>(path: string, init?: RequestInit): Promise<T> =>
    (await (await ask(path, init)).json()) as T;
  const submit: Client["submit"] = ({ image, mask, other, ...rest }, { signal } = {}) => {
    const files = { image, mask, other };
    const packed = Object.entries(files).map(([name, bytes]) => [name, bytes && base64(bytes)]);
    const body = { ...rest, ...Object.fromEntries(packed) };
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, signal };
    return json<Job>("/jobs", { ...init, body: JSON.stringify(body) });
  };
  const events: Client["events"] = async function* (id, { signal } = {}) {
    for await (const { event, data } of eventsOf(
      await ask(`/jobs/${encodeURIComponent(id)}/events`, { signal }),
    ))
      yield { kind: event, ...(data as object) } as JobEvent;
  };
  return {
    models: async ({ signal } = {}) =>
      (await json<{ data: ModelInfo[] }>("/v1/models", { signal })).data,
    submit,
    events,
    async *draw(request, options) {
      const { id } = await submit({ ...request, attached: true }, options);
      yield* events(id, options);
    },
    job: (id, { signal } = {}) => json<Job>(`/jobs/${encodeURIComponent(id)}`, { signal }),
    async jobs({ limit = 50, before, signal } = {}) {
      const query = new URLSearchParams({ limit: String(limit), ...(before ? { before } : {}) });
      return (await json<{ data: Job[] }>(`/jobs?${query}`, { signal })).data;
    },
    remove: (id, { signal } = {}) =>
      json<Job>(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE", signal }),
    runs: async ({ signal } = {}) => (await json<{ data: Run[] }>("/runs", { signal })).data,
    async *runEvents(name, { signal } = {}) {
      const stream = await ask(`/runs/${encodeURIComponent(name)}/events`, { signal });
      for await (const { event, data } of eventsOf(stream))
        yield { kind: event, line: data } as RunEvent;
    },
    file: async (path, { signal } = {}) => (await ask(path, { signal })).blob(),
    address: (path) => base + path,
  };
}

async function refusal(response: Response): Promise<ServerError> {
  const { status } = response;
  const body = (await response.json().catch(() => ({}))) as {
    error?: { message?: string; code?: string | null };
  };
  const wait = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return new ServerError(body.error?.message ?? `the server answered ${status}`, status, {
    code: body.error?.code ?? null,
    retryAfter: Number.isFinite(wait) ? wait : undefined,
  });
}

/** Server-sent events of an answer (HTML standard, section 9.2), as far as our server writes them. */
async function* eventsOf(response: Response): AsyncGenerator<{ event: string; data: unknown }> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop()!;
      for (const block of blocks) {
        const fields = block.split("\n").map((line) => /^(\w+): (.*)$/.exec(line));
        const field = (name: string) => fields.find((f) => f?.[1] === name)?.[2];
        const data = field("data");
        if (data !== undefined)
          yield { event: field("event") ?? "message", data: JSON.parse(data) };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** In pieces, as a call takes only so many arguments. */
function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000)
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
