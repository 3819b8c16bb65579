/** The adversarial term of tokenizer training: a discriminator in the same graph, and what it is fed. */

import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { diffAugment, drawDiffAugment } from "../image/diff-augment.ts";
import { patchGan, patchGanSpecs } from "../image/patch-gan.ts";
import { bindInputs } from "../nn/bind.ts";
import { adamw, type Pace } from "../nn/optim.ts";
import { initWeights } from "../nn/spec.ts";
import type { Player } from "../nn/step.ts";
import type { Tensors } from "../tensor/backend.ts";
import { grad } from "../tensor/grad.ts";
import { input, type Value, withScope } from "../tensor/graph.ts";
import * as o from "../tensor/ops.ts";
import type { Rng } from "../tensor/rng.ts";

export interface AdversaryRecipe {
  /** Weight of the adversarial term after its balancing; 0 for none. */
  readonly gan: number;
  /** Updates without the discriminator, until reconstructions are worth judging. */
  readonly ganStart: number;
  /** Updates in which the term rises to its weight from there. */
  readonly ganWarmup: number;
  /** Highest learning rate of the discriminator; it follows the tokenizer's schedule. */
  readonly ganLr: number;
  /** Width of its first layer, and how many layers halve the side. */
  readonly ganChannels: number;
  readonly ganLayers: number;
  /** Strength of the random changes that real and rebuilt pictures alike undergo before they are judged; 0 for none. */
  readonly ganAugment: number;
  /** Weight of the LeCam term, which holds the judgements of either kind near the other's running mean. */
  readonly lecam: number;
}

export const ADVERSARY_RECIPE: AdversaryRecipe = {
  gan: 0,
  ganStart: 2000,
  ganWarmup: 500,
  ganLr: 3e-4,
  ganChannels: 32,
  ganLayers: 3,
  ganAugment: 1,
  lecam: 1e-3,
};

/** Running means of the judgements; plain JSON. */
export interface Judgements {
  readonly real: number;
  readonly fake: number;
}
const MEMORY = 0.99;

const config = ({ ganChannels, ganLayers }: AdversaryRecipe) => ({
  channels: ganChannels,
  layers: ganLayers,
});

/** Whether update number `step` has a discriminator. */
export const isAdversarial = ({ gan, ganStart }: AdversaryRecipe, step: number): boolean =>
  gan > 0 && step > ganStart;

export interface AdversaryParts {
  /** Its gradient is that of the reconstruction and of the balanced adversarial term together. */
  readonly objective: Value;
  readonly opponent: Player;
  /** Scalars by name. */
  readonly report: Readonly<Record<string, Value>>;
}

/**
 * Hinge losses (Lim & Ye 2017) with the adaptive weight of VQGAN (Esser et al. 2021, eq. 7): the adversarial gradient
 * is scaled so that at the last layer of the decoder it is as long as the reconstruction's. One graph for both players:
 * the discriminator judges each picture once, and the gradient goes through the decoder once, from the two gradients
 * at the pixels joined there. Alternating updates from the same weights give the same numbers.
 * @param at.reconstruction scalar that depends on `rebuilt` @param at.lastLayer weight of the decoder's last layer
 */
