/** The worker's model: opened where it was chosen to run, and moved to WebAssembly when WebGPU fails. Answers no calls. */

import { InputError } from "../formats/errors.ts";
import { samplingFlops } from "../image/cost.ts";
import { loadVar, type Var } from "../image/model.ts";
import type { BackendName } from "../tensor/backend.ts";
import { chooseBackend, firstLine, runsOn } from "./choose.ts";
import type { BackendChoice, MovedEvent, RunsOn } from "./protocol.ts";

/** Has a life as long as its worker's. */
export interface Host {
  readonly model: Var;
  readonly on: RunsOn;
  /**
   * What `work` tells; where it fails on WebGPU, the model moves to WebAssembly for good, which is told, and the work is
   * done again from its beginning. @throws what `work` throws, if the asker or WebAssembly is at fault
   */
  surely<T>(work: (model: Var) => AsyncGenerator<T>): AsyncGenerator<T | MovedEvent>;
}

export interface HostOptions {
  readonly choice: BackendChoice;
  readonly threads: number;
  readonly choose?: typeof chooseBackend;
  readonly load?: (backend: BackendName) => Promise<Var>;
}

const NAMES = { wasm: "ort-web", webgpu: "ort-webgpu" } as const;

/** @param files both files' bytes @throws InputError as `loadVar` */
export async function openHost(
  files: { readonly var: Uint8Array; readonly vqvae: Uint8Array },
  {
    choice,
    threads,
    choose = chooseBackend,
    load = (backend) => loadVar(files, { backend, threads }),
  }: HostOptions,
): Promise<Host> {
  let model = await load(NAMES.wasm); // compiles nothing yet
  const flops = samplingFlops(model.config).total;
  let on = await choose({ choice, flops, threads });
  if (on.backend === "webgpu") model = await load(NAMES.webgpu);
  return {
    get model() {
      return model;
    },
    get on() {
      return on;
    },
    async *surely(work) {
      try {
        yield* work(model);
        return;
      } catch (error) {
        if (on.backend === "wasm" || isAsked(error)) throw error;
        const lost = model;
        on = runsOn("wasm", "failed", { threads, detail: firstLine(error) });
        model = await load(NAMES.wasm);
        await lost.release().catch(() => {}); // its device may be gone
        yield { kind: "moved", on };
      }
      yield* work(model);
    },
  };
}

/** Not the backend's fault. */
const isAsked = (error: unknown): boolean =>
  error instanceof InputError || (error as Error | undefined)?.name === "AbortError";
