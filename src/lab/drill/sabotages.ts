/** The sabotages of the drill, one entry each: what is done, and what the design expects the sentinel to see. */

import type { Tensor } from "../../formats/dtype.ts";
import type { AlarmKind } from "../../guard/sentinel/index.ts";
import type { Tensors } from "../../tensor/backend.ts";
import type { Rng } from "../../tensor/rng.ts";
import type { VarData, VarRecipe } from "../../train/var.ts";
import type { RunState } from "../../train/watch.ts";
import type { Grip } from "./engine.ts";

/** Chance that one run of a sabotage draws from, and what it is about. */
export interface Scene {
  readonly chance: Rng;
  /** Trained parameters with their sizes. */
  readonly params: ReadonlyMap<string, number>;
}

/** What one run's saboteur does; each hand is called in the updates in which it acts. */
export interface Hands {
  /** On the state, between two updates. */
  between?(state: RunState): void;
  /** On the data, before an update reads it. @returns how it is undone afterwards */
  data?(data: VarData, indices: ArrayLike<number>): () => void;
  /** On the engine, in an update. */
  engine?(): Grip;
  /** Milliseconds that an update sleeps; `usual` is its median before. */
  sleep?(usual: number): number;
  /** Milliseconds that an update works for nothing. */
  work?(usual: number): number;
  /** On the rate, decay and length that the trainer believes in, once. */
  recipe?(recipe: VarRecipe): VarRecipe;
  /** On the tensors of a checkpoint's file, once, before it is loaded. */
  file?(tensors: Map<string, Tensor>): void;
  /** Ends the process without a word, once. */
  kill?: true;
  /** Edits a file that runs, once. */
  source?: true;
}

export interface Sabotage {
  readonly group: string;
  readonly name: string;
  /** Any of these is a detection. */
  readonly seenBy: readonly AlarmKind[];
  /** Chance that one sabotaged update is seen where it is looked at, by the design. */
  readonly perUpdate: number;
  /** Shares of the updates; absent where it happens once. */
  readonly rates?: readonly number[];
  /** Seen only at updates whose gradient is checked. */
  readonly checked?: true;
  /** Looked for every so many updates only. */
  readonly every?: number;
  hands(scene: Scene): Hands;
}

const RATES = [1, 0.1, 0.02] as const;
const pick = <T>(list: readonly T[], chance: Rng): T => list[chance.int(list.length)]!;
const floats = (t: Tensor | undefined): Float32Array => t!.data as Float32Array;

/** One number of one tensor whose name begins so. */
function edit(prefix: string, change: (x: number) => number) {
  return ({ chance }: Scene): Hands => ({
    between({ tensors }) {
      const all = tensors();
      const name = pick(
        [...all.keys()].filter((n) => n.startsWith(prefix)),
        chance,
      );
      const data = floats(all.get(name));
      const at = chance.int(data.length);
      data[at] = change(data[at]!);
    },
  });
}

const feeds = (change: (name: string, tensor: Tensor) => Tensor) => (): Hands => ({
  engine: () => ({
    feeds: (fed): Tensors =>
      Object.fromEntries(Object.entries(fed).map(([name, t]) => [name, change(name, t)])),
  }),
});
const times = (t: Tensor, factor: number): Tensor => ({
  ...t,
  data: floats(t).map((x) => x * factor),
});
const scaled = (which: string, factor: number) =>
  feeds((name, t) => (name.startsWith(which) ? times(t, factor) : t));

/** Standard deviation of one coordinate of a gradient of norm 1. */
const unit = (params: ReadonlyMap<string, number>): number =>
  1 / Math.sqrt([...params.values()].reduce((a, b) => a + b));

/** One layer: every parameter of one module, such as `blocks.1.attn.proj`. */
function layerOf({ chance, params }: Scene): (name: string) => boolean {
  const modules = [...params.keys()]
    .filter((name) => name.endsWith(".weight"))
    .map((name) => name.slice(0, -"weight".length));
  const chosen = pick(modules, chance);
  return (name) => name.startsWith(chosen);
}

const gradient =
  (of: (name: string, scene: Scene) => number, only?: "layer") =>
  (scene: Scene): Hands => {
    const hit = only ? layerOf(scene) : () => true;
    return {
      engine: () => ({ gradient: (name) => (hit(name) ? { factor: of(name, scene) } : {}) }),
    };
  };

/** One layer learns nothing. */
export const layerZeroed = gradient(() => 0, "layer");

