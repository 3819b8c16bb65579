/** The engine, the formats and sampling in a real browser, compared with Node. Skipped where there is no Chromium. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePng, encodePng } from "../../src/formats/png.ts";
import { CASES } from "../conformance/cases.ts";
import { SKIPPED_ON_ORT_WEB } from "../conformance/skips.ts";
import { call, MODELS } from "./browser/calls.ts";
import { type Browser, bundlePage, noBrowser, openBrowser } from "./browser/chromium.ts";
import { type DrawOptions, draw, train } from "./browser/work.ts";

const TEXT = { parameters: "seed 3, größer" };
const pixels = (channels: number) => {
  const data = Uint8Array.from({ length: 13 * 7 * channels }, (_, i) => (i * i * 31) % 256);
  return { width: 13, height: 7, channels, data };
};

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
/** The command and the server are Node's own. */
const OF_NODE = /^(cli|server|chunks\/server)\b/;
test.skipIf(!existsSync(DIST))(
  "no built file but of the command and the server imports Node's modules",
  () => {
    const files = readdirSync(DIST, { recursive: true, encoding: "utf8" });
    const built = files.filter((name) => name.endsWith(".js") && !OF_NODE.test(name));
    expect(built.length).toBeGreaterThan(10);
    const imports = /^(import|export)\b[^;]*["']node:/m;
    expect(built.filter((name) => imports.test(readFileSync(join(DIST, name), "utf8")))).toEqual(
      [],
    );
  },
);

const suite = noBrowser ? describe.skip : describe;
suite(noBrowser ? `in Chromium (skipped: ${noBrowser})` : "in Chromium", () => {
  let browser: Browser;
  let page: Page;
  let leaks: readonly string[];

  beforeAll(async () => {
    const bundle = await bundlePage();
    leaks = bundle.leaks;
    const files = new Map(bundle.files);
    for (const [name, { var: transformer, vqvae }] of Object.entries(MODELS)) {
      files.set(`/${name}/var.safetensors`, transformer);
      files.set(`/${name}/vqvae.safetensors`, vqvae);
    }
    files.set("/picture.png", await encodePng(pixels(3), { text: TEXT }));
    browser = await openBrowser(files);
    page = await browser.open();
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
  });

  test("every public entry bundles without Node's modules, and loads", async () => {
    expect(leaks).toEqual([]);
    const { exports } = JSON.parse(
      readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
    );
    const entries = Object.keys(exports).filter(
      (name) => !["./package.json", "./server", "./web/worker"].includes(name),
    );
    const names = await call(page, "entries");
    expect(Object.keys(names).sort()).toEqual(entries.sort());
    expect(names["."]).toEqual(Object.keys(await import("../../src/index.ts")).sort());
  });

  test("the page is isolated, and its backend is WebAssembly", async () => {
    expect(await call(page, "facts")).toEqual({ isolated: true, backend: "ort-web" });
  });

  test("files on disk are refused in a sentence", async () => {
    expect(await call(page, "fileOnDisk")).toMatch(/^InputError: files on disk need Node/);
  });

  test("the conformance suite passes", async () => {
    const outcomes = await call(page, "conformance", "ort-web", SKIPPED_ON_ORT_WEB);
    const of = (state: string) => outcomes.filter((o) => o.state === state);
    expect(of("failed").map(({ name, error }) => `${name}: ${error}`)).toEqual([]);
    expect(of("skipped").map(({ name }) => name.replace(/ \(skipped: .*/, ""))).toEqual(
      Object.keys(SKIPPED_ON_ORT_WEB),
    );
    const passed = new Set(of("passed").map(({ name }) => name));
    expect(CASES.filter(({ name }) => !passed.has(name))).toEqual([]);
    expect(passed.size).toBeGreaterThan(CASES.length);
  }, 60_000);

  const drawings: [what: string, model: string, options: Omit<DrawOptions, "backend">][] = [
    ["with the usual filters", "tiny", { seed: 3, count: 3 }],
    ["unfiltered", "tiny", { seed: 4, count: 2, label: 1, topK: 0, topP: 0, guidance: 1 }],
    ["with smooth codes", "tiny", { seed: 5, count: 2, moreSmooth: true }],
    ["on two threads", "tiny", { seed: 3, count: 3, threads: 2 }],
    ["by the embedded model", "emoji64", { seed: 3, count: 2 }],
  ];
  for (const [what, model, options] of drawings.filter(([, name]) => MODELS[name]))
    test(`the same seed gives the same tokens and pixels, ${what}`, async () => {
      const fresh = options.threads ? await browser.open() : page; // a page settles threads once
      const there = await call(fresh, "sample", model, options);
      if (options.threads) {
        expect(fresh.workers().length).toBeGreaterThan(0);
        await fresh.close();
      }
      const here = await draw(MODELS[model]!, { ...options, backend: "ort-node" });
      expect(new Set(here.ids.flat()).size).toBeGreaterThan(5);
      expect(there.ids).toEqual(here.ids);
      expect(there.pixels.length).toBe(here.pixels.length);
      // Two builds of the same kernels add in different orders: about 1e-6 was seen.
      const off = here.pixels.map((x, i) => Math.abs(x - there.pixels[i]!));
      expect(off.reduce((a, b) => Math.max(a, b))).toBeLessThan(1 / 255);
    });

  test("a PNG is read and written, as the browser's own decoder confirms", async () => {
    const { bytes, shown, ...read } = await call(page, "png", "/picture.png");
    const { data, ...size } = pixels(3);
    expect(read).toEqual({ ...size, data: [...data], text: TEXT });
    expect(shown).toEqual([...data]);
    const back = await decodePng(Uint8Array.from(bytes));
    expect({ ...back, data: [...back.data] }).toEqual(read);
  });

  test("training steps give the same losses", async () => {
    const [there, here] = [await call(page, "train"), await train("ort-node")];
    expect(there).toHaveLength(3);
    for (const [i, { loss, gradNorm }] of here.entries()) {
      expect(Math.abs(there[i]!.loss - loss)).toBeLessThan(1e-5);
      expect(Math.abs(there[i]!.gradNorm / gradNorm - 1)).toBeLessThan(1e-4);
    }
    expect(here[2]!.loss).toBeLessThan(here[0]!.loss);
  });

  test("no page complained, but of the run that the suite breaks on purpose", () => {
    expect(browser.complaints.filter((text) => !text.includes("word_embed/Gather"))).toEqual([]);
  });
});
