/** Reads a run's folder for its page: whatever is there, a whole run or one that is under way. Draws nothing. */

import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { InputError } from "../../formats/errors.ts";
import { folderDisk } from "../../guard/ledger/node.ts";
import { formatVkey } from "../../guard/ledger/note.ts";
import { readLedgerOn } from "../../guard/ledger/reader.ts";
import { toBase64 } from "../../guard/sign/encoding.ts";
import { parseMetrics } from "../metrics.ts";
import type { Recipe } from "../trained.node.ts";
import type {
  ReportAlarm,
  ReportEvent,
  ReportLedger,
  ReportSheet,
  RunContents,
} from "./contents.ts";

/** Sheets on a page, and bytes of them: a page is to be mailed. */
const SHEETS = { most: 12, bytes: 6e6 } as const;
const SHEET = /^(\d+)\.png$/;

/** @throws InputError where there is no run, or its recipe or metrics are none */
export async function readContents(run: string): Promise<RunContents> {
  const recipe = await readRecipe(join(run, "run.json"));
  const file = join(run, "metrics.jsonl");
  const metrics = existsSync(file)
    ? parseMetrics(await readFile(file, "utf8"), { what: file })
    : [];
  const told = await readAlarms(join(run, "alarms.jsonl"));
  const book = existsSync(join(run, "ledger", "key.pub"))
    ? await readBook(join(run, "ledger"))
    : undefined;
  const { sheets, sheetCount } = await readSheets(join(run, "sheets"));
  return {
    ...{ name: basename(resolve(run)), recipe, metrics, sheets, sheetCount },
    alarms: merged(told, book?.alarms ?? []),
    ledger: book?.ledger,
  };
}

async function readRecipe(file: string): Promise<Recipe> {
  if (!existsSync(file))
    throw new InputError(`${file} is not there; give the folder of a run, as --run named it`, {
      file,
    });
  const recipe = asObject(await readFile(file, "utf8"));
  if (recipe) return recipe;
  throw new InputError(`${file} is not the recipe of a run`, { file });
}

function asObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as never) : undefined;
  } catch {
    return undefined;
  }
}

const word = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;

function asAlarm(said: Readonly<Record<string, unknown>>, from: ReportAlarm["from"]): ReportAlarm {
  const { evidence } = said;
  return {
    ...{ kind: String(said.alarm ?? said.kind), step: Number(said.step ?? 0), from },
    ...{ severity: word(said.severity), what: word(said.what), todo: word(said.todo) },
    since: typeof said.since === "number" ? said.since : undefined,
    evidence: typeof evidence === "object" && evidence !== null ? (evidence as never) : {},
  };
}

/** Lines of alarms.jsonl; what a crash cut off is left out. */
async function readAlarms(file: string): Promise<ReportAlarm[]> {
  if (!existsSync(file)) return [];
  return (await readFile(file, "utf8")).split("\n").flatMap((line) => {
    const said = asObject(line);
    return said ? [asAlarm(said, "folder")] : [];
  });
}

/** Every alarm once. One that only the ledger has was taken out of the folder, or is of an earlier process. */
function merged(folder: readonly ReportAlarm[], ledger: readonly ReportAlarm[]): ReportAlarm[] {
  const keyOf = ({ kind, step }: ReportAlarm) => `${kind} ${step}`;
  const all = new Map(ledger.map((alarm) => [keyOf(alarm), alarm]));
  for (const alarm of folder) {
    const from = all.has(keyOf(alarm)) ? "both" : "folder";
    all.set(keyOf(alarm), { ...alarm, from });
  }
  return [...all.values()].sort((a, b) => a.step - b.step);
}

/** Kinds of entries that stand on the page, and what is said of them. */
const TOLD: Readonly<
  Record<string, (facts: Readonly<Record<string, unknown>>) => Omit<ReportEvent, "step" | "time">>
> = {
  "run-start": ({ steps }) => ({ kind: "start", text: `began, ${steps} updates planned` }),
  checkpoint: ({ path }) => ({ kind: "checkpoint", text: `saved ${path}` }),
  audit: ({ steps, verdict, tensors, first }) => ({
    kind: "audit",
    text: `${Array.isArray(steps) ? steps.length : "some"} updates done again: ${verdict}${
      first === undefined ? "" : ` at update ${first}`
    }${Array.isArray(tensors) && tensors.length > 0 ? `, first in ${tensors[0]}` : ""}`,
    bad: verdict !== "same",
  }),
  "run-end": ({ reason, message }) => ({
    kind: "end",
    text: message ? `ended: ${reason} (${message})` : `ended: ${reason}`,
    bad: reason === "error",
  }),
};
const EVENTS: typeof TOLD = {
  resume: ({ ended }) => ({
    kind: "resume",
    text: `went on; the process before ${ended === "killed" ? "was killed" : `had ${ended}`}`,
    bad: ended === "killed",
  }),
  "state-changed": ({ tensors, since }) => ({
    kind: "event",
    text: `state changed after update ${since}: ${Array.isArray(tensors) ? tensors.join(", ") : ""}`,
    bad: true,
  }),
  differs: () => ({ kind: "event", text: "done again, the update went another way", bad: true }),
};

async function readBook(
  folder: string,
): Promise<{ ledger: ReportLedger; alarms: readonly ReportAlarm[] }> {
  const events: ReportEvent[] = [];
  const alarms: ReportAlarm[] = [];
  const blank = { entries: 0, root: "", origin: "", key: "" };
  try {
    const reader = await readLedgerOn(folderDisk(folder));
    const { size, root, origin } = reader.head;
    const head = { entries: size, root: toBase64(root), origin, key: formatVkey(reader.log) };
    let problem: string | undefined;
    let last = 0;
    try {
      for await (const { kind, facts, time } of reader.records()) {
        const step = typeof facts.step === "number" ? facts.step : last;
        last = step;
        if (facts.event === "alarm") alarms.push(asAlarm(facts, "ledger"));
        const tell = kind === "event" ? EVENTS[String(facts.event)] : TOLD[kind];
        if (tell) events.push({ ...tell(facts), step, time });
      }
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problem = error.message;
    }
    return { ledger: { ...head, events, problem }, alarms };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ledger: { ...blank, events, problem: error.message }, alarms };
  }
}

/** Evenly spread sheets with the newest among them, fewer where they are large. */
async function readSheets(
  folder: string,
): Promise<{ sheets: readonly ReportSheet[]; sheetCount: number }> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => SHEET.test(name)).sort();
  if (names.length === 0) return { sheets: [], sheetCount: 0 };
  const { size } = await stat(join(folder, names.at(-1)!));
  const count = Math.max(1, Math.min(SHEETS.most, names.length, Math.floor(SHEETS.bytes / size)));
  const chosen = Array.from(
    { length: count },
    (_, i) => names[Math.round(((i + 1) * names.length) / count) - 1]!,
  );
  const sheets = await Promise.all(
    chosen.map(async (name) => ({
      step: Number(SHEET.exec(name)![1]),
      png: new Uint8Array(await readFile(join(folder, name))),
    })),
  );
  return { sheets, sheetCount: names.length };
}
