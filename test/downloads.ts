/** Somewhere to download to and a server that fails when asked to: for tests. Tests nothing itself. */

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { type DownloadOptions, type DownloadStep, download } from "../src/formats/download.node.ts";
import { type FaultyServer, faultyServer } from "./faulty-server.ts";

export const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
/** Bytes that repeat nowhere. */
export const made = (n: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (Math.imul(i + seed, 2654435761) >>> 13) & 255);
/** What the server has at /f. */
export const BODY = made(300_000);
// The idle time is long: a busy machine may keep a test waiting for seconds.
export const QUICK: DownloadOptions = { pause: 1, idle: 20_000, enough: 1 };

let home = "";
let folders = 0;
/** Lives as long as the tests of a file that calls `withServer`. */
export let server: FaultyServer;

/** Starts the server before the tests of this file; each test finds it calm. */
export function withServer(): void {
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "download-"));
    server = await faultyServer({ "/f": BODY });
  });
  afterEach(() => {
    server.faults.length = 0;
    server.requests.length = 0;
    server.files.set("/f", BODY);
    server.extra = () => ({});
  });
  afterAll(async () => {
    await server.close();
    await rm(home, { recursive: true });
  });
}

export async function place(): Promise<string> {
  const folder = join(home, `d${folders++}`);
  await mkdir(folder);
  return join(folder, "file.pth");
}

export async function fetchTo(
  path: string,
  options: DownloadOptions = {},
): Promise<DownloadStep[]> {
  const steps: DownloadStep[] = [];
  for await (const step of download(`${server.url}/f`, path, { ...QUICK, ...options }))
    steps.push(step);
  return steps;
}

export const around = async (path: string) => (await readdir(join(path, ".."))).sort();
export const failed = async (path: string, options?: DownloadOptions): Promise<Error> =>
  fetchTo(path, options).then(
    () => expect.unreachable("it should have failed"),
    (error) => error,
  );
