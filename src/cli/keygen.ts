/** `underpaint keygen NAME`: makes a key pair for ledgers, witnesses and model signatures. Signs nothing. */

import { randomBytes } from "node:crypto";
import { type Command, Option } from "commander";
import { toHex } from "../guard/sign/encoding.ts";
import { generateKey } from "../guard/sign/keys.ts";
import { shellWord } from "../lab/shell-word.ts";
import { auditCommitment } from "../train/challenge.ts";
import { writeNew } from "./key-files.ts";
import type { Terminal } from "./terminal.ts";

const TYPES = ["ed25519", "p256", "p384", "p521", "audit"] as const;

interface KeygenFlags {
  readonly type: (typeof TYPES)[number];
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
        "ed25519 for ledgers and witnesses; p256 for signatures that the Python package model-signing reads too; audit for a secret to draw audits with",
      )
        .choices(TYPES)
        .default("ed25519"),
    )
    .option("--json", "Print one JSON object on stdout", false)
    .action(async (name: string, { type, json }: KeygenFlags) => {
      if (type === "audit") return auditSecret(terminal, name, json);
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

/** An auditor's secret: the run gets its commitment and cannot know which steps it will choose. */
async function auditSecret(terminal: Terminal, name: string, json: boolean): Promise<void> {
  const [secret, file] = [randomBytes(32), `${name}.secret`];
  await writeNew(file, `${secret.toString("hex")}\n`, 0o600);
  const commitment = toHex(auditCommitment(secret));
  if (json) terminal.print(JSON.stringify({ type: "audit", secret: file, commitment }));
  else terminal.print(commitment);
  terminal.say(`keep ${file} away from who trains; the run gets the commitment above`);
  terminal.say(terminal.dim(`next: underpaint train var DATA --audit-commitment ${commitment}`));
}
