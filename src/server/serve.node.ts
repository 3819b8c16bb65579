/** The server as a whole: engine, queue, store, routes, a port; and its orderly end. Parses no command line. */

import { readFile } from "node:fs/promises";
import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import { InputError } from "../formats/errors.ts";
import type { PrecisionChoice } from "../image/precision.ts";
import { startEngine } from "./engine.node.ts";
import { isLoopback, parseKeys } from "./http/access.ts";
import { createApp } from "./http/app.ts";
import { type Context, LIMITS, type Limits } from "./http/context.ts";
import { counters } from "./http/counters.ts";
import { runsIn } from "./http/run-files.ts";
import type { ModelFiles } from "./protocol.ts";
import { JobQueue } from "./queue.node.ts";
import { openStore } from "./store.node.ts";
import { studioFiles } from "./studio.node.ts";

export interface ServeOptions {
  models: readonly ModelFiles[];
  /** Folder of jobs and pictures. */
  folder: string;
  version: string;
  /** Milliseconds since 1970, e.g. Date.now. */
  now: () => number;
  /** Default "127.0.0.1". Any other needs keys. */
  host?: string;
  /** 0 for any free one. Default 7860. */
  port?: number;
  /** File of hashed keys. */
  keys?: string;
  /** Origins of pages that may ask. */
  origins?: readonly string[];
  /** Folder of training runs. */
  runs?: string;
  /** Pictures that may wait. */
  queue?: number;
  batch?: number;
  /** Jobs kept when they are over. */
  keep?: number;
  limits?: Partial<Limits>;
  threads?: number;
  precision?: PrecisionChoice;
  /** Folder that the studio was built into, where its pages are served too; see `studioFolder`. */
  studio?: string;
  log?: (line: string) => void;
}

export interface RunningServer {
  readonly url: string;
  readonly models: readonly string[];
  /** Jobs taken up from before. */
  readonly resumed: number;
  /** Refuses new work, draws what waits until `signal` is aborted, leaves the rest to the next start. */
  close(options?: { signal?: AbortSignal }): Promise<void>;
}

/** @throws InputError for an address that others reach without keys, or a model that cannot be loaded */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const { host = "127.0.0.1", port = 7860, now, origins = [], log = () => {} } = options;
  const keys = options.keys ? parseKeys(await readFile(options.keys, "utf8")) : [];
  if (!isLoopback(host) && keys.length === 0)
    throw new InputError(
      `others can reach ${host}, so keys are wanted: make one with --new-key NAME and name its file with --keys`,
      { host },
    );
  const store = await openStore(options.folder);
  const { models, threads, precision } = options;
  const engine = await startEngine({ models, threads, precision });
  const streams = { open: 0 };
  const counts = counters({ queued: () => queue.length, streams: () => streams.open });
  const queue = new JobQueue({
    engine,
    store,
    now,
    most: options.queue,
    batch: options.batch,
    keep: options.keep,
    log,
    onBatch: counts.batch,
    onEnd: ({ state }) => counts.job(state),
  });
  const resumed = await queue.resume();
  const context: Context = {
    queue,
    store,
    limits: { ...LIMITS, ...options.limits },
    counters: counts,
    runs: options.runs ? runsIn(options.runs) : undefined,
    streams,
    attached: new Set(),
  };
  const app = createApp({
    ...context,
    version: options.version,
    keys,
    origins,
    loopback: isLoopback(host),
    clock: () => performance.now(),
    studio: options.studio ? await studioFiles(options.studio, engine.models) : undefined,
    log,
  });
  const server = await listen(app.fetch, { host, port });
  const { port: found } = server.address() as { port: number };
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${found}`,
    models: engine.models.map(({ name }) => name),
    resumed,
    async close(how) {
      await queue.close(how);
      server.close();
      server.closeIdleConnections();
      const rest = setTimeout(() => server.closeAllConnections(), GOODBYE);
      await new Promise((resolve) => server.once("close", resolve));
      clearTimeout(rest);
      await engine.close();
    },
  };
}

/** Milliseconds for answers to reach their clients when all is drawn. */
const GOODBYE = 2000;
/** Milliseconds for a client to send its request. */
const REQUEST_TIME = 60_000;

function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  { host, port }: { host: string; port: number },
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch, hostname: host, port }, () => resolve(server)) as Server;
    server.requestTimeout = REQUEST_TIME;
    server.headersTimeout = REQUEST_TIME / 2;
    server.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new InputError(`port ${port} of ${host} is taken; choose another with --port`, { port })
          : error,
      ),
    );
  });
}
