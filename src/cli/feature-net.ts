/** The network of the perceptual term by one word: an ONNX file, or a classifier of ours. Runs nothing. */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { classify } from "../eval/classifier.ts";
import { loadClassifier } from "../eval/classifier-file.ts";
import { InputError } from "../formats/errors.ts";
import { readOnnx } from "../formats/onnx.ts";
import { type FeatureNet, onnxFeatures } from "../image/perceptual.ts";
import { sharedConstant } from "../tensor/graph.ts";

/**
 * `file.onnx` (input: pictures in [-1, 1]), `lab:<data set>`, or a file of `underpaint train classifier`.
 * @param layers values of an ONNX file to compare; the last at each resolution by default
 * @throws InputError where there is none of that name
 */
export async function openFeatureNet(
  name: string,
  layers?: readonly string[],
): Promise<FeatureNet> {
  if (name.endsWith(".onnx")) {
    const bytes = await readFile(name);
    const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
    const chosen = layers ? `${hash} ${layers.join(",")}` : hash;
    return onnxFeatures(readOnnx(bytes), { name, hash: chosen, layers });
  }
  if (layers)
    throw new InputError(`--perceptual-layers names values of an ONNX file; ${name} is none`);
  const { config, weights, hash } = await loadClassifier(name);
  return {
    ...{ name, hash },
    maps(images) {
      // Looked through twice in one graph; names of their own would meet those of the model.
      const bind = (weight: string) =>
        sharedConstant(images.graph, `${hash} ${weight}`, () => weights.get(weight)!);
      return classify(images, bind, config).maps;
    },
  };
}
