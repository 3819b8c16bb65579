/** One GET of a file or of its rest: redirects by our rules, headers checked. Writes nothing and never tries twice. */

import { InputError } from "./errors.ts";
import { isSha256 } from "./sha256.node.ts";

/** The network or the other side failed. Not bad input: the same command may work later. Exit code 1. */
export class DownloadError extends Error {
  override readonly name = "DownloadError";
  /** Whether trying again may help. */
  readonly retry: boolean;
  /** The bytes before `from` are not this file's: ask for all of it. */
  readonly anew: boolean;
  /** Milliseconds that the server asks to wait. */
  readonly wait: number | undefined;

  constructor(
    message: string,
    { retry = false, anew = false, wait }: { retry?: boolean; anew?: boolean; wait?: number } = {},
  ) {
    super(message);
    this.retry = retry;
    this.anew = anew;
    this.wait = wait;
  }
}

/** What the server sends: bytes of the file from `from` on. */
export interface Reply {
  /** The first byte of the body within the file: 0 where the server sends all of it. */
  readonly from: number;
  /** Bytes of the whole file; undefined where only the end of the body tells. */
  readonly size: number | undefined;
  /** A strong validator (RFC 9110, 8.8.1), for going on later; weak ones do not promise equal bytes. */
  readonly etag: string | undefined;
  /** SHA-256 of the whole file, where a hub tells it beforehand. */
  readonly sha256: string | undefined;
  /** The version of the hub's repository. */
  readonly commit: string | undefined;
  /** Throws DownloadError where it breaks off. Breaking out of the loop closes the connection. */
  readonly body: AsyncGenerator<Uint8Array>;
}

export interface RequestOptions {
  /** The first byte that is wanted. */
  from?: number;
  /** Only if the file still has this validator; otherwise the server sends all of it. */
  etag?: string;
  /** Milliseconds without a byte after which the connection counts as broken. */
  idle?: number;
  signal?: AbortSignal;
}

const MOST_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** What a status means and whether trying again may help; others are told by their number. */
const STATUS: Readonly<Record<number, { why: string; retry?: boolean }>> = {
  401: { why: "it wants a login; choose another mirror" },
  403: { why: "it refuses access; choose another mirror" },
  404: { why: "it has no such file; check the address of the mirror" },
  407: { why: "a proxy on the way wants a login" },
  408: { why: "it waited too long for us", retry: true },
  410: { why: "the file is gone; choose another mirror" },
  416: { why: "it has fewer bytes than were received before", retry: true },
  425: { why: "it asks to come later", retry: true },
  429: { why: "it asks for fewer requests", retry: true },
  451: { why: "it may not hand out this file here; choose another mirror" },
};

/** What the system says under "fetch failed". Others are tried again. */
const CAUSE: Readonly<Record<string, { why: string; retry: boolean }>> = {
  ENOTFOUND: { why: "there is no host of that name; check the connection", retry: false },
  EAI_AGAIN: { why: "its name could not be looked up", retry: true },
  ECONNREFUSED: { why: "it refused the connection", retry: true },
  ECONNRESET: { why: "it broke the connection", retry: true },
  UND_ERR_SOCKET: { why: "it broke the connection", retry: true },
  UND_ERR_CONNECT_TIMEOUT: { why: "it does not answer", retry: true },
  UND_ERR_HEADERS_TIMEOUT: { why: "it does not answer", retry: true },
  UND_ERR_BODY_TIMEOUT: { why: "it stopped sending", retry: true },
  ETIMEDOUT: { why: "it does not answer", retry: true },
};
const CERTIFICATE = /CERT|SIGNATURE/;

/**
 * Asks for a file. Redirects may lead to https, or stay on the host they started from: never down to plain http
 * elsewhere. Nothing that the server says names a file here.
 * @throws DownloadError, saying whether to try again; InputError where `url` is no address of the web
 */
export async function requestFile(url: string, options: RequestOptions = {}): Promise<Reply> {
  const { from = 0, etag, idle = 60_000, signal } = options;
  const stall = new AbortController();
  const watch = watchIdle(stall, idle);
  const headers: Record<string, string> = {
    // Compressed on the way, ranges and lengths would mean other bytes.
    "accept-encoding": "identity",
    "user-agent": "underpaint",
  };
  if (from > 0) headers.range = `bytes=${from}-`;
  if (from > 0 && etag !== undefined) headers["if-range"] = etag;
  const init: RequestInit = {
    headers,
    redirect: "manual",
    signal: signal ? AbortSignal.any([signal, stall.signal]) : stall.signal,
  };
  let at = webAddress(url);
  let first: Response | undefined;
  for (let hops = 0; ; hops++) {
    let response: Response;
    try {
      response = await watch(fetch(at, init));
    } catch (error) {
      throw broken(at, error, signal);
    }
    first ??= response;
    if (!REDIRECTS.has(response.status)) {
      try {
        const facts = { ...replyFacts(at, response, from), ...hubFacts(first) };
        return { ...facts, body: bodyOf(at, response, { watch, signal }) };
      } catch (error) {
        await response.body?.cancel().catch(() => {});
        throw error;
      }
    }
    await response.body?.cancel().catch(() => {});
    if (hops === MOST_REDIRECTS)
      throw new DownloadError(`${shown(at)}: more than ${MOST_REDIRECTS} redirects; it is a loop`);
    at = redirected(at, response.headers.get("location"));
  }
}

