/** Results straight into the caller's memory, past a binding that copies every one. Compiles no graphs of ours. */

import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-common";
import { writeOnnx } from "../../formats/onnx.ts";
import { createGraph, input, output } from "../graph.ts";
import { add } from "../ops.ts";
import { toOnnxModel } from "../to-onnx.ts";
import type { OrtModule } from "./ort.ts";

// onnxruntime-node gives the runtime our tensors for results, and the runtime fills them. Then the binding copies
// each into a new ArrayBuffer, in the order of the model's outputs, and fails at the first that is no tensor. So
// the first output of such a model is an empty sequence, and the failure, which comes after the run and before the
// first copy, is the sign that all went well. No option says the same (1.30); a binding that fails in another way,
// or earlier, is found out by `stopsBeforeCopying`.

/** The output at which the binding stops. */
export const STOP = "stop before copying";

/** What onnxruntime-node says then, word for word. */
const STOPPED = "Non tensor type is temporarily not supported.";

export type Fetches = Readonly<Record<string, OrtTensor>>;

/** Runs a model that begins with STOP; afterwards `fetches` hold the results. Passes every other failure on. */
export async function runDirect(
  session: InferenceSession,
  feeds: Readonly<Record<string, OrtTensor>>,
  fetches: Fetches,
): Promise<void> {
  try {
    // Returning is fine as well: a binding that has learnt sequences has filled our tensors before it copied them.
    await session.run(feeds, { [STOP]: null, ...fetches } as InferenceSession.FetchesType);
  } catch (error) {
    if (!(error instanceof Error) || error.message !== STOPPED) throw error;
  }
}

/** Whether this binding stops as described, with our tensors filled: tried on a graph of one sum. Never throws. */
export async function stopsBeforeCopying(ort: OrtModule): Promise<boolean> {
  const g = createGraph("does the binding stop");
  const x = input(g, "x", [2]);
  output(g, "y", add(x, x));
  const tensor = (...values: number[]) =>
    new ort.Tensor("float32", Float32Array.from(values), [values.length]);
  const y = tensor(Number.NaN, Number.NaN);
  let session: InferenceSession | undefined;
  try {
    const model = writeOnnx(toOnnxModel(g, { emptySequence: STOP }));
    session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1 });
    await session.run({ x: tensor(1, 2) }, { [STOP]: null, y } as never);
    return false;
  } catch (error) {
    const [first, second] = y.data as Float32Array;
    return error instanceof Error && error.message === STOPPED && first === 2 && second === 4;
  } finally {
    await session?.release();
  }
}
