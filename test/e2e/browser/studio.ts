/** The studio for tests: built into a folder of its own, served by the real server or as exported files. Tests nothing itself. */

import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { embeddedModels, MODEL_FILES } from "../../../src/image/embedded.node.ts";
import { exportStudio, type RunningServer, startServer } from "../../../src/server/index.ts";
import { newFolder } from "../cli.ts";

const STUDIO = fileURLToPath(new URL("../../../studio", import.meta.url));

/** A fresh build; about two seconds. */
export async function buildStudio(): Promise<string> {
  const outDir = join(await newFolder(), "studio");
  const configFile = join(STUDIO, "vite.config.ts");
  await build({ root: STUDIO, configFile, logLevel: "silent", build: { outDir, write: true } });
  return outDir;
}

/** The server of `underpaint studio` with the embedded model, on a free port. */
export async function serveStudio(
  studio: string,
  { runs, keys }: { runs?: string; keys?: string } = {},
): Promise<RunningServer> {
  const models = embeddedModels().map(({ name, folder }) => ({
    name,
    files: {
      var: join(folder, MODEL_FILES.var),
      vqvae: join(folder, MODEL_FILES.vqvae),
    },
  }));
  const folder = await newFolder();
  return startServer({
    studio,
    models,
    folder,
    runs,
    keys,
    port: 0,
    version: "test",
    now: Date.now,
  });
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

export interface StaticSite {
  /** With the base path and a slash. */
  readonly url: string;
  close(): Promise<void>;
}

/** The exported studio under a base path, from a host that knows no headers but the type. */
export async function staticStudio(studio: string, base = "/a/b/"): Promise<StaticSite> {
  const folder = join(await newFolder(), "site");
  await exportStudio(folder, [embeddedModels()[0]!.name], { studio });
  const server = createServer(async ({ url = "/" }, answer) => {
    const path = url.startsWith(base) ? url.slice(base.length) || "index.html" : undefined;
    const bytes = path && (await readFile(join(folder, path)).catch(() => undefined));
    const type = TYPES[extname(path ?? "")] ?? "application/octet-stream";
    answer.writeHead(bytes ? 200 : 404, { "Content-Type": type });
    answer.end(bytes || undefined);
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${base}`,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
