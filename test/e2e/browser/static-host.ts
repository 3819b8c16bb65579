/** A folder on a host that knows no more than the types of files. Tests nothing itself. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

export interface StaticHost {
  /** With the base path and a slash. */
  readonly url: string;
  close(): Promise<void>;
}

export interface HostOptions {
  base?: string;
  /** Besides the type; asked at every request. */
  headers?: () => Readonly<Record<string, string>>;
  /** Is given what was fetched. */
  onSent?: (bytes: Buffer) => void;
}

/** On a free port of loopback. */
export async function hostFolder(
  folder: string,
  { base = "/", headers = () => ({}), onSent = () => {} }: HostOptions = {},
): Promise<StaticHost> {
  const server = createServer(async ({ url = "/" }, answer) => {
    const path = url.startsWith(base) ? url.slice(base.length) || "index.html" : undefined;
    const bytes = path && (await readFile(join(folder, path)).catch(() => undefined));
    if (bytes) onSent(bytes);
    const type = TYPES[extname(path ?? "")] ?? "application/octet-stream";
    answer.writeHead(bytes ? 200 : 404, { "Content-Type": type, ...headers() });
    answer.end(bytes || undefined);
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${base}`,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
