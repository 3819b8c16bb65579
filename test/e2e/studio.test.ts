/** The studio as people use it, in Chromium before the real server and the embedded model. Skipped where there is no Chromium. */

import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePng, encodePng } from "../../src/formats/png.ts";
import type { RunningServer } from "../../src/server/index.ts";
import { type Launched, launch, noBrowser } from "./browser/chromium.ts";
import { buildStudio, serveStudio } from "./browser/studio.ts";
import { newFolder } from "./cli.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const MODEL = fileURLToPath(new URL("../../models/emoji64/", import.meta.url));
const SHOTS = process.env.STUDIO_SHOTS; // a folder, to look at the pages
const PHONE = { width: 360, height: 740 };
const WIDE = { width: 1280, height: 860 };

/** A run as trainers write it: 40 updates, two scales, a sheet, an alarm. */
async function runsFolder(): Promise<string> {
  const folder = await newFolder();
  const run = join(folder, "first");
  await mkdir(join(run, "sheets"), { recursive: true });
  await writeFile(join(run, "run.json"), JSON.stringify({ data: "emoji", steps: 100 }));
  const lines = Array.from({ length: 40 }, (_, i) => ({
    ...{ step: i + 1, lr: 1e-3, loss: 2 / (i + 1), ms: 1000 },
    ...{ "usage/1x1": 0.25, "usage/2x2": i / 80 },
  }));
  await writeFile(
    join(run, "metrics.jsonl"),
    `${lines.map((l) => JSON.stringify(l)).join("\n")}\n`,
  );
  const alarm = {
    kind: "schedule",
    step: 12,
    severity: "high",
    what: "another rate",
    todo: "stop",
  };
  await writeFile(join(run, "alarms.jsonl"), `${JSON.stringify(alarm)}\n`);
  await writeFile(join(run, "sheets", "000020.png"), await plainPng(16));
  return folder;
}

const plainPng = async (side: number): Promise<Buffer> =>
  Buffer.from(
    await encodePng({
      width: side,
      height: side,
      channels: 3,
      data: Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 7) % 256),
    }),
  );

/** Drops a file on an element, as a hand would. */
async function drop(page: Page, selector: string, bytes: Buffer, name: string): Promise<void> {
  const transfer = await page.evaluateHandle(
    ([b64, file]) => {
      const data = new DataTransfer();
      const raw = Uint8Array.from(atob(b64), (c) => c.charCodeAt(0));
      data.items.add(new File([raw], file, { type: "image/png" }));
      return data;
    },
    [bytes.toString("base64"), name] as const,
  );
  for (const type of ["dragenter", "dragover", "drop"])
    await page.dispatchEvent(selector, type, { dataTransfer: transfer });
}

