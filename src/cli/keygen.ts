/** `underpaint keygen NAME`: makes a key pair for ledgers, witnesses and model signatures. Signs nothing. */

import { type Command, Option } from "commander";
import { generateKey, type KeyType } from "../guard/sign/keys.ts";
import { writeNew } from "./key-files.ts";
import type { Terminal } from "./terminal.ts";
import { shellWord } from "./training.ts";

const TYPES: readonly KeyType[] = ["ed25519", "p256", "p384", "p521"];

interface KeygenFlags {
  readonly type: KeyType;
  readonly json: boolean;
}

export function addKeygen(program: Command, terminal: Terminal): void {
  program
    .command("keygen")
    .description("Makes a key pair: NAME.key, which is secret, and NAME.pub")
    .argument("<name>", "Path of the two files, without their endings")
    .addOption(
      new Option(
        "--type <type>",
        "ed25519 for ledgers and witnesses; p256 for signatures that the Python package model-signing reads too",
      )
        .choices(TYPES)
        .default("ed25519"),
    )
    .option("--json", "Print one JSON object on stdout", false)
    .action(async (name: string, { type, json }: KeygenFlags) => {
      const key = await generateKey(type);
      const [secret, known] = [`${name}.key`, `${name}.pub`];
      await writeNew(secret, await key.exportPem(), 0o600);
      await writeNew(known, key.publicKey.pem, 0o644);
      const { hint } = key.publicKey;
      if (json) terminal.print(JSON.stringify({ type, secret, public: known, hint }));
      else terminal.print(`${known}  ${type}  ${hint}`);
      terminal.say(`keep ${secret} secret and off the machine that is watched; give ${known} away`);
      terminal.say(terminal.dim(`next: underpaint sign MODEL --key ${shellWord(secret)}`));
    });
}
