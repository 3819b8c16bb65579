/**
 * Fuzzes the scanner outside of CI: `npx tsx bench/fuzz-scan.ts [count] [seed] [processes]`. Every process has a seed of its
 * own: seed, seed + 1, ... Writes results/fuzz-scan.json at the end; ends with 1 on any throw and on any budget not kept.
 */

import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { InputError } from "../src/formats/index.ts";
import { loadModel, scanSource, VERDICTS } from "../src/guard/scan/index.ts";
import { generator, input } from "../test/guard/fuzz.ts";
import { host } from "./machine.ts";

const [count = 1_000_000, seed = 1, processes = 1] = process.argv.slice(2, 5).map(Number);
const isPart = process.argv[5] === "part";
/** Smaller than the defaults, so that inputs of a few kilobytes reach them. */
const limits = { maxOps: 200_000, maxUnpacked: 2 ** 20, maxFindings: 20, maxParts: 200 };

interface Tally {
  readonly verdicts: Record<string, number>;
  readonly bytes: number;
  readonly loadsTried: number;
  readonly loaded: number;
  /** Processor time of the slowest input. */
  readonly slowestMs: number;
  readonly peakMiB: number;
}

async function part(): Promise<Tally> {
  const random = generator(seed);
  const verdicts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0]));
  let [slowestMs, bytesIn, loadsTried, loaded] = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const { name, bytes } = input(random);
    const begin = performance.now();
    try {
      const { verdict, findings } = await scanSource(bytes, { name, limits });
      if (!VERDICTS.includes(verdict)) throw new Error(`the verdict ${verdict}`);
      if (findings.length > limits.maxFindings) throw new Error(`${findings.length} findings`);
      verdicts[verdict]!++;
      bytesIn += bytes.length;
      // One in ten is loaded as well: only InputError may come of that, and what loads is clean.
      if (i % 10 === 0) {
        loadsTried++;
        const done = await loadModel(bytes, { name }).catch(inputErrorOnly);
        if (done && verdict !== "clean") throw new Error(`loads, but is ${verdict}`);
        if (done) loaded++;
      }
      // Others may use the machine meanwhile: what seemed slow is scanned again, by the processor's clock.
      if (performance.now() - begin > 40) {
        const before = process.cpuUsage();
        await scanSource(bytes, { name, limits });
        const { user, system } = process.cpuUsage(before);
        slowestMs = Math.max(slowestMs, (user + system) / 1000);
      }
    } catch (error) {
      console.error(`input ${i} of seed ${seed} (${name}, ${bytes.length} bytes):`, error);
      console.error(Buffer.from(bytes).toString("base64"));
      process.exit(1);
    }
    if ((i + 1) % 50_000 === 0) console.error(`seed ${seed}:`, i + 1, verdicts);
  }
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  return { verdicts, bytes: bytesIn, loadsTried, loaded, slowestMs, peakMiB };
}

function inputErrorOnly(error: unknown): undefined {
  if (!(error instanceof InputError)) throw error;
}

/** The processes side by side, added up. */
async function whole(): Promise<void> {
  const begin = performance.now();
  const run = async (i: number): Promise<Tally> => {
    const share = Math.floor(count / processes) + (i < count % processes ? 1 : 0);
    const args = ["--import", "tsx", fileURLToPath(import.meta.url), share, seed + i, 1, "part"];
    const child = promisify(execFile)(process.execPath, args.map(String));
    child.child.stderr?.pipe(process.stderr);
    return JSON.parse((await child).stdout);
  };
  const tallies = await Promise.all(Array.from({ length: processes }, (_, i) => run(i)));
  const sum = (of: (tally: Tally) => number) => tallies.reduce((n, tally) => n + of(tally), 0);
  const most = (of: (tally: Tally) => number) => Math.round(Math.max(...tallies.map(of)));
  const result = {
    date: new Date().toISOString().slice(0, 10),
    ...host(),
    command: `npx tsx bench/fuzz-scan.ts ${count} ${seed} ${processes}`,
    inputs: sum(({ verdicts }) => Object.values(verdicts).reduce((n, v) => n + v, 0)),
    bytes: sum(({ bytes }) => bytes),
    limits,
    verdicts: Object.fromEntries(VERDICTS.map((v) => [v, sum(({ verdicts }) => verdicts[v]!)])),
    loadsTried: sum(({ loadsTried }) => loadsTried),
    loaded: sum(({ loaded }) => loaded),
    thrown: 0,
    slowestInputCpuMs: most(({ slowestMs }) => slowestMs),
    peakMiBOfAProcess: most(({ peakMiB }) => peakMiB),
    minutes: Number(((performance.now() - begin) / 60_000).toFixed(1)),
  };
  const path = new URL("results/fuzz-scan.json", import.meta.url);
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
  console.log(result);
}

if (isPart) console.log(JSON.stringify(await part()));
else await whole();
