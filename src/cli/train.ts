/** `underpaint train`: its two subcommands. What they share is in training.ts. */

import type { Command } from "commander";
import type { Terminal } from "./terminal.ts";
import { addTrainVar } from "./train-var.ts";
import { addTrainVqvae } from "./train-vqvae.ts";

export function addTrain(program: Command, terminal: Terminal): void {
  const train = program
    .command("train")
    .description("Trains a tokenizer (vqvae), then a transformer (var) on its tokens");
  addTrainVqvae(train, terminal);
  addTrainVar(train, terminal);
}
