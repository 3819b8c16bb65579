/** Networks that are ONNX models: somebody's file, or the 2015 Inception built by inception.ts. */

import { InputError } from "../formats/errors.ts";
import { type OnnxModel, readOnnx, writeOnnx } from "../formats/onnx.ts";
import type { Backend } from "../tensor/backend.ts";
import { openOnnxModel } from "../tensor/backends/ort-model.node.ts";
import {
  asRows,
  compileLook,
  type Network,
  type Preparation,
  planes,
  sessionsBySize,
} from "./network.ts";
import { type Rows, room } from "./products.ts";

/** Which outputs of a model mean what. */
export interface OnnxOutputs {
  readonly features: string;
  readonly spatial?: string;
  /** Already through a softmax. */
  readonly probabilities?: string;
}

/** Models whose outputs we know, told by the outputs they have. `also` are inner values that become outputs. */
const KNOWN: readonly (OnnxOutputs & { readonly also: readonly string[] })[] = [
  // MobileNetV2 of ImageNet (Sandler et al. 2018): 1280 features; its last map has 7 x 7 places.
  { features: "r169f", probabilities: "t173", spatial: "t168", also: ["t168"] },
];

/** Values of the flattened map that sFID takes: the first ones, as the ADM evaluator takes seven channels. */
const SPATIAL = 2023;

export interface OnnxNetworkOptions extends Preparation {
  readonly backend: Backend;
  readonly name: string;
  readonly hash: string;
  readonly outputs: OnnxOutputs;
}

/** A model with input B 3 S S as a network. @throws InputError when the runtime refuses it */
export async function onnxNetwork(model: OnnxModel, options: OnnxNetworkOptions): Promise<Network> {
  const { backend, name, hash, outputs, size, resize, range } = options;
  const session = await openOnnxModel(writeOnnx(model), { what: name });
  const [first] = session.inputs;
  const prepared = sessionsBySize((from) =>
    compileLook(backend, from, { size, resize, range, build: (images) => ({ images }) }),
  );
  return {
    ...{ name, hash, size, resize },
    async look(pictures) {
      const ready = await (await prepared.get(pictures)).run({ pixels: planes(pictures) });
      const results = await session.run({ [first!]: ready.images! });
      const rows = (key: keyof OnnxOutputs) => {
        const tensor = outputs[key] === undefined ? undefined : results[outputs[key]];
        return tensor && asRows(tensor);
      };
      const [spatial, probabilities] = [rows("spatial"), rows("probabilities")];
      return {
        features: rows("features")!,
        ...(spatial && { spatial: firstColumns(spatial, SPATIAL) }),
        ...(probabilities && { probabilities }),
      };
    },
    async release() {
      await prepared.release();
      await session.release();
    },
  };
}

function firstColumns({ count, width, data }: Rows, most: number): Rows {
  if (width <= most) return { count, width, data };
  const out = room(data, count * most);
  for (let i = 0; i < count; i++) out.set(data.subarray(i * width, i * width + most), i * most);
  return { count, width: most, data: out };
}

/**
 * An ONNX file as model, outputs and size. Of a file we do not know the first output of two dimensions is taken for
 * the features, and no others are.
 * @throws InputError when its input is not B 3 S S
 */
export function readOnnxNetwork(
  bytes: Uint8Array,
  what: string,
): { model: OnnxModel; outputs: OnnxOutputs; size: number } {
  const model = readOnnx(bytes);
  const { graph } = model;
  const shape = graph.inputs[0]?.shape ?? [];
  const size = shape[3];
  if (graph.inputs.length !== 1 || shape[1] !== 3 || typeof size !== "number" || shape[2] !== size)
    throw new InputError(
      `${what}: wants ${graph.inputs.length} inputs, the first [${shape}]; a network of features has one, [B, 3, S, S]`,
    );
  const names = new Set(graph.outputs.map(({ name }) => name));
  const known = KNOWN.find(({ features, probabilities }) =>
    [features, probabilities].every((name) => name !== undefined && names.has(name)),
  );
  if (known) {
    const inner = new Set(graph.nodes.flatMap((node) => node.outputs));
    const also = known.also.filter((name) => inner.has(name) && !names.has(name));
    const more = also.map((name) => ({ name, dtype: "float32" as const }));
    const whole = { ...model, graph: { ...graph, outputs: [...graph.outputs, ...more] } };
    return { model: whole, outputs: known, size };
  }
  const features = graph.outputs.find((o) => o.shape === undefined || o.shape.length === 2);
  if (!features)
    throw new InputError(`${what}: no output of it is [B, d]; features are rows of numbers`);
  return { model, outputs: { features: features.name }, size };
}
