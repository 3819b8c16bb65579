/** `underpaint train`: its subcommands. What they share is in training.ts. */

import type { Command } from "commander";
import type { Terminal } from "./terminal.ts";
import { addTrainClassifier } from "./train-classifier.ts";
import { addTrainVar } from "./train-var.ts";
import { addTrainVqvae } from "./train-vqvae.ts";

export function addTrain(program: Command, terminal: Terminal): void {
  const train = program
    .command("train")
    .description(
      "Trains a tokenizer (vqvae), then a transformer (var) on its tokens; or a classifier",
    );
  addTrainVqvae(train, terminal);
  addTrainVar(train, terminal);
  addTrainClassifier(train, terminal);
}
