/** Inspect with every kind of checkpoint, whole and broken, dropped in Chromium. Skipped where there is none. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blobSource } from "../../src/formats/bytes.ts";
import { scanSource } from "../../src/guard/scan/index.ts";
import { constant, createGraph, input, output } from "../../src/tensor/graph.ts";
import { add } from "../../src/tensor/ops.ts";
import { toOnnx } from "../../src/tensor/to-onnx.ts";
import { gguf } from "../guard/build.ts";
import { type Launched, launch, noBrowser } from "./browser/chromium.ts";
import type { StaticHost } from "./browser/static-host.ts";
import { buildStudio, staticStudio } from "./browser/studio.ts";

const fixture = (name: string): Uint8Array =>
  readFileSync(fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url)));

function onnx(): Uint8Array {
  const g = createGraph("sum");
  const weight = { dtype: "float32", shape: [2, 3], data: new Float32Array(6).fill(1) } as const;
  output(g, "y", add(input(g, "x", [2, 3]), constant(g, weight, "weight")));
  return toOnnx(g);
}

/** Name, content, and one of the tensors to be listed, if there are any. */
const KINDS: readonly (readonly [name: string, bytes: Uint8Array, tensor?: string])[] = [
  ["some.safetensors", fixture("var/vae.safetensors"), "vae"],
  ["zip.pth", fixture("var/mini_zip.pth"), ""],
  ["legacy.pth", fixture("var/mini_legacy.pth"), ""],
  ["arrays.npz", fixture("eval/features.npz"), ""],
  ["graph.onnx", onnx(), "weight"],
  ["words.gguf", gguf([["general.name", "x"]], { name: "token_embd.weight", size: 8 }), "token"],
  ["dense.h5", fixture("guard/dense-latest.h5")],
];
/** What no reader may trip over: cut off, of nothing, of noise, and harmful ones. */
const BROKEN: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ...KINDS.map(
    ([name, bytes]) => [`half-${name}`, bytes.subarray(0, Math.floor(bytes.length / 2))] as const,
  ),
  ["empty.safetensors", new Uint8Array(0)],
  ["noise.pth", Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)],
  ["lambda.h5", fixture("guard/lambda-dense.h5")],
  ["linked.h5", fixture("guard/external-link.h5")],
];

const suite = noBrowser ? describe.skip : describe;
suite(noBrowser ? `in Chromium (skipped: ${noBrowser})` : "in Chromium", () => {
  let site: StaticHost;
  let browser: Launched;
  let page: Page;
  const asked: string[] = [];
  beforeAll(async () => {
    site = await staticStudio(await buildStudio());
    browser = await launch();
    page = await browser.page();
    await page.goto(`${site.url}#/inspect`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await take("first.pkl", Buffer.from("\x80\x02N.", "latin1")); // the worker's script is here now
    browser.context.on("request", (one) => asked.push(one.url()));
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await site?.close();
  }, 60_000);

  /** Gives the page a file; returns what it says of it. */
  async function take(name: string, bytes: Uint8Array) {
    const buffer = Buffer.from(bytes);
    await page
      .locator('main input[type="file"]')
      .setInputFiles({ name, mimeType: "application/octet-stream", buffer });
    const card = page.getByRole("article").filter({ has: page.getByRole("heading", { name }) });
    await card.locator(".verdict").waitFor();
    return { card, verdict: await card.getAttribute("data-verdict") };
  }
  const inNode = async (name: string, bytes: Uint8Array) =>
    (await scanSource(blobSource(new Blob([bytes as BlobPart])), { name })).verdict;

  test.each(KINDS)("%s is clean, as Node says, and lists what it holds", async (...kind) => {
    const [name, bytes, tensor] = kind as unknown as (typeof KINDS)[number];
    const { card, verdict } = await take(name, bytes);
    expect(verdict).toBe(await inNode(name, bytes));
    expect(verdict).toBe("clean");
    if (tensor === undefined) {
      await card.getByText("No tensors can be listed.").waitFor();
      return;
    }
    await card.locator("summary").click();
    const rows = await card.locator("tbody tr").allTextContents();
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.join("\n")).toContain(tensor);
  });

  test.each(BROKEN)(
    "%s gets the verdict that Node gives, and no clean one",
    async (name, bytes) => {
      const { card, verdict } = await take(name, bytes);
      expect(verdict).toBe(await inNode(name, bytes));
      expect(verdict).not.toBe("clean");
      expect(await card.locator(".findings li").count()).toBeGreaterThan(0);
    },
  );

  test("nothing left the page, and it did not complain", () => {
    expect(asked).toEqual([]);
    expect(browser.complaints).toEqual([]);
  });
});
