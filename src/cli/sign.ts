/** `underpaint sign FOLDER`: signs all files of a model (OpenSSF model signing). `underpaint verify` is verify.ts. */

import type { Command } from "commander";
import { signModel } from "../guard/sign/folder.node.ts";
import { shellWord } from "../lab/shell-word.ts";
import { interruptible } from "./errors.ts";
import { bytes, plural } from "./format.ts";
import { readKeyFile } from "./key-files.ts";
import type { Terminal } from "./terminal.ts";

interface SignFlags {
  readonly key: string;
  readonly signature?: string;
  readonly ignore: readonly string[];
  readonly allowSymlinks: boolean;
  readonly json: boolean;
}

/** For flags that may be given again and again. */
export const collect = (value: string, all: readonly string[]): readonly string[] => [
  ...all,
  value,
];

export function addSign(program: Command, terminal: Terminal): void {
  program
    .command("sign")
    .description(
      "Signs every file of a model: what is changed, added or removed later is found by verify",
    )
    .argument("<model>", "Folder of the model, or its one file")
    .requiredOption("--key <file>", "Private key (PEM); make one with underpaint keygen")
    .option("--signature <file>", "Signature that is written (default: model.sig in the folder)")
    .option(
      "--ignore <path>",
      "Path below the model that is left out; may be repeated",
      collect,
      [],
    )
    .option(
      "--allow-symlinks",
      "Sign what symbolic links point to, instead of refusing them",
      false,
    )
    .option("--json", "Print one JSON object on stdout", false)
    .action(async (model: string, flags: SignFlags) => {
      const { signature, ignore, allowSymlinks, json } = flags;
      const key = await readKeyFile(flags.key);
      await interruptible(async (signal) => {
        const options = { signature, ignore, allowSymlinks, signal };
        for await (const step of signModel(model, key, options)) {
          if (!step.manifest) continue;
          const { hint, type } = key.publicKey;
          const { files, bytes: size } = step;
          if (json)
            terminal.print(
              JSON.stringify({ signature: step.signature, files, bytes: size, type, hint }),
            );
          else
            terminal.print(
              `${step.signature}: ${plural(files, "file")}, ${bytes(size)}, signed with ${type}`,
            );
          if (type === "ed25519")
            terminal.say(
              "the Python package model-signing 1.x reads only keys of NIST curves; for it: underpaint keygen --type p256",
            );
          const known = shellWord(flags.key.replace(/\.key$/, ".pub"));
          terminal.say(terminal.dim(`next: underpaint verify ${shellWord(model)} --key ${known}`));
        }
      });
    });
}
