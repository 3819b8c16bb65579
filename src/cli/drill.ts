/** `underpaint drill`: sabotages a small training run in all the ways the guard knows, and prints what it saw. */

import { type Command, Option } from "commander";
import { InputError } from "../formats/errors.ts";
import { type CleanRow, type DrillRow, drill } from "../lab/drill/drill.ts";
import { recordDrill } from "../lab/drill/records.ts";
import { cleanLine } from "../lab/drill/table.ts";
import { createWorld } from "../lab/drill/world.ts";
import { interruptible } from "./errors.ts";
import { numberFlag } from "./flags.ts";
import { table } from "./format.ts";
import { type Progress, progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";
import { backendWith } from "./training.ts";

interface DrillFlags {
  readonly quick: boolean;
  readonly runs?: number;
  readonly clean?: number;
  readonly updates?: number;
  readonly checks: number;
  readonly only?: string;
  readonly time: boolean;
  readonly seed: number;
  readonly json: boolean;
}

/** What is run when nothing is asked for, and with --quick: some minutes, and some seconds. */
const SIZES = {
  full: { runs: 20, clean: 50, updates: 400, rates: [1, 0.1, 0.02] },
  quick: { runs: 2, clean: 2, updates: 100, rates: [1] },
} as const;

/** Updates of some 10 ms, beside which the kernel's timers are fine. */
const LONGER = { width: 64, batch: 64 } as const;

export function addDrill(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("drill")
    .description("Sabotages a small training run in many ways and prints what the sentinel saw")
    .option("--quick", "Two runs of each sabotage, at every update only", false)
    .option("--only <text>", 'Only sabotages whose "group: name" contains this')
    .option("--json", "Print each row as one JSON object on stdout", false)
    .addOption(
      new Option(
        "--time",
        "The sabotages of time instead; on a busy machine with a high priority",
      ).default(false),
    );
  numberFlag(command, "--runs <n>", { sentence: "Runs of each row; default 20", min: 1, max: 1e4 });
  numberFlag(command, "--clean <n>", { sentence: "Clean runs; default 50", min: 0, max: 1e5 });
  numberFlag(command, "--updates <n>", {
    ...{ sentence: "Length of a run; default 400", unit: "updates", min: 60, max: 1e5 },
  });
  numberFlag(command, "--checks <p>", {
    ...{ sentence: "Chance that an update's gradient is checked", real: true },
    ...{ min: 0, max: 1, fallback: 0.1 },
  });
  numberFlag(command, "--seed <n>", {
    ...{ sentence: "Where onsets and secrets come from", min: 0, max: 2 ** 32 - 1, fallback: 0 },
  });
  command.action(async (flags: DrillFlags) => {
    await interruptible((signal) => run(terminal, flags, signal));
  });
}

async function run(terminal: Terminal, flags: DrillFlags, signal: AbortSignal): Promise<void> {
  const { quick, only, time, json, checks, seed } = flags;
  const size = SIZES[quick ? "quick" : "full"];
  const { runs = size.runs, clean = size.clean, updates = size.updates } = flags;
  const longer = time && LONGER;
  const world = await createWorld(await backendWith(1), { depth: 1, steps: updates, ...longer });
  const pattern = only && new RegExp(only.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const rows: DrillRow[] = [];
  let honest: CleanRow | undefined;
  let shown: Progress | undefined;
  const options = { runs, clean, rates: size.rates, checks, time, seed: `${seed}`, signal };
  try {
    for await (const event of drill(world, { ...options, ...(pattern && { only: pattern }) })) {
      if (event.kind === "progress") {
        shown ??= progress(terminal, { of: event.of, what: "drill" });
        shown.update(event.done, event.what);
        continue;
      }
      if (json) terminal.print(JSON.stringify(event));
      if (event.kind === "clean") honest = event.clean;
      else rows.push(event.row);
    }
    if (!time)
      for await (const row of recordDrill(world, { runs, only: pattern || undefined, signal })) {
        if (json) terminal.print(JSON.stringify({ kind: "row", row }));
        rows.push(row);
      }
  } finally {
    shown?.clear();
  }
  if (rows.length === 0 && only)
    throw new InputError(`--only ${JSON.stringify(only)}: no sabotage is called so`, { only });
  terminal.say(table([HEAD, ...rows.map(cells)], { right: [1, 2, 3, 4, 5, 6] }));
  terminal.say(
    "delays are medians in updates from the first sabotaged one; docs/guard.md says why some stay hidden",
  );
  if (honest) terminal.say(cleanLine(honest));
  terminal.say(
    terminal.dim("next: underpaint train var emoji --tokenizer TOKENIZER --on-alarm stop"),
  );
}

const HEAD = ["sabotage", "share", "found", "expected", "delay", "expected", "false alarms"];
const percent = (x: number): string => `${Math.round(100 * x)} %`;
const cells = ({ group, name, rate, runs, found, expected, delay, ...row }: DrillRow): string[] => [
  `${group}: ${name}`,
  rate === undefined ? "once" : percent(rate),
  `${found} of ${runs}`,
  percent(expected),
  delay ? `${delay.median}` : "-",
  `${row.expectedDelay ?? "-"}`,
  `${row.falseAlarms}`,
];
