/** ONNX Runtime on WebGPU: the same graphs on a graphics processor, in browsers only. Does not decide whether that pays. */

import { InputError } from "../../formats/errors.ts";
import { type Backend, inNode } from "../backend.ts";
import { plainProducts } from "../plain-products.ts";
import { type OrtModule, ortBackend } from "./ort.ts";

type OrtWebGpu = OrtModule & {
  env: { wasm: { numThreads?: number }; webgpu: { powerPreference?: string } };
};

/**
 * The WebGPU backend; its runtime (6.7 MB packed) is fetched now. Feeds and results lie in host memory, so they travel
 * at every run. What has no kernel there runs in WebAssembly, on one thread.
 * Sums are made in another order than elsewhere: numbers agree to rounding, which is no promise of equal tokens.
 * @throws InputError in Node; compiling throws where the browser offers no adapter
 */
export async function ortWebGpu(): Promise<Backend> {
  if (inNode())
    throw new InputError("backend ort-webgpu needs a browser; in Node use ort-node or ort-web");
  const ort = (await import("onnxruntime-web/webgpu")) as unknown as OrtWebGpu;
  ort.env.wasm.numThreads = 1; // shapes are all that is left for it
  ort.env.webgpu.powerPreference = "high-performance";
  const backend = ortBackend("ort-webgpu", ort, {
    session: { executionProviders: ["webgpu"] },
    copyInto: true,
  });
  return {
    name: backend.name,
    compile: (graph, options) => backend.compile(plainProducts(graph), options),
  };
}
