/** ONNX Runtime compiled to WebAssembly: the browser, and Node where the native package is missing. Not WebGPU: see ort-webgpu.ts. */

import { type Backend, inNode } from "../backend.ts";
import { type OrtModule, ortBackend } from "./ort.ts";

type OrtWeb = OrtModule & { env: { wasm: { numThreads?: number } } };

/** The package's root has Node's build; it stands in a variable so that no bundler follows it into the page. */
const NODE_BUILD: string = "onnxruntime-web";

/**
 * The wasm backend. Threads: as many as asked for by the first compile, by default the runtime's choice; pages
 * need cross-origin isolation (COOP and COEP headers) for more than one.
 * Throws where neither WebAssembly nor the package is there.
 */
export async function ortWeb(): Promise<Backend> {
  const loaded: unknown = inNode()
    ? await import(/* @vite-ignore */ NODE_BUILD)
    : await import("onnxruntime-web/wasm");
  const ort = loaded as OrtWeb;
  const backend = ortBackend("ort-web", ort, {
    session: { executionProviders: ["wasm"] },
    copyInto: true,
  });
  return {
    name: backend.name,
    compile(graph, options = {}) {
      // Read by the runtime once, before its first session.
      if (options.threads) ort.env.wasm.numThreads = options.threads;
      return backend.compile(graph, options);
    },
  };
}
