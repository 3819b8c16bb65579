/** Runs a finished ONNX file with the native runtime, as it is: for networks that others made. Builds no graphs. */

import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-common";
import { InputError } from "../../formats/errors.ts";
import type { Tensors } from "../backend.ts";
import type { OrtModule } from "./ort.ts";

/** A compiled file. Has a life: release it. */
export interface OnnxSession {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  run(feeds: Tensors): Promise<Tensors>;
  release(): Promise<void>;
}

/** @throws InputError when the runtime refuses the model */
export async function openOnnxModel(
  bytes: Uint8Array,
  { what, threads = 0 }: { what: string; threads?: number },
): Promise<OnnxSession> {
  const { createRequire } = process.getBuiltinModule("node:module");
  const ort = createRequire(import.meta.url)("onnxruntime-node") as OrtModule;
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(bytes, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
    });
  } catch (error) {
    throw new InputError(`${what}: ONNX Runtime refuses it (${(error as Error).message.trim()})`);
  }
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(feeds) {
      const given = Object.entries(feeds).map(
        ([name, t]) => [name, new ort.Tensor(t.dtype, t.data, t.shape)] as const,
      );
      const results = await session.run(Object.fromEntries(given) as Record<string, OrtTensor>);
      return Object.fromEntries(
        Object.entries(results).map(([name, t]) => [
          name,
          { dtype: "float32" as const, shape: t.dims, data: t.data as Float32Array },
        ]),
      );
    },
    release: () => session.release(),
  };
}
