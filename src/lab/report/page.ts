/** A run's page: one HTML file that asks for nothing from anywhere. Reads no files; see contents.node.ts. */

import { toBase64 } from "../../guard/sign/encoding.ts";
import { recipeRows } from "../command.ts";
import { effort, latest, type MetricLine } from "../metrics.ts";
import { lastStep, reportCharts, timeline, usageMap } from "./charts.ts";
import type { ReportAlarm, ReportLedger, RunContents } from "./contents.ts";
import { STYLE } from "./style.ts";

const escaped = (text: unknown): string =>
  String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** The whole page. */
export const reportHtml = (run: RunContents): string => [...reportPage(run)].join("");

/** The page, a section at a time. What a folder lacks is left out: a run without ledger or sentinel has a page too. */
export function* reportPage(run: RunContents): Generator<string> {
  const { name, metrics, alarms, ledger } = run;
  yield `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">`;
  yield `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">`;
  yield `<title>${escaped(name)}</title><style>${STYLE}</style><main>`;
  yield* head(run);
  const strip = timeline(alarms, ledger?.events ?? [], lastStep(metrics));
  if (strip)
    yield section(
      "What happened when",
      `<div class="wide">${strip}</div><p class="axis">updates</p>`,
    );
  if (alarms.length > 0) yield section("Alarms", alarmTable(alarms));
  yield* curves(metrics, alarms);
  const usage = usageMap(metrics);
  if (usage)
    yield section(
      "Codes in use by scale",
      `<div class="wide">${usage.svg}</div><p class="axis">updates; the strongest cell is ${share(usage.most)} of the codebook</p>`,
    );
  yield* sheets(run);
  if (ledger) yield section("Ledger", ledgerPart(ledger));
  yield section("Recipe", `<details><summary>All settings</summary>${recipeTable(run)}</details>`);
  yield "</main></html>\n";
}

const section = (title: string, inside: string): string =>
  `<section><h2>${escaped(title)}</h2>${inside}</section>`;
const badge = (kind: "good" | "warn" | "bad", text: string): string =>
  `<b class="${kind}">${escaped(text)}</b>`;
const share = (x: number): string => `${Number((100 * x).toPrecision(3))} %`;
const figureOf = (x: number): string =>
  Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3)
    ? x.toExponential(2)
    : String(Number(x.toPrecision(4)));
