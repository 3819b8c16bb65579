/** The drill's table as Markdown. */

import type { CleanRow, DrillRow } from "./drill.ts";

const percent = (x: number): string => `${Number((100 * x).toPrecision(3))} %`;
const kinds = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([kind, n]) => `${kind} ${n}`)
    .join(", ") || "none";

/** Rows as a table. Delays are updates from the first sabotaged one; 0 is the same update. */
export function drillTable(rows: readonly DrillRow[]): string {
  const head = [
    ["sabotage", "share of updates", "found", "expected", "delay: median (most)"],
    ["expected", "seen by", "false alarms"],
  ].flat();
  const lines = rows.map(({ group, name, rate, runs, found, expected, delay, ...row }) => [
    `${group}: ${name}`,
    rate === undefined ? "once" : percent(rate),
    `**${found}** of ${runs}`,
    percent(expected),
    delay ? `${delay.median} (${delay.most})` : "-",
    row.expectedDelay === undefined ? "-" : `${row.expectedDelay}`,
    kinds(row.seenBy),
    `${row.falseAlarms}`,
  ]);
  return [head, head.map(() => "---"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}

export const cleanLine = ({ runs, updates, alarms }: CleanRow): string =>
  `${runs} clean runs, ${updates} updates: false alarms ${kinds(alarms)}.`;
