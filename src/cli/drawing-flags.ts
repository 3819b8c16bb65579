/** Flags of every command that draws: seed, guidance, filters, model. Draws nothing. */

import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import type { Branch } from "../image/orders.ts";
import { numberFlag } from "./flags.ts";
import { DEFAULT_MODEL } from "./package.ts";

export interface DrawingFlags {
  readonly model: string;
  readonly tokenizer?: string;
  readonly seed: number;
  readonly first: number;
  readonly guidance?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly temperature?: number;
  readonly unguidedLast?: number;
  readonly threads?: number;
  readonly branch: readonly Branch[];
}

/** For flags whose default the model knows. */
const OWN = "default the model's own";

export function drawingFlags(command: Command): void {
  command
    .option(
      "--model <name>",
      "An embedded model, a model's folder, or a transformer's file",
      DEFAULT_MODEL,
    )
    .option("--tokenizer <file>", "The tokenizer, where it does not lie beside the transformer");
  numberFlag(command, "--first <n>", {
    sentence: "Number of the first picture within its seed",
    min: 0,
    max: 1e9,
    fallback: 0,
  });
  numberFlag(command, "--seed <n>", {
    sentence: "Where all chance comes from: same seed, same files",
    min: 0,
    max: 2 ** 32 - 1,
    fallback: 0,
  });
  command.option(
    "--branch <scale[:name]>",
    "From this scale on (0 is 1x1) another chance, by its name (default a); may be repeated",
    readBranch,
    [],
  );
  numberFlag(command, "--guidance <n>", {
    sentence: `How strongly the class is followed at the last scale; 0 for not at all; ${OWN}`,
    real: true,
    min: 0,
    max: 100,
  });
  numberFlag(command, "--top-k <n>", {
    sentence: `Choose among this many of the likeliest codes; 0 for all; ${OWN}`,
    unit: "codes",
    min: 0,
    max: 1_048_576,
  });
  numberFlag(command, "--top-p <n>", {
    sentence: `Choose among the likeliest codes up to this probability; 0 for all; ${OWN}`,
    real: true,
    min: 0,
    max: 1,
  });
  numberFlag(command, "--temperature <n>", {
    sentence: `Below 1 for likelier codes, above for bolder ones; ${OWN}`,
    real: true,
    min: 0.0001,
    max: 100,
  });
  numberFlag(command, "--unguided-last <n>", {
    sentence: `The last scales without guidance, at half the work of each; ${OWN}`,
    unit: "scales",
    min: 0,
    max: 100,
  });
  numberFlag(command, "--threads <n>", {
    sentence: "Processor threads, default all",
    min: 1,
    max: 1024,
  });
}

function readBranch(text: string, before: readonly Branch[]): Branch[] {
  const [, from, name = "a"] = /^(\d+)(?::(.+))?$/.exec(text) ?? [];
  if (from === undefined)
    throw new InputError(
      `--branch ${JSON.stringify(text)}: want a scale, and a name if there is to be more than one way, such as 4 or 4:b`,
      { text },
    );
  return [...before, { from: Number(from), name }];
}
