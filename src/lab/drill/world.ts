/** The run that is sabotaged: a real, very small VAR training. Everything that costs time is made once. */

import type { ImageDataset } from "../../data/types.ts";
import { sizeOf, type TensorMap } from "../../formats/dtype.ts";
import { varConfig, vqvaeConfig } from "../../image/config.ts";
import { varSpecs } from "../../image/var-layout.ts";
import { vqvaeSpecs } from "../../image/vqvae-layout.ts";
import { initWeights } from "../../nn/spec.ts";
import type { Backend, Session } from "../../tensor/backend.ts";
import type { Graph } from "../../tensor/graph.ts";
import { rng } from "../../tensor/rng.ts";
import { type TokenSet, tokenize } from "../../train/tokens.ts";
import { VAR_RECIPE, type VarData, type VarRecipe } from "../../train/var.ts";

const PATCH_NUMS = [1, 2, 4];
const TOKENIZER = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums: PATCH_NUMS },
});

export interface World {
  readonly recipe: VarRecipe;
  readonly tokenizer: { config: typeof TOKENIZER; weights: TensorMap };
  /** Data that a run may spoil: a copy of its own. */
  data(): VarData;
  /** Trained parameters with their sizes. */
  readonly params: ReadonlyMap<string, number>;
  /** Compiles each graph once for all runs. */
  readonly backend: Backend;
}

/** Discs of two colours on white, 8 pixels: something that is learnt in a hundred updates. */
function discs(split: "train" | "test", count: number): ImageDataset {
  const size = 8;
  const pixels = new Uint8Array(count * size * size * 3).fill(255);
  const chance = rng("drill").child(split);
  for (let i = 0; i < count; i++) {
    const [cx, cy, radius] = [2 + chance.int(4), 2 + chance.int(4), 2 + chance.uniform()];
    for (let p = 0; p < size * size; p++)
      if (Math.hypot((p % size) - cx, Math.floor(p / size) - cy) < radius)
        pixels.fill(0, (i * size * size + p) * 3, (i * size * size + p) * 3 + 3)[
          (i * size * size + p) * 3 + 1 - (i % 2)
        ] = 200;
  }
  const id = (i: number) => `${split} ${i}`;
  const common = {
    name: "discs",
    split,
    width: size,
    height: size,
    channels: 3,
    count,
    pixels,
  } as const;
  return {
    ...common,
    classes: ["green", "red"],
    label: (i) => i % 2,
    id,
    concept: id,
    attribution: [],
  };
}

/** @param depth blocks of the transformer, `width` channels wide */
export async function createWorld(
  backend: Backend,
  { depth = 2, steps = 400, width = 32, batch = 8 } = {},
): Promise<World> {
  const weights = initWeights(vqvaeSpecs(TOKENIZER), rng("drill").child("tokenizer"));
  const tokenizer = { config: TOKENIZER, weights };
  const tokens = async (set: ImageDataset, variants: number): Promise<TokenSet> => {
    const strength = { augment: { flip: 0.5, shift: 1 }, variants, seed: 0 };
    for await (const { tokens } of tokenize(set, { ...tokenizer, backend }, strength))
      if (tokens) return tokens;
    throw new Error("tokenize ended without tokens");
  };
  const [train, test] = [discs("train", 256), discs("test", 16)];
  const [trainTokens, testTokens] = [await tokens(train, 2), await tokens(test, 1)];
  const own = (set: TokenSet): TokenSet => {
    const ids = set.ids.slice();
    return { ...set, ids, read: ids };
  };
  const model = varConfig(depth, {
    ...{ width, heads: 2, classes: 2, dropPath: 0.1 },
    ...{ patchNums: PATCH_NUMS, codes: 16, latent: 4 },
  });
  const trained = varSpecs(model).filter((s) => s.kind !== "buffer");
  return {
    tokenizer,
    params: new Map(trained.map((s) => [s.name, sizeOf(s.shape)])),
    recipe: {
      ...VAR_RECIPE,
      ...{ model, steps, batch, lr: 3e-3, warmup: 20, clip: 1, variants: 2 },
    },
    data: () => ({ train: { ...train }, test, trainTokens: own(trainTokens), testTokens }),
    backend: compiledOnce(backend),
  };
}

/** Graphs of one name and as many nodes are one graph here: all runs have the same model. */
function compiledOnce(backend: Backend): Backend {
  const sessions = new Map<string, Promise<Session>>();
  return {
    name: backend.name,
    async compile(graph: Graph, options = {}) {
      const key = [graph.name, graph.nodes.length, graph.inputs.length, JSON.stringify(options)];
      const known = sessions.get(key.join()) ?? backend.compile(graph, options);
      sessions.set(key.join(), known);
      return { ...bound(await known), release: async () => {} };
    },
  };
}

const bound = (session: Session): Session => ({
  inputs: session.inputs,
  outputs: session.outputs,
  run: (feeds, options) => session.run(feeds, options),
  release: () => session.release(),
});
