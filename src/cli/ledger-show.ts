/** `underpaint ledger show RUN`: the entries of a ledger, verified while they are shown. */

import type { Command } from "commander";
import type { LedgerRecord } from "../guard/ledger/entry.ts";
import { formatVkey } from "../guard/ledger/note.ts";
import { readLedgerOn } from "../guard/ledger/reader.ts";
import { toBase64, toHex } from "../guard/sign/encoding.ts";
import { shellWord } from "../lab/shell-word.ts";
import { numberFlag } from "./flags.ts";
import { count, figure, table } from "./format.ts";
import { visible } from "./info.ts";
import { ledgerDisk, logKey } from "./ledger-folder.ts";
import type { Terminal } from "./terminal.ts";

interface ShowFlags {
  readonly last: number;
  readonly from?: number;
  readonly kind?: string;
  readonly key?: string;
  readonly json: boolean;
}

/** Characters of an entry's facts in a line. */
const SHOWN = 90;

/** What a reader looks for first; the rest follows as it comes. */
const FIRST = [
  ...["event", "reason", "verdict", "step", "steps", "since", "tensors", "ended", "gap", "message"],
  ...["loss", "learningRate", "gradientNorm", "wallTime", "path", "stateRoot", "stateAfter"],
];
const place = (key: string): number => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);

export function addLedgerShow(ledger: Command, terminal: Terminal): void {
  const command = ledger
    .command("show")
    .description("Shows entries of a ledger")
    .argument("<run>", "Folder of the run, or of its ledger")
    .option("--kind <kind>", "Only entries of this kind: step, event, checkpoint, ...")
    .option(
      "--key <file>",
      "The run's public key (PEM or vkey); by default the ledger's own word is taken",
    )
    .option("--json", "Print one JSON object per entry on stdout", false);
  numberFlag(command, "--last <n>", {
    sentence: "How many entries from the end",
    min: 1,
    fallback: 20,
  });
  numberFlag(command, "--from <n>", {
    sentence: "First entry, counted from 0; shows all from there",
    min: 0,
  });
  command.action(async (run: string, { last, from, kind, key, json }: ShowFlags) => {
    const disk = ledgerDisk(run);
    const reader = await readLedgerOn(disk, { log: await logKey(disk, key) });
    const { size, root, origin } = reader.head;
    // Of one kind the last few may lie anywhere.
    const first = from ?? (kind ? 0 : Math.max(0, size - last));
    let records: LedgerRecord[] = [];
    for await (const record of reader.records(first)) {
      if (kind && record.kind !== kind) continue;
      if (json && from !== undefined) terminal.print(line(record));
      else records.push(record);
      if (from === undefined) records = records.slice(-last);
    }
    if (json) for (const record of records) terminal.print(line(record));
    else if (records.length > 0) terminal.print(table(records.map(row)));
    terminal.say(`${visible(origin)}: ${count(size)} entries, root ${toBase64(root)}`);
    terminal.say(`key ${formatVkey(reader.log)}`);
    terminal.say(terminal.dim(`next: underpaint ledger verify ${shellWord(run)}`));
  });
}

const line = ({ leaf, ...record }: LedgerRecord): string =>
  JSON.stringify({ ...record, leaf: toHex(leaf) });

function row({ index, kind, time, facts }: LedgerRecord): string[] {
  const when =
    time === undefined ? "" : new Date(time).toISOString().replace("T", " ").slice(0, 19);
  const text = Object.entries(facts)
    .sort(([a], [b]) => place(a) - place(b))
    .map(
      ([key, value]) =>
        `${key} ${typeof value === "object" ? JSON.stringify(value) : shorter(value)}`,
    )
    .join("  ");
  const cut = text.length > SHOWN ? `${text.slice(0, SHOWN - 1)}…` : text;
  return [String(index), when, kind, visible(cut)];
}

/** Digests are told by their beginning, numbers by their first digits. */
function shorter(value: unknown): string {
  if (typeof value === "number") return figure(value);
  const text = String(value);
  return /^[0-9a-f]{64}$/.test(text) ? `${text.slice(0, 8)}…` : text;
}
