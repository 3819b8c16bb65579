/**
 * The first picture of the embedded model in a page: from the address to the finished picture, nothing cached. Chromium
 * with a new profile each time, the exported studio on loopback, with threads (COOP and COEP) and without.
 *
 *   npx tsx bench/first-picture.ts [--rounds 5] [--dry]      -> bench/results/first-picture.json, first-picture.md
 *
 * Build first: `npm run build`. Loopback is no network: what a visitor fetches stands beside the times.
 */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { exportStudio } from "../src/server/index.ts";
import { launch } from "../test/e2e/browser/chromium.ts";
import { hostFolder } from "../test/e2e/browser/static-host.ts";
import { median } from "./contest.ts";
import { host } from "./machine.ts";

const MODEL = "emoji64";
const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    dry: { type: "boolean", default: false },
  },
});
const ROUNDS = Number(flags.rounds);

const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

interface Round {
  /** From the navigation, in milliseconds: the page can be used; the first scale is seen; the picture is finished. */
  readonly usable: number;
  readonly firstScale: number;
  readonly finished: number;
  /** A second picture, from the click. */
  readonly second: number;
  readonly threads: number;
  /** Bytes that were fetched, and as gzip would send them. */
  readonly bytes: number;
  readonly packed: number;
}

const site = join(await mkdtemp(join(tmpdir(), "underpaint-first-")), "site");
await exportStudio(site, [MODEL]);

let isolated = false;
let fetched: Buffer[] = [];
const { url: address, close } = await hostFolder(site, {
  headers: () => (isolated ? ISOLATED : {}),
  onSent: (bytes) => void fetched.push(bytes),
});

async function round(): Promise<Round> {
  const browser = await launch(); // a new profile: nothing is cached
  try {
    const page = await browser.page();
    fetched = [];
    const begin = performance.now();
    const since = () => performance.now() - begin;
    await page.goto(address);
    const button = page.getByRole("button", { name: "Draw", exact: true });
    await button.waitFor();
    const usable = since();
    await button.click();
    await page.locator(".easel img").first().waitFor();
    const firstScale = since();
    await page.getByAltText(/, finished$/).waitFor();
    const finished = since();
    const sent = fetched;
    const second = await page.evaluate(drawnAgain);
    await page.getByText("More", { exact: true }).click();
    const said = (await page.locator("[data-backend]").textContent()) ?? "";
    return {
      usable,
      firstScale,
      finished,
      second,
      threads: Number(/(\d+) threads?/.exec(said)![1]),
      bytes: sent.reduce((sum, { length }) => sum + length, 0),
      packed: sent.reduce((sum, bytes) => sum + gzipSync(bytes).length, 0),
    };
  } finally {
    await browser.close();
  }
}

/** In the page, where no driver is waited for: from the click to the finished picture, in milliseconds. No function inside: tsx would name it. */
async function drawnAgain(): Promise<number> {
  const begin = performance.now();
  document.querySelector<HTMLButtonElement>("form button.primary")!.click();
  for (const wanted of [false, true])
    while ((document.querySelector('.easel img[alt$=", finished"]') !== null) !== wanted)
      await new Promise((next) => setTimeout(next, 4));
  return performance.now() - begin;
}

const rounds: Record<"threads" | "one", Round[]> = { threads: [], one: [] };
for (let i = 0; i < ROUNDS; i++)
  for (const which of ["threads", "one"] as const) {
    isolated = which === "threads";
    rounds[which].push(await round());
    console.error(which, rounds[which].at(-1));
  }
await close();
await rm(join(site, ".."), { recursive: true });

const machine = host();
const date = new Date().toISOString().slice(0, 10);
const seconds = (all: readonly Round[], key: "usable" | "firstScale" | "finished" | "second") => {
  const values = all.map((one) => one[key] / 1000);
  return `${median(values).toFixed(2)} s (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`;
};
const row = (name: string, all: readonly Round[]) =>
  `| ${name}, ${all[0]!.threads} | ${(["usable", "firstScale", "finished", "second"] as const)
    .map((key) => seconds(all, key))
    .join(" | ")} |`;
const { bytes, packed } = rounds.one[0]!;
const sheet = `# The first picture in a page

${MODEL}, 64 pixels, WebAssembly, ${ROUNDS} rounds in turns, each in a new Chromium without a cache; medians and range, from the
address on; ${date}, ${machine.cpu}, ${machine.cores} cores. Fetched over loopback: ${(bytes / 1e6).toFixed(1)} MB, ${(packed / 1e6).toFixed(1)} MB as gzip, of it the model ${(await modelBytes()).toFixed(1)} MB.

| threads | usable | first scale | first picture | second picture |
|---|---|---|---|---|
${row("cross-origin isolated", rounds.threads)}
${row("a host without headers", rounds.one)}
`;
async function modelBytes(): Promise<number> {
  const folder = new URL(`../models/${MODEL}/`, import.meta.url);
  const files = ["var", "vqvae"].map((name) => readFile(new URL(`${name}.safetensors`, folder)));
  return (await Promise.all(files)).reduce((sum, { length }) => sum + length, 0) / 1e6;
}
console.log(sheet);
if (!flags.dry) {
  const path = (name: string) => new URL(`results/${name}`, import.meta.url);
  await writeFile(
    path("first-picture.json"),
    `${JSON.stringify({ date, machine, model: MODEL, rounds }, null, 1)}\n`,
  );
  await writeFile(path("first-picture.md"), sheet);
}