export function adversary(
  at: { images: Value; rebuilt: Value; reconstruction: Value; lastLayer: Value },
  recipe: AdversaryRecipe,
): AdversaryParts {
  const { images, rebuilt, reconstruction, lastLayer } = at;
  const g = images.graph;
  const specs = patchGanSpecs(config(recipe));
  const p = bindInputs(g, specs);
  const judge = (x: Value, kind: string) =>
    patchGan(recipe.ganAugment > 0 ? diffAugment(x, `augment.${kind}`) : x, p, config(recipe));
  return withScope(g, "adversary", () => {
    const [fake, real] = [judge(rebuilt, "fake"), judge(images, "real")];
    const fooling = o.neg(o.mean(fake));
    const [[wanted], [fooled]] = [grad(reconstruction, [rebuilt]), grad(fooling, [rebuilt])] as [
      [Value],
      [Value],
    ];
    const through = (direction: Value) => o.sum(o.mul(rebuilt, o.stopGradient(direction)));
    const length = (direction: Value) =>
      o.sqrt(o.reshape(o.sumSquares(grad(through(direction), [lastLayer])[0]!), []));
    const balance = o.clip(o.div(length(wanted), o.add(length(fooled), 1e-4)), 0, 1e4);
    const weight = o.mul(balance, input(g, "gan.weight", []));
    const hinge = o.mul(o.add(o.mean(o.relu(o.sub(1, real))), o.mean(o.relu(o.add(fake, 1)))), 0.5);
    return {
      objective: through(o.add(wanted, o.mul(fooled, weight))),
      opponent: {
        loss: recipe.lecam > 0 ? o.add(hinge, o.mul(lecam(real, fake), recipe.lecam)) : hinge,
        params: p.bound,
        decayed: new Set(specs.filter((s) => s.decay).map((s) => s.name)),
        optimizer: adamw({ betas: [0.5, 0.9], name: "judge.adamw" }),
        clip: 10,
      },
      report: {
        gan: fooling,
        judge: hinge,
        ganBalance: balance,
        judgedReal: o.mean(real),
        judgedFake: o.mean(fake),
      },
    };
  });
}

/** LeCam regularisation (Tseng et al. 2021, eq. 8) with the running means fed. */
function lecam(real: Value, fake: Value): Value {
  const mean = (kind: keyof Judgements) => input(real.graph, `lecam.${kind}`, []);
  return o.add(
    o.mean(o.square(o.relu(o.sub(real, mean("fake"))))),
    o.mean(o.square(o.relu(o.sub(mean("real"), fake)))),
  );
}

/** What the adversary's part of the graph is fed at update `step`. */
export function adversaryFeeds(
  recipe: AdversaryRecipe,
  {
    step,
    shape,
    means,
    rng,
  }: { step: number; means: Judgements; rng: Rng } & {
    shape: readonly [number, number, number];
  },
): Tensors {
  const { gan, ganStart, ganWarmup, ganAugment: strength } = recipe;
  const risen = Math.min(1, (step - ganStart) / Math.max(1, ganWarmup));
  return {
    "gan.weight": scalar(gan * risen),
    "lecam.real": scalar(means.real),
    "lecam.fake": scalar(means.fake),
    ...(strength > 0 && {
      ...drawDiffAugment("augment.fake", shape, { strength, rng: rng.child("fake") }),
      ...drawDiffAugment("augment.real", shape, { strength, rng: rng.child("real") }),
    }),
  };
}

const scalar = (x: number): Tensor => ({ dtype: "float32", shape: [], data: Float32Array.of(x) });

/** The running means after one more update. */
export const judged = (means: Judgements, real: number, fake: number): Judgements => ({
  real: MEMORY * means.real + (1 - MEMORY) * real,
  fake: MEMORY * means.fake + (1 - MEMORY) * fake,
});

/** Count and rate of the discriminator's own updates. */
export const adversaryPace = (recipe: AdversaryRecipe & { lr: number }, pace: Pace): Pace => ({
  ...pace,
  step: pace.step - recipe.ganStart,
  lr: recipe.lr > 0 ? (recipe.ganLr * pace.lr) / recipe.lr : recipe.ganLr,
});

/** A discriminator that has judged nothing yet, with its moments, for a step that had none before. */
export function freshAdversary(
  recipe: AdversaryRecipe,
  rng: Rng,
): { weights: TensorMap; state: TensorMap } {
  const weights = initWeights(patchGanSpecs(config(recipe)), rng);
  const state = ["m", "v"].flatMap((kind) =>
    [...weights].map(([name, t]): [string, Tensor] => [
      `judge.adamw.${kind}.${name}`,
      { ...t, data: new Float32Array(t.data.length) },
    ]),
  );
  return { weights, state: new Map(state) };
}
