/** `underpaint models list`: what came with the package. Reads headers only. */

import { existsSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import type { Command } from "commander";
import { embeddedModels, MODEL_FILES } from "../image/embedded.node.ts";
import { bytes, plural, table } from "./format.ts";
import { MODEL_CARD } from "./package.ts";
import { summarize } from "./summary.ts";
import type { Terminal } from "./terminal.ts";

export function addModels(program: Command, terminal: Terminal): void {
  program
    .command("models")
    .description("The embedded models")
    .command("list", { isDefault: true })
    .description("Lists the embedded models: size of the pictures, classes, bytes, card")
    .option("--json", "Print one JSON object per model on stdout", false)
    .action(async ({ json }: { json: boolean }) => {
      const models = await Promise.all(embeddedModels().map(describe));
      if (json) for (const model of models) terminal.print(JSON.stringify(model));
      else if (models.length > 0)
        terminal.print(
          table(
            models.map((m) => [
              m.name,
              `${m.size} x ${m.size} pixels`,
              plural(m.classes.length, "class", "classes"),
              bytes(m.bytes),
              m.card ? relative(process.cwd(), m.card) : "no card",
            ]),
          ),
        );
      else terminal.say("no model is embedded in this installation");
      const first = models[0];
      terminal.say(
        first
          ? terminal.dim(`next: underpaint sample ${first.classes[0] ?? ""} --model ${first.name}`)
          : "next: underpaint train vqvae emoji",
      );
    });
}

async function describe({ name, folder }: { name: string; folder: string }) {
  const files = Object.values(MODEL_FILES).map((file) => join(folder, file));
  const [transformer, tokenizer] = await Promise.all(files.map((file) => summarize(file)));
  const card = join(folder, MODEL_CARD);
  return {
    name,
    size: tokenizer?.pictureSize ?? 0,
    classes: transformer?.classes ?? [],
    bytes: files.reduce((sum, file) => sum + statSync(file).size, 0),
    card: existsSync(card) ? card : undefined,
  };
}
