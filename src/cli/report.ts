/** `underpaint report RUN`: a run's folder as one page. What stands on it is in lab/report. */

import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Command } from "commander";
import { writeFileAtomic } from "../formats/node.ts";
import { readContents } from "../lab/report/contents.node.ts";
import type { RunContents } from "../lab/report/contents.ts";
import { reportHtml } from "../lab/report/page.ts";
import { shellWord } from "../lab/shell-word.ts";
import { interruptible } from "./errors.ts";
import { numberFlag } from "./flags.ts";
import { bytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

interface ReportFlags {
  readonly out?: string;
  readonly follow?: number;
}

export function addReport(program: Command, terminal: Terminal): void {
  const command = program
    .command("report")
    .description("Writes a run as one HTML page: curves, sheets, alarms, ledger. It loads nothing")
    .argument("<run>", "Folder of a run, finished or under way")
    .option(
      "--out <file>",
      "Where the page goes; - is standard output. Default: report.html in the run",
    );
  numberFlag(command, "--follow <s>", {
    ...{ sentence: "Write it again so often, until the run is done or Ctrl-C", unit: "seconds" },
    ...{ min: 1, max: 86_400 },
  });
  command.action((run: string, flags: ReportFlags) =>
    interruptible((signal) => report(terminal, run, { ...flags, signal })),
  );
}

async function report(
  terminal: Terminal,
  run: string,
  { out = join(run, "report.html"), follow, signal }: ReportFlags & { signal: AbortSignal },
): Promise<void> {
  for (;;) {
    const contents = await readContents(run);
    const page = reportHtml(contents);
    if (out === "-") terminal.print(page.trimEnd());
    else await writeFileAtomic(out, new TextEncoder().encode(page));
    if (!follow || isDone(contents)) {
      if (out !== "-") terminal.say(`wrote ${out} (${bytes(page.length)}); open it in a browser`);
      if (contents.ledger)
        terminal.say(terminal.dim(`next: underpaint ledger verify ${shellWord(run)}`));
      return;
    }
    await wait(1000 * follow, undefined, { signal });
  }
}

const isDone = ({ metrics, recipe }: RunContents): boolean =>
  (metrics.at(-1)?.step ?? 0) >= Number(recipe.steps ?? Number.POSITIVE_INFINITY);
