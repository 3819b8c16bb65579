/** The studio's files: how they are served, how large they are, and as a folder of static files that draws by itself. */

import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newKey, type RunningServer } from "../../src/server/index.ts";
import { type Launched, launch, noBrowser } from "./browser/chromium.ts";
import type { StaticHost } from "./browser/static-host.ts";
import { buildStudio, serveStudio, staticStudio } from "./browser/studio.ts";
import { newFolder } from "./cli.ts";

const studio = await buildStudio();

/** As bytes on the wire: no client tidies the path up. */
const raw = (url: string, path: string): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    request({ hostname, port, path }, (answer) => {
      let body = "";
      answer.on("data", (part) => {
        body += part;
      });
      answer.on("end", () => resolve({ status: answer.statusCode!, body }));
    })
      .on("error", reject)
      .end();
  });

test("the pages' scripts together are under 1 MB, packed", () => {
  const files = readdirSync(studio, { recursive: true, encoding: "utf8" });
  const scripts = files.filter((name) => name.endsWith(".js"));
  const packed = scripts.map((name) => gzipSync(readFileSync(join(studio, name))).length);
  expect(scripts.length).toBeGreaterThan(5);
  expect(packed.reduce((a, b) => a + b)).toBeLessThan(1e6);
});

test("no file of the build names another origin to be loaded", () => {
  const files = readdirSync(studio, { recursive: true, encoding: "utf8" });
  for (const name of files.filter((n) => /\.(html|css)$/.test(n))) {
    const text = readFileSync(join(studio, name), "utf8");
    expect(text.match(/(src|href|url\()[="'(\s]*(https?:)?\/\//g), name).toBeNull();
  }
});

describe("served", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await serveStudio(studio);
  }, 60_000);
  afterAll(async () => {
    await server?.close({ signal: AbortSignal.abort() });
  });

  test("pages come with a strict policy, isolated, and are asked for anew; their parts are kept", async () => {
    const page = await fetch(server.url);
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(page.headers.get("cache-control")).toBe("no-cache");
    const policy = page.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe-inline|unsafe-eval(?<!wasm-unsafe-eval)|https?:|\*/);
    expect(page.headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(page.headers.get("cross-origin-embedder-policy")).toBe("require-corp");
    const [, script] = /src="\.\/(assets\/[^"]+\.js)"/.exec(await page.text())!;
    const part = await fetch(`${server.url}/${script}`);
    expect(part.headers.get("cache-control")).toMatch(/immutable/);
    expect(part.headers.get("content-type")).toMatch(/^text\/javascript/);
    const etag = part.headers.get("etag")!;
    const again = await fetch(`${server.url}/${script}`, { headers: { "If-None-Match": etag } });
    expect(again.status).toBe(304);
    const wasm = readdirSync(join(studio, "assets")).find((name) => name.endsWith(".wasm"))!;
    const head = await fetch(`${server.url}/assets/${wasm}`, { method: "HEAD" });
    expect(head.headers.get("content-type")).toBe("application/wasm");
  });

  test("nothing but the list of files is read, whatever the path says", async () => {
    for (const path of [
      "/../package.json",
      "/assets/../../../package.json",
      "/assets/%2e%2e/%2e%2e/package.json",
      "/..%2fpackage.json",
      "/models/emoji64/../../package.json",
      "/%00",
      "//etc/passwd",
      "/assets\\..\\..\\package.json",
    ]) {
      const { status, body } = await raw(server.url, path);
      expect([400, 404], path).toContain(status);
      expect(body).not.toContain("devDependencies");
    }
  });

  test("studio.json names the engine and the models that pages can load", async () => {
    const config = (await (await fetch(`${server.url}/studio.json`)).json()) as {
      engine: string;
      models: { info: { id: string; labels: string[] }; var: string; bytes: number }[];
    };
    expect(config.engine).toBe("server");
    const [model] = config.models;
    expect(model!.info.labels.length).toBeGreaterThan(3);
    const file = await fetch(`${server.url}/${model!.var}`);
    expect(Number(file.headers.get("content-length"))).toBeLessThan(model!.bytes);
    expect((await file.arrayBuffer()).byteLength).toBeGreaterThan(1e5);
  });
});

test("with keys the pages are there, and what draws is not", async () => {
  const { line } = newKey("test");
  const keys = join(await newFolder(), "keys.txt");
  await writeFile(keys, `${line}\n`);
  const server = await serveStudio(studio, { keys });
  try {
    expect((await fetch(server.url)).status).toBe(200);
    expect((await fetch(`${server.url}/v1/models`)).status).toBe(401);
  } finally {
    await server.close({ signal: AbortSignal.abort() });
  }
});

const suite = noBrowser ? describe.skip : describe;
suite(noBrowser ? `exported (skipped: ${noBrowser})` : "exported", () => {
  let site: StaticHost;
  let browser: Launched;
  beforeAll(async () => {
    site = await staticStudio(studio);
    browser = await launch();
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  test("draws in the page under any address, on one thread, and keeps what it drew", async () => {
    const page = await browser.page();
    await page.goto(site.url);
    const config = await page.evaluate(async () => (await fetch("studio.json")).json());
    expect(config.engine).toBe("page");
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    await page.getByRole("button", { name: "Draw", exact: true }).click();
    await page.locator('main img[src^="blob:"]').first().waitFor({ timeout: 40_000 });
    await expect.poll(() => page.evaluate(keptJobs), { timeout: 40_000 }).toContain("done");
    await page.getByText("More", { exact: true }).click();
    const now = page.locator("[data-backend]");
    expect(await now.textContent()).toMatch(
      /on WebAssembly, 1 thread \(a model this small.*More threads need a host/s,
    );
    await page.getByRole("radio", { name: "WebGPU" }).check({ force: true });
    await page.getByText("a seed can give another picture than elsewhere").waitFor();
    await page.getByRole("button", { name: "Draw", exact: true }).click();
    await now
      .getByText(/on WebAssembly.*graphics processor|no WebGPU/)
      .waitFor({ timeout: 40_000 });
    await page.reload(); // the choice is remembered
    await page.getByText("More", { exact: true }).click();
    expect(await page.getByRole("radio", { name: "WebGPU" }).isChecked()).toBe(true);
    expect(browser.complaints).toEqual([]);
  });
});

/** In the page: states of the jobs of its gallery. */
function keptJobs(): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const open = indexedDB.open("underpaint");
    open.onerror = () => reject(open.error);
    open.onsuccess = () => {
      const all = open.result.transaction("jobs").objectStore("jobs").getAll();
      all.onsuccess = () => resolve(all.result.map(({ state }) => state));
    };
  });
}
