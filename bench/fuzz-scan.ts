/** Fuzzes the scanner outside of CI: `npx tsx bench/fuzz-scan.ts [count] [seed]`. Prints one line per 10,000 inputs; ends with 1 on any throw. */

import { InputError } from "../src/formats/index.ts";
import { loadModel, scanSource, VERDICTS } from "../src/guard/scan/index.ts";
import { generator, input } from "../test/guard/fuzz.ts";

const count = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? 1);
const limits = { maxOps: 200_000, maxUnpacked: 2 ** 20, maxFindings: 20, maxParts: 200 };

async function main(): Promise<void> {
  const random = generator(seed);
  const verdicts = new Map<string, number>();
  let slowest = { ms: 0, at: 0 };
  for (let i = 0; i < count; i++) {
    const { name, bytes } = input(random);
    const begin = performance.now();
    try {
      const { verdict } = await scanSource(bytes, { name, limits });
      if (!VERDICTS.includes(verdict)) throw new Error(`the verdict ${verdict}`);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      // One in ten is loaded as well: only InputError may come of that.
      if (i % 10 === 0) await loadModel(bytes, { name }).catch(inputErrorOnly);
    } catch (error) {
      console.error(`input ${i} of seed ${seed} (${name}, ${bytes.length} bytes):`, error);
      console.error(Buffer.from(bytes).toString("base64"));
      process.exit(1);
    }
    const ms = performance.now() - begin;
    if (ms > slowest.ms) slowest = { ms, at: i };
    if ((i + 1) % 10_000 === 0)
      console.log(i + 1, Object.fromEntries(verdicts), "slowest", slowest);
  }
}

function inputErrorOnly(error: unknown): void {
  if (!(error instanceof InputError)) throw error;
}

await main();
