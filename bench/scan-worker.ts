/** One scan in a process of its own, so that its memory is its own: `scan-worker.ts FILE`. Prints JSON; bench/scan.ts reads it. */

import { readFileSync } from "node:fs";
import { scanFile } from "../src/guard/scan/node.ts";

const resident = (): number => process.resourceUsage().maxRSS / 1024;

async function main(path: string): Promise<void> {
  const before = resident();
  const begin = performance.now();
  const { verdict, format } = await scanFile(path);
  const ms = performance.now() - begin;
  // Bytes that were asked of the system, where it counts them.
  const io = /rchar: (\d+)/.exec(readText("/proc/self/io"))?.[1];
  const peak = resident();
  console.log(
    JSON.stringify({ verdict, format, ms, peak, grown: peak - before, read: Number(io ?? 0) }),
  );
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

await main(process.argv[2]!);
