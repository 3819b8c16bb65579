/** The drawing thread seen from the server: starts it, hands it one batch at a time, starts it anew when it dies. Queues nothing. */

import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { InputError } from "../formats/errors.ts";
import { packageRoot } from "../image/embedded.node.ts";
import type { DrawerData } from "./drawer.worker.node.ts";
import type { FromDrawer, ServedModel, ToDrawer, Wish } from "./protocol.ts";

type Scale = Extract<FromDrawer, { kind: "scale" }>;

/** How a batch ended. */
export type Outcome = "done" | "stopped";

export interface DrawHandlers {
  onScale(scale: Scale): void;
  /** Stops between scales. */
  signal: AbortSignal;
}

/** Draws batches in a thread of its own, as ONNX Runtime holds up the thread it runs in. Has a life: close it. */
export interface Engine {
  readonly models: readonly ServedModel[];
  /** One batch; the next may be given when it has ended. @throws InputError for wishes that cannot be granted */
  draw(model: string, wishes: readonly Wish[], handlers: DrawHandlers): Promise<Outcome>;
  close(): Promise<void>;
}

/**
 * The thread's entry, by its place in the package, as the build puts this file's code into chunks of its own naming.
 * Sources, as tests run them, need a loader for TypeScript first.
 */
function startThread(workerData: DrawerData): Worker {
  if (!import.meta.url.endsWith(".ts"))
    return new Worker(join(packageRoot(), "dist/server/drawer.worker.node.js"), { workerData });
  const entry = JSON.stringify(new URL("drawer.worker.node.ts", import.meta.url).href);
  const load = `import("tsx/esm/api").then(({ register }) => (register(), import(${entry})))`;
  return new Worker(load, { workerData, eval: true });
}

/** Starts the thread and waits until its models are loaded. @throws InputError when one cannot be */
export async function startEngine(data: DrawerData): Promise<Engine> {
  let thread = await start(data);
  return {
    models: thread.models,
    async draw(model, wishes, handlers) {
      if (thread.dead) thread = await start(data);
      return thread.draw({ kind: "draw", model, wishes }, handlers);
    },
    async close() {
      await thread.worker.terminate();
    },
  };
}

interface Thread {
  readonly worker: Worker;
  readonly models: readonly ServedModel[];
  dead: boolean;
  draw(message: ToDrawer, handlers: DrawHandlers): Promise<Outcome>;
}

async function start(data: DrawerData): Promise<Thread> {
  const worker = startThread(data);
  let hear: (message: FromDrawer) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const thread: Thread = {
    worker,
    models: [],
    dead: false,
    draw: (message, { onScale, signal }) =>
      new Promise<Outcome>((resolve, reject) => {
        const stop = () => worker.postMessage({ kind: "stop" } satisfies ToDrawer);
        const end = (finish: () => void) => {
          signal.removeEventListener("abort", stop);
          hear = fail = () => {};
          finish();
        };
        hear = (said) => {
          if (said.kind === "scale") onScale(said);
          else if (said.kind === "failed") end(() => reject(errorOf(said)));
          else if (said.kind !== "ready") end(() => resolve(said.kind));
        };
        fail = (error) => end(() => reject(error));
        signal.addEventListener("abort", stop);
        worker.postMessage(message);
        if (signal.aborted) stop();
      }),
  };
  worker.on("message", (message: FromDrawer) => hear(message));
  const die = (error: Error) => {
    thread.dead = true;
    fail(error);
  };
  worker.on("error", (error) => die(error as Error));
  worker.on("exit", (code) => die(new Error(`the drawing thread ended with code ${code}`)));
  const models = await new Promise<readonly ServedModel[]>((resolve, reject) => {
    fail = reject;
    hear = (said) => {
      if (said.kind === "ready") resolve(said.models);
      else if (said.kind === "failed") reject(errorOf(said));
    };
  });
  return Object.assign(thread, { models });
}

const errorOf = ({ message, input }: Extract<FromDrawer, { kind: "failed" }>): Error =>
  input ? new InputError(message) : new Error(message);
