/** The pages Learn and Inspect as a visitor uses them, in Chromium. Skipped where there is none. */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodePng } from "../../src/formats/png.ts";
import type { RunningServer } from "../../src/server/index.ts";
import { type Launched, launch, noBrowser } from "./browser/chromium.ts";
import { buildStudio, serveStudio } from "./browser/studio.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const MODEL = fileURLToPath(new URL("../../models/emoji64/", import.meta.url));
const SHOTS = process.env.STUDIO_SHOTS; // a folder, to look at the pages

/** torch.save of an object whose __reduce__ calls os.system: a pickle by hand. */
const EVIL = Buffer.from("\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.", "latin1");

async function picture(): Promise<Buffer> {
  const [width, height] = [90, 60];
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    data[i] = Math.hypot(x - 45, y - 30) < 22 ? [220, 60, 40][i % 3]! : 240 - y;
  }
  return Buffer.from(await encodePng({ width, height, channels: 3, data }));
}

const suite = noBrowser || !existsSync(MODEL) ? describe.skip : describe;
suite(noBrowser ? `in Chromium (skipped: ${noBrowser})` : "in Chromium", () => {
  let server: RunningServer;
  let browser: Launched;
  beforeAll(async () => {
    server = await serveStudio(await buildStudio());
    browser = await launch();
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close({ signal: AbortSignal.abort() });
  });

  const open = async (name: string): Promise<Page> => {
    const page = await browser.page();
    await page.goto(`${server.url}/#/${name}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    return page;
  };
  /** Findings that would keep somebody out. */
  const serious = async (page: Page): Promise<string[]> => {
    await page.evaluate(AXE); // through the debugger: the policy lets no foreign script in
    return page.evaluate(async () => {
      const { violations } = await (
        globalThis as never as { axe: { run(): Promise<{ violations: never[] }> } }
      ).axe.run();
      return (violations as { id: string; impact: string; nodes: { html: string }[] }[])
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes[0]!.html}`);
    });
  };
  const shots = async (page: Page, name: string) => {
    if (!SHOTS) return;
    for (const [what, width] of [
      ["wide", 1280],
      ["phone", 390],
    ] as const)
      for (const scheme of ["light", "dark"] as const) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme: scheme });
        await page.screenshot({ path: `${SHOTS}/${name}-${what}-${scheme}.png`, fullPage: true });
      }
  };

  test("Inspect tells a harmful file from a good one, lists tensors, and sends nothing", async () => {
    const page = await open("inspect");
    const choose = page.locator('main input[type="file"]');
    await choose.setInputFiles({
      name: "warm-up.pkl",
      mimeType: "",
      buffer: Buffer.from("\x80\x02N.", "latin1"),
    });
    await page.getByText("Clean", { exact: true }).waitFor(); // the worker's script has been fetched
    const asked: string[] = [];
    browser.context.on("request", (one) => asked.push(one.url()));
    await choose.setInputFiles([`${MODEL}var.safetensors`]);
    await page
      .getByRole("article")
      .filter({ hasText: "var.safetensors" })
      .getByText("Clean")
      .waitFor();
    await choose.setInputFiles({ name: "model.pth", mimeType: "", buffer: EVIL });
    const evil = page.getByRole("article").filter({ hasText: "model.pth" });
    await evil.getByText("Who loads it runs what its author wants").waitFor();
    expect(await evil.textContent()).toMatch(/byte \d+/);
    expect(await evil.textContent()).toMatch(/posix|system/);
    const good = page.getByRole("article").filter({ hasText: "var.safetensors" });
    await good.locator("summary").click();
    await good.getByRole("searchbox").fill("pos_1LC");
    expect(await good.locator("tbody tr").count()).toBe(1);
    expect(asked).toEqual([]);
    await shots(page, "inspect");
    expect(await serious(page)).toEqual([]);
    await page.close();
  });

  test("Inspect takes dropped files, and reads parts of large ones only", async () => {
    const page = await open("inspect");
    await page.evaluate(() => {
      // Three gigabytes that nobody holds: a file made of one small piece, over and over.
      const piece = new Blob([new Uint8Array(2 ** 24)]);
      const data = new Blob(new Array(192).fill(piece));
      const header = JSON.stringify({
        w: { dtype: "F32", shape: [data.size / 4], data_offsets: [0, data.size] },
      });
      const length = new DataView(new ArrayBuffer(8));
      length.setBigUint64(0, BigInt(header.length), true);
      const file = new File([length.buffer, header, data], "large.safetensors");
      const transfer = new DataTransfer();
      transfer.items.add(file);
      document
        .querySelector("main .page")!
        .dispatchEvent(
          new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }),
        );
    });
    const large = page.getByRole("article").filter({ hasText: "large.safetensors" });
    await large.getByText("Clean", { exact: true }).waitFor({ timeout: 15_000 });
    expect(await large.textContent()).toContain("3 GiB");
    await page.close();
  });

  test("Learn takes a picture through the tokenizer, scale by scale, in either language", async () => {
    const page = await open("learn");
    const buffer = await picture();
    await page
      .locator('main input[type="file"]')
      .setInputFiles({ name: "mine.png", mimeType: "image/png", buffer });
    const said = page.locator("p.said");
    await page.getByText(/Scale 7 of 7: 8 × 8 tokens/).waitFor({ timeout: 40_000 });
    const slider = page.getByRole("slider", { name: "Scale", exact: true });
    const src = () => page.getByAltText("All scales so far").getAttribute("src");
    const last = await src();
    await slider.fill("0");
    await page.getByText(/Scale 1 of 7: 1 × 1 tokens/).waitFor();
    expect(await src()).not.toBe(last);
    const missing = async () => Number(/(\d+) ?%/.exec((await said.textContent())!)![1]);
    const first = await missing();
    await slider.fill("6");
    expect(await missing()).toBeLessThan(first);
    await shots(page, "learn");
    await page.getByLabel("Language").selectOption("zh");
    await page.getByRole("heading", { level: 1, name: "图像如何逐级生长" }).waitFor();
    expect(await serious(page)).toEqual([]);
    const steps = page.getByRole("slider", { name: /按什么顺序写/ });
    await steps.fill("7");
    await page.getByText("第 7 步，共 7 步").waitFor();
    await page.close();
  });

  test("no page complained", () => {
    expect(browser.complaints).toEqual([]);
  });
});
