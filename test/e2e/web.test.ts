/** `underpaint/web` in Chromium beside Node: the same requests, the same tokens. Skipped where there is no Chromium. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodePng } from "../../src/formats/png.ts";
import { encodePicture } from "../../src/image/edit/tokens.ts";
import { loadVar, type Var } from "../../src/image/model.ts";
import { mapShape } from "../../src/image/scales.ts";
import { drawWishes, isCanvas, served } from "../../src/server/drawer.ts";
import {
  indexOf,
  jobInput,
  jobRequest,
  labelName,
  promptsOf,
  wishFor,
} from "../../src/server/wish.ts";
import { readPicture } from "../../src/web/picture.ts";
import type { DrawEvent } from "../../src/web/protocol.ts";
import { call, MODELS } from "./browser/calls.ts";
import { type Browser, bundlePage, noBrowser, openBrowser } from "./browser/chromium.ts";
import { type Asked, collect, requestOf, type Told } from "./browser/requests.ts";

/** A made-up picture of a size, and a mask that draws its middle anew. */
const png = async (size: number, at: (x: number, y: number, c: number) => number) => {
  const data = new Uint8Array(size * size * 3);
  for (let i = 0; i < data.length; i++) {
    const p = Math.floor(i / 3);
    data[i] = at(p % size, Math.floor(p / size), i % 3);
  }
  return [...(await encodePng({ width: size, height: size, channels: 3, data }))];
};
const picture = (size: number) => png(size, (x, y, c) => (x * 7 + y * 5 * (c + 1) + x * y) % 256);
const mask = (size: number) =>
  png(size, (x, y) => (Math.abs(x - size / 2) < size / 4 && y > size / 3 ? 255 : 0));

/** What the worker does, here: the reference. */
async function* here(model: Var, asked: Asked): AsyncGenerator<DrawEvent> {
  const request = requestOf(asked);
  const facts = served("here", model);
  const { seed = 0, branches, image, mask, other, kind } = request;
  const prompts = promptsOf(request, { edits: image !== undefined });
  const read = async (bytes: Uint8Array | undefined) => bytes && (await readPicture(bytes));
  const input =
    image &&
    jobInput(
      { image: await readPicture(image), mask: await read(mask), other: await read(other) },
      kind,
    );
  const job = jobRequest(facts, { ...request, seed }, { prompts, scales: true, branches, input });
  const wishes = prompts.map((_, place) => wishFor(facts, job, { place, input }));
  const alone = isCanvas(facts.info, wishes[0]!);
  for (const batch of alone ? wishes.map((wish) => [wish]) : [wishes])
    for await (const step of drawWishes(model, batch, { signal: new AbortController().signal })) {
      if (step.kind !== "scale") continue;
      for (const { wish, ...drawn } of step.drawn) {
        const place = alone ? wishes.indexOf(batch[0]!) : wish;
        yield { ...step, ...drawn, place } as DrawEvent;
        const name = labelName(facts, job.labels[place]!);
        if (step.scale === step.of - 1)
          yield { kind: "picture", ...drawn, place, index: indexOf(job, place), seed, label: name };
      }
    }
}

