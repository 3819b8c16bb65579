/** A run's page: what its folder holds stands on it, nothing is asked for from anywhere, and nothing in it is run. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { afterAll, expect, test } from "vitest";
import { LAUNCH, noBrowser } from "../../../test/e2e/browser/chromium.ts";
import { newRecordedRun, trainRecorded } from "../../../test/recorded-run.ts";
import { tinyTask } from "../../../test/tiny-var.ts";
import { encodePng } from "../../formats/png.ts";
import { folderDisk } from "../../guard/ledger/node.ts";
import { sentinel } from "../../train/sentinel/watcher.ts";
import { readContents } from "./contents.node.ts";
import type { RunContents } from "./contents.ts";
import { reportHtml } from "./page.ts";

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A run of the tiny transformer with its ledger; after update `edit` somebody changes a weight. */
async function trained({ edit, killAt }: { edit?: number; killAt?: number } = {}) {
  const run = await newRecordedRun(12, { open: (from) => tinyTask(12, from), disk: folderDisk });
  folders.push(run.folder);
  await trainRecorded(run, {
    killAt,
    watchers: (book) => [
      {
        name: "edit",
        afterStep({ step, tensors }) {
          if (step === edit) tensors().get("param.word_embed.weight")!.data[0] = 7;
        },
      },
      sentinel({ secret: new Uint8Array(32), book }),
    ],
  });
  return run;
}

const EVIL = `<script>document.title="run"</script><img src="http://elsewhere.example/x">`;
const png = await encodePng({ width: 1, height: 1, channels: 3, data: new Uint8Array(3) });
const contents = (more: Partial<RunContents> = {}): RunContents => ({
  ...{ name: "a run", recipe: { steps: 4, data: "emoji", model: { depth: 2 } } },
  metrics: [1, 2, 3, 4].map((step) => ({
    ...{ step, loss: 4 / step, lr: 1e-3, ms: 20, gradNorm: 1, "usage/1x1": 0.1, "usage/2x2": 0.5 },
  })),
  ...{ alarms: [], sheets: [], sheetCount: 0, ...more },
});

test("a run without ledger, sentinel or sheets has its curves, its usage by scale and its recipe", () => {
  const page = reportHtml(contents());
  for (const title of ["Curves", "Loss", "Learning rate", "Time of an update", "Codes in use by"])
    expect(page).toContain(title);
  expect(page).toContain("4 of 4");
  expect(page).toContain("<td>model.depth<td>2");
  for (const title of ["Ledger", "Alarms", "Sheets", "What happened when"])
    expect(page).not.toContain(`<h2>${title}`);
});

test("a run that has not begun has a page too", () => {
  expect(reportHtml(contents({ metrics: [] }))).toContain("no update has been done yet");
});

test("alarms stand with their evidence; one that only the ledger has is told apart", () => {
  const alarm = { kind: "update", step: 3, since: 2, severity: "high", evidence: { weight: 1.5 } };
  const page = reportHtml(contents({ alarms: [{ ...alarm, from: "ledger" }] }));
  expect(page).toContain("3, since 2");
  expect(page).toContain("weight 1.5");
  expect(page).toContain("only in the ledger");
  expect(page).toContain("1 alarm<");
});

test("what a folder says is text: no tag of it gets into the page", () => {
  const page = reportHtml(
    contents({
      ...{ name: EVIL, recipe: { data: EVIL, [EVIL]: EVIL, model: {} } },
      alarms: [
        { kind: EVIL, step: 1, what: EVIL, todo: EVIL, evidence: { [EVIL]: EVIL }, from: "folder" },
      ],
      ledger: {
        ...{ entries: 1, root: EVIL, origin: EVIL, key: EVIL, problem: EVIL },
        events: [{ kind: "event", step: 1, text: EVIL }],
      },
    }),
  );
  expect(page).not.toContain("<script");
  expect(page).not.toContain("<img");
});

test("a folder with a ledger: start, checkpoints, a kill, an edited weight, each in its place", async () => {
  const run = await trained({ killAt: 7 });
  await trainRecorded(run);
  const { ledger, metrics } = await readContents(run.folder);
  expect(ledger!.problem).toBeUndefined();
  expect(ledger!.events.map(({ kind }) => kind)).toEqual([
    ...["start", "checkpoint", "resume", "checkpoint", "checkpoint", "end"],
  ]);
  expect(ledger!.events[2]).toMatchObject({ step: 5, bad: true });
  expect(metrics.at(-1)!.step).toBe(12);

  const edited = await trained({ edit: 4 });
  const { alarms } = await readContents(edited.folder);
  expect(alarms).toMatchObject([{ kind: "state-chain", step: 5, severity: "high" }]);
  expect(reportHtml(await readContents(edited.folder))).toContain("word_embed.weight");
});

test("a ledger that was altered is told of, and the rest of the page is there", async () => {
  const { folder } = await trained();
  await writeFile(join(folder, "ledger", "journal"), "nothing of it");
  const page = reportHtml(await readContents(folder));
  expect(page).toContain("the ledger is not whole");
  expect(page).toContain("Learning rate");
});

test("a folder that is no run is refused with what is wanted", async () => {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-report-"));
  folders.push(folder);
  await expect(readContents(folder)).rejects.toThrow(/run.json is not there; give the folder/);
});

test.skipIf(noBrowser)(
  "a browser asks for nothing besides the page, in no theme and at no width",
  async () => {
    const page = reportHtml(contents({ name: EVIL, sheets: [{ step: 4, png }], sheetCount: 1 }));
    const folder = await mkdtemp(join(tmpdir(), "underpaint-report-"));
    folders.push(folder);
    const file = pathToFileURL(join(folder, "report.html"));
    await writeFile(file, page);
    const browser = await chromium.launch({ ...LAUNCH, args: [...LAUNCH.args] });
    try {
      const tab = await browser.newPage();
      const asked: string[] = [];
      const complaints: string[] = [];
      tab.on("request", (request) => {
        if (!request.url().startsWith("data:")) asked.push(request.url());
      });
      tab.on("console", (message) => complaints.push(message.text()));
      for (const colorScheme of ["light", "dark"] as const) {
        await tab.emulateMedia({ colorScheme });
        for (const width of [375, 1280]) {
          await tab.setViewportSize({ width, height: 800 });
          await tab.goto(file.href);
          expect(await tab.title()).toBe(EVIL);
          expect(await tab.evaluate(() => document.images[0]!.naturalWidth)).toBe(1);
          expect(await tab.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
        }
      }
      expect(asked).toEqual(Array(4).fill(file.href));
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  },
);
