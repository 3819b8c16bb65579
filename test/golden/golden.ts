/** Golden arrays of the reference implementation, its hash-made weights, and the comparison that keeps the score. */

import { appendFileSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { sizeOf, type Tensor, type TensorMap } from "../../src/formats/dtype.ts";
import { type VarConfig, varConfig, vqvaeConfig } from "../../src/image/config.ts";
import { PATCH_NUMS } from "../../src/image/scales.ts";
import { varSpecs } from "../../src/image/var-layout.ts";
import { vqvaeSpecs } from "../../src/image/vqvae-layout.ts";
import { checkWeights } from "../../src/nn/spec.ts";
import { openBackend, type Session, type Tensors } from "../../src/tensor/backend.ts";
import { createGraph, type Graph, output, type Value } from "../../src/tensor/graph.ts";
import { type HashRecipe, hashedValue } from "../hash-weights.ts";
import { readGolden } from "../read-safetensors.ts";

export const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/var/${name}`, import.meta.url));

/** Files that together hold one golden file of the reference; cut where they exceeded 200 kB. */
const PARTS = {
  vae: ["vae", "vae_images", "vae_more"],
  var: ["var_l2", "var_l2_more", "var_saln"],
  train: ["train"],
  sampling: ["sampling"],
  edit: ["edit"],
} as const;
export type GoldenFile = keyof typeof PARTS;
export const GOLDEN_FILES = Object.keys(PARTS) as GoldenFile[];

/** All arrays of one golden file, and its metadata. */
export function golden(file: GoldenFile): {
  arrays: TensorMap;
  facts: Record<string, string>;
} {
  const parts = PARTS[file].map((part) => readGolden(fixture(`${part}.safetensors`)));
  return {
    arrays: new Map(parts.flatMap((part) => [...part.tensors])),
    facts: Object.assign({}, ...parts.map((part) => part.metadata)),
  };
}

/** The configurations of the fixtures' models. */
export const tinyVqvae = vqvaeConfig({
  channels: 32,
  latent: 8,
  codes: 64,
  patchNums: PATCH_NUMS[4]!,
});
export const tinyVar = (overrides: Partial<VarConfig> = {}): VarConfig =>
  varConfig(2, {
    width: 64,
    heads: 4,
    classes: 10,
    patchNums: PATCH_NUMS[4]!,
    codes: 64,
    latent: 8,
    dropPath: 0,
    labelDrop: 0,
    ...overrides,
  });

function hashWeights(file: string): Map<string, Tensor> {
  const { seed, tensors } = JSON.parse(readFileSync(fixture(file), "utf8")) as HashRecipe;
  return new Map(
    tensors.map((spec) => {
      const { name, shape } = spec;
      const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) =>
        hashedValue(spec, seed, i),
      );
      return [name, { dtype: "float32", shape, data }];
    }),
  );
}

export const tinyVqvaeWeights = (): Map<string, Tensor> =>
  checkWeights(vqvaeSpecs(tinyVqvae), hashWeights("vae_tiny.weights.json"));

/** `l2`: normalised attention; `saln`: shared AdaLN as well. */
export function tinyVarWeights(which: "l2" | "saln"): Map<string, Tensor> {
  const weights = hashWeights(`var_tiny${which === "saln" ? "_saln" : ""}.weights.json`);
  // Above log 100, so that the clamp is exercised.
  if (which === "l2") (weights.get("blocks.0.attn.scale_mul_1H11")!.data as Float32Array)[1] = 5;
  return checkWeights(varSpecs(tinyVar({ sharedAdaLN: which === "saln" })), weights);
}

/** What the last node of a scope gives: the result of the layer of that name. */
export function layerOutput(g: Graph, scope: string): Value {
  const node = g.nodes.findLast((n) => n.scope === scope);
  if (!node)
    throw new Error(
      `no node in scope ${scope}; there are ${[...new Set(g.nodes.map((n) => n.scope))]}`,
    );
  return node.outputs[0]!;
}

/** Builds a graph with named results, runs it once and frees it. */
export async function evaluate(
  build: (g: Graph) => Readonly<Record<string, Value | undefined>>,
  feeds: Tensors = {},
): Promise<Record<string, Tensor>> {
  const g = createGraph();
  for (const [name, value] of Object.entries(build(g))) if (value) output(g, name, value);
  const session: Session = await (await openBackend()).compile(g);
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

/** Integers of any width as int64, as graphs take them. */
export const toInt64 = ({ shape, data }: Tensor): Tensor => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(data as ArrayLike<number | bigint> & Iterable<number | bigint>, BigInt),
});

/** Absolute tolerance on floats: what the fixtures were made for. */
export const TOLERANCE = 1e-5;

/** One comparison with a golden array. */
export interface Row {
  file: GoldenFile;
  array: string;
  shape: readonly number[];
  /** Largest absolute difference; for integers the number of differing entries. */
  error: number;
  kind: "float" | "exact" | "input";
}

/** Where `npm run parity` wants the rows; unset in ordinary test runs. */
const record = (row: Row): void => {
  const file = process.env.UNDERPAINT_PARITY;
  if (file) appendFileSync(file, `${JSON.stringify(row)}\n`);
};

/** Keeps one golden file, and checks results against its arrays by name. */
export function score(file: GoldenFile) {
  const { arrays, facts } = golden(file);
  const get = (array: string): Tensor => {
    const tensor = arrays.get(array);
    if (!tensor) throw new Error(`golden ${file} has no array "${array}"`);
    return tensor;
  };
  return {
    arrays,
    facts,
    /** An array that is fed to the model. */
    input(array: string): Tensor {
      const tensor = get(array);
      record({ file, array, shape: tensor.shape, error: 0, kind: "input" });
      return tensor;
    },
    /** Asserts that `got` is the array: integers exactly, floats within `tolerance`. */
    check(array: string, got: Tensor, { tolerance = TOLERANCE } = {}): void {
      const want = get(array);
      expect(sizeOf(got.shape), `size of ${array}`).toBe(sizeOf(want.shape));
      const exact = want.dtype !== "float32";
      const error = exact ? differing(got, want) : largestDifference(got, want);
      record({ file, array, shape: want.shape, error, kind: exact ? "exact" : "float" });
      expect(error, `${file} ${array}`).toBeLessThanOrEqual(exact ? 0 : tolerance);
    },
  };
}

export function largestDifference(a: Tensor, b: Tensor): number {
  let worst = 0;
  for (let i = 0; i < a.data.length; i++) {
    const [x, y] = [Number(a.data[i]), Number(b.data[i])];
    const difference = x === y ? 0 : Math.abs(x - y); // equal infinities differ by nothing
    if (!(difference <= worst)) worst = difference; // NaN sticks out
  }
  return worst;
}

const differing = (a: Tensor, b: Tensor): number => {
  let n = 0;
  for (let i = 0; i < a.data.length; i++) if (Number(a.data[i]) !== Number(b.data[i])) n++;
  return n;
};