/** Rows of the batch to come, in every variant, as `change` makes them. */
const rows =
  (change: (ids: Int32Array, from: (b: number) => number, length: number) => void) =>
  (): Hands => ({
    data({ trainTokens: { ids, count, variants, length } }, indices) {
      const before = ids.slice();
      for (let v = 0; v < variants; v++)
        change(ids, (b) => (v * count + indices[b % indices.length]!) * length, length);
      return () => ids.set(before);
    },
  });

const STATE = ["state-chain"] as const;
const UPDATE = ["update", "schedule"] as const;
const GRADIENT = ["gradient-along", "gradient-across", "gradient-norm"] as const;
const DATA = ["batch"] as const;

export const SABOTAGES: readonly Sabotage[] = [
  {
    ...{ group: "state", name: "one weight + 0.05 between updates", seenBy: STATE, rates: RATES },
    ...{ perUpdate: 1, hands: edit("param.", (x) => x + 0.05) },
  },
  {
    ...{ group: "state", name: "one moment x 2 between updates", seenBy: STATE, rates: RATES },
    ...{ perUpdate: 1, hands: edit("state.", (x) => x * 2 || 1e-6) },
  },
  {
    ...{ group: "saved", name: "one weight edited on disk", seenBy: ["saved-state"], perUpdate: 1 },
    hands: ({ chance }) => ({
      file(tensors) {
        const data = floats(tensors.get(pick([...tensors.keys()], chance)));
        const at = chance.int(data.length);
        data[at] = data[at]! + 0.05;
      },
    }),
  },
  {
    ...{ group: "optimizer", name: "lr x 1.2 in the engine", seenBy: UPDATE, rates: RATES },
    ...{ perUpdate: 1, hands: scaled("adamw.rate", 1.2) },
  },
  {
    ...{ group: "optimizer", name: "lr x 0.5 in the engine", seenBy: UPDATE, rates: RATES },
    ...{ perUpdate: 1, hands: scaled("adamw.rate", 0.5) },
  },
  {
    ...{ group: "optimizer", name: "lr x 1.2 in the trainer", seenBy: UPDATE, perUpdate: 1 },
    hands: () => ({ recipe: (recipe) => ({ ...recipe, lr: recipe.lr * 1.2 }) }),
  },
  {
    ...{ group: "optimizer", name: "weight decay x 3", seenBy: UPDATE, rates: RATES, perUpdate: 1 },
    hands: feeds((name, t) =>
      name === "adamw.shrink" ? { ...t, data: floats(t).map((x) => 1 - 3 * (1 - x)) } : t,
    ),
  },
  {
    ...{ group: "optimizer", name: "beta1 x 0.95", seenBy: UPDATE, rates: RATES, perUpdate: 1 },
    hands: () => ({ engine: () => ({ betas: [0.95, 1] }) }),
  },
  {
    ...{ group: "optimizer", name: "beta2 x 0.99", seenBy: UPDATE, rates: RATES, perUpdate: 1 },
    hands: () => ({ engine: () => ({ betas: [1, 0.99] }) }),
  },
  {
    ...{ group: "optimizer", name: "moments read as zeros", seenBy: UPDATE, rates: RATES },
    ...{ perUpdate: 1, hands: scaled("adamw.m.", 0) },
  },
  {
    ...{ group: "optimizer", name: "second moments read x 4", seenBy: UPDATE, rates: RATES },
    ...{ perUpdate: 1, hands: scaled("adamw.v.", 4) },
  },
  {
    ...{ group: "optimizer", name: "1 % of the new weights moved", seenBy: UPDATE, rates: RATES },
    perUpdate: 0.994, // 1 - (1 - 1 %)^512
    hands: ({ chance, params }) => ({
      engine: () => ({
        written(results) {
          for (const name of params.keys()) {
            const data = floats(results[`next.${name}`]);
            for (let i = 0; i < data.length; i++)
              if (chance.uniform() < 0.01) data[i] = data[i]! + 0.01;
          }
        },
      }),
    }),
  },
  {
    ...{ group: "gradient", name: "sign flipped", seenBy: GRADIENT, rates: RATES, checked: true },
    ...{ perUpdate: 1, hands: gradient(() => -1) },
  },
  {
    ...{ group: "gradient", name: "scaled by 0.3", seenBy: GRADIENT, rates: RATES, checked: true },
    ...{ perUpdate: 1, hands: gradient(() => 0.3) },
  },
  {
    ...{ group: "gradient", name: "noise of norm 1 added", seenBy: GRADIENT, rates: RATES },
    ...{ checked: true, perUpdate: 1 },
    hands: ({ chance, params }) => ({
      engine: () => ({
        gradient: (_, size) => ({
          noise: chance.fillNormal(new Float32Array(size), { std: unit(params) }),
        }),
      }),
    }),
  },
  {
    ...{ group: "gradient", name: "one layer flipped", seenBy: GRADIENT, rates: RATES },
    ...{ checked: true, perUpdate: 0.96, hands: gradient(() => -1, "layer") },
  },
  {
    ...{ group: "gradient", name: "one layer zeroed", seenBy: GRADIENT, rates: RATES },
    ...{ checked: true, perUpdate: 0.96, hands: layerZeroed },
  },
  {
    ...{ group: "data", name: "rows of the batch swapped", seenBy: DATA, rates: RATES },
    perUpdate: 1,
    hands: rows((ids, from, length) => {
      const first = ids.slice(from(0), from(0) + length);
      ids.copyWithin(from(0), from(1), from(1) + length);
      ids.set(first, from(1));
    }),
  },
  {
    ...{ group: "data", name: "one picture through the whole batch", seenBy: DATA, rates: RATES },
    perUpdate: 1,
    hands: rows((ids, from, length) => {
      for (let b = 1; b < 8; b++) ids.copyWithin(from(b), from(0), from(0) + length);
    }),
  },
  {
    ...{ group: "data", name: "labels exchanged", seenBy: DATA, rates: RATES, perUpdate: 1 },
    hands: () => ({
      data(data) {
        const { label } = data.train;
        (data.train as { label: typeof label }).label = (i) => 1 - label(i);
        return () => {
          (data.train as { label: typeof label }).label = label;
        };
      },
    }),
  },
  {
    ...{ group: "data", name: "one picture edited for good", seenBy: DATA, perUpdate: 1 },
    hands: ({ chance }) => ({
      data({ trainTokens: { ids, count, variants, length } }, indices) {
        const token = indices[0]! * length + chance.int(length);
        for (let at = token; at < variants * count * length; at += count * length)
          ids[at] = (ids[at]! + 1) % 16;
        return () => {};
      },
    }),
  },
  {
    ...{ group: "data", name: "another batch inside the engine", seenBy: GRADIENT, rates: RATES },
    ...{ checked: true, perUpdate: 1 },
    hands: ({ chance }) => ({
      engine: () => ({
        feeds(fed) {
          const ids = fed.ids!.data.slice() as BigInt64Array;
          for (let i = 0; i < ids.length; i++) ids[i] = BigInt(chance.int(16));
          return { ...fed, ids: { ...fed.ids!, data: ids } };
        },
      }),
    }),
  },
  {
    ...{ group: "seed", name: "seed changed", seenBy: DATA, perUpdate: 1 },
    hands: () => ({ recipe: (recipe) => ({ ...recipe, seed: recipe.seed + 1 }) }),
  },
  {
    ...{ group: "seed", name: "other drop masks inside the engine", seenBy: GRADIENT },
    ...{ rates: RATES, checked: true, perUpdate: 1 },
    hands: ({ chance }) => ({
      engine: () => ({
        feeds: (fed) => ({
          ...fed,
          dropMasks: {
            ...fed.dropMasks!,
            data: floats(fed.dropMasks).map(() => (chance.uniform() < 0.2 ? 0 : 1.25)),
          },
        }),
      }),
    }),
  },
  {
    ...{ group: "process", name: "killed", seenBy: ["gap"], perUpdate: 1 },
    hands: () => ({ kill: true }),
  },
  {
    ...{ group: "source", name: "one byte of a source file, times set back", seenBy: ["sources"] },
    ...{ perUpdate: 1, every: 20, hands: () => ({ source: true }) },
  },
];

