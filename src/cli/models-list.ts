/** `underpaint models list`: embedded, pulled and added models. Reads headers and notes only. */

import { existsSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import type { Command } from "commander";
import { type PictureSize, pictureSize } from "../formats/picture-size.ts";
import { embeddedModels, MODEL_FILES } from "../image/embedded.node.ts";
import { OFFICIAL_MODELS, type OfficialModel } from "../image/official.ts";
import { type RegisteredModel, registeredModels } from "../image/registry.node.ts";
import { shellWord } from "../lab/shell-word.ts";
import { bytes, plural, table } from "./format.ts";
import { MODEL_CARD } from "./package.ts";
import { summarize } from "./summary.ts";
import type { Terminal } from "./terminal.ts";

interface Listed {
  readonly name: string;
  readonly source: "embedded" | RegisteredModel["source"];
  /** Side of the pictures in pixels. */
  readonly size: PictureSize;
  readonly classCount: number;
  /** Names of the classes; empty where they have numbers only. */
  readonly classes: readonly string[];
  readonly bytes: number;
  readonly files: readonly string[];
  readonly card?: string;
}

export function addModelsList(models: Command, terminal: Terminal): void {
  models
    .command("list", { isDefault: true })
    .description("Lists the models that are here: size of the pictures, classes, bytes, source")
    .option("--json", "Print one JSON object per model on stdout", false)
    .action(async ({ json }: { json: boolean }) => {
      const here = registeredModels();
      const listed = [...(await Promise.all(embeddedModels().map(embedded))), ...here.map(kept)];
      if (json) for (const model of listed) terminal.print(JSON.stringify(model));
      else if (listed.length > 0) terminal.print(table(listed.map(row)));
      else terminal.say("no model is here");
      const toPull = OFFICIAL_MODELS.filter(({ name }) => !here.some((m) => m.name === name));
      if (toPull.length > 0) terminal.say(`to pull: ${toPull.map(offer).join(", ")}`);
      const first = listed[0];
      terminal.say(
        first
          ? terminal.dim(
              `next: underpaint sample ${shellWord(first.classes[0] ?? "0")} --model ${first.name}`,
            )
          : "next: underpaint train vqvae emoji",
      );
    });
}

const row = (m: Listed): string[] => [
  m.name,
  `${m.size.width} x ${m.size.height} pixels`,
  plural(m.classCount, "class", "classes"),
  bytes(m.bytes),
  m.card ? `${m.source}: ${relative(process.cwd(), m.card)}` : `${m.source}: ${m.files[0]}`,
];

const offer = ({ name, var: transformer, vqvae }: OfficialModel): string =>
  `${name} (${bytes(transformer.bytes + vqvae.bytes)})`;

async function embedded({ name, folder }: { name: string; folder: string }): Promise<Listed> {
  const files = Object.values(MODEL_FILES).map((file) => join(folder, file));
  const [transformer, tokenizer] = await Promise.all(files.map((file) => summarize(file)));
  const card = join(folder, MODEL_CARD);
  const classes = transformer?.classes ?? [];
  return {
    name,
    source: "embedded",
    size: tokenizer?.pictureSize ?? pictureSize(0),
    classCount: classes.length,
    classes,
    bytes: files.reduce((sum, file) => sum + statSync(file).size, 0),
    files,
    card: existsSync(card) ? card : undefined,
  };
}

function kept({ name, source, files, size, classes }: RegisteredModel): Listed {
  const places = new Map(Object.values(files).map((file) => [file.path, file.size]));
  return {
    name,
    source,
    size,
    classCount: classes,
    classes: [],
    bytes: [...places.values()].reduce((sum, n) => sum + n, 0),
    files: [...places.keys()],
  };
}
