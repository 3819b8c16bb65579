/** The command line as a whole: which commands there are, how it fails. Each command has its own file. */

import { Command } from "commander";
import { addAudit } from "./audit.ts";
import { addDoctor } from "./doctor.ts";
import { addDrill } from "./drill.ts";
import { addEdit } from "./edit.ts";
import { failure } from "./errors.ts";
import { addEval } from "./eval.ts";
import { addInfo } from "./info.ts";
import { addKeygen } from "./keygen.ts";
import { addLab } from "./lab.ts";
import { addLedger } from "./ledger.ts";
import { addModels } from "./models.ts";
import { VERSION } from "./package.ts";
import { addReport } from "./report.ts";
import { addSample } from "./sample.ts";
import { addScan } from "./scan.ts";
import { addServe } from "./serve.ts";
import { addSign } from "./sign.ts";
import { addStudio } from "./studio.ts";
import type { Terminal } from "./terminal.ts";
import { addTrain } from "./train.ts";
import { addVerify } from "./verify.ts";

const COMMANDS = [
  addSample,
  addEdit,
  addServe,
  addStudio,
  addTrain,
  addEval,
  addReport,
  addLab,
  addInfo,
  addModels,
  addScan,
  addKeygen,
  addSign,
  addVerify,
  addLedger,
  addAudit,
  addDrill,
  addDoctor,
] as const;

/** All commands, throwing CommanderError instead of ending the process. */
export function createProgram(terminal: Terminal): Command {
  const program = new Command("underpaint")
    .description("Generates images by predicting the next scale, and trains the models that do so.")
    .version(VERSION)
    .addHelpText("after", "\nnext: underpaint sample --count 32 --sheet sheet.png");
  strict(program, terminal);
  for (const add of COMMANDS) add(program, terminal);
  return program;
}

/** Our manner of failing, for a command and what is added to it: one sentence, no process exit. */
function strict(command: Command, terminal: Terminal): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.print(text.trimEnd()),
    writeErr: (text) => terminal.say(text.trimEnd()),
    // "error: unknown option '--cuont'\n(Did you mean --count?)"
    outputError: (text, write) =>
      write(
        `underpaint: ${text
          .replace(/^error: /, "")
          .trim()
          .replace("\n", " ")}; see --help`,
      ),
  });
}

/** Runs one command line. @param args without node and script @returns the exit code */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await createProgram(terminal).parseAsync([...args], { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const { code, text } = failure(error);
    if (text) terminal.say(text);
    return code;
  }
}
