/**
 * The Inception network of FID (TensorFlow's of 2015-12-05) as an ONNX model over weights in the layout of its PyTorch
 * port, pt_inception-2015-12-05. Not torchvision's: poolings leave padding out of means, the last block pools by maximum,
 * and there are 1008 classes. Szegedy et al. 2016, arXiv 1512.00567.
 */

import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { OnnxAttr, OnnxInitializer, OnnxModel, OnnxNode } from "../formats/onnx.ts";

/** Side of the pictures. */
export const INCEPTION_SIZE = 299;
const CLASSES = 1008;
const WIDTH = 2048;
/** Channels of the map of 17 x 17 that sFID takes, as the ADM evaluator. */
const SPATIAL_CHANNELS = 7;
const EPSILON = 1e-3;

/** A convolution with its normalisation: [name, to, kernel, stride?, pad?]; kernels as [height, width]. */
interface Conv {
  readonly name: string;
  readonly to: number;
  readonly kernel: readonly [number, number];
  readonly stride: number;
  /** Keeps the size. */
  readonly same: boolean;
}
const conv = (
  name: string,
  to: number,
  kernel: number | readonly [number, number] = 1,
  { stride = 1, same = true }: { stride?: number; same?: boolean } = {},
): Conv => ({
  name,
  to,
  kernel: typeof kernel === "number" ? [kernel, kernel] : kernel,
  stride,
  same,
});
const HALVE = { stride: 2, same: false };
const BARE = { same: false };

/** What a branch does after another: convolve, pool, or go several ways whose results stand side by side. */
type Step = Conv | "mean" | "most" | "halve" | readonly (readonly Step[])[];

const a = (pool: number): Step => [
  [conv("branch1x1", 64)],
  [conv("branch5x5_1", 48), conv("branch5x5_2", 64, 5)],
  [conv("branch3x3dbl_1", 64), conv("branch3x3dbl_2", 96, 3), conv("branch3x3dbl_3", 96, 3)],
  ["mean", conv("branch_pool", pool)],
];
const b: Step = [
  [conv("branch3x3", 384, 3, HALVE)],
  [conv("branch3x3dbl_1", 64), conv("branch3x3dbl_2", 96, 3), conv("branch3x3dbl_3", 96, 3, HALVE)],
  ["halve"],
];
const c = (n: number): Step => [
  [conv("branch1x1", 192)],
  [conv("branch7x7_1", n), conv("branch7x7_2", n, [1, 7]), conv("branch7x7_3", 192, [7, 1])],
  [
    conv("branch7x7dbl_1", n),
    conv("branch7x7dbl_2", n, [7, 1]),
    conv("branch7x7dbl_3", n, [1, 7]),
    conv("branch7x7dbl_4", n, [7, 1]),
    conv("branch7x7dbl_5", 192, [1, 7]),
  ],
  ["mean", conv("branch_pool", 192)],
];
const d: Step = [
  [conv("branch3x3_1", 192), conv("branch3x3_2", 320, 3, HALVE)],
  [
    conv("branch7x7x3_1", 192),
    conv("branch7x7x3_2", 192, [1, 7]),
    conv("branch7x7x3_3", 192, [7, 1]),
    conv("branch7x7x3_4", 192, 3, HALVE),
  ],
  ["halve"],
];
const e = (pool: "mean" | "most"): Step => [
  [conv("branch1x1", 320)],
  [
    conv("branch3x3_1", 384),
    [[conv("branch3x3_2a", 384, [1, 3])], [conv("branch3x3_2b", 384, [3, 1])]],
  ],
  [
    conv("branch3x3dbl_1", 448),
    conv("branch3x3dbl_2", 384, 3),
    [[conv("branch3x3dbl_3a", 384, [1, 3])], [conv("branch3x3dbl_3b", 384, [3, 1])]],
  ],
  [pool, conv("branch_pool", 192)],
];

/** The whole network in order; blocks have a name that their layers' names begin with. */
const LAYERS: readonly (readonly [block: string, step: Step])[] = [
  ["", conv("Conv2d_1a_3x3", 32, 3, HALVE)],
  ["", conv("Conv2d_2a_3x3", 32, 3, BARE)],
  ["", conv("Conv2d_2b_3x3", 64, 3)],
  ["", "halve"],
  ["", conv("Conv2d_3b_1x1", 80)],
  ["", conv("Conv2d_4a_3x3", 192, 3, BARE)],
  ["", "halve"],
  ["Mixed_5b.", a(32)],
  ["Mixed_5c.", a(64)],
  ["Mixed_5d.", a(64)],
  ["Mixed_6a.", b],
  ["Mixed_6b.", c(128)],
  ["Mixed_6c.", c(160)],
  ["Mixed_6d.", c(160)],
  ["Mixed_6e.", c(192)],
  ["Mixed_7a.", d],
  ["Mixed_7b.", e("mean")],
  ["Mixed_7c.", e("most")],
];
/** The map of sFID: TensorFlow's "mixed_6/conv", after its rectification. */
const SPATIAL = "Mixed_6d.branch1x1";

/** Every tensor that the network reads, with its shape; for tests, and for those who convert weights. */
export function inceptionLayout(): Map<string, readonly number[]> {
  const layout = new Map<string, readonly number[]>();
  const add = (block: string, step: Step, from: number): number => {
    if (typeof step === "string") return from;
    if (!("name" in step))
      return step
        .map((branch) => branch.reduce((width, s) => add(block, s, width), from))
        .reduce((sum, width) => sum + width, 0);
    layout.set(`${block}${step.name}.conv.weight`, [step.to, from, ...step.kernel]);
    for (const part of ["weight", "bias", "running_mean", "running_var"])
      layout.set(`${block}${step.name}.bn.${part}`, [step.to]);
    return step.to;
  };
  LAYERS.reduce((width, [block, step]) => add(block, step, width), 3);
  return layout.set("fc.weight", [CLASSES, WIDTH]);
}