/** An address without its query, which may be signed, long, or secret. */
const shown = (url: URL): string => `${url.origin}${url.pathname}`;

function webAddress(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol === "https:" || parsed?.protocol === "http:") return parsed;
  throw new InputError(
    `${JSON.stringify(url)} is no address that files come from; it must begin with https://`,
    { url },
  );
}

function redirected(from: URL, location: string | null): URL {
  const to = location !== null && URL.canParse(location, from) ? new URL(location, from) : null;
  if (to === null) throw new DownloadError(`${shown(from)}: it redirects to nowhere`);
  const near = to.origin === from.origin || (isLoopback(from) && isLoopback(to));
  if (to.protocol === "https:" || (to.protocol === "http:" && near)) return to;
  throw new DownloadError(
    `${shown(from)}: it redirects to ${shown(to)}, which is not https; choose another mirror`,
  );
}

const isLoopback = ({ hostname }: URL): boolean =>
  hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);

/** Waits for `work`, but gives the stall signal when nothing comes for `idle` milliseconds. */
function watchIdle(stall: AbortController, idle: number) {
  return async <T>(work: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => stall.abort(new Stalled(idle)), idle);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  };
}

class Stalled extends Error {
  constructor(idle: number) {
    super(`nothing came for ${Math.round(idle / 1000)} s`);
  }
}

/** What `fetch` or its body threw, as ours. */
function broken(at: URL, error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof Stalled)
    return new DownloadError(`${shown(at)}: ${error.message}`, { retry: true });
  const { cause } = error as { cause?: { code?: string; message?: string } };
  const code = cause?.code ?? "";
  if (CERTIFICATE.test(code))
    return new DownloadError(
      `${shown(at)}: its certificate is not trusted (${code}); where a proxy signs, name its certificate in NODE_EXTRA_CA_CERTS`,
    );
  const { why, retry } = CAUSE[code] ?? {
    why: `the connection failed (${code || (cause?.message ?? (error as Error).message)})`,
    retry: true,
  };
  return new DownloadError(`${shown(at)}: ${why}`, { retry });
}

/** What the headers say of the body. @throws DownloadError where they contradict the request or each other */
function replyFacts(at: URL, { status, headers }: Response, from: number) {
  const fail = (why: string, anew = false): never => {
    throw new DownloadError(`${shown(at)}: ${why}`, { retry: anew, anew });
  };
  if (status !== 200 && !(status === 206 && from > 0)) {
    const { why, retry = status >= 500 } = STATUS[status] ?? { why: "it cannot serve the file" };
    throw new DownloadError(`${shown(at)}: HTTP ${status}, ${why}`, {
      retry,
      anew: status === 416,
      wait: retryAfter(headers),
    });
  }
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity")
    fail(`it sends the file compressed (${encoding}); choose another mirror`);
  const tag = headers.get("etag");
  const etag = tag !== null && /^"[\x21\x23-\x7e]*"$/.test(tag) ? tag : undefined;
  const length = wholeNumber(headers.get("content-length"));
  if (status === 200) {
    // Without either, a broken connection would look like the end of the file.
    if (length === undefined && !/\bchunked\b/i.test(headers.get("transfer-encoding") ?? ""))
      fail("it does not tell how long the file is; choose another mirror");
    return { from: 0, size: length, etag };
  }
  const range = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(
    headers.get("content-range") ?? "",
  );
  const [begin, end, size] = (range ?? []).slice(1).map(Number);
  if (begin !== from || end! < begin || end! >= size!)
    return fail(`it sent another range than bytes from ${from}`, true);
  return { from, size, etag };
}

/** What a hub for models says before it redirects to its store: huggingface_hub reads the same headers. */
function hubFacts({ headers }: Response) {
  const linked = headers.get("x-linked-etag")?.replace(/^"|"$/g, "");
  const commit = headers.get("x-repo-commit");
  return {
    sha256: isSha256(linked) ? linked : undefined,
    commit: commit !== null && /^[0-9a-f]{40}$/.test(commit) ? commit : undefined,
  };
}

const wholeNumber = (text: string | null): number | undefined =>
  text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;

/** Milliseconds. A date counts from the server's own clock, not from ours. */
function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  const seconds = wholeNumber(text);
  if (seconds !== undefined) return seconds * 1000;
  const ms = Date.parse(text ?? "") - Date.parse(headers.get("date") ?? "");
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

async function* bodyOf(
  at: URL,
  response: Response,
  { watch, signal }: { watch: ReturnType<typeof watchIdle>; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await watch(reader.read());
      if (done) return;
      yield value;
    }
  } catch (error) {
    throw broken(at, error, signal);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
