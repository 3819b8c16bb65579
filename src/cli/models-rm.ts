/** `underpaint models rm`: takes a pulled or added model away. Files that were added where they lie stay. */

import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { embeddedModels } from "../image/embedded.node.ts";
import { OFFICIAL_MODELS } from "../image/official.ts";
import { findRegistered, removeModel } from "../image/registry.node.ts";
import { unknownModel } from "./package.ts";
import type { Terminal } from "./terminal.ts";

export function addModelsRm(models: Command, terminal: Terminal): void {
  models
    .command("rm")
    .description("Removes pulled files, or the name of an added model and its copies")
    .argument("<names...>", "Which")
    .option("--forget", "Forget the recorded sha256 as well, so that a new file is taken", false)
    .action(async (names: string[], { forget }: { forget: boolean }) => {
      for (const name of names) check(name);
      for (const name of names) {
        const gone = await removeModel(name, { forget });
        for (const path of gone) terminal.say(`removed ${path}`);
        if (gone.length === 0) terminal.say(`nothing of ${name} is here`);
        else if (isOfficial(name) && !forget)
          terminal.say("its sha256 stays recorded; --forget removes that as well");
      }
      terminal.say(terminal.dim("next: underpaint models list"));
    });
}

const isOfficial = (name: string): boolean => OFFICIAL_MODELS.some((model) => model.name === name);

function check(name: string): void {
  if (embeddedModels().some((model) => model.name === name))
    throw new InputError(`model "${name}" came with the package and cannot be removed`, { name });
  if (!isOfficial(name) && !findRegistered(name)) throw unknownModel(name);
}