const table = (columns: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="wide"><table><tr>${columns.map((c) => `<th>${c}`).join("")}${rows
    .map((cells) => `<tr>${cells.map((cell) => `<td>${cell}`).join("")}`)
    .join("")}</table></div>`;

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = seconds / 60;
  return minutes < 90 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** Figures of the last update that tell most, where they are. */
const FACTS = [
  ...[["loss", "loss"] as const, ["testLoss", "loss, test"] as const],
  ...[["testPsnr", "PSNR, test (dB)"] as const, ["testAccuracy", "accuracy, test"] as const],
  ["ms", "ms an update"] as const,
];

function* head({ name, recipe, metrics, alarms, ledger }: RunContents): Generator<string> {
  const { steps, seconds } = effort(metrics);
  const high = alarms.filter(({ severity }) => severity === "high").length;
  const verdicts = [
    high > 0 && badge("bad", `${high} ${high === 1 ? "alarm" : "alarms"}`),
    alarms.length > high && badge("warn", `${alarms.length - high} of time or habit`),
    ledger?.problem && badge("bad", "the ledger is not whole"),
    ledger?.events.some(({ kind, bad }) => kind === "audit" && bad) &&
      badge("bad", "an audit failed"),
    alarms.length === 0 && ledger && !ledger.problem && badge("good", "no alarm"),
  ].filter((text) => !!text);
  const facts = [
    ["updates", `${steps} of ${escaped(recipe.steps ?? "?")}`],
    ["time in updates", duration(seconds)],
    ...(recipe.data === undefined ? [] : [["data", escaped(recipe.data)]]),
    ...FACTS.flatMap(([metric, label]) => {
      const value = latest(metrics, metric);
      return value === undefined ? [] : [[label, figureOf(value)]];
    }),
  ];
  yield `<h1>${escaped(name)}</h1><p>${verdicts.join(" ")}</p><dl>`;
  for (const [label, value] of facts) yield `<div><dt>${label}<dd>${value}</div>`;
  yield "</dl>";
}

function alarmTable(alarms: readonly ReportAlarm[]): string {
  const rows = alarms.map((alarm) => {
    const { kind, step, since, severity, what, todo, evidence, from } = alarm;
    const facts = Object.entries(evidence)
      .map(([name, value]) => `${name} ${typeof value === "number" ? figureOf(value) : value}`)
      .join(", ");
    const where = from === "ledger" ? ` ${badge("warn", "only in the ledger")}` : "";
    const shown = since !== undefined && since !== step ? `${step}, since ${since}` : `${step}`;
    return [
      ...[shown, badge(severity === "high" ? "bad" : "warn", kind) + where],
      ...[escaped(what ?? ""), escaped(facts), escaped(todo ?? "")],
    ];
  });
  return table(["update", "alarm", "what", "evidence", "what to do"], rows);
}

function* curves(
  metrics: readonly MetricLine[],
  alarms: readonly ReportAlarm[],
): Generator<string> {
  const charts = reportCharts(metrics, alarms);
  if (charts.length === 0) {
    yield section("Curves", "<p>no update has been done yet</p>");
    return;
  }
  yield `<section><h2>Curves</h2><p>Lines are means of neighbouring updates, bands their middle 80 %, dots the test split.</p><div class="grid">`;
  for (const { title, unit, key, svg } of charts) {
    const names = key.map(
      ({ label, colour, dots }) =>
        `<span><i style="background:${colour}"${dots ? ' class="dot"' : ""}></i>${escaped(label)}</span>`,
    );
    yield `<figure><figcaption><b>${title}</b> <small>${unit}</small><div class="key">${names.join("")}</div></figcaption>${svg}</figure>`;
  }
  yield "</div></section>";
}

function* sheets({ sheets, sheetCount }: RunContents): Generator<string> {
  if (sheets.length === 0) return;
  const some = sheets.length < sheetCount ? ` (${sheets.length} of ${sheetCount})` : "";
  yield `<section><h2>Sheets over time${some}</h2><div class="sheets">`;
  for (const { step, png } of [...sheets].reverse())
    yield `<figure><img alt="sheet after update ${step}" src="data:image/png;base64,${toBase64(png)}"><figcaption>update ${step}</figcaption></figure>`;
  yield "</div></section>";
}

const when = (time: number | undefined): string =>
  time === undefined ? "" : new Date(time).toISOString().replace("T", " ").slice(0, 19);

function ledgerPart({ entries, root, origin, key, events, problem }: ReportLedger): string {
  const told = events.filter(({ kind }) => kind !== "checkpoint");
  const saved = events.length - told.length;
  const facts = [
    ["entries", String(entries)],
    ["checkpoints", String(saved)],
    ["log", origin],
    ["root", root],
    ["key", key],
  ];
  return [
    problem === undefined
      ? "<p>Every entry is signed with this key and follows the one before it.</p>"
      : `<p>${badge("bad", "not whole")} ${escaped(problem)}</p>`,
    `<dl>${facts.map(([name, value]) => `<div><dt>${name}<dd><code>${escaped(value)}</code></div>`).join("")}</dl>`,
    table(
      ["time (UTC)", "update", "what happened"],
      told.map(({ time, step, text, bad }) => [
        ...[when(time), String(step), `${bad ? badge("bad", "mind") : ""} ${escaped(text)}`],
      ]),
    ),
  ].join("");
}

const recipeTable = ({ recipe }: RunContents): string =>
  table(
    ["setting", "value"],
    recipeRows(recipe).map(([name, value]) => [escaped(name), escaped(value)]),
  );
