/** A trained baseline: weights, and graphs compiled when first used. Draws nothing: see draw.ts. */

import type { Tensor } from "../../formats/dtype.ts";
import type { WeightMap } from "../../formats/lazy.ts";
import { bindConstants } from "../../nn/bind.ts";
import { type Backend, openBackend, type RunOptions, type Session } from "../../tensor/backend.ts";
import { createGraph, type Graph, input, output } from "../../tensor/graph.ts";
import { add, clip, embedding, mul, reshape } from "../../tensor/ops.ts";
import type { VarConfig, VqvaeConfig } from "../config.ts";
import { fHatsFromIds } from "../quantizer.ts";
import { latentShape, mapTokens, tokenCount } from "../scales.ts";
import { positions } from "../var.ts";
import { classGraph, headGraph, scaleGraph } from "../var-step.ts";
import { decode } from "../vqvae.ts";
import { type BaselineKind, TIME_FEATURES } from "./config.ts";
import { mapOfRows, maskedLogits, velocity } from "./nets.ts";

/** Configurations and weights of a baseline and of the tokenizer it was trained with. */
export interface BaselineParts {
  readonly kind: BaselineKind;
  readonly config: VarConfig;
  readonly weights: WeightMap;
  readonly tokenizer: VqvaeConfig;
  readonly tokenizerWeights: WeightMap;
}

/** Drawing runs few graphs; those of AR are VAR's own, a token at a time instead of a scale. */
const GRAPHS = {
  /** labels R -> `start` R 1 C, `blocks` R depth 6 C, `head` R 2 C */
  class: classGraph,
  /** x R T C after P earlier tokens -> `y` R T C, all keys and values; into memory that is given */
  next: scaleGraph,
  /** y B T C -> `logits` B T V */
  head: headGraph,
  /** What a token looks like in a place: ids R, place 1 (int64) -> `x` R 1 C */
  embed({ config, weights }) {
    const g = createGraph("embed");
    const p = bindConstants(g, weights);
    const token = embedding(p("tok_emb.weight"), input(g, "ids", ["R"], "int64")); // R C
    const table = reshape(positions(g, p, config), [tokenCount(config), config.width]); // L C
    const place = embedding(table, input(g, "place", [1], "int64")); // 1 C
    output(g, "x", reshape(add(token, place), ["R", 1, config.width]));
    return g;
  },
  /** ids R L with V where hidden, labels R -> `logits` R L V */
  hidden({ config, weights }) {
    const g = createGraph("hidden");
    const ids = input(g, "ids", ["R", tokenCount(config)], "int64");
    const labels = input(g, "labels", ["R"], "int64");
    output(g, "logits", maskedLogits({ ids, labels }, bindConstants(g, weights), { config }));
    return g;
  },
  /** x R n latent, times R F, labels R -> `v` R n latent */
  velocity({ config, weights }) {
    const g = createGraph("velocity");
    const x = input(g, "x", ["R", mapTokens(latentShape(config)), config.latent]);
    const times = input(g, "times", ["R", TIME_FEATURES]);
    const labels = input(g, "labels", ["R"], "int64");
    output(g, "v", velocity({ x, times, labels }, bindConstants(g, weights), { config }));
    return g;
  },
  /** All tokens of pictures: ids B L -> `image` B 3 S S in [-1, 1] */
  "tokens to image"({ tokenizer, tokenizerWeights }) {
    const g = createGraph("tokens to image");
    const p = bindConstants(g, tokenizerWeights);
    const ids = input(g, "ids", ["B", tokenCount(tokenizer)], "int64");
    const fHat = fHatsFromIds(ids, p, tokenizer).at(-1)!;
    output(g, "image", clip(decode(fHat, p, tokenizer), -1, 1));
    return g;
  },
  /** Normalised latent rows: x B n latent -> `image` B 3 S S in [-1, 1] */
  "latents to image"({ config, weights, tokenizer, tokenizerWeights }) {
    const g = createGraph("latents to image");
    const own = bindConstants(g, weights);
    const shape = latentShape(tokenizer);
    const x = input(g, "x", ["B", mapTokens(shape), config.latent]);
    const fHat = mapOfRows(add(mul(x, own("latent_std")), own("latent_mean")), shape);
    output(g, "image", clip(decode(fHat, bindConstants(g, tokenizerWeights), tokenizer), -1, 1));
    return g;
  },
} as const satisfies Record<string, (parts: BaselineParts) => Graph>;
type GraphName = keyof typeof GRAPHS;

/** A baseline ready to draw from. Has a life: release it. */
export class Baseline {
  readonly parts: BaselineParts;
  readonly #options: { backend?: Backend; threads?: number };
  readonly #sessions = new Map<GraphName, Promise<Session>>();

  constructor(parts: BaselineParts, options: { backend?: Backend; threads?: number } = {}) {
    this.parts = parts;
    this.#options = options;
  }

  get config(): VarConfig {
    return this.parts.config;
  }

  /** Runs the graph of that name; compiles it at the first call. */
  async run(
    name: GraphName,
    feeds: Record<string, Tensor>,
    options: RunOptions = {},
  ): Promise<Record<string, Tensor>> {
    let session = this.#sessions.get(name);
    if (!session) {
      session = this.#compile(name);
      this.#sessions.set(name, session);
    }
    return (await session).run(feeds, options);
  }

  async #compile(name: GraphName): Promise<Session> {
    const { backend, threads } = this.#options;
    const engine = backend ?? (await openBackend());
    return engine.compile(GRAPHS[name](this.parts), { threads, resultsInto: name === "next" });
  }

  /** Frees what was compiled; the model can be used again and compiles anew. */
  async release(): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const session of sessions) await (await session).release();
  }
}
