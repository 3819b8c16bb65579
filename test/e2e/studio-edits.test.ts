/** Extending, enlarging, ways between two pictures and the gallery's archive as a visitor uses them, before a server and in a page alone. */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memorySource, readZip, readZipEntry } from "../../src/formats/index.ts";
import { decodePng, encodePng } from "../../src/formats/png.ts";
import { type Launched, launch, noBrowser } from "./browser/chromium.ts";
import { buildStudio, serveStudio, staticStudio } from "./browser/studio.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const MODEL = fileURLToPath(new URL("../../models/emoji64/", import.meta.url));
const SHOTS = process.env.STUDIO_SHOTS; // a folder, to look at the pages
const PHONE = { width: 360, height: 740 };
const WIDE = { width: 1280, height: 860 };

/** A disc, so that something is to be seen. */
async function discPng(side: number, rgb: readonly number[]): Promise<Buffer> {
  const data = new Uint8Array(side * side * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % side, Math.floor(i / 3 / side)];
    const inside = Math.hypot(x - side / 2, y - side / 2) < side / 3;
    data[i] = inside ? rgb[i % 3]! : 250;
  }
  return Buffer.from(await encodePng({ width: side, height: side, channels: 3, data }));
}

const STUDIO = noBrowser || !existsSync(MODEL) ? "" : await buildStudio();
const ENGINES = [
  ["with a server", () => serveStudio(STUDIO)],
  ["in the page alone", () => staticStudio(STUDIO)],
] as const;

