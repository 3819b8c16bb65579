/**
 * The drill at full size: writes bench/results/drill.{json,md}. Parts are kept, so the sabotages of time can be measured
 * with a high priority: npx tsx bench/drill.ts clean | gradient | other | records, nice -n -10 npx tsx bench/drill.ts time.
 * RUNS, CLEAN and ONLY choose less.
 */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { folderDisk } from "../src/guard/ledger/node.ts";
import { type CleanRow, type DrillRow, drill } from "../src/lab/drill/drill.ts";
import { recordRun } from "../src/lab/drill/recorded.ts";
import { recordDrill } from "../src/lab/drill/records.ts";
import { cleanLine, drillTable } from "../src/lab/drill/table.ts";
import { createWorld } from "../src/lab/drill/world.ts";
import { ortNode } from "../src/tensor/backends/ort-node.ts";
import { machine } from "./machine.ts";

const FOLDER = fileURLToPath(new URL("results/", import.meta.url));
const FILE = `${FOLDER}drill.json`;
const STEPS = 400;
const CHECKS = 0.1;

interface Part {
  readonly date: string;
  readonly clean?: CleanRow;
  readonly rows: readonly DrillRow[];
}
/** Each part may be measured by a process of its own. */
const PARTS = {
  clean: { title: "Clean runs", only: /^$/, clean: 50, time: false },
  other: {
    title: "Sabotages of state, optimizer, data and process",
    ...{ only: /^(?!gradient|.*inside the engine)/, clean: 0, time: false },
  },
  gradient: {
    title: "Sabotages that only the gradient shows",
    ...{ only: /^gradient|inside the engine/, clean: 0, time: false },
  },
  records: {
    title: "Sabotages that the ledger, its witness and audits show",
    ...{ only: /^$/, clean: 0, time: false },
  },
  time: {
    title:
      "Sabotages of time (width 64, batch 64), at a high priority on a machine that others use too",
    ...{ only: /^time/, clean: 50, time: true },
  },
} as const;
type Parts = Partial<Record<keyof typeof PARTS, Part>>;

const VICTIM = "victim";
const which = (process.argv[2] === VICTIM ? "records" : process.argv[2]) as keyof typeof PARTS;
if (!PARTS[which]) throw new Error(`which part: ${Object.keys(PARTS).join(", ")}?`);
const { only, time } = PARTS[which];
const inner = ortNode();
const world = await createWorld(
  {
    name: inner.name,
    compile: (graph, options) => inner.compile(graph, { threads: 1, ...options }),
  },
  // Updates of some 10 ms, as a sleep is no shorter than the kernel's timers.
  { depth: 1, steps: STEPS, ...(time && { width: 64, batch: 64 }) },
);
const { RUNS = 20, CLEAN = PARTS[which].clean, ONLY } = process.env;
const readParts = async (): Promise<Parts> =>
  existsSync(FILE) ? JSON.parse(await readFile(FILE, "utf8")).parts : {};
const keyOf = ({ group, name, rate }: DrillRow): string => `${group} ${name} ${rate}`;

/** A trainer of its own, to be killed: says a line for each update. */
if (process.argv[2] === VICTIM) {
  const folder = process.argv[3]!;
  const disk = folderDisk(join(folder, "ledger"));
  const onStep = (step: number) => void process.stdout.write(`${step}\n`);
  await recordRun(world, { folder, disk, steps: 1e6, onStep });
}
const victim = (folder: string) =>
  spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), VICTIM, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });

const runs = Number(RUNS);
if (which === "records")
  for await (const row of recordDrill(world, { runs, victim })) await write({ rows: [row] });
else {
  const options = { runs, clean: Number(CLEAN), checks: CHECKS, time };
  for await (const event of drill(world, { ...options, only: ONLY ? new RegExp(ONLY) : only })) {
    if (event.kind === "clean") await write({ clean: event.clean });
    if (event.kind === "row") await write({ rows: [event.row] });
  }
}

// Where nothing was run (CLEAN=0 npx tsx bench/drill.ts clean) the tables are written anew.
await publish(await readParts());

/** Puts new results beside those that other processes wrote. */
async function write(news: Partial<Part>): Promise<void> {
  const parts = await readParts();
  const before = parts[which];
  const rows = new Map([...(before?.rows ?? []), ...(news.rows ?? [])].map((r) => [keyOf(r), r]));
  parts[which] = {
    date: new Date().toISOString().slice(0, 10),
    clean: news.clean ?? before?.clean,
    rows: [...rows.values()],
  };
  if (news.clean) console.log(cleanLine(news.clean));
  for (const row of news.rows ?? []) console.log(drillTable([row]).split("\n")[2]);
  await publish(parts);
}

async function publish(parts: Parts): Promise<void> {
  const { cpu, cores, system, node, onnxruntime } = machine({});
  const facts = { cpu, cores, system, node, onnxruntime };
  const { model, batch } = world.recipe;
  const setting = { depth: model.depth, width: model.width, batch, steps: STEPS, checks: CHECKS };
  await mkdir(FOLDER, { recursive: true });
  await writeFile(FILE, `${JSON.stringify({ machine: facts, setting, parts }, null, 2)}\n`);
  await writeFile(`${FOLDER}drill.md`, markdown(parts, { ...facts, ...setting }));
}

function markdown(parts: Parts, facts: Record<string, unknown>): string {
  const list = Object.entries(facts).map(([name, value]) => `${name} ${value}`);
  const sections = (Object.keys(PARTS) as (keyof typeof PARTS)[]).flatMap((name) => {
    const part = parts[name];
    if (!part) return [];
    const rows = part.rows.length > 0 ? [drillTable(part.rows)] : [];
    const clean = part.clean ? [cleanLine(part.clean)] : [];
    return [`## ${PARTS[name].title} (${part.date})`, ...clean, ...rows];
  });
  return `${[
    "# The drill: what the sentinel sees",
    `Real training runs of a very small VAR, sabotaged from a random update on, or clean. A sabotaged run ends with its first
alarm, or after ${STEPS} updates. "Expected" is what the design's figures say: for gradients 1 - (1 - pf)^n with a share f
of the updates sabotaged and a chance of ${CHECKS} that an update's gradient is checked. Delays are counted in updates from the
first sabotaged one; 0 is the same update, or the next for what happens between two. What is missing in "found" was not
seen. Audits find at least what is expected, as updates on the way from a kept state are compared too. The runs of time
watch for time only, all others for everything else. See docs/guard.md.`,
    ...sections,
    `Setting: ${list.join(", ")}.`,
  ].join("\n\n")}\n`;
}
