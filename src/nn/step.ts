/** One training step as one graph, and the tensors that live from step to step. Knows no data and no files. */

import { HOST, sizeOf, type Tensor, type TypedArray } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Backend, Session, Tensors } from "../tensor/backend.ts";
import { grad } from "../tensor/grad.ts";
import { output, type Value } from "../tensor/graph.ts";
import { staticShape } from "../tensor/shape.ts";
import { clipByGlobalNorm, type Kept, type Optimizer, type Pace } from "./optim.ts";

export interface StepPlan {
  /** Scalar to minimise. */
  readonly loss: Value;
  /** Parameters to train, by name; all must be inputs of the loss's graph. */
  readonly params: ReadonlyMap<string, Value>;
  /** Names to which weight decay applies. */
  readonly decayed: ReadonlySet<string>;
  readonly optimizer: Optimizer;
  /** Largest joint norm of the gradients; 0 switches clipping off. */
  readonly clip?: number;
  /** Further results of every step: losses, token ids. */
  readonly report?: Readonly<Record<string, Value>>;
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
  const { loss, params, decayed, optimizer, clip = 0, report = {} } = plan;
  const g = loss.graph;
  const names = [...params.keys()];
  const gradients = grad(loss, [...params.values()]);
  const { clipped, norm } = clipByGlobalNorm(gradients, clip || Number.MAX_VALUE);
  const update = optimizer.apply(
    g,
    names.map((name, i) => ({
      name,
      value: params.get(name)!,
      gradient: (clip ? clipped : gradients)[i]!,
      decay: decayed.has(name),
    })),
  );
  for (const { name, next } of [...update.params, ...update.state]) output(g, NEXT + name, next);
  const reported = { loss, gradNorm: norm, ...report };
  for (const [name, value] of Object.entries(reported)) output(g, name, value);
  const session = await backend.compile(g, { resultsInto: true });
  const tensors = new Map([
    ...update.params.map((kept) => [kept.name, copy(fitting(kept, from.weights))] as const),
    ...update.state.map((kept) => {
      const fresh = () => zeros({ ...kept, dtype: "float32" });
      return [kept.name, from.state ? copy(fitting(kept, from.state)) : fresh()] as const;
    }),
  ]);
  return new Stepper(session, optimizer, {
    tensors,
    params: names,
    reported: Object.entries(reported).map(([name, { dtype, shape }]) => ({
      name,
      dtype,
      shape: staticShape(shape, name),
    })),
  });
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

/** A compiled step with its parameters and moments; two buffers of each are swapped from step to step. */
export class Stepper {
  #now: Map<string, Tensor>;
  #next: Map<string, Tensor>;
  readonly #session: Session;
  readonly #optimizer: Optimizer;
  readonly #params: readonly string[];
  readonly #reported: readonly Reported[];
  #scalars: Readonly<Record<string, number>> = {};

  constructor(
    session: Session,
    optimizer: Optimizer,
    life: {
      tensors: Map<string, Tensor>;
      params: readonly string[];
      reported: readonly Reported[];
    },
  ) {
    this.#session = session;
    this.#optimizer = optimizer;
    this.#now = life.tensors;
    this.#next = new Map([...life.tensors].map(([name, t]) => [name, copy(t)]));
    this.#params = life.params;
    this.#reported = life.reported;
  }

  /** Runs one step on a batch; returns `loss`, `gradNorm` and what the plan reports. */
  async step(batch: Tensors, pace: Pace): Promise<Record<string, Tensor>> {
    const scalars = this.#optimizer.feeds(pace);
    const feeds = { ...batch, ...scalars, ...Object.fromEntries(this.#now) };
    const next = Object.fromEntries([...this.#next].map(([name, t]) => [NEXT + name, t]));
    // New memory each time, small as it is: the caller may keep what a step reports.
    const report = Object.fromEntries(this.#reported.map((r) => [r.name, zeros(r)]));
    await this.#session.run(feeds, { into: { ...next, ...report } });
    [this.#now, this.#next] = [this.#next, this.#now];
    this.#scalars = Object.fromEntries(
      Object.entries(scalars).map(([name, t]) => [name, Number(t.data[0])]),
    );
    return report;
  }

  /** The parameters as they are now. Views: copy what must outlive the next step. */
  weights(): Map<string, Tensor> {
    return new Map(this.#params.map((name) => [name, this.#now.get(name)!]));
  }

  /** The optimizer's moments as they are now. */
  state(): Map<string, Tensor> {
    const params = new Set(this.#params);
    return new Map([...this.#now].filter(([name]) => !params.has(name)));
  }

  /**
   * Parameters and state as the last step read them; views that the next step writes over. Before the first step, what
   * it will read.
   */
  before(): { weights: Map<string, Tensor>; state: Map<string, Tensor> } {
    const params = new Set(this.#params);
    const [weights, state] = [true, false].map(
      (wanted) => new Map([...this.#next].filter(([name]) => params.has(name) === wanted)),
    ) as [Map<string, Tensor>, Map<string, Tensor>];
    return { weights, state };
  }

  /** What the last update was computed with: the scalars that were fed, and the optimizer's constants. */
  applied(): Readonly<Record<string, number>> {
    return { ...this.#optimizer.constants, ...this.#scalars };
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}
