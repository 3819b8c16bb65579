/** Networks by one word: `lab:emoji`, a classifier of ours, an ONNX file, the 2015 Inception as .pth or safetensors. */

import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { readTensorFile } from "../formats/node.ts";
import { NOTE } from "../image/note.ts";
import { type Backend, openBackend } from "../tensor/backend.ts";
import { LAB, labClassifiers, loadClassifier } from "./classifier-file.ts";
import { INCEPTION_OUTPUTS, INCEPTION_SIZE, inceptionModel, isInception } from "./inception.ts";
import { labNetwork } from "./lab-network.ts";
import { type Network, TO_PM1, TO_PM1_128 } from "./network.ts";
import { onnxNetwork, readOnnxNetwork } from "./onnx-network.ts";
import type { ResizeKernel } from "./resize.ts";

export interface NetworkOptions {
  /** Default: the fastest that works here. */
  readonly backend?: Backend | undefined;
  /** How pictures of another size are resized; default "bicubic", for the 2015 Inception "tf1-bilinear". */
  readonly resize?: ResizeKernel | undefined;
}

/** What `openNetwork` takes, one line each. */
export const NETWORK_SYNTAX: readonly string[] = Object.freeze([
  "lab:emoji or lab:fashion-mnist, small classifiers that come along",
  "a file of underpaint train classifier",
  "pt_inception-2015-12-05 as .pth or .safetensors, for figures that compare with papers",
  "an .onnx file with one input [B, 3, S, S] in -1..1 and features as output",
]);

/** Opens a network by name or file. Has a life: release it. @throws InputError when it is none that we know */
export async function openNetwork(
  name: string,
  { backend, resize }: NetworkOptions = {},
): Promise<Network> {
  const engine = backend ?? (await openBackend());
  if (name.startsWith(LAB))
    return labNetwork(await loadClassifier(name), { backend: engine, resize });
  const stat = await node.fs.stat(name).catch(() => undefined);
  if (!stat)
    throw new InputError(
      `network "${name}" is neither a file nor one of ours (${labClassifiers().join(", ")}); give ${NETWORK_SYNTAX.join("; or ")}`,
      { name },
    );
  if (stat.isDirectory() || (await isOurs(name)))
    return labNetwork(await loadClassifier(name), { backend: engine, resize });
  const hash = await hashOf(name);
  if (name.endsWith(".onnx")) {
    const { model, outputs, size } = readOnnxNetwork(await node.fs.readFile(name), name);
    const kernel = resize ?? "bicubic";
    const how = { name, hash, outputs, size, resize: kernel, range: TO_PM1, backend: engine };
    return onnxNetwork(model, how);
  }
  const { tensors } = await readTensorFile(name);
  if (!isInception(tensors.keys()))
    throw new InputError(
      `${name} is no network of features; give ${NETWORK_SYNTAX.join("; or ")}`,
      { name },
    );
  return onnxNetwork(inceptionModel(tensors, { what: name }), {
    ...{ name, hash, outputs: INCEPTION_OUTPUTS, size: INCEPTION_SIZE, range: TO_PM1_128 },
    ...{ resize: resize ?? "tf1-bilinear", backend: engine },
  });
}

/** A safetensors file with our note. */
async function isOurs(file: string): Promise<boolean> {
  if (!file.endsWith(".safetensors")) return false;
  const { metadata } = await readTensorFile(file);
  return metadata[NOTE] !== undefined;
}

async function hashOf(file: string): Promise<string> {
  const bytes = await node.fs.readFile(file);
  return node.crypto.createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}
