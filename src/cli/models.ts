/** `underpaint models`: the group of commands about models; each is in its own file. */

import type { Command } from "commander";
import { addModelsAdd } from "./models-add.ts";
import { addModelsList } from "./models-list.ts";
import { addModelsPull } from "./models-pull.ts";
import { addModelsRm } from "./models-rm.ts";
import { addModelsVerify } from "./models-verify.ts";
import type { Terminal } from "./terminal.ts";

const COMMANDS = [
  addModelsList,
  addModelsPull,
  addModelsAdd,
  addModelsVerify,
  addModelsRm,
] as const;

export function addModels(program: Command, terminal: Terminal): void {
  const models = program.command("models").description("Lists, gets, checks and removes models");
  for (const add of COMMANDS) add(models, terminal);
}
