/** One training step as one graph, and the tensors that live from step to step. Knows no data and no files. */

import { HOST, sizeOf, type Tensor, type TypedArray } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Backend, Session, Tensors } from "../tensor/backend.ts";
import { grad } from "../tensor/grad.ts";
import { output, type Value } from "../tensor/graph.ts";
import { NonFiniteError } from "../tensor/nan-check.ts";
import { staticShape } from "../tensor/shape.ts";
import { accumulated } from "./accumulate.ts";
import { clipByGlobalNorm, type Kept, type Optimizer, type Pace } from "./optim.ts";

/** A loss and who minimises it. */
export interface Player {
  /** Scalar to minimise. */
  readonly loss: Value;
  /** Parameters to train, by name; all must be inputs of the loss's graph. */
  readonly params: ReadonlyMap<string, Value>;
  /** Names to which weight decay applies. */
  readonly decayed: ReadonlySet<string>;
  readonly optimizer: Optimizer;
  /** Largest joint norm of the gradients; 0 switches clipping off. */
  readonly clip?: number;
}

export interface StepPlan extends Player {
  /** Further results of every step: losses, token ids. `loss` may be said otherwise than it is minimised. */
  readonly report?: Readonly<Record<string, Value>>;
  /**
   * A second player in the same graph, such as a discriminator: both move at once from where both stood. Its
   * optimizer has a name of its own.
   */
  readonly opponent?: Player;
  /**
   * Parts in which a batch goes through the graph, which is built for one part; steps are fed the whole batch. The
   * memory of one part, the update of all, but for rounding. What is reported must be scalar means then. Default 1.
   */
  readonly parts?: number;
}

const NEXT = "next.";

/**
 * Appends backward pass, clipping and update to the loss's graph and compiles the whole as one model.
 * Starts from `weights`; moments start as zeros, or as what `state` holds.
 */
export async function compileStep(
  plan: StepPlan,
  backend: Backend,
  from: { weights: ReadonlyMap<string, Tensor>; state?: ReadonlyMap<string, Tensor> },
): Promise<Stepper> {
  const { loss, report = {}, opponent, parts = 1 } = plan;
  const g = loss.graph;
  if (parts > 1 && opponent) throw new Error("compileStep: two players cannot share parts");
  const split =
    parts > 1
      ? accumulated(loss, plan.params, { parts, reported: ["loss", ...Object.keys(report)] })
      : undefined;
  const players = opponent ? [plan, opponent] : [plan];
  const updates = split
    ? [updateOf({ ...plan, params: split.params }, split.gradients)]
    : players.map((player) => updateOf(player, grad(player.loss, [...player.params.values()])));
  const kept = {
    params: updates.flatMap((u) => u.params),
    state: updates.flatMap((u) => u.state),
  };
  for (const { name, next } of [...kept.params, ...kept.state])
    output(next.graph, NEXT + name, next);
  const norms = { gradNorm: updates[0]!.norm, ...(opponent && { opponentNorm: updates[1]!.norm }) };
  const reported = { loss, ...norms, ...report };
  for (const [name, value] of Object.entries(reported)) output(value.graph, name, value);
  const session = await (split?.compile(backend) ?? backend.compile(g, { resultsInto: true }));
  const tensors = new Map([
    ...kept.params.map((k) => [k.name, copy(fitting(k, from.weights))] as const),
    ...kept.state.map((k) => {
      const fresh = () => zeros({ ...k, dtype: "float32" });
      return [k.name, from.state ? copy(fitting(k, from.state)) : fresh()] as const;
    }),
  ]);
  return new Stepper(session, {
    optimizers: players.map(({ optimizer }) => optimizer),
    tensors,
    params: kept.params.map(({ name }) => name),
    reported: Object.entries(reported).map(([name, { dtype, shape }]) => ({
      name,
      dtype,
      shape: staticShape(shape, name),
    })),
    watched: () => backend.compile(g, { nanCheck: true }),
    forward: () => backend.compile(g, { outputs: ["loss"] }),
    batches: (batch) => split?.batches(batch) ?? [batch],
    rest: () => split?.noSums() ?? {},
  });
}

/** Gradients of one player's loss and the update they make. */
function updateOf({ params, decayed, optimizer, clip = 0 }: Player, gradients: readonly Value[]) {
  const names = [...params.keys()];
  const [first] = params.values();
  const { clipped, norm } = clipByGlobalNorm(gradients, clip || Number.MAX_VALUE);
  const update = optimizer.apply(
    first!.graph,
    names.map((name, i) => ({
      name,
      value: params.get(name)!,
      gradient: (clip ? clipped : gradients)[i]!,
      decay: decayed.has(name),
    })),
  );
  return { ...update, norm };
}

/** The tensor a step starts from. @throws InputError where a file lacks it or holds another shape */
function fitting({ name, shape }: Kept, given: ReadonlyMap<string, Tensor>): Tensor {
  const tensor = given.get(name);
  const wanted = `float32[${shape.join(", ")}]`;
  const found = tensor ? `${tensor.dtype}[${tensor.shape.join(", ")}]` : "nothing";
  if (tensor && found === wanted) return tensor;
  throw new InputError(
    `training starts from "${name}" of ${wanted}, found ${found}; use the checkpoint of this very run, or start afresh`,
    { name, wanted, found },
  );
}