/** Whether names of tensors are those of the port. */
export const isInception = (names: Iterable<string>): boolean => {
  const found = new Set(names);
  return found.has("Mixed_7c.branch_pool.conv.weight") && found.has("fc.weight");
};

/** Results of the model. The probabilities leave out the bias of the last layer, as the ADM evaluator does. */
export const INCEPTION_OUTPUTS = {
  features: "features",
  spatial: "spatial",
  probabilities: "probabilities",
} as const;

/**
 * The model: images B 3 299 299 in [-1, 1] -> features B 2048, spatial B 7·17·17, probabilities B 1008. The
 * normalisations (ε = 0.001) are folded into the convolutions.
 * @throws InputError naming the first tensor that is missing or of another shape
 */
export function inceptionModel(weights: TensorMap, { what }: { what: string }): OnnxModel {
  for (const [name, shape] of inceptionLayout()) {
    const tensor = weights.get(name);
    if (tensor?.dtype !== "float32" || String(tensor.shape) !== String(shape))
      throw new InputError(
        `${what}: wants "${name}" as float32 [${shape.join(", ")}], found ${tensor ? `${tensor.dtype} [${tensor.shape.join(", ")}]` : "nothing"}; want the weights of pt_inception-2015-12-05`,
        { name },
      );
  }
  const nodes: OnnxNode[] = [];
  const initializers: OnnxInitializer[] = [];
  const node = (
    op: string,
    inputs: readonly string[],
    output: string,
    attrs: Record<string, OnnxAttr> = {},
  ): string => {
    nodes.push({ op, domain: "", name: output, inputs, outputs: [output], attrs });
    return output;
  };
  const constant = (name: string, tensor: Tensor): string => {
    initializers.push({ name, tensor });
    return name;
  };
  const pools = {
    mean: ["AveragePool", 1, 1],
    most: ["MaxPool", 1, 1],
    halve: ["MaxPool", 2, 0],
  } as const;
  const apply = (x: string, block: string, step: Step): string => {
    const name = `${block}${nodes.length}`;
    if (typeof step === "string") {
      const [op, stride, pad] = pools[step];
      // AveragePool leaves padding out of the mean by default, which is TensorFlow's way.
      return node(op, [x], name, windowOf([3, 3], stride, [pad, pad]));
    }
    if (!("name" in step))
      return node(
        "Concat",
        step.map((branch) => branch.reduce((y, s) => apply(y, block, s), x)),
        `${block}cat${nodes.length}`,
        { axis: { kind: "int", value: 1 } },
      );
    const full = block + step.name;
    const { weight, bias } = folded(weights, full);
    const pads = step.same ? step.kernel.map((k) => (k - 1) / 2) : [0, 0];
    const sum = node(
      "Conv",
      [x, constant(`${full}.w`, weight), constant(`${full}.b`, bias)],
      `${full}.sum`,
      windowOf(step.kernel, step.stride, pads as [number, number]),
    );
    return node("Relu", [sum], full);
  };
  const deep = LAYERS.reduce((x, [block, step]) => apply(x, block, step), "images");
  node("GlobalAveragePool", [deep], "pooled");
  node("Flatten", ["pooled"], INCEPTION_OUTPUTS.features);
  const classes = constant("fc.w", weights.get("fc.weight")!);
  node("Gemm", [INCEPTION_OUTPUTS.features, classes], "logits", {
    transB: { kind: "int", value: 1 },
  });
  node("Softmax", ["logits"], INCEPTION_OUTPUTS.probabilities);
  const bounds = [0, SPATIAL_CHANNELS, 1].map((n, i) =>
    constant(`spatial.${i}`, { dtype: "int64", shape: [1], data: BigInt64Array.of(BigInt(n)) }),
  );
  node("Slice", [SPATIAL, bounds[0]!, bounds[1]!, bounds[2]!], "spatial.map");
  node("Flatten", ["spatial.map"], INCEPTION_OUTPUTS.spatial);
  const outputs = Object.values(INCEPTION_OUTPUTS).map((name) => ({
    name,
    dtype: "float32" as const,
  }));
  const side = INCEPTION_SIZE;
  const inputs = [{ name: "images", dtype: "float32" as const, shape: ["B", 3, side, side] }];
  return { graph: { name: "inception-2015-12-05", nodes, inputs, outputs, initializers } };
}

const windowOf = (
  kernel: readonly number[],
  stride: number,
  [top, left]: readonly [number, number],
): Record<string, OnnxAttr> => ({
  kernel_shape: { kind: "ints", value: kernel },
  strides: { kind: "ints", value: [stride, stride] },
  pads: { kind: "ints", value: [top, left, top, left] },
});

/** y = γ (conv x - μ) / √(σ² + ε) + β as one convolution with a bias. */
function folded(weights: TensorMap, name: string): { weight: Tensor; bias: Tensor } {
  const get = (part: string) => weights.get(`${name}.${part}`)!;
  const { shape, data } = get("conv.weight");
  const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
    (part) => get(`bn.${part}`).data as Float32Array,
  );
  const rows = shape[0]!;
  const width = data.length / rows;
  const weight = new Float32Array(data.length);
  const bias = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const scale = gamma![r]! / Math.sqrt(variance![r]! + EPSILON);
    bias[r] = beta![r]! - mean![r]! * scale;
    for (let i = r * width; i < (r + 1) * width; i++) weight[i] = (data[i] as number) * scale;
  }
  return {
    weight: { dtype: "float32", shape, data: weight },
    bias: { dtype: "float32", shape: [rows], data: bias },
  };
}
