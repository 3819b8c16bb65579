/** `underpaint models verify`: every byte of pulled and added models against what was recorded. Mends nothing. */

import { basename } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { type VerifyStep, verify } from "../image/pull.node.ts";
import { findRegistered, type RegisteredModel, registeredModels } from "../image/registry.node.ts";
import { interruptible } from "./errors.ts";
import { bytes } from "./format.ts";
import { unknownModel } from "./package.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

export function addModelsVerify(models: Command, terminal: Terminal): void {
  models
    .command("verify")
    .description("Hashes pulled and added models and compares with what was recorded")
    .argument("[names...]", "Which; default all")
    .option("--json", "Print one JSON object per file on stdout", false)
    .action((names: string[], { json }: { json: boolean }) =>
      interruptible(async (signal) => {
        const wanted = names.length > 0 ? names.map(registered) : registeredModels();
        if (wanted.length === 0) terminal.say("no model was pulled or added");
        const bad: string[] = [];
        for (const model of wanted) bad.push(...(await run(terminal, model, { json, signal })));
        if (bad.length > 0)
          throw new InputError(
            `${bad.join("; ")}; get it again: underpaint models rm NAME, then pull or add`,
            { bad },
          );
        const first = wanted[0]?.name;
        terminal.say(
          terminal.dim(
            first ? `next: underpaint sample --model ${first}` : "next: underpaint models list",
          ),
        );
      }),
    );
}

function registered(name: string): RegisteredModel {
  const found = findRegistered(name);
  if (found) return found;
  throw unknownModel(name);
}

/** @returns a sentence for each file that is not as recorded */
async function run(
  terminal: Terminal,
  model: RegisteredModel,
  { json, signal }: { json: boolean; signal: AbortSignal },
): Promise<string[]> {
  const bad: string[] = [];
  let bar: ReturnType<typeof progress> | undefined;
  let hashing = "";
  try {
    for await (const step of verify(model, { signal })) {
      if (step.state === "checking") {
        if (step.path !== hashing)
          bar = progress(terminal, {
            of: step.of,
            what: `checking ${basename(step.path)}`,
            shown: bytes,
          });
        hashing = step.path;
        bar!.update(step.done);
        continue;
      }
      bar?.clear();
      if (json) terminal.print(JSON.stringify({ model: model.name, ...step }));
      else terminal.print(`${model.name}  ${step.path}  ${step.verdict}`);
      if (step.verdict !== "as recorded") bad.push(sentence(model.name, step));
    }
  } finally {
    bar?.clear();
  }
  return bad;
}

function sentence(name: string, step: VerifyStep & { state: "verdict" }): string {
  const { path, verdict, sha256, recorded } = step;
  return verdict === "gone"
    ? `model "${name}": ${path} is gone`
    : `model "${name}": ${path} is not the file that was recorded: its sha256 is ${sha256}, wanted ${recorded.sha256}`;
}
