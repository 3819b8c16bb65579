/** `underpaint ledger`: the commands about a run's ledger. Each has its own file. */

import type { Command } from "commander";
import { addLedgerProve } from "./ledger-prove.ts";
import { addLedgerShow } from "./ledger-show.ts";
import { addLedgerVerify } from "./ledger-verify.ts";
import { addLedgerWitness } from "./ledger-witness.ts";
import type { Terminal } from "./terminal.ts";

const COMMANDS = [addLedgerShow, addLedgerVerify, addLedgerProve, addLedgerWitness] as const;

export function addLedger(program: Command, terminal: Terminal): void {
  const ledger = program
    .command("ledger")
    .description("The signed record of a training run: show, verify, prove, witness");
  for (const add of COMMANDS) add(ledger, terminal);
}
