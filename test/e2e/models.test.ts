/** `underpaint models pull` as a process: Ctrl-C and kill -9 in the middle of a download of real size. */

import { existsSync, readdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { faultyServer } from "../faulty-server.ts";
import { newFolder, underpaint } from "./cli.ts";

const VAE = "vae_ch160v4096z32.pth";
/** The shortest file that passes for the tokenizer is 0.4 times 436 MB. */
const BODY = new Uint8Array(180e6);
new Uint32Array(BODY.buffer).forEach((_, i, words) => {
  words[i] = Math.imul(i, 2654435761);
});
const server = await faultyServer({ [`/${VAE}`]: BODY });
afterAll(() => server.close());

/** Bytes of the part on disk, whoever writes it. */
const received = (folder: string): number => {
  if (!existsSync(folder)) return 0;
  const part = readdirSync(folder).find((name) => name.startsWith(`${VAE}.part`));
  const file = join(folder, part ?? "", "bytes");
  return part ? (statSync(file, { throwIfNoEntry: false })?.size ?? 0) : 0;
};

test("a pull that is stopped, killed and run again asks for the rest each time and ends whole", async () => {
  const cache = await newFolder();
  const folder = join(cache, "models/official");
  const env = { UNDERPAINT_CACHE: cache, UNDERPAINT_MODEL_MIRROR: server.url };
  /** Pulls until so many bytes are there, then sends the signal. */
  const pullUntil = (bytes: number, signal: NodeJS.Signals) =>
    underpaint(["models", "pull", "var-d16"], {
      env,
      started: async (child) => {
        while (received(folder) < bytes && child.exitCode === null) await sleep(20);
        child.kill(signal);
      },
    });

  server.faults.push({ kind: "stall", cut: 50e6 });
  const stopped = await pullUntil(50e6, "SIGINT");
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(/50\.0 MB are kept; .*\nunderpaint: stopped\n$/);
  expect(readdirSync(folder)).toEqual([`${VAE}.part`]);

  server.faults.push({ kind: "stall", cut: 50e6 });
  const killed = await pullUntil(100e6, "SIGKILL");
  expect(killed.signal).toBe("SIGKILL");

  // The tokenizer ends whole; the transformer is not on this server.
  const ended = await underpaint(["models", "pull", "var-d16"], { env });
  expect(ended.stderr).toMatch(/vae_ch160v4096z32\.pth: 180 MB, sha256 [0-9a-f]{64}/);
  expect(ended.stderr).toMatch(/underpaint: http.*HTTP 404/);
  expect(ended.code).toBe(1);
  expect(readdirSync(folder).sort()).toEqual([VAE, `${VAE}.json`]);
  expect(Buffer.compare(await readFile(join(folder, VAE)), BODY)).toBe(0);
  const starts = server.requests
    .filter(({ path }) => path === `/${VAE}`)
    .map(({ headers }) => Number(/^bytes=(\d+)-$/.exec(headers.range ?? "bytes=0-")![1]));
  expect(starts.slice(0, 2)).toEqual([0, 50e6]);
  // What was surely on disk when the process was killed.
  expect(starts[2]).toBeGreaterThan(50e6);
  expect(starts[2]).toBeLessThanOrEqual(100e6);
}, 240_000);
