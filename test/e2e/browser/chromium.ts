/** A real browser on a page bundled from the sources, served on a loopback port. Tests nothing itself. */

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { isBuiltin } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { build, type Rolldown } from "vite";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Why there is no browser to test in; undefined where there is one. */
export const noBrowser = existsSync(EXECUTABLE)
  ? undefined
  : `${EXECUTABLE} is absent; apt-get install chromium`;

const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** WebGPU without a graphics processor: Chromium's own Vulkan in software. Slow, and as exact as any. */
export const SOFTWARE_GPU = [
  ...ARGS.filter((arg) => arg !== "--disable-gpu"),
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
];

/** How any browser of these tests is started. */
export const LAUNCH = { executablePath: EXECUTABLE, args: ARGS } as const;

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".png": "image/png",
};

/** Cross-origin isolation: without it a page has no shared memory, so WebAssembly no threads. */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/** What a server answers, by path. */
export type Files = ReadonlyMap<string, string | Uint8Array>;

export interface Bundle {
  readonly files: Files;
  /** Which module imports what only Node has; empty where the bundle is fit for a browser. */
  readonly leaks: readonly string[];
}

/**
 * Bundles page.ts as a program of a user would be: no alias but vitest's, which the page replaces.
 * @param options.worker "iife" is Vite's default: each worker is one file
 */
export async function bundlePage({ worker = "es" as "es" | "iife" } = {}): Promise<Bundle> {
  const leaks: string[] = [];
  const built = (await build({
    root: HERE,
    configFile: false,
    logLevel: "silent",
    worker: { format: worker },
    resolve: { alias: { vitest: join(HERE, "runner.ts") } },
    plugins: [
      {
        name: "leaks",
        enforce: "pre",
        resolveId(id: string, importer: string | undefined) {
          if (isBuiltin(id) || id === "sharp" || id === "onnxruntime-node")
            leaks.push(`${importer} imports ${id}`);
        },
      },
    ],
    build: {
      write: false,
      minify: false, // errors bear the names of their classes
      target: "es2023",
      rolldownOptions: { input: join(HERE, "page.ts"), output: { entryFileNames: "page.js" } },
    },
  })) as Rolldown.RolldownOutput;
  const files = new Map<string, string | Uint8Array>([
    ["/", '<!doctype html><title>underpaint</title><script type="module" src="page.js"></script>'],
    ["/favicon.ico", ""],
  ]);
  for (const file of built.output)
    files.set(`/${file.fileName}`, file.type === "chunk" ? file.code : file.source);
  return { files, leaks };
}

/** A browser and a server of the given files. Has a life: close it. */
export interface Browser {
  /** A fresh page, loaded. What it complains of is put into `complaints`. */
  open(): Promise<Page>;
  /** Errors of any page: uncaught, on the console, or answers that failed. */
  readonly complaints: readonly string[];
  close(): Promise<void>;
}

export async function openBrowser(
  files: Files,
  options: Parameters<typeof launch>[0] = {},
): Promise<Browser> {
  const server = createServer(({ url = "/" }, answer) => {
    const body = files.get(url);
    const type = TYPES[url === "/" ? ".html" : extname(url)] ?? "application/octet-stream";
    answer.writeHead(body === undefined ? 404 : 200, { ...HEADERS, "Content-Type": type });
    answer.end(body);
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  };
  const launched = await launch(options).catch(async (error) => {
    await stop();
    throw error;
  });
  return {
    complaints: launched.complaints,
    async close() {
      await launched.close();
      await stop();
    },
    async open() {
      const page = await launched.page();
      await page.goto(`http://127.0.0.1:${port}/`);
      await page.waitForFunction(() => "calls" in globalThis);
      return page;
    },
  };
}

/** A browser without pages. Has a life: close it. */
export interface Launched {
  readonly context: BrowserContext;
  /** An empty page; what it complains of is put into `complaints`. */
  page(): Promise<Page>;
  readonly complaints: readonly string[];
  close(): Promise<void>;
}

export async function launch(
  options: Parameters<typeof chromium.launchPersistentContext>[1] = {},
): Promise<Launched> {
  const profile = await mkdtemp(join(tmpdir(), "underpaint-chromium-"));
  const clear = () => rm(profile, { recursive: true, force: true, maxRetries: 5 });
  const complaints: string[] = [];
  const context = await chromium
    .launchPersistentContext(profile, { executablePath: EXECUTABLE, args: ARGS, ...options })
    .catch(async (error) => {
      await clear();
      throw error;
    });
  return {
    context,
    complaints,
    async page() {
      const page = await context.newPage();
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
      return page;
    },
    async close() {
      await context.close();
      await clear();
    },
  };
}
