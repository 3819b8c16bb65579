/** `underpaint lab`: its subcommands. What they share is in lab-study.ts. */

import type { Command } from "commander";
import { addScaling } from "./lab-scaling.ts";
import { addTables } from "./lab-tables.ts";
import type { Terminal } from "./terminal.ts";

export function addLab(program: Command, terminal: Terminal): void {
  const lab = program
    .command("lab")
    .description("Checks the paper's claims on a data set: baselines, ablation, scaling laws");
  addTables(lab, terminal);
  addScaling(lab, terminal);
}