const suite = noBrowser || !existsSync(MODEL) ? describe.skip : describe;
suite(noBrowser ? `the studio in Chromium (skipped: ${noBrowser})` : "the studio", () => {
  let server: RunningServer;
  let browser: Launched;
  let page: Page;
  const elsewhere: string[] = [];
  beforeAll(async () => {
    server = await serveStudio(await buildStudio(), { runs: await runsFolder() });
    browser = await launch({ locale: "en-US", viewport: WIDE, acceptDownloads: true });
    page = await browser.page();
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol.startsWith("http") && url.origin !== server.url) elsewhere.push(url.href);
    });
    page.setDefaultTimeout(20_000);
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close({ signal: AbortSignal.abort() });
  });

  const open = async (name: string) => {
    await page.goto(`${server.url}/#/${name}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
  };
  const button = (name: string | RegExp) => page.getByRole("button", { name, exact: true });
  const draw = async () => {
    await button("Draw").click();
    await page.getByAltText(/, finished$/).waitFor();
  };
  const shown = () => page.locator(".easel img").getAttribute("src");
  /** The pixels behind an image, to compare. */
  const pixels = (selector: string) =>
    page
      .locator(selector)
      .first()
      .evaluate(async (node) => {
        const image = node as HTMLImageElement;
        await image.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        canvas.getContext("2d")!.drawImage(image, 0, 0);
        return canvas.toDataURL();
      });
  const downloaded = async (): Promise<Buffer> => {
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      button("Download PNG").click(),
    ]);
    return readFileSync(await file.path());
  };

  test("a picture grows through its scales without moving anything, and any scale can be looked at", async () => {
    await open("generate");
    await page.evaluate(() => {
      const kept = globalThis as never as { shift: number };
      kept.shift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries())
          kept.shift += (entry as never as { value: number }).value;
      }).observe({ type: "layout-shift" });
    });
    await page.getByRole("combobox", { name: "What" }).fill("hea");
    await page.getByRole("option", { name: "hearts" }).click();
    await page.getByRole("combobox", { name: "In the style of" }).fill("noto");
    await page.keyboard.press("Enter");
    await page.getByRole("spinbutton", { name: "Seed" }).fill("7");
    await draw();
    expect(await page.locator(".easel img").getAttribute("alt")).toBe("hearts/noto, finished");
    expect(await page.evaluate(() => (globalThis as never as { shift: number }).shift)).toBe(0);
    const whole = await shown();
    await page.getByLabel("Scale 3 by 3").check({ force: true });
    expect(await shown()).not.toBe(whole);
    await page.getByLabel("Doubt").check({ force: true });
    expect(await page.locator("svg[data-layer=doubt] rect").count()).toBe(9);
    await page.getByLabel("Tokens").check({ force: true });
    expect(await page.locator("svg[data-layer=tokens] text").count()).toBe(9);
    await page.getByLabel("Picture", { exact: true }).check({ force: true });
    await expect(page.locator("pre").innerText()).resolves.toBe(
      "underpaint sample hearts/noto --model emoji64 --seed 7",
    );
  });

  test("a branch keeps the scales before it, and a file gives its settings back", async () => {
    const before = await pixels("fieldset label:nth-of-type(3) .slot img");
    const ended = await pixels("fieldset label:nth-of-type(7) .slot img");
    await button(/^Keep up to 3 × 3/).click();
    await page.getByRole("button", { name: "a, from 4 × 4" }).waitFor();
    await page.getByAltText(/, finished$/).waitFor();
    expect(await pixels("fieldset label:nth-of-type(3) .slot img")).toBe(before);
    expect(await pixels("fieldset label:nth-of-type(7) .slot img")).not.toBe(ended);
    const png = await downloaded();
    expect(JSON.parse((await decodePng(png)).text.underpaint!).branches).toEqual([
      { from: 3, name: "a" },
    ]);
    await page.getByRole("spinbutton", { name: "Seed" }).fill("99");
    await drop(page, ".zone", png, "a.png");
    await page.locator("form").getByText("Settings of the picture are set").waitFor();
    expect(await page.getByRole("spinbutton", { name: "Seed" }).inputValue()).toBe("7");
    await drop(page, ".zone", await plainPng(8), "b.png");
    await page.getByText("That picture does not say how it was drawn.").waitFor();
  });

  test("a batch shows every picture; a drawing can be called off", async () => {
    await page.getByRole("spinbutton", { name: "How many" }).fill("3");
    await draw();
    await expect.poll(() => page.locator(".batch img").count()).toBe(3);
    const first = await shown();
    await button("Show picture 3").click();
    await expect.poll(shown).not.toBe(first);
    await page.getByRole("spinbutton", { name: "How many" }).fill("16");
    await button("Draw").click();
    await button("Cancel").click();
    await button("Draw").waitFor();
  });

  test("the keyboard alone gets from the address to a picture", async () => {
    await open("generate");
    await page.reload();
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.keyboard.press("Tab");
    await expect(page.locator(":focus").innerText()).resolves.toBe("Skip to the content");
    await page.keyboard.press("Enter");
    for (let i = 0; i < 6; i++) {
      await page.keyboard.press("Tab");
      if ((await page.locator(":focus").getAttribute("role")) === "combobox") break;
    }
    await page.keyboard.type("food");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter"); // opens
    await page.keyboard.press("Escape");
    await button("Draw").focus();
    await page.keyboard.press("Enter");
    await page.getByAltText(/^food\/.*, finished$/).waitFor();
  });

  test("a part is painted over by hand and by keys, and only that part changes", async () => {
    await button("Edit it").click();
    const stage = page.getByRole("application");
    await stage.waitFor();
    expect(await button("Draw the edit").isDisabled()).toBe(true);
    const { x, y, width, height } = (await stage.boundingBox())!;
    await page.mouse.move(x + width * 0.3, y + height * 0.3);
    await page.mouse.down();
    await page.mouse.move(x + width * 0.6, y + height * 0.4, { steps: 5 });
    await page.mouse.up();
    await button("Undo").click();
    expect(await button("Draw the edit").isDisabled()).toBe(true);
    await button("Redo").click();
    await button("Clear").click();
    await page.getByLabel("Box", { exact: true }).check({ force: true });
    await stage.focus();
    for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Shift+ArrowDown");
    await page.keyboard.press("Space");
    await page.getByRole("spinbutton", { name: "How many" }).fill("1");
    await button("Draw the edit").click();
    const after = page.getByAltText("After");
    await expect
      .poll(() => button("Go on with this one").isEnabled(), { timeout: 20_000 })
      .toBe(true);
    await after.waitFor();
    const [from, to] = await page.locator(".split img").evaluateAll(async (nodes) => {
      const read = async (image: HTMLImageElement) => {
        await image.decode();
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 64;
        const context = canvas.getContext("2d")!;
        context.drawImage(image, 0, 0);
        return [...context.getImageData(0, 0, 64, 64).data];
      };
      const [b, a] = nodes as HTMLImageElement[];
      return [await read(a!), await read(b!)];
    });
    // The box went from 16,16 by 32 to the right by 4, and became one row taller.
    let changed = 0;
    for (let i = 0; i < 64 * 64; i++) {
      const [px, py] = [i % 64, Math.floor(i / 64)];
      const same = [0, 1, 2].every((c) => from![4 * i + c] === to![4 * i + c]);
      const inside = px >= 20 && px < 52 && py >= 16 && py < 49;
      if (!inside && !same) throw new Error(`pixel ${px},${py} changed outside of the box`);
      if (!same) changed++;
    }
    expect(changed).toBeGreaterThan(50);
  });

  test("a dropped picture of another size is fitted, varied and extended; what is none is refused", async () => {
    await drop(page, ".zone", await plainPng(40), "small.png");
    await page.getByText("Fitted to 64 × 64").waitFor();
    await page.getByLabel("Vary", { exact: true }).check({ force: true });
    await button("Draw the edit").click();
    await expect
      .poll(() => button("Go on with this one").isEnabled(), { timeout: 20_000 })
      .toBe(true);
    await page.getByLabel("Extend", { exact: true }).check({ force: true });
    await page.getByRole("spinbutton", { name: "How many" }).fill("1");
    await button("Draw the edit").click();
    await expect
      .poll(() => button("Go on with this one").isEnabled(), { timeout: 30_000 })
      .toBe(true);
    expect((await decodePng(await downloaded())).width).toBe(96);
    await drop(page, ".zone", Buffer.from("no picture"), "notes.png");
    await page.getByText("notes.png is no picture").waitFor();
  }, 90_000);

  test("the gallery knows how each picture was drawn, compares two with their scales, and forgets one", async () => {
    await open("gallery");
    await page.locator(".frame img").first().waitFor();
    const boxes = page.getByRole("checkbox", { name: "Choose hearts/noto" });
    await boxes.nth(0).check();
    await boxes.nth(1).check();
    const jobs = await page.locator(".frame").count();
    await button("Show their scales").click();
    await expect.poll(() => page.locator(".pair .slot img").count(), { timeout: 20_000 }).toBe(14);
    await page.locator(".frame").last().click();
    await page.getByRole("dialog").getByText("hearts/noto").first().waitFor();
    await button("Delete").click();
    await expect.poll(() => page.locator(".frame").count()).toBe(jobs - 1);
    await page.locator(".frame").last().click();
    await button("Draw with these settings").click();
    await page.getByRole("heading", { name: "Draw a picture, watch it grow" }).waitFor();
    expect(await page.getByRole("spinbutton", { name: "Seed" }).inputValue()).toBe("7");
  });

  test("a run of the server is followed: steps, time left, curves, codebooks, samples, alarms", async () => {
    await open("train");
    await page.getByText("of 100").waitFor();
    await page.getByText("1 min 0 sec").waitFor(); // 60 updates of a second
    await page.getByText("another rate; stop").waitFor();
    expect(await page.getByRole("img", { name: /^(Loss|Learning rate): from/ }).count()).toBe(2);
    expect(await page.locator(".heat svg").count()).toBe(2);
    await page.getByAltText("Samples: 000020.png").waitFor();
  });

  for (const colorScheme of ["light", "dark"] as const)
    test(`every page can be used by everybody, also on a phone: ${colorScheme}`, async () => {
      await page.emulateMedia({ colorScheme });
      for (const name of ["generate", "edit", "gallery", "train"]) {
        await page.setViewportSize(WIDE);
        await open(name);
        await page.evaluate(AXE); // through the debugger: the policy lets no foreign script in
        const found = await page.evaluate(async () => {
          const { violations } = await (
            globalThis as never as {
              axe: {
                run(): Promise<{
                  violations: { id: string; impact: string; nodes: { html: string }[] }[];
                }>;
              };
            }
          ).axe.run();
          return violations
            .filter(({ impact }) => impact === "serious" || impact === "critical")
            .map(({ id, nodes }) => `${id}: ${nodes[0]!.html}`);
        });
        expect(found, name).toEqual([]);
        if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-${colorScheme}.png` });
        await page.setViewportSize(PHONE);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        expect(wide, name).toBeLessThanOrEqual(PHONE.width);
        if (SHOTS)
          await page.screenshot({
            path: `${SHOTS}/${name}-phone-${colorScheme}.png`,
            fullPage: true,
          });
      }
      await page.setViewportSize(WIDE);
    });

  test("no page is wider than a phone, in Chinese either", async () => {
    await page.setViewportSize(PHONE);
    await open("generate");
    await page.getByLabel("Language").selectOption("zh");
    for (const name of ["generate", "edit", "gallery", "train", "inspect", "learn"]) {
      await open(name);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide, name).toBeLessThanOrEqual(PHONE.width);
    }
    await page.getByLabel("语言").selectOption("en");
    await page.setViewportSize(WIDE);
  });

  test("theme and language are remembered", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    await open("generate");
    await button("Dark theme").click();
    await page.getByLabel("Language").selectOption("zh");
    await page.reload();
    await page.getByRole("heading", { name: "画一张图，看它长成" }).waitFor();
    expect(await page.locator("html").getAttribute("data-theme")).toBe("dark");
    expect(await page.locator("html").getAttribute("lang")).toBe("zh");
    await page.getByLabel("语言").selectOption("en");
  });

  test("who finds nobody at the other end is told so", async () => {
    await page.route("**/jobs", (route) => route.abort());
    await button("Draw").click();
    await page.getByText("The server cannot be reached.").waitFor();
    await page.unroute("**/jobs");
    await page.route("**/jobs", (route) =>
      route.fulfill({
        status: 429,
        headers: { "Retry-After": "9" },
        json: { error: { message: "full", code: "queue_full" } },
      }),
    );
    await button("Draw").click();
    await page.getByText("The queue is full. There should be room again in 9 sec.").waitFor();
    await page.unroute("**/jobs");
  });

  test("nothing was asked of another origin, and no page complained but of what was broken on purpose", () => {
    expect(elsewhere).toEqual([]);
    expect(browser.complaints.filter((text) => !/ERR_FAILED|429/.test(text))).toEqual([]);
  });
});