const suite = noBrowser ? describe.skip : describe;
suite(noBrowser ? `in Chromium (skipped: ${noBrowser})` : "in Chromium", () => {
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    const files = new Map((await bundlePage()).files);
    for (const [name, { var: transformer, vqvae }] of Object.entries(MODELS)) {
      files.set(`/${name}/var.safetensors`, transformer);
      files.set(`/${name}/vqvae.safetensors`, vqvae);
    }
    browser = await openBrowser(files);
    page = await browser.open();
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
  });

  // Unfiltered, a near tie among a thousand codes may fall the other way: the two runtimes add in different orders.
  for (const name of Object.keys(MODELS))
    test(`${name}: every token of drawings, branches and edits is Node's`, async () => {
      const model = await loadVar(MODELS[name]!, { backend: "ort-node" });
      const size = model.size.width;
      const K = model.patchNums.length;
      const [image, hole] = [await picture(size), await mask(size)];
      const [large, largeHole] = [await picture(2 * size), await mask(2 * size)];
      const asked: Asked[] = [
        { label: "food", seed: 1, count: 2 },
        { label: "none", seed: 2, guidance: 0 },
        { seed: 3, count: 2, temperature: 1.2 },
        { labels: ["faces", "food"], seed: 4294967295, first: 5 },
        { label: "food", seed: 1, branches: [{ from: K - 2, name: "b" }] },
        { label: "food", seed: 5, image, mask: hole },
        { label: "faces", seed: 6, image, keep_scales: 2, count: 2 },
        { label: "food", seed: 7, image: large, mask: largeHole, count: 2 },
        { kind: "extend", seed: 8, image, left: size / 4, bottom: 3 },
        { kind: "enlarge", label: "food", seed: 9, image: await picture(size / 2), count: 2 },
        { kind: "interpolate", seed: 10, image, other: large, count: 3, keep_scales: K - 1 },
      ];
      const there = await call(page, "web", name, asked);
      const all = new Set<number>();
      for (const [i, one] of asked.entries()) {
        const own: Told = await collect(here(model, one));
        expect(there[i]!.ids, JSON.stringify({ ...one, image: !!one.image })).toEqual(own.ids);
        expect(there[i]!.pictures.map(({ label }) => label)).toEqual(
          own.pictures.map(({ label }) => label),
        );
        for (const id of Object.values(own.ids).flat()) all.add(id);
        for (const [n, { pixels }] of own.pictures.entries()) {
          const off = pixels.map((v, p) => Math.abs(v - there[i]!.pictures[n]!.pixels[p]!));
          expect(off.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(1);
        }
      }
      expect(all.size).toBeGreaterThan(20);
      expect(there[8]!.pictures[0]!.pixels).toHaveLength(3 * 1.25 * size * (size + 3));
      expect(there[9]!.pictures[0]!.pixels).toHaveLength(3 * size * size);
      expect(there[10]!.pictures.map(({ note }) => note)).toMatchObject(
        [0, 0.5, 1].map((part) => ({ index: 0, edit: { kind: "interpolate", part } })),
      );
      expect(there[4]!.pictures[0]!.note).toMatchObject({
        model: name,
        seed: 1,
        precision: "fp32",
        branches: [{ from: K - 2, name: "b" }],
      });
      await model.release();
    });

  test("an abort ends a draw within a scale, and the next one is drawn as ever", async () => {
    const then = { label: "food", seed: 1 };
    const [alone] = await call(page, "web", "tiny", [then]);
    const stopped = await call(page, "webStopped", "tiny", then);
    expect(stopped).toMatchObject({ scales: 1, reason: "AbortError" });
    expect(stopped.next.ids).toEqual(alone!.ids);
    expect(stopped.refused).toBe("InputError");
    expect(stopped.closed).toBe("the model was closed");
  });

  test("a picture unfolds into the tokens that Node finds, and less is missing at the end", async () => {
    const [name] = Object.keys(MODELS).reverse(); // a trained one where it lies in the checkout
    const model = await loadVar(MODELS[name!]!, { backend: "ort-node" });
    const image = await picture(model.size.width);
    const scales = await call(page, "unfold", name!, image);
    const { data, width, height } = await readPicture(Uint8Array.from(image));
    const own = await encodePicture(model, { width, height, channels: 3, data });
    expect(scales.map(({ ids }) => ids)).toEqual(own.ids.map((ids) => [...ids]));
    expect(scales.map(({ shape }) => shape)).toEqual(model.patchNums.map(mapShape));
    if (name !== "tiny") expect(scales.at(-1)!.lengths[1]).toBeLessThan(scales[0]!.lengths[0] / 2);
    await model.release();
  });

  test("WebGPU, asked for where there is none, is WebAssembly with a reason", async () => {
    const options = { backend: "webgpu", asked: [{ seed: 1 }] } as const;
    const { on, told } = await call(page, "webOn", "tiny", options);
    expect(on.backend).toBe("wasm");
    expect(["no-webgpu", "no-adapter"]).toContain(on.reason);
    expect(on.threads).toBeGreaterThan(1); // the page is isolated
    expect(told[0]!.pictures).toHaveLength(1);
  });

  test("what cannot be fetched is told in a sentence", async () => {
    const failed = await call(page, "web", "nowhere", [{}]).catch((error: Error) => error.message);
    expect(failed).toMatch(/nowhere\/v\w+\.safetensors: the server answered 404/);
  });

  test("threads draw as well where a bundler made the worker one file", async () => {
    const asked = [{ label: "food", seed: 1 }];
    const files = new Map((await bundlePage({ worker: "iife" })).files);
    files.set("/tiny/var.safetensors", MODELS.tiny!.var);
    files.set("/tiny/vqvae.safetensors", MODELS.tiny!.vqvae);
    const other = await openBrowser(files);
    try {
      const lone = await other.open();
      const options = { backend: "wasm", asked, threads: 2 } as const;
      const { on, told } = await call(lone, "webOn", "tiny", options);
      expect(on.threads).toBe(2);
      expect(told[0]!.ids).toEqual((await call(page, "web", "tiny", asked))[0]!.ids);
      expect(other.complaints).toEqual([]);
    } finally {
      await other.close();
    }
  }, 40_000);
});
