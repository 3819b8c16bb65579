/**
 * WebGPU in Chromium, on its software adapter: the conformance suite, and a model in the page. Speed is not looked at.
 * Skipped where there is no Chromium, or none with that adapter.
 */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadVar } from "../../src/image/model.ts";
import { mapTokens } from "../../src/image/scales.ts";
import { CASES } from "../conformance/cases.ts";
import { SKIPPED_ON_ORT_WEBGPU } from "../conformance/skips.ts";
import { call, MODELS } from "./browser/calls.ts";
import {
  type Browser,
  bundlePage,
  noBrowser,
  openBrowser,
  SOFTWARE_GPU,
} from "./browser/chromium.ts";
import type { Asked } from "./browser/requests.ts";
import { draw } from "./browser/work.ts";

const suite = noBrowser ? describe.skip : describe;
suite(noBrowser ? `WebGPU (skipped: ${noBrowser})` : "WebGPU", () => {
  let browser: Browser;
  let page: Page;
  let hasAdapter = false;
  const fetched: string[] = [];
  const runtime = () => fetched.filter((url) => /\.asyncify\b.*\.wasm$/.test(url));

  beforeAll(async () => {
    const files = new Map((await bundlePage()).files);
    const { var: transformer, vqvae } = MODELS.tiny!;
    files.set("/tiny/var.safetensors", transformer);
    files.set("/tiny/vqvae.safetensors", vqvae);
    browser = await openBrowser(files, { args: SOFTWARE_GPU });
    page = await browser.open();
    page.context().on("request", (request) => fetched.push(request.url()));
    hasAdapter = await page.evaluate(async () => {
      const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<unknown> } };
      return Boolean(await gpu?.requestAdapter());
    });
    if (!hasAdapter) console.warn("skipped: this Chromium has no software adapter for WebGPU");
  }, 60_000);
  afterAll(() => browser?.close(), 60_000);

  const asked: Asked[] = [
    { label: "food", seed: 1, count: 2 },
    { seed: 3, guidance: 0, branches: [{ from: 2, name: "b" }] },
  ];

  test("a small model stays on WebAssembly, and the other runtime is not fetched", async (t) => {
    if (!hasAdapter) t.skip();
    const { on } = await call(page, "webOn", "tiny", { backend: "auto", asked });
    expect(on).toMatchObject({ backend: "wasm", reason: "small" });
    expect(runtime()).toEqual([]);
  });

  test("asked for, it draws on WebGPU what Node draws", async (t) => {
    if (!hasAdapter) t.skip();
    const there = await call(page, "webOn", "tiny", { backend: "webgpu", asked });
    expect(there.on).toMatchObject({ backend: "webgpu", reason: "asked", threads: 1 });
    expect(runtime()).toHaveLength(1);
    expect(there.scales).toBe(4);
    // Not promised: rounding differs from adapter to adapter. These seeds have no near ties.
    const [one] = there.told;
    const { ids } = await draw(MODELS.tiny!, { ...asked[0], backend: "ort-node" } as never);
    const model = await loadVar(MODELS.tiny!, { backend: "ort-node" });
    const own = ids.map((all, k) => {
      const tokens = mapTokens(model.patchNums[k]!);
      return [0, 1].map((place) => all.slice(place * tokens, (place + 1) * tokens));
    });
    await model.release();
    for (const [k, [first, second]] of own.entries()) {
      expect(one!.ids[`0/${k}`]).toEqual(first);
      expect(one!.ids[`1/${k}`]).toEqual(second);
    }
    expect(there.told[1]!.pictures).toHaveLength(1);
  }, 60_000);

  test("where the adapter is software, auto would not take it for a large model either", async (t) => {
    if (!hasAdapter) t.skip();
    const flag = await page.evaluate(async () => {
      const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<Adapter> } };
      const adapter = await gpu!.requestAdapter();
      return adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
    });
    expect(flag).toBe(true);
  });

  test("the conformance suite passes, but for cases with a reason", async (t) => {
    if (!hasAdapter) t.skip();
    const outcomes = await call(page, "conformance", "ort-webgpu", SKIPPED_ON_ORT_WEBGPU);
    const of = (state: string) => outcomes.filter((o) => o.state === state);
    expect(of("failed").map(({ name, error }) => `${name}: ${error}`)).toEqual([]);
    expect(of("skipped")).toHaveLength(Object.keys(SKIPPED_ON_ORT_WEBGPU).length);
    expect(of("passed").length).toBeGreaterThan(0.95 * CASES.length);
  }, 180_000);
});

/** What we look at of a GPUAdapter. */
interface Adapter {
  readonly info?: { readonly isFallbackAdapter?: boolean };
  readonly isFallbackAdapter?: boolean;
}
