/** `underpaint models pull`: official checkpoints into the cache, with a bar. What is fetched how is image/pull's. */

import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { OFFICIAL_MODELS, type OfficialModel, officialSources } from "../image/official.ts";
import { type PullStep, pull } from "../image/pull.node.ts";
import { nearest } from "../nn/spec.ts";
import { interruptible } from "./errors.ts";
import { bytes, duration } from "./format.ts";
import { type Progress, progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Milliseconds between two looks at the pace: that of single pieces jumps about. */
const LOOK = 500;
/** Weight of the past at each look. */
const MEMORY = 0.95;

interface PullFlags {
  readonly offline: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export function addModelsPull(models: Command, terminal: Terminal): void {
  models
    .command("pull")
    .description("Fetches official checkpoints, going on where an earlier download ended")
    .argument("<names...>", OFFICIAL_MODELS.map(({ name }) => name).join(", "))
    .option("--offline", "Fetch nothing; fail where a file is missing", false)
    .option("--dry-run", "Print what would be asked for where, and fetch nothing", false)
    .option("--json", "Print one JSON object per file on stdout", false)
    .addHelpText(
      "after",
      `
Environment:
  UNDERPAINT_MODEL_MIRROR  addresses of folders with the files, tried in turn instead of the hub
  HF_ENDPOINT              the hub's address, default https://huggingface.co
  HF_HUB_OFFLINE=1         the same as --offline
  UNDERPAINT_CACHE         where the files are kept, default ~/.cache/underpaint`,
    )
    .action((names: string[], flags: PullFlags) => {
      const wanted = names.map(official); // all are known before the first is fetched
      return interruptible(async (signal) => {
        for (const model of wanted)
          if (flags.dryRun) plan(terminal, model);
          else await run(terminal, model, { flags, signal });
        terminal.say(terminal.dim(`next: underpaint sample 207 --model ${names[0]}`));
      });
    });
}

/** @throws InputError with the nearest name */
function official(name: string): OfficialModel {
  const found = OFFICIAL_MODELS.find((model) => model.name === name);
  if (found) return found;
  const names = OFFICIAL_MODELS.map((model) => model.name);
  const near = nearest(name, names);
  throw new InputError(
    `there is no official model "${name}"${near ? `, did you mean "${near}"?` : ""}; there are ${names.join(", ")}`,
    { name },
  );
}

function plan(terminal: Terminal, { vqvae, var: transformer }: OfficialModel): void {
  for (const file of [vqvae, transformer])
    for (const source of officialSources(file, process.env))
      terminal.print(`${source}  about ${bytes(file.bytes)}`);
}

const isOn = (value: string | undefined): boolean =>
  value !== undefined && value !== "" && value !== "0";

async function run(
  terminal: Terminal,
  model: OfficialModel,
  { flags, signal }: { flags: PullFlags; signal: AbortSignal },
): Promise<void> {
  const offline = flags.offline || isOn(process.env.HF_HUB_OFFLINE);
  const bar = pullBar(terminal);
  try {
    for await (const step of pull(model, { offline, signal })) {
      bar.show(step);
      if (step.state !== "ready") continue;
      if (flags.json) terminal.print(JSON.stringify({ model: model.name, ...step }));
      const word = step.by === "present" ? "was here already, " : "";
      const hash = step.known ? "as recorded" : "recorded now";
      terminal.say(`${step.file}: ${word}${bytes(step.size)}, sha256 ${step.sha256} (${hash})`);
    }
  } catch (error) {
    bar.clear();
    if (signal.aborted && bar.received > 0)
      terminal.say(`${bytes(bar.received)} are kept; the same command goes on from there`);
    throw error;
  } finally {
    bar.clear();
  }
}

interface PullBar {
  show(step: PullStep): void;
  clear(): void;
  /** Bytes of the present file that are on disk. */
  readonly received: number;
}

/** One bar after the other: receiving and checking of each file. */
function pullBar(terminal: Terminal): PullBar {
  let bar: Progress | undefined;
  let what = "";
  let received = 0;
  let last = { time: 0, done: 0 };
  let [ms, came] = [0, 0]; // both fading: their ratio is the rate
  const clear = () => bar?.clear();
  const move = (name: string, done: number, of: number) => {
    const time = performance.now();
    if (name !== what || done < last.done) {
      clear();
      bar = progress(terminal, { of, from: done, what: name, shown: bytes });
      what = name;
      last = { time, done };
      [ms, came] = [0, 0];
    }
    if (time - last.time < LOOK && done < of) return;
    ms = ms * MEMORY + time - last.time;
    came = came * MEMORY + done - last.done;
    bar!.update(done, ms > 0 ? `${bytes((came / ms) * 1000)}/s` : "");
    last = { time, done };
  };
  return {
    clear,
    get received() {
      return received;
    },
    show(step) {
      if (step.state === "receiving") {
        received = step.received;
        // Without a length there is no bar to fill.
        if (step.of !== undefined) move(step.file, step.received, step.of);
      } else if (step.state === "checking") move(`checking ${step.file}`, step.done, step.of);
      else if (step.state === "ready") received = 0;
      else {
        clear();
        const again = step.ms > 0 ? `; trying again in ${duration(step.ms)}` : "";
        terminal.say(`${step.why}${again}`);
      }
    },
  };
}
