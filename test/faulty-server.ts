/** A local HTTP server that fails as told, request by request. For tests of downloads; serves no real model. */

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How one request is answered. `cut` bytes of the body come before the fault. */
export type Fault =
  | { readonly kind: "ok" }
  /** Breaks the connection after some bytes. */
  | { readonly kind: "drop"; readonly cut: number }
  /** Breaks the connection before the headers. */
  | { readonly kind: "refuse" }
  | { readonly kind: "status"; readonly status: number; readonly headers?: Headers }
  /** Answers a range with the whole file. */
  | { readonly kind: "ignore range" }
  /** Sends no validator. */
  | { readonly kind: "no etag" }
  /** The validator is weak: equal meaning, not equal bytes. */
  | { readonly kind: "weak etag" }
  /** Announces `more` bytes than there are, or fewer. */
  | { readonly kind: "length"; readonly more: number }
  /** Chunked, without a length. */
  | { readonly kind: "chunked"; readonly cut?: number }
  /** Neither a length nor chunks: the end of the connection is the end of the file. */
  | { readonly kind: "until close"; readonly cut: number }
  /** One byte of the body is another, under the same validator. */
  | { readonly kind: "flip"; readonly at: number }
  /** From now on another file, under another validator. */
  | { readonly kind: "replace"; readonly body: Uint8Array }
  /** A range that was not asked for. */
  | { readonly kind: "wrong range" }
  | { readonly kind: "redirect"; readonly to: string }
  /** Sends some bytes and then nothing. */
  | { readonly kind: "stall"; readonly cut: number }
  | { readonly kind: "compressed" };

type Headers = Readonly<Record<string, string>>;

export interface FaultyServer {
  readonly url: string;
  /** Answers of the next requests in order; after them the server is well. */
  readonly faults: Fault[];
  /** Header fields of all requests so far, and paths. */
  readonly requests: { readonly path: string; readonly headers: IncomingMessage["headers"] }[];
  /** Files by path. */
  readonly files: Map<string, Uint8Array>;
  /** Header fields of every answer, e.g. those of a hub. */
  extra: (path: string) => Headers;
  close(): Promise<void>;
}

const etagOf = (body: Uint8Array): string =>
  `"${createHash("sha1").update(body).digest("hex").slice(0, 12)}"`;

/** Starts a server on the loopback with files by path ("/f"). */
export async function faultyServer(
  files: Readonly<Record<string, Uint8Array>> = {},
): Promise<FaultyServer> {
  const http = createServer((request, response) => answer(server, request, response));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const server: FaultyServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    faults: [],
    requests: [],
    files: new Map(Object.entries(files)),
    extra: () => ({}),
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
  return server;
}

function answer(server: FaultyServer, request: IncomingMessage, response: ServerResponse): void {
  const path = request.url!.split("?")[0]!;
  server.requests.push({ path, headers: request.headers });
  const fault = server.faults.shift() ?? { kind: "ok" };
  if (fault.kind === "refuse") return void request.socket.destroy();
  if (fault.kind === "status")
    return void response.writeHead(fault.status, fault.headers).end("no");
  if (fault.kind === "redirect")
    return void response.writeHead(302, { location: fault.to, ...server.extra(path) }).end("there");
  if (fault.kind === "replace") server.files.set(path, fault.body);
  const file = server.files.get(path);
  if (!file) return void response.writeHead(404).end("none");
  serve({ server, request, response, path, file, fault });
}

interface Serving {
  readonly server: FaultyServer;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly file: Uint8Array;
  readonly fault: Fault;
}

function serve({ server, request, response, path, file, fault }: Serving): void {
  const etag = etagOf(file);
  const { range, "if-range": ifRange } = request.headers;
  const asked = /^bytes=(\d+)-$/.exec(range ?? "");
  const fresh = ifRange === undefined || ifRange === etag;
  const from = asked && fresh && fault.kind !== "ignore range" ? Number(asked[1]) : 0;
  if (from > 0 && from >= file.length)
    return void response.writeHead(416, { "content-range": `bytes */${file.length}` }).end();
  const body = Buffer.from(file.subarray(from));
  if (fault.kind === "flip" && body.length > 0) body[fault.at % body.length]! ^= 1;
  const headers: Record<string, string> = {};
  if (fault.kind === "weak etag") headers.etag = `W/${etag}`;
  else if (fault.kind !== "no etag") headers.etag = etag;
  const shift = fault.kind === "wrong range" ? 1 : 0;
  if (from > 0)
    headers["content-range"] = `bytes ${from - shift}-${file.length - 1 - shift}/${file.length}`;
  if (fault.kind === "compressed") headers["content-encoding"] = "gzip";
  Object.assign(headers, server.extra(path));
  const more = fault.kind === "length" ? fault.more : 0;
  if (fault.kind === "until close") {
    untilClose(request, headers, body.subarray(0, fault.cut));
    return;
  }
  if (fault.kind !== "chunked") headers["content-length"] = String(Math.max(0, body.length + more));
  response.writeHead(from > 0 ? 206 : 200, headers);
  const cut =
    fault.kind === "drop" || fault.kind === "stall" || fault.kind === "chunked"
      ? fault.cut
      : undefined;
  if (more < 0) return void response.end(body.subarray(0, Math.max(0, body.length + more)));
  if (cut === undefined && more === 0) return void response.end(body);
  response.write(body.subarray(0, cut ?? body.length), () => {
    // Later, so that the bytes before the fault arrive.
    if (fault.kind !== "stall") setTimeout(() => response.destroy(), 5);
  });
  if (body.length === 0 || cut === 0) response.flushHeaders();
}

/** By hand: Node's own server would add chunks. */
function untilClose(request: IncomingMessage, headers: Headers, body: Uint8Array): void {
  const lines = Object.entries({ ...headers, connection: "close" }).map(([k, v]) => `${k}: ${v}`);
  request.socket.write(`HTTP/1.1 200 OK\r\n${lines.join("\r\n")}\r\n\r\n`);
  request.socket.end(body);
}
