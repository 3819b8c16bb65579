/**
 * Fuzzes the scanner outside of CI: `npx tsx bench/fuzz-scan.ts [count] [seed]`. Prints one line per 50,000 inputs, writes
 * results/fuzz-scan.json at the end; ends with 1 on any throw and on any budget that was not kept.
 */

import { writeFileSync } from "node:fs";
import { InputError } from "../src/formats/index.ts";
import { loadModel, scanSource, VERDICTS } from "../src/guard/scan/index.ts";
import { generator, input } from "../test/guard/fuzz.ts";
import { host } from "./machine.ts";

const count = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? 1);
/** Smaller than the defaults, so that inputs of a few kilobytes reach them. */
const limits = { maxOps: 200_000, maxUnpacked: 2 ** 20, maxFindings: 20, maxParts: 200 };

async function main(): Promise<void> {
  const random = generator(seed);
  const verdicts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0]));
  let [slowest, bytesIn, loads, loaded] = [0, 0, 0, 0];
  const begin = performance.now();
  for (let i = 0; i < count; i++) {
    const { name, bytes } = input(random);
    const before = process.cpuUsage();
    try {
      const { verdict, findings } = await scanSource(bytes, { name, limits });
      if (!VERDICTS.includes(verdict)) throw new Error(`the verdict ${verdict}`);
      if (findings.length > limits.maxFindings) throw new Error(`${findings.length} findings`);
      verdicts[verdict]!++;
      bytesIn += bytes.length;
      // One in ten is loaded as well: only InputError may come of that, and what loads is clean.
      if (i % 10 === 0) {
        loads++;
        const done = await loadModel(bytes, { name }).catch(inputErrorOnly);
        if (done && verdict !== "clean") throw new Error(`loads, but is ${verdict}`);
        if (done) loaded++;
      }
    } catch (error) {
      console.error(`input ${i} of seed ${seed} (${name}, ${bytes.length} bytes):`, error);
      console.error(Buffer.from(bytes).toString("base64"));
      process.exit(1);
    }
    // Time of the processor: others may use the machine meanwhile.
    const { user, system } = process.cpuUsage(before);
    slowest = Math.max(slowest, (user + system) / 1000);
    if ((i + 1) % 50_000 === 0) console.log(i + 1, verdicts, `slowest ${slowest.toFixed(0)} ms`);
  }
  const result = {
    date: new Date().toISOString().slice(0, 10),
    ...host(),
    command: `npx tsx bench/fuzz-scan.ts ${count} ${seed}`,
    inputs: count,
    bytes: bytesIn,
    limits,
    verdicts,
    loadsTried: loads,
    loaded,
    thrown: 0,
    slowestInputCpuMs: Math.round(slowest),
    peakResidentMB: Math.round(process.resourceUsage().maxRSS / 1024),
    minutes: Number(((performance.now() - begin) / 60_000).toFixed(1)),
  };
  const path = new URL("results/fuzz-scan.json", import.meta.url);
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
  console.log(result);
}

function inputErrorOnly(error: unknown): undefined {
  if (!(error instanceof InputError)) throw error;
}

await main();