const suite = STUDIO ? describe.each(ENGINES) : describe.skip.each(ENGINES);
suite(noBrowser ? `%s (skipped: ${noBrowser})` : "%s", (where, serve) => {
  let site: Awaited<ReturnType<typeof serve>>;
  let browser: Launched;
  let page: Page;
  beforeAll(async () => {
    site = await serve();
    browser = await launch({
      locale: "en-US",
      viewport: WIDE,
      acceptDownloads: true,
      reducedMotion: "reduce",
    });
    page = await browser.page();
    page.setDefaultTimeout(30_000);
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await site?.close({ signal: AbortSignal.abort() });
  });

  const button = (name: string | RegExp) => page.getByRole("button", { name, exact: true });
  const open = async (name: string) => {
    await page.goto(`${site.url.replace(/\/$/, "")}/#/${name}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
  };
  const choose = (name: string) => page.getByLabel(name, { exact: true }).check({ force: true });
  const number = (name: string) => page.getByRole("spinbutton", { name, exact: true });
  const file = (name: string, bytes: Buffer) => ({ name, mimeType: "image/png", buffer: bytes });
  const downloaded = async (name: string | RegExp): Promise<Buffer> => {
    const [got] = await Promise.all([page.waitForEvent("download"), button(name).click()]);
    return readFileSync(await got.path());
  };
  /** What is shown of the results: an older one stays until a new one begins. */
  const result = () =>
    page
      .getByRole("region", { name: "Results" })
      .locator("img")
      .evaluateAll(([first]) => first?.getAttribute("src") ?? "");
  const draw = async () => {
    const old = await result();
    await button("Draw the edit").click();
    await expect.poll(result, { timeout: 60_000 }).not.toBe(old);
    await expect
      .poll(() => button("Go on with this one").isEnabled(), { timeout: 60_000 })
      .toBe(true);
    await button("Draw the edit").waitFor({ timeout: 60_000 });
  };
  const shots = async (name: string) => {
    if (!SHOTS) return;
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const path = `${SHOTS}/${where.split(" ").at(-1)}-${name}-${colorScheme}`;
      await page.setViewportSize(WIDE);
      await page.screenshot({ path: `${path}.png`, fullPage: true });
      await page.setViewportSize(PHONE);
      await page.screenshot({ path: `${path}-phone.png`, fullPage: true });
    }
    await page.setViewportSize(WIDE);
  };
  /** Findings that would keep somebody out, and what is wider than a phone. */
  const usable = async () => {
    await page.evaluate(AXE); // through the debugger: the policy lets no foreign script in
    const found = await page.evaluate(async () => {
      const { axe } = globalThis as never as { axe: { run(): Promise<{ violations: never[] }> } };
      const { violations } = await axe.run();
      return (violations as { id: string; impact: string; nodes: { html: string }[] }[])
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes[0]!.html}`);
    });
    expect(found).toEqual([]);
    await page.setViewportSize(PHONE);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    await page.setViewportSize(WIDE);
    expect(wide).toBeLessThanOrEqual(PHONE.width);
  };

  test("a picture is extended by its own number of pixels on each side, or of cells", async () => {
    await open("edit");
    await page
      .getByLabel("Choose a picture …")
      .setInputFiles(file("disc.png", await discPng(64, [200, 60, 40])));
    await choose("Extend");
    for (const [name, pixels] of [
      ["Left", "5"],
      ["Top", "0"],
      ["Right", "20"],
      ["Bottom", "0"],
    ] as const)
      await number(name).fill(pixels);
    await page.getByText("Becomes 89 × 64 pixels.").waitFor();
    await choose("Cells"); // to the nearest ones
    await page.getByText("is 8 pixels.").waitFor();
    expect(await number("Right").inputValue()).toBe("3");
    await page.getByText("Becomes 96 × 64 pixels.").waitFor();
    await number("Bottom").fill("1");
    await number("How many").fill("1");
    await draw();
    await shots("extend");
    await usable();
    const png = await decodePng(await downloaded("Download PNG"));
    expect([png.width, png.height]).toEqual([96, 72]);
    expect(JSON.parse(png.text.underpaint!).edit).toMatchObject({
      ...{ kind: "extend", left: 8, top: 0, right: 24, bottom: 8 },
    });
    const own = await decodePng(await discPng(64, [200, 60, 40]));
    for (let y = 0; y < 64; y++)
      expect(png.data.slice((y * 96 + 8) * 3, (y * 96 + 72) * 3)).toEqual(
        own.data.slice(y * 64 * 3, (y + 1) * 64 * 3),
      );
    for (const name of ["Left", "Top", "Right", "Bottom"]) await number(name).fill("0");
    await page.getByText("Give at least one side something to add.").waitFor();
    expect(await button("Draw the edit").isDisabled()).toBe(true);
  }, 120_000);

  test("a small picture is enlarged as it is, a large one is shrunk first", async () => {
    await choose("Enlarge");
    await page.getByText("The picture is shrunk first").waitFor();
    expect(await number("Side of the small picture in pixels").inputValue()).toBe("16");
    await page
      .getByLabel("Another picture …")
      .setInputFiles(file("small.png", await discPng(20, [40, 90, 200])));
    await page.getByText("The picture's own: 20.").waitFor();
    expect(await number("Side of the small picture in pixels").inputValue()).toBe("20");
    const size = () =>
      page.locator(".plainly img").evaluate((node) => (node as HTMLImageElement).naturalWidth);
    await expect.poll(size).toBe(20);
    await draw();
    await shots("enlarge");
    await usable();
    const png = await decodePng(await downloaded("Download PNG"));
    expect([png.width, png.height]).toEqual([64, 64]);
    expect(JSON.parse(png.text.underpaint!).edit.kind).toBe("enlarge");
    const middle = (32 * 64 + 32) * 3;
    expect(png.data[middle + 2]!).toBeGreaterThan(png.data[middle]! + 60); // still blue
  }, 120_000);

  test("the way to another picture is drawn in steps, each to be looked at", async () => {
    await choose("Between two");
    await page
      .locator(".status")
      .getByText("Choose the other picture first, or drop it here.")
      .waitFor();
    expect(await button("Draw the edit").isDisabled()).toBe(true);
    await page
      .getByLabel("Choose the other …")
      .setInputFiles(file("other.png", await discPng(64, [30, 160, 60])));
    await choose("Coarse first");
    await number("Pictures on the way, both ends included").fill("3");
    await draw();
    expect(await page.locator(".thumb img").count()).toBe(3);
    await button("Result 2").click();
    await shots("between");
    await usable();
    const note = JSON.parse((await decodePng(await downloaded("Download PNG"))).text.underpaint!);
    expect(note.edit).toMatchObject({ kind: "interpolate", course: "coarse", part: 0.5 });
  }, 120_000);

  test("the gallery tells of each edit, and hands over what is chosen or all as one archive", async () => {
    await open("gallery");
    await expect.poll(() => page.locator(".frame img").count()).toBe(5); // 1 + 1 + 3
    await shots("gallery");
    await usable();
    await page.locator(".frame").first().click();
    await page
      .getByRole("dialog")
      .getByText(/^Between two, 7 scales kept, Coarse first$/)
      .waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    const boxes = page.getByRole("checkbox", { name: /^Choose / });
    await boxes.nth(0).check();
    await boxes.nth(4).check();
    await page.getByRole("heading", { name: "Compare" }).waitFor();
    await shots("gallery-chosen");
    const unpacked = async (zip: Buffer) => {
      const source = memorySource(zip);
      const entries = await readZip(source);
      const read = (name: string) => readZipEntry(source, entries.get(name)!);
      const list = JSON.parse(new TextDecoder().decode(await read("index.json")));
      const pictures = list.pictures as { file: string; edit: { kind: string }; seed: number }[];
      expect([...entries.keys()].sort()).toEqual(
        ["index.json", ...pictures.map((one) => one.file)].sort(),
      );
      for (const { file: name, edit, seed } of pictures)
        expect(JSON.parse((await decodePng(await read(name))).text.underpaint!)).toMatchObject({
          seed,
          edit: { kind: edit.kind },
        });
      return pictures.map(({ edit }) => edit.kind);
    };
    expect(await unpacked(await downloaded("Download 2 as .zip"))).toEqual([
      "interpolate",
      "extend",
    ]);
    await button("Choose none").click();
    expect(await unpacked(await downloaded("Download all as .zip"))).toEqual([
      ...["interpolate", "interpolate", "interpolate"],
      ...["enlarge", "extend"],
    ]);
    await button("Choose all").click();
    await button("Download 5 as .zip").waitFor();
  }, 120_000);

  test("nothing was complained of", () => {
    expect(browser.complaints).toEqual([]);
  });
});
