/** Speed of the scanner: bytes of pickle opcodes and bytes of tensors a second. `npx tsx bench/scan.ts [repeats]`, on a quiet machine. */

import { rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "../src/formats/index.ts";
import { scanSource } from "../src/guard/scan/index.ts";
import { scanFile } from "../src/guard/scan/node.ts";
import { join as joined, text, zip } from "../test/guard/samples.ts";

const repeats = Number(process.argv[2] ?? 5);
const MB = 1e6;

/** A dict of small values: three million opcodes in about 19 MB, as pickle.dumps writes them. */
function manyOpcodes(entries = 500_000): Uint8Array {
  const parts: Uint8Array[] = [text("\x80\x04}\x94(")];
  for (let i = 0; i < entries; i++) {
    const key = `layer.${String(i).padStart(7, "0")}.weight`;
    parts.push(
      text(`\x8c${String.fromCharCode(key.length)}${key}\x94J`),
      Uint8Array.of(i & 255, (i >> 8) & 255, (i >> 16) & 255, 0),
      text("K\x01\x86\x94"),
    );
  }
  parts.push(text("u."));
  return joined(parts);
}

/** A torch zip whose storage is a hole of `size` bytes: only its directory matters to a scanner. */
async function bigCheckpoint(path: string, size: number): Promise<void> {
  const count = size / 4;
  const le = (n: number) =>
    String.fromCharCode(n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >>> 24) & 255);
  const pickle = text(
    `\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ${le(count)}tQK\0J${le(count)}\x85K\x01\x85\x89}tRs.`,
  );
  const small = zip([
    ["a/data.pkl", pickle],
    ["a/version", text("3\n")],
  ]);
  const directory = small.length - 22 - (46 + 10) - (46 + 9);
  const body = small.subarray(0, directory);
  const header = (sign: string, rest: string) => text(`PK${sign}${rest}`);
  const sizes = `${le(0)}${le(size)}${le(size)}\x08\0\0\0`;
  const shared = `\x14\0\0\0\0\0\0\0\x21\0${sizes}`;
  const local = joined([header("\x03\x04", shared), text("a/data/0")]);
  const central = joined([
    header("\x01\x02", `\x14\0${shared}\0\0\0\0\0\0\0\0\0\0${le(body.length)}`),
    text("a/data/0"),
  ]);
  const listed = small.subarray(directory, small.length - 22);
  const total = listed.length + central.length;
  const end = text(
    `PK\x05\x06\0\0\0\0\x03\0\x03\0${le(total)}${le(body.length + local.length + size)}\0\0`,
  );
  await writeFile(path, joined([body, local]));
  await truncate(path, body.length + local.length + size);
  await writeFile(path, joined([listed, central, end]), { flag: "a" });
  void crc32; // the storage's CRC is not read: tensors are skipped
}

async function measure(what: string, bytes: number, work: () => Promise<string>): Promise<void> {
  const times: number[] = [];
  let verdict = "";
  for (let i = 0; i < repeats; i++) {
    const begin = performance.now();
    verdict = await work();
    times.push(performance.now() - begin);
  }
  times.sort((a, b) => a - b);
  const median = times[Math.floor(times.length / 2)]!;
  console.log(
    `${what}: ${(bytes / MB).toFixed(0)} MB in ${median.toFixed(0)} ms (median of ${repeats}), ${((bytes / median) * 1e-3).toFixed(0)} MB/s, ${verdict}, ${Math.round(process.memoryUsage.rss() / MB)} MB resident`,
  );
}

async function main(): Promise<void> {
  const opcodes = manyOpcodes();
  await measure(
    "pickle opcodes",
    opcodes.length,
    async () => (await scanSource(opcodes, { name: "a.pkl" })).verdict,
  );
  const path = join(tmpdir(), "underpaint-bench-scan.pt");
  try {
    for (const size of [250 * MB, 2000 * MB]) {
      await bigCheckpoint(path, size);
      await measure("torch zip", size, async () => (await scanFile(path)).verdict);
    }
  } finally {
    await rm(path, { force: true });
  }
}

await main();
