/** `underpaint serve` and what `underpaint studio` shares with it: a server until Ctrl-C. The server itself is server/. */

import { appendFile, chmod } from "node:fs/promises";
import { type Command, Option } from "commander";
import { PRECISION_CHOICES, type PrecisionChoice } from "../image/precision.ts";
import { shellWord } from "../lab/shell-word.ts";
import { newKey, type RunningServer, startServer } from "../server/index.ts";
import { numberFlag } from "./flags.ts";
import { plural } from "./format.ts";
import { DEFAULT_MODEL, findModel, VERSION } from "./package.ts";
import type { Terminal } from "./terminal.ts";

export interface ServeFlags {
  readonly model: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly folder: string;
  readonly runs: string;
  readonly keys?: string;
  readonly newKey?: string;
  readonly cors: readonly string[];
  readonly queue: number;
  readonly batch: number;
  readonly keep: number;
  readonly grace: number;
  readonly threads?: number;
  readonly precision: PrecisionChoice;
  readonly json: boolean;
}

const collect = (value: string, before: readonly string[]): string[] => [...before, value];

export function addServe(program: Command, terminal: Terminal): void {
  const command = program
    .command("serve")
    .description("Draws pictures over HTTP: OpenAI's image routes, jobs, training runs, metrics");
  addServerFlags(command);
  command
    .option("--new-key <name>", "Adds a key to the file of --keys, prints it this once, and ends")
    .action((flags: ServeFlags) =>
      flags.newKey ? addKey(terminal, flags) : serve(terminal, flags),
    );
}

/** The flags of every command that starts a server. */
export function addServerFlags(command: Command): void {
  command
    .option(
      "--model <name>",
      `A model to serve; may be repeated; default ${DEFAULT_MODEL}`,
      collect,
      [],
    )
    .option(
      "--host <address>",
      "Where to listen; any but this machine's own needs --keys",
      "127.0.0.1",
    )
    .option("--folder <path>", "Where jobs and pictures are kept", "underpaint-server")
    .option("--runs <path>", "Folder of training runs to show", "runs")
    .option("--keys <file>", "File of hashed keys; requests must bear one of them")
    .option("--cors <origin>", "Pages of this origin may ask too; may be repeated", collect, []);
  numberFlag(command, "--port <n>", { sentence: "Port", min: 0, max: 65_535, fallback: 7860 });
  numberFlag(command, "--queue <n>", {
    sentence: "How many may wait; more are told to come again (429)",
    unit: "pictures",
    min: 1,
    max: 100_000,
    fallback: 256,
  });
  numberFlag(command, "--batch <n>", {
    sentence: "Drawn together, of one request or of many",
    unit: "pictures",
    min: 1,
    max: 1024,
    fallback: 16,
  });
  numberFlag(command, "--keep <n>", {
    sentence: "Finished jobs that are kept; older ones go",
    unit: "jobs",
    min: 1,
    max: 1e6,
    fallback: 5000,
  });
  numberFlag(command, "--grace <n>", {
    sentence: "After Ctrl-C, how long what waits is still drawn; the rest waits for the next start",
    unit: "seconds",
    min: 0,
    max: 3600,
    fallback: 20,
  });
  numberFlag(command, "--threads <n>", {
    sentence: "Processor threads, default all",
    min: 1,
    max: 1024,
  });
  command
    .addOption(
      new Option(
        "--precision <name>",
        "int8 is faster and takes less memory, at some loss of quality",
      )
        .choices(PRECISION_CHOICES)
        .default(PRECISION_CHOICES[0]),
    )
    .option("--json", "Print one JSON object on stdout when it listens", false);
}

const DEFAULT_KEYS = "underpaint-keys.txt";

async function addKey(
  terminal: Terminal,
  { newKey: name, keys = DEFAULT_KEYS }: ServeFlags,
): Promise<void> {
  const { key, line } = newKey(name!);
  await appendFile(keys, `${line}\n`, { mode: 0o600 });
  await chmod(keys, 0o600);
  terminal.print(key);
  terminal.say(`${keys} holds its hash; the key itself is shown this once`);
  terminal.say(terminal.dim(`next: underpaint serve --keys ${shellWord(keys)}`));
}

async function serve(terminal: Terminal, flags: ServeFlags): Promise<void> {
  const server = await start(terminal, flags);
  terminal.say(
    terminal.dim(
      `next: curl ${server.url}/v1/images/generations -H 'Content-Type: application/json' -d '{"prompt":"food","response_format":"url"}'`,
    ),
  );
  await asked(terminal, flags.grace, (signal) => server.close({ signal }));
}

/** Starts the server that the flags describe, and says where it is. */
export async function start(
  terminal: Terminal,
  flags: ServeFlags,
  { studio }: { studio?: string } = {},
): Promise<RunningServer> {
  const names = namesOf(flags);
  const models = names.map((name) => ({ name, files: findModel(name).files }));
  const { host, port, folder, runs, keys, queue, batch, keep, threads, precision } = flags;
  terminal.say(`loading ${names.join(", ")}`);
  const server = await startServer({
    ...{ host, port, folder, runs, keys, queue, batch, keep, threads, precision, models, studio },
    origins: flags.cors,
    version: VERSION,
    now: Date.now,
    log: (line) => terminal.say(line),
  });
  const { url, resumed } = server;
  if (flags.json) terminal.print(JSON.stringify({ url, models: names, folder }));
  if (resumed)
    terminal.say(
      `${plural(resumed, "job")} from before ${resumed === 1 ? "is" : "are"} drawn first`,
    );
  terminal.say(
    `serving ${names.join(", ")} at ${url}; pictures are kept in ${folder}; Ctrl-C ends it`,
  );
  return server;
}

/** The models that the flags name. */
export const namesOf = ({ model }: Pick<ServeFlags, "model">): readonly string[] =>
  model.length ? model : [DEFAULT_MODEL];

/** Waits for Ctrl-C or SIGTERM, then closes; a second one ends what is being drawn. */
export async function asked(
  terminal: Terminal,
  grace: number,
  close: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const hurry = new AbortController();
  await new Promise<void>((resolve) => {
    let times = 0;
    const stop = () => {
      if (times++ === 0) resolve();
      else hurry.abort();
    };
    process.on("SIGINT", stop);
    process.on("SIGTERM", stop);
  });
  terminal.say(`ending: what waits is drawn for at most ${grace} s, the rest at the next start`);
  const timer = setTimeout(() => hurry.abort(), grace * 1000);
  await close(hurry.signal);
  clearTimeout(timer);
}