/** Name and type of a value that each step reports. */
interface Reported extends Pick<Tensor, "dtype" | "shape"> {
  readonly name: string;
}

const zeros = ({ dtype, shape }: Pick<Tensor, "dtype" | "shape">): Tensor => ({
  dtype,
  shape,
  data: new HOST[dtype](sizeOf(shape)),
});
const copy = (t: Tensor): Tensor => ({
  ...t,
  data: t.data.slice() as TypedArray,
});

interface Life {
  /** One per player. */
  readonly optimizers: readonly Optimizer[];
  readonly tensors: Map<string, Tensor>;
  readonly params: readonly string[];
  readonly reported: readonly Reported[];
  /** The same graph, compiled so that it names the first node that breaks. */
  readonly watched: () => Promise<Session>;
  /** Its loss alone, without backward pass and update. */
  readonly forward: () => Promise<Session>;
  /** A batch as the graph takes it: whole, or in parts. */
  readonly batches: (batch: Tensors) => readonly Tensors[];
  /** What the graph is fed besides, where it only adds gradients. */
  readonly rest: () => Tensors;
}

/** A compiled step with its parameters and moments; two buffers of each are swapped from step to step. */
export class Stepper {
  #now: Map<string, Tensor>;
  #next: Map<string, Tensor>;
  readonly #session: Session;
  readonly #life: Life;
  #scalars: Readonly<Record<string, number>> = {};
  #forward: Promise<Session> | undefined;

  constructor(session: Session, life: Life) {
    this.#session = session;
    this.#life = life;
    this.#now = life.tensors;
    this.#next = new Map([...life.tensors].map(([name, t]) => [name, copy(t)]));
  }

  /**
   * Runs one step on a batch; returns `loss`, `gradNorm` and what the plan reports. Where loss or gradients are not
   * finite, the weights stay as they were before and NonFiniteError names the first node that broke.
   * @param opponent the pace of the second player; that of the first by default
   */
  async step(batch: Tensors, pace: Pace, opponent = pace): Promise<Record<string, Tensor>> {
    const { optimizers, reported } = this.#life;
    const paces = optimizers.map((own, i) => own.feeds(i === 0 ? pace : opponent));
    const scalars: Tensors = Object.assign({}, ...paces);
    const feeds = { ...batch, ...scalars, ...Object.fromEntries(this.#now) };
    const next = Object.fromEntries([...this.#next].map(([name, t]) => [NEXT + name, t]));
    // New memory each time, small as it is: the caller may keep what a step reports.
    const report = Object.fromEntries(reported.map((r) => [r.name, zeros(r)]));
    await this.#session.run(feeds, { into: { ...next, ...report } });
    const broken = ["loss", "gradNorm", "opponentNorm"].find(
      (name) => report[name] && !Number.isFinite(report[name].data[0]),
    );
    if (broken) await this.#explain(feeds, broken);
    [this.#now, this.#next] = [this.#next, this.#now];
    this.#scalars = Object.fromEntries(
      Object.entries(scalars).map(([name, t]) => [name, Number(t.data[0])]),
    );
    return report;
  }

  /** Runs the step once more and watches every node. */
  async #explain(feeds: Tensors, broken: string): Promise<never> {
    const session = await this.#life.watched();
    const { batches, rest } = this.#life;
    try {
      for (const part of batches(feeds)) await session.run({ ...feeds, ...part, ...rest() });
    } finally {
      await session.release();
    }
    throw new NonFiniteError(`run: ${broken} is not finite, and every node seen on its own is`, {
      broken,
    });
  }

  /** The parameters as they are now. Views: copy what must outlive the next step. */
  weights(): Map<string, Tensor> {
    return new Map(this.#life.params.map((name) => [name, this.#now.get(name)!]));
  }

  /** The optimizers' moments as they are now. */
  state(): Map<string, Tensor> {
    const params = new Set(this.#life.params);
    return new Map([...this.#now].filter(([name]) => !params.has(name)));
  }

  /**
   * Parameters and state as the last step read them; views that the next step writes over. Before the first step, what
   * it will read.
   */
  before(): { weights: Map<string, Tensor>; state: Map<string, Tensor> } {
    const params = new Set(this.#life.params);
    const [weights, state] = [true, false].map(
      (wanted) => new Map([...this.#next].filter(([name]) => params.has(name) === wanted)),
    ) as [Map<string, Tensor>, Map<string, Tensor>];
    return { weights, state };
  }

  /** What the last update was computed with: the scalars that were fed, and the optimizer's constants. */
  applied(): Readonly<Record<string, number>> {
    const constants = this.#life.optimizers.map((own) => own.constants);
    return Object.assign({}, ...constants, this.#scalars);
  }

  /** The reported loss at other parameters, mean over batches; its graph is compiled when it is first asked for. */
  async lossAt(batches: readonly Tensors[], weights: ReadonlyMap<string, Tensor>): Promise<number> {
    this.#forward ??= this.#life.forward();
    const session = await this.#forward;
    let sum = 0;
    const parts = batches.flatMap((batch) => this.#life.batches(batch));
    for (const part of parts) {
      const { loss } = await session.run({ ...part, ...Object.fromEntries(weights) });
      sum += Number(loss!.data[0]);
    }
    return sum / parts.length;
  }

  async release(): Promise<void> {
    await this.#session.release();
    await (await this.#forward)?.release();
  }
}
