#!/usr/bin/env node
/** The command `underpaint`: hands the process's arguments to the program. */

import { run } from "./program.ts";
import { terminal } from "./terminal.ts";

// A reader that has seen enough (`| head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
process.exitCode = await run(process.argv.slice(2), terminal());
