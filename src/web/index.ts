/** A model in the page: the drawing runs in a worker, on WebAssembly or WebGPU, without a server. Browsers only. */

import type { DrawRequest, ModelInfo } from "../client.ts";
import { InputError } from "../formats/errors.ts";
import type {
  BackendChoice,
  CallName,
  Calls,
  DrawEvent,
  FromWorker,
  LoadingEvent,
  MovedEvent,
  RunsOn,
  ToWorker,
  UnfoldedScale,
  WebFiles,
} from "./protocol.ts";

export type { DrawRequest, ModelInfo } from "../client.ts";
export type {
  BackendChoice,
  DrawEvent,
  LoadingEvent,
  Reason,
  RunsOn,
  UnfoldedScale,
  WebFiles,
  WebPicture,
  WebScale,
} from "./protocol.ts";

export interface WebOptions {
  /** What the model is called in requests and in the notes of its pictures. Default "model". */
  name?: string;
  /** Default every core where the page is cross-origin isolated (COOP and COEP headers), else 1: more need shared memory. */
  threads?: number;
  /**
   * Where it runs. "auto": WebGPU for a large model where a trial on a graphics processor is twice as fast, else
   * WebAssembly. "webgpu": there wherever it works. `runsOn` tells what became of it. Default "auto".
   */
  backend?: BackendChoice;
  /** Makes the worker, for bundlers that do not find it: `new Worker(new URL("underpaint/web/worker", import.meta.url), { type: "module" })`. */
  worker?: () => Worker;
}

interface Wait {
  signal?: AbortSignal;
}

/** Has a life: close it. */
export interface WebModel {
  /** How far the files have come; ends when the model is ready. Waiting for it is not needed. @throws what opening threw */
  loading(): AsyncGenerator<LoadingEvent>;
  info(options?: Wait): Promise<ModelInfo>;
  /** Where it runs now and why. It changes when WebGPU fails: what was under way is then drawn again, its scales told again. */
  runsOn(options?: Wait): Promise<RunsOn>;
  /**
   * Draws what a request to a server would, with the same seeds and, on WebAssembly, the same tokens (docs/studio.md
   * says how surely); `model` and `attached` mean nothing here. Requests are drawn one after the other; an abort, or
   * leaving the iteration, ends one within a scale.
   * @throws InputError; the signal's reason
   */
  draw(request: DrawRequest, options?: Wait): AsyncGenerator<DrawEvent>;
  /** A picture (PNG, JPEG, WebP) through the tokenizer, scale by scale. */
  unfold(image: Uint8Array, options?: Wait): AsyncGenerator<UnfoldedScale>;
  /** Ends the worker; what it was asked for fails. */
  close(): void;
}

const MOST_THREADS = 16;

/** Threads that WebAssembly may have here. */
export const threadsHere = (): number =>
  globalThis.crossOriginIsolated
    ? Math.min(MOST_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1)
    : 1;

/** Starts a worker that fetches the two files of a model. Addresses are relative to the page. */
export function openInPage(
  files: WebFiles,
  {
    name = "model",
    threads = threadsHere(),
    backend = "auto",
    worker: make = ownWorker,
  }: WebOptions = {},
): WebModel {
  const { stream, close } = callsOf(make());
  const absolute = (from: string | Uint8Array) =>
    typeof from === "string" ? new URL(from, document.baseURI).href : from;
  const places = { var: absolute(files.var), vqvae: absolute(files.vqvae) };
  const steps: LoadingEvent[] = [];
  let wake: () => void = () => {};
  let on: RunsOn | undefined;
  const opening = (async () => {
    for await (const event of stream("open", { name, files: places, threads, backend })) {
      if (event.kind === "ready") {
        on = event.on;
        return event.info;
      }
      steps.push(event);
      wake();
    }
    throw new Error("the worker ended before the model was open");
  })();
  /** Hears of moves, and passes on the rest. */
  async function* settledOn<T extends object>(events: AsyncGenerator<T | MovedEvent>) {
    for await (const event of events)
      if ("kind" in event && event.kind === "moved") on = event.on;
      else yield event as T;
  }
  let over = false;
  const ended = () => {
    over = true;
    wake();
  };
  opening.then(ended, ended);
  return {
    async *loading() {
      for (let at = 0; ; ) {
        while (at < steps.length) yield steps[at++]!;
        if (over) break;
        await new Promise<void>((resolve) => {
          const others = wake;
          wake = () => {
            others();
            resolve();
          };
        });
      }
      await opening;
    },
    info: ({ signal } = {}) => settled(opening, signal),
    async runsOn({ signal } = {}) {
      await settled(opening, signal);
      return on!;
    },
    async *draw(request, { signal } = {}) {
      await settled(opening, signal);
      yield* settledOn<DrawEvent>(stream("draw", request, { signal }));
    },
    async *unfold(image, { signal } = {}) {
      await settled(opening, signal);
      yield* settledOn<UnfoldedScale>(stream("unfold", image, { signal }));
    },
    close,
  };
}

/** The build names the worker by its file in the package. */
const ownWorker = (): Worker =>
  new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });

/** The promise, or the signal's reason where that comes first. */
function settled<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    }),
  ]);
}

interface Listener {
  hear(message: FromWorker): void;
  fail(error: Error): void;
}

/** Calls of a worker as async iterators. */
function callsOf(worker: Worker) {
  const listeners = new Map<number, Listener>();
  let calls = 0;
  let dead: Error | undefined;
  const die = (error: Error) => {
    dead = error;
    for (const { fail } of listeners.values()) fail(error);
    listeners.clear();
    worker.terminate();
  };
  worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) =>
    listeners.get(data.id)?.hear(data),
  );
  worker.addEventListener("error", ({ message }) =>
    die(new Error(`the worker failed: ${message ?? "it could not be loaded"}`)),
  );

  async function* stream<N extends CallName>(
    call: N,
    argument: Calls[N][0],
    { signal }: Wait = {},
  ): AsyncGenerator<Calls[N][1]> {
    signal?.throwIfAborted();
    if (dead) throw dead;
    const id = calls++;
    const waiting: FromWorker[] = [];
    let failed: Error | undefined;
    let wake: () => void = () => {};
    listeners.set(id, {
      hear(message) {
        waiting.push(message);
        wake();
      },
      fail(error) {
        failed = error;
        wake();
      },
    });
    const say = (message: ToWorker) => worker.postMessage(message);
    const stop = () => wake();
    signal?.addEventListener("abort", stop);
    let ended = false;
    try {
      say({ id, call, argument });
      for (;;) {
        signal?.throwIfAborted();
        if (failed) throw failed;
        const message = waiting.shift();
        if (!message) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        ended = message.kind !== "event";
        if (message.kind === "end") return;
        if (message.kind === "failed")
          throw message.input ? new InputError(message.message) : new Error(message.message);
        yield message.event as Calls[N][1];
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      listeners.delete(id);
      if (!ended && !dead) say({ id, call: "stop" });
    }
  }

  return { stream, close: () => die(new Error("the model was closed")) };
}
