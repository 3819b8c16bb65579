/** `underpaint verify FOLDER`: compares a model with its signature. Changes nothing. */

import type { Command } from "commander";
import { verifyModel } from "../guard/sign/folder.node.ts";
import { interruptible } from "./errors.ts";
import { bytes, plural, table } from "./format.ts";
import { visible } from "./info.ts";
import { readPublicFile } from "./key-files.ts";
import type { Terminal } from "./terminal.ts";

interface VerifyFlags {
  readonly key: string;
  readonly signature?: string;
  readonly json: boolean;
}

export function addVerify(program: Command, terminal: Terminal): void {
  program
    .command("verify")
    .description(
      "Verifies a model against its signature, by underpaint sign or by model-signing with a key",
    )
    .argument("<model>", "Folder of the model, or its one file")
    .requiredOption(
      "--key <file>",
      "Public key of the signer (PEM), which you have from the signer",
    )
    .option("--signature <file>", "Signature (default: model.sig in the folder)")
    .option("--json", "Print one JSON object on stdout", false)
    .addHelpText(
      "after",
      "\nends with 0 where every file is as signed, 1 where files differ, 2 where the signature is not the key's",
    )
    .action(async (model: string, { key: file, signature, json }: VerifyFlags) => {
      const key = await readPublicFile(file);
      await interruptible(async (signal) => {
        for await (const step of verifyModel(model, key, { signature, signal })) {
          if (!step.verified) continue;
          const { differences, ignored, manifest } = step.verified;
          const fine = differences.length === 0;
          const { files } = step;
          if (json)
            terminal.print(
              JSON.stringify({
                model,
                verified: fine,
                signedAs: manifest.name,
                files,
                differences,
                ignored,
              }),
            );
          else {
            if (!fine) terminal.print(table(differences.map((d) => [d.state, visible(d.path)])));
            terminal.print(
              fine
                ? `${model}: ${plural(files, "file")}, ${bytes(step.bytes)}, all as signed`
                : `${model}: ${plural(differences.length, "difference")}; do not use it`,
            );
            if (ignored.length > 0)
              terminal.say(`not covered by the signature: ${ignored.map(visible).join(", ")}`);
          }
          if (!fine) process.exitCode = 1;
          else terminal.say(terminal.dim(`next: underpaint scan ${model}`));
        }
      });
    });
}
