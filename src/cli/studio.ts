/** `underpaint studio`: the server with its pages, opened in a browser; or the pages alone, as static files. */

import { spawn } from "node:child_process";
import type { Command } from "commander";
import { shellWord } from "../lab/shell-word.ts";
import { exportStudio, studioFolder } from "../server/index.ts";
import { addServerFlags, asked, namesOf, type ServeFlags, start } from "./serve.ts";
import type { Terminal } from "./terminal.ts";

interface StudioFlags extends ServeFlags {
  readonly open: boolean;
  readonly export?: string;
}

export function addStudio(program: Command, terminal: Terminal): void {
  const command = program
    .command("studio")
    .description("Pages to generate, edit, train, inspect and learn, in your browser");
  addServerFlags(command);
  command
    .option("--no-open", "Do not open a browser")
    .option("--export <folder>", "Write the pages as static files that draw by themselves, and end")
    .action((flags: StudioFlags) =>
      flags.export === undefined ? run(terminal, flags) : write(terminal, flags.export, flags),
    );
}

async function run(terminal: Terminal, flags: StudioFlags): Promise<void> {
  const server = await start(terminal, flags, { studio: studioFolder() });
  terminal.say(`the studio is at ${server.url}`);
  if (flags.open) openBrowser(server.url);
  await asked(terminal, flags.grace, (signal) => server.close({ signal }));
}

async function write(terminal: Terminal, folder: string, flags: StudioFlags): Promise<void> {
  const names = namesOf(flags);
  await exportStudio(folder, names);
  if (flags.json) terminal.print(JSON.stringify({ folder, models: names }));
  terminal.say(
    `${folder} holds the studio with ${names.join(", ")}; any host of static files can serve it, under any address`,
  );
  terminal.say(
    "with the headers COOP same-origin and COEP require-corp it uses all cores, else one",
  );
  terminal.say(terminal.dim(`next: npx vite preview --outDir ${shellWord(folder)}`));
}

const OPENERS: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  darwin: ["open"],
  win32: ["cmd", "/c", "start", ""],
};

/** Asks the system to show the address; where it cannot, the address has been said. */
function openBrowser(url: string): void {
  const [command, ...before] = OPENERS[process.platform] ?? ["xdg-open"];
  const child = spawn(command!, [...before, url], { detached: true, stdio: "ignore" });
  child.on("error", () => {});
  child.unref();
}