const TIME = ["step-time", "stalls"] as const;
/** Shares of an update, and updates until they are found, by the design. */
const SHARES = [
  [0.1, 8],
  [0.05, 21],
  [0.03, 62],
] as const;
const timed = (name: string, updates: number, rate: number) => ({
  ...{ group: "time", name, seenBy: TIME, updates, rates: [rate], perUpdate: 1 },
});

/** Sabotages of time; measured apart from the others, as they need longer updates. */
export const SLEEPS: readonly (Sabotage & { readonly updates: number })[] = [
  ...SHARES.map(([share, updates]) => ({
    ...timed(`every update sleeps ${100 * share} % longer`, updates, 1),
    hands: (): Hands => ({ sleep: (usual) => usual * share }),
  })),
  ...(
    [
      [0.1, 52],
      [0.05, 101],
      [0.02, 271],
    ] as const
  ).map(([rate, updates]) => ({
    ...timed("updates sleep as long as they work", updates, rate),
    hands: (): Hands => ({ sleep: (usual) => usual }),
  })),
  ...([0.5, 0.3, 0.2, 0.1] as const).map((share) => ({
    ...timed(`every update works ${100 * share} % for nothing`, 8, 1),
    hands: (): Hands => ({ work: (usual) => usual * share }),
  })),
];
